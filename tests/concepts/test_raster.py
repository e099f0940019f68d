"""Score rasters, read back by rasterio."""

import shutil
import weakref

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine

from geohash_rs.concepts.raster import write_rasters
from geohash_rs.errors import ExportError, GeoHashRSWarning
from tests.concepts.places import Header, record_of, tiles_of


class Held:
    """An archive that holds some tiles and records."""

    path = "held"

    def __init__(self, tiles, records):
        self._tiles, self._records = tiles, records

    def __len__(self):
        return len(self._tiles) * 1000

    def tiles(self, ids):
        return self._tiles.iloc[ids].assign(tile_id=ids)

    def scenes(self):
        return self._records


def drawn(tiles, records, folder, name="pits", **options):
    """Write the tiles' scores, which are 0, 1/n, 2/n, ..."""
    count = len(tiles)
    return write_rasters(
        Held(tiles, records),
        np.arange(count),
        np.arange(count) / count,
        folder,
        name=name,
        **options,
    )


PLACED = {
    "regular": {},
    "overlapping": {"stride": 16},
    "with gaps": {"stride": 100, "edges": "drop"},
    "padded": {"edges": "pad"},
    "rotated": {"transform": Affine(6, 3, 500_000, 3, -6, 5_400_000)},
    "degrees": {"crs": "EPSG:4326", "transform": Affine(1e-3, 0, 12, 0, -1e-3, 54)},
    "resampled": {"resolution": 25.0, "edges": "drop"},
}


@pytest.mark.parametrize("name", PLACED)
def test_the_middle_of_each_pixel_is_that_of_its_tile(name, tmp_path):
    record = record_of(width=640, height=448, **PLACED[name])
    tiles = tiles_of(record)
    (path,) = drawn(tiles, [record], tmp_path / "rasters")
    assert path.name == "a_pits.tif"
    to_crs = Header(record).transform
    with rasterio.open(path) as raster:
        values = raster.read(1)
        assert raster.crs == rasterio.CRS.from_user_input(record.crs)
        assert np.isnan(raster.nodata)
        assert raster.dtypes == ("float32",)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert values.size == len(tiles)
        for number, (col, row, width, height) in enumerate(
            tiles[["col", "row", "width", "height"]].to_numpy().tolist()
        ):
            x, y = to_crs @ (col + width / 2, row + height / 2)
            assert values[raster.index(x, y)] == np.float32(number / len(tiles))
            place = raster.xy(*raster.index(x, y))
            assert place == pytest.approx((x, y), abs=1e-6 * abs(to_crs.a))


def test_only_the_last_tiles_of_a_shifted_grid_stray_from_their_pixels(tmp_path):
    record = record_of(width=660, height=640)
    tiles = tiles_of(record)
    (path,) = drawn(tiles, [record], tmp_path)
    with rasterio.open(path) as raster:
        assert (raster.width, raster.height) == (11, 10)
        assert raster.bounds.right == 500_000 + 704 * 10
        assert raster.read(1)[3, 10] == np.float32(43 / 110)


def test_tiles_that_are_missing_are_nodata_and_large_rasters_have_overviews(tmp_path):
    record = record_of(width=640 * 64, height=64 * 20, tile_size=64, stride=32)
    tiles = tiles_of(record)
    rows = np.random.default_rng(0).permutation(len(tiles))[: len(tiles) // 2]
    kept = tiles.iloc[rows].reset_index(drop=True)
    (path,) = drawn(kept, [record], tmp_path)
    with rasterio.open(path) as raster:
        assert np.isnan(raster.read(1)).sum() == len(tiles) - len(kept)
        assert raster.overviews(1) == [2, 4]
        assert raster.descriptions == ("score of pits",)


def test_each_size_and_scene_has_a_file_and_no_name_is_used_twice(tmp_path):
    records = [
        record_of("/x/a.tif", larger_tiles=[[128, 128]]),
        record_of("/y/a.tif"),
        record_of('/z/odd: "name".tif'),
    ]
    tiles = pd.concat([tiles_of(one) for one in records], ignore_index=True)
    paths = drawn(tiles, records, tmp_path)
    names = ["a_pits_64.tif", "a_pits_128.tif", "a_pits.tif", "odd_name_pits.tif"]
    assert [path.name for path in paths] == names
    with rasterio.open(paths[1]) as raster:
        assert raster.shape == (5, 5)
    small = tiles[(tiles["width"] == 64) & (tiles["scene"] == "/x/a.tif")].reset_index(drop=True)
    (only,) = drawn(small, records, tmp_path / "only", tile_sizes={64})
    assert only.name == "a_pits_64.tif"
    shutil.rmtree(only.parent)
    again = drawn(tiles, records, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(again)


def test_two_scenes_of_one_name_are_numbered(tmp_path):
    records = [record_of("/x/a.tif"), record_of("/y/A.tif")]
    tiles = pd.concat([tiles_of(one) for one in records], ignore_index=True)
    names = [path.name for path in drawn(tiles, records, tmp_path)]
    assert names == ["a_pits.tif", "A_pits_2.tif"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("../../x", "a_x.tif"),
        ("gravel pits/v1.2", "a_gravel pits_v1.2.tif"),
        ("..", "a_score.tif"),
        ("new\nline", "a_new_line.tif"),
    ],
)
def test_any_name_of_a_concept_makes_a_tidy_file(tmp_path, name, file):
    record = record_of()
    (path,) = drawn(tiles_of(record), [record], tmp_path / "rasters", name=name)
    assert path == tmp_path / "rasters" / file
    with rasterio.open(path) as raster:
        assert raster.descriptions == (f"score of {name}",)


def test_one_raster_is_in_memory_at_a_time(tmp_path, monkeypatch):
    alive = []

    def written(path, values, *_):
        alive.append(sum(one() is not None for one in kept))
        kept.append(weakref.ref(values))

    kept = []
    monkeypatch.setattr("geohash_rs.concepts.raster._write", written)
    records = [record_of(f"/{name}/a.tif") for name in "xyz"]
    drawn(pd.concat([tiles_of(one) for one in records], ignore_index=True), records, tmp_path)
    assert alive == [0, 0, 0]


def test_tiles_without_a_grid_are_named_and_only_those_are_an_error(tmp_path):
    record = record_of()
    tiles = tiles_of(record)
    tiles.loc[0, "scene"] = "elsewhere"
    with pytest.warns(GeoHashRSWarning, match="1 of 100 tiles are not of a scene's grid"):
        drawn(tiles, [record], tmp_path)
    with pytest.raises(ExportError, match="none of the 100 tiles is of a scene's grid"):
        drawn(tiles, [], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_rasters_are_not_written_into_an_archive_or_a_missing_folder(tmp_path):
    record = record_of()
    (tmp_path / "archive" / "segments").mkdir(parents=True)
    (tmp_path / "archive" / "manifest.json").write_text("{}")
    with pytest.raises(ExportError, match="lies in the archive"):
        drawn(tiles_of(record), [record], tmp_path / "archive" / "rasters")
    with pytest.raises(ExportError, match="does not exist; create it"):
        drawn(tiles_of(record), [record], tmp_path / "no" / "rasters")
