"""Queries by imagery."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from rasterio.warp import Resampling, calculate_default_transform, reproject

from geohash_rs import Archive, Matches, Scenes
from geohash_rs.codes import hamming_distances, unpack_codes
from geohash_rs.errors import (
    BandMismatchError,
    GeoHashRSWarning,
    PatchError,
    QueryError,
    RegionError,
    SceneError,
    TileNotFoundError,
    TimeRangeError,
)
from geohash_rs.retrieval.patch_query import hash_patch
from tests.ground import TILE, ground, kind_at


def kinds(matches: Matches) -> np.ndarray:
    return np.array([kind_at(c, r) for c, r in zip(matches["col"], matches["row"], strict=True)])


def test_a_window_of_a_scene_finds_its_own_tile_first(archive: Archive, scene_folder: Path) -> None:
    scene = scene_folder / "a_20230601.tif"
    matches = archive.query(scene, window=(64, 128, 64, 64), k=5)
    first = matches.iloc[0]
    assert (first["distance"], first["similarity"], first["rank"]) == (0, 1.0, 1)
    equal = matches[matches["distance"] == 0]  # a similar tile may have the same code
    assert (64, 128, str(scene)) in list(
        equal[["col", "row", "scene"]].itertuples(index=False, name=None)
    )


def test_a_patch_of_a_scene_is_read_with_the_nodata_value_of_that_scene(
    archive: Archive, scene_folder: Path, write_scene: Callable[..., Path], tmp_path: Path
) -> None:
    with rasterio.open(scene_folder / "a_20230601.tif") as source:
        pixels = source.read().astype(np.int16)
    pixels[:, :, 70:90] = -9999  # nodata, which the file does not declare
    scene = write_scene(tmp_path / "gaps.tif", pixels)
    gaps = Archive.create(tmp_path / "gaps", hasher=archive.hasher())
    gaps.add(Scenes(scene, nodata=-9999), tile_size=TILE)
    best = gaps.query(scene, window=(64, 64, 64, 64), k=1).iloc[0]
    assert (best["col"], best["row"], best["distance"]) == (64, 64, 0)


def test_matches_have_the_columns_of_the_interface(archive: Archive) -> None:
    matches = archive.query(tile=3, k=2)
    assert list(matches.columns) == [
        *("rank", "distance", "similarity", "tile_id", "scene", "col", "row"),
        *("width", "height", "datetime", "geometry"),
    ]
    assert isinstance(matches, gpd.GeoDataFrame)
    assert matches.crs == "EPSG:4326"
    assert matches["datetime"].iloc[0].replace(tzinfo=UTC) == datetime(2023, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize("kind", range(4))
def test_a_patch_from_elsewhere_finds_its_kind(
    archive: Archive, write_scene: Callable[..., Path], tmp_path: Path, kind: int
) -> None:
    far = Affine(10, 0, 700_000, 0, -10, 4_000_000)
    patch = write_scene(tmp_path / "patch.tif", ground(kind, TILE, 77), transform=far)
    assert (kinds(archive.query(patch, k=8)) == kind).mean() >= 0.75


def test_the_ranking_equals_a_plain_loop(archive: Archive) -> None:
    ids = np.arange(56)
    codes = archive.codes(ids)
    for tile in (0, 17, 55):
        distances = hamming_distances(codes[[tile]], codes)[0]
        expected = ids[np.lexsort((ids, distances))][:20]
        matches = archive.query(tile=tile)
        assert matches["tile_id"].tolist() == expected.tolist()
        assert matches["distance"].tolist() == distances[expected].tolist()


def test_a_patch_of_another_crs_and_resolution_finds_its_kind(
    archive: Archive, scene_folder: Path, tmp_path: Path
) -> None:
    with rasterio.open(scene_folder / "a_20230601.tif") as source:
        transform, width, height = calculate_default_transform(
            source.crs, "EPSG:4326", source.width, source.height, *source.bounds
        )
        image = np.zeros((3, height, width), np.uint8)
        reproject(
            source.read(),
            image,
            src_transform=source.transform,
            src_crs=source.crs,
            dst_transform=transform,
            dst_crs="EPSG:4326",
            resampling=Resampling.bilinear,
        )
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:4326"}
    path = tmp_path / "lonlat.tif"
    with rasterio.open(
        path, "w", **profile, width=width, height=height, transform=transform
    ) as target:
        target.write(image)
    # The tile at column 128, row 64 of the scene, as a window of the warped file.
    middle = archive.query(tile=0, k=56, scenes=[str(scene_folder / "a_20230601.tif")])
    wanted = middle[(middle["col"] == 128) & (middle["row"] == 64)].geometry.iloc[0]
    left, bottom, right, top = wanted.bounds
    col, row = ~transform @ (left, top)
    end_col, end_row = ~transform @ (right, bottom)
    window = (round(col), round(row), round(end_col - col), round(end_row - row))
    assert window[2:] != (TILE, TILE)
    matches = archive.query(path, window=window, k=6)
    assert (kinds(matches) == kind_at(128, 64)).mean() >= 0.8


def test_a_large_patch_is_compared_by_its_nearest_tile(
    archive: Archive, scene_folder: Path
) -> None:
    scene = scene_folder / "a_20230601.tif"
    both = archive.query(scene, window=(0, 0, 128, 64), k=12)
    single = [archive.query(scene, window=(c, 0, 64, 64), k=56) for c in (0, 64)]
    least = {}
    for matches in single:
        for tile, distance in zip(matches["tile_id"], matches["distance"], strict=True):
            least[tile] = min(distance, least.get(tile, 64))
    expected = sorted(least, key=lambda tile: (least[tile], tile))[:12]
    assert both["tile_id"].tolist() == expected
    assert both["tile_id"].is_unique


def test_a_point_searches_with_the_tile_there(archive: Archive) -> None:
    tiles = archive.tiles([9])
    place = tiles.geometry.iloc[0].centroid
    by_point = archive.query(point=(place.x, place.y), k=3)
    here = archive.tiles(range(56))
    here = here[here.covers(place)].sort_values("datetime")
    assert here["datetime"].is_unique
    by_tile = archive.query(tile=int(here["tile_id"].iloc[-1]), k=3)  # the latest
    assert by_point[["tile_id", "distance"]].equals(by_tile[["tile_id", "distance"]])
    assert by_point["distance"].iloc[0] == 0


def test_patches_tiles_and_a_point_are_examples_together(
    archive: Archive, scene_folder: Path
) -> None:
    scene = scene_folder / "a_20230601.tif"
    place = archive.tiles([9]).geometry.iloc[0].centroid
    ask = {"k": 56}
    single = [
        archive.query([scene], window=(64, 64, 64, 64), **ask),
        archive.query(tile=[3], **ask),
        archive.query(point=(place.x, place.y), **ask),
    ]
    least = dict.fromkeys(range(56), 64)
    for matches in single:
        for tile, distance in zip(matches["tile_id"], matches["distance"], strict=True):
            least[tile] = min(distance, least[tile])
    expected = sorted(least, key=lambda tile: (least[tile], tile))
    together = archive.query(
        scene, window=(64, 64, 64, 64), tile=3, point=(place.x, place.y), **ask
    )
    assert together["tile_id"].tolist() == expected
    assert together["distance"].tolist() == [least[tile] for tile in expected]


def test_negative_patches_lower_the_rank_of_their_kind(
    archive: Archive, write_scene: Callable[..., Path], tmp_path: Path
) -> None:
    right, wrong = (write_scene(tmp_path / f"{i}.tif", ground(i, TILE, 5)) for i in (0, 1))
    both = archive.query([right, wrong], k=20)
    assert {0, 1} <= set(kinds(both).tolist())
    matches = archive.query(right, negatives=[wrong, int(both["tile_id"].iloc[-1])], k=56)
    assert (kinds(matches)[:8] == 0).mean() >= 0.75
    mean = matches.groupby(kinds(matches))["similarity"].mean()
    assert mean.idxmax() == 0
    assert mean.idxmin() == 1
    assert len(matches) == 55  # without the negative tile


def test_patches_are_hashed_before_the_archive_is_held_in_one_state(
    archive: Archive, scene_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    @contextmanager
    def one_state() -> Iterator[object]:
        steps.append("begin")
        yield archive.snapshot()
        steps.append("end")

    def hashing(archive: Archive, path: Path, **options: object) -> object:
        steps.append(path)
        return hash_patch(archive, path, **options)

    monkeypatch.setattr("geohash_rs.retrieval.patch_query.hash_patch", hashing)
    monkeypatch.setattr(archive, "one_state", one_state)
    good, bad = sorted(scene_folder.glob("*.tif"))[:2]
    archive.query(good, negatives=[bad, 3], k=5)
    assert steps == [good, bad, "begin", "end"]


def test_asymmetric_ranking_is_by_distance_between_activations_and_bits(
    archive: Archive, write_scene: Callable[..., Path], tmp_path: Path
) -> None:
    patch = write_scene(tmp_path / "patch.tif", ground(2, TILE, 8))
    with rasterio.open(patch) as source:
        pixels = torch.from_numpy(source.read())[None]
    activations = archive.hasher().activations(pixels).numpy().astype(float)
    bits = unpack_codes(archive.codes(np.arange(56)))
    expected = ((activations - bits) ** 2).sum(axis=1)
    matches = archive.query(patch, k=56, ranking="asymmetric")
    assert (np.diff(expected[matches["tile_id"]]) > -1e-5).all()
    hamming = archive.query(patch, k=56).set_index("tile_id")["distance"]
    assert matches["distance"].tolist() == hamming[matches["tile_id"]].tolist()


def test_overlapping_tiles_are_left_out_and_neighbours_kept(archive: Archive) -> None:
    everything = archive.query(tile=0, k=56)
    tile = int(everything[everything["scene"].str.contains("a_2023")]["tile_id"].iloc[0])
    own = archive.tiles([tile]).geometry.iloc[0]
    core = own.buffer(-1e-6)
    matches = archive.query(tile=tile, k=56, exclude_overlap=True)
    assert not matches.intersects(core).any()
    assert matches.touches(own).any()
    assert len(matches) == 56 - 2  # the tile itself, and the one from the other date


def test_region_time_and_radius_are_exact(archive: Archive) -> None:
    everything = archive.query(tile=0, k=56)
    region = shapely.box(15.0, 48.72, 15.012, 48.76)
    by_region = archive.query(tile=0, k=56, region=region)
    assert set(by_region["tile_id"]) == set(everything[everything.intersects(region)]["tile_id"])
    by_time = archive.query(tile=0, k=56, time=("2023-08-01", None))
    assert {scene[-12:] for scene in by_time["scene"]} == {"20230901.tif"}
    assert len(by_time) == 20
    by_radius = archive.query(tile=0, k=None, max_distance=10)
    assert set(by_radius["tile_id"]) == set(everything[everything["distance"] <= 10]["tile_id"])


def test_the_result_is_in_the_requested_crs(archive: Archive) -> None:
    corner = (15.001, 48.752)
    matches = archive.query(point=corner, k=1, crs="EPSG:32633")
    assert matches.crs == "EPSG:32633"
    assert matches.geometry.iloc[0].bounds == pytest.approx(
        (500_000, 5_399_360, 500_640, 5_400_000), abs=1e-5
    )


def test_k_larger_than_the_archive_gives_all(archive: Archive) -> None:
    assert len(archive.query(tile=0, k=10_000)) == 56


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "parquet", "csv"])
def test_matches_are_written_in_the_format_of_the_ending(
    archive: Archive, tmp_path: Path, ending: str
) -> None:
    matches = archive.query(tile=0, k=7)
    path = tmp_path / f"matches.{ending}"
    matches.to_file(path)
    layer = (
        {"layer": gpd.list_layers(path)["name"][0]} if ending == "gpkg" else {}
    )  # the file also has a table of styles
    read = gpd.read_parquet(path) if ending == "parquet" else gpd.read_file(path, **layer)
    assert len(read) == 7
    if ending != "csv":
        assert read.crs == "EPSG:4326"
    assert [int(value) for value in read["tile_id"]] == matches["tile_id"].tolist()


def test_matches_stay_matches_when_sliced_and_become_frames_without_geometry(
    archive: Archive,
) -> None:
    matches = archive.query(tile=0, k=5)
    assert isinstance(matches[matches["distance"] < 99], Matches)
    assert not isinstance(matches[["rank", "distance"]], gpd.GeoDataFrame)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tile": 0, "k": 0}, QueryError, "k is 0"),
        ({"tile": 0, "k": -3}, QueryError, "k is -3"),
        ({"tile": 0, "k": None}, QueryError, "both None"),
        ({"tile": 0, "max_distance": -1}, QueryError, "max_distance is -1"),
        ({"tile": 0, "crs": "EPSG:0"}, QueryError, "crs 'EPSG:0' is not known"),
        ({}, QueryError, "pass a patch, a vector, a tile or a point"),
        ({"tile": 56}, TileNotFoundError, "56"),
        ({"tile": -1}, TileNotFoundError, "-1"),
        ({"tile": 10**20}, TileNotFoundError, "100000000000000000000"),
        ({"point": (0, 0)}, QueryError, "no tile of the archive lies at 0.0, 0.0"),
        ({"point": (48, 200)}, QueryError, "longitude comes first"),
        ({"point": (float("nan"), 0)}, QueryError, "point is"),
        ({"tile": 0, "region": (0, 0, 0)}, RegionError, "four numbers"),
        ({"tile": 0, "region": shapely.Polygon()}, RegionError, "empty"),
        ({"tile": 0, "region": (0, 50, 10, 40)}, RegionError, "50"),
        ({"tile": 0, "time": ("2024", "2023")}, TimeRangeError, "2024"),
        ({"tile": 0, "time": ("yesterday", None)}, TimeRangeError, "yesterday"),
    ],
)
def test_an_invalid_query_is_refused_with_the_reason(
    archive: Archive, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        archive.query(**arguments)


def test_a_region_without_tiles_has_no_matches(archive: Archive) -> None:
    with pytest.warns(GeoHashRSWarning, match=r"lies in the region; 'geohash-rs info' reports"):
        matches = archive.query(tile=0, region=(170, -10, -170, 10))
    assert len(matches) == 0
    assert "distance" in matches.columns


def test_an_unusable_patch_is_refused_with_the_reason(
    archive: Archive, write_scene: Callable[..., Path], scene_folder: Path, tmp_path: Path
) -> None:
    scene = scene_folder / "a_20230601.tif"
    with pytest.raises(PatchError, match="is not inside a_20230601.tif"):
        archive.query(scene, window=(300, 0, 64, 64))
    with pytest.raises(PatchError, match="window has 2 numbers"):
        archive.query(scene, window=(0, 0))
    with pytest.raises(SceneError, match=r"missing.tif cannot be opened"):
        archive.query(tmp_path / "missing.tif")
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(SceneError, match=r"text.tif cannot be opened"):
        archive.query(tmp_path / "text.tif")
    gray = write_scene(tmp_path / "gray.tif", ground(0, 64, 1)[:1])
    with pytest.raises(BandMismatchError, match="has 1 band but the hasher expects 3"):
        archive.query(gray)
    with pytest.raises(BandMismatchError, match="has 1 band but the hasher expects 3"):
        archive.query(tile=0, negatives=[gray])
    with pytest.raises(SceneError, match=r"missing.tif cannot be opened"):
        archive.query(tile=0, negatives=["missing.tif"])
    with pytest.raises(QueryError, match=r"a_20230601.tif, window 0,0,320,256, is both a"):
        archive.query(scene, negatives=[str(scene)])
    blank = write_scene(tmp_path / "blank.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    with pytest.raises(PatchError, match="nothing but nodata"):
        archive.query(blank)
    huge = write_scene(tmp_path / "huge.tif", np.ones((3, 64 * 40, 64 * 40), np.uint8))
    with pytest.raises(PatchError, match="1600 tiles"):
        archive.query(huge)


def test_matches_keep_what_they_were_asked_with(
    archive: Archive, scene_folder: Path, tmp_path: Path
) -> None:
    scene = scene_folder / "a_20230601.tif"
    first = archive.tiles(np.array([0])).iloc[0]
    lon, lat = (round(float(number), 6) for number in first.geometry.centroid.coords[0])
    matches = archive.query(
        scene, window=(64, 128, 64, 64), tile=0, point=(lon, lat), negatives=[5], k=5
    )
    examples = matches.examples
    assert examples is not None
    assert examples.crs == "EPSG:4326"
    names = list(examples["example"])
    assert names[:2] == ["a_20230601.tif", "tile 0"]
    assert names[2].endswith(f"at {lon:.9g}, {lat:.9g}")
    assert names[3] == "tile 5"
    assert list(examples["positive"]) == [True, True, True, False]
    patch, tile = examples.iloc[0], examples.iloc[1]
    assert (patch["scene"], patch["col"], patch["row"]) == (str(scene), 64, 128)
    assert (patch["width"], patch["height"]) == (64, 64)
    assert patch["tile_id"] is pd.NA
    same = ["scene", "col", "row", "width", "height", "datetime"]
    assert list(tile[same]) == list(first[same])
    assert tile.geometry.equals(first.geometry)
    for cut in (
        matches.head(2),
        matches.to_crs(3857),
        matches[matches["rank"] > 2],
        matches.copy(),
    ):
        assert cut.examples.equals(examples)
    assert pd.concat([matches, matches]).examples is None
    assert Matches(gpd.GeoDataFrame(geometry=[])).examples is None
    matches.to_file(tmp_path / "matches.parquet")
    assert "example" not in gpd.read_parquet(tmp_path / "matches.parquet").columns


def test_a_vector_is_an_example_without_a_place(archive: Archive) -> None:
    vector = np.ones(archive.hasher().num_features, dtype=np.float32)
    examples = archive.query(vector=vector, k=1).examples
    assert examples is not None
    assert list(examples["example"]) == ["the vector"]
    assert examples["scene"].isna().all()
    assert examples.geometry.isna().all()
