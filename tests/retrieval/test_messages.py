"""A query that cannot be what was meant says so, with the query that probably was."""

import re

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine

from geohash_rs import Archive
from geohash_rs.errors import GeoHashRSWarning, PatchError, QueryError, RegionError
from tests.ground import mosaic


@pytest.fixture(scope="module")
def alps(tmp_path_factory):
    """Two tiles at 7 degrees east and 46 degrees north."""
    made = Archive.create(tmp_path_factory.mktemp("alps") / "archive", num_bits=16)
    tiles = gpd.GeoDataFrame(
        {"scene": "/none/a.tif", "col": [0, 64], "row": 0, "width": 64, "height": 64},
        geometry=[shapely.box(7, 46, 7.1, 46.1), shapely.box(7.1, 46, 7.2, 46.1)],
        crs="EPSG:4326",
    )
    made.add_codes(np.eye(2, 2, dtype=np.uint8), tiles)
    return made


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ((46.05, 7.05), "a tile lies at longitude 7.05, latitude 46.05; pass point=(7.05, 46.05)."),
        ((46.05, 107.05), "if this is latitude, longitude, pass point=(107.05, 46.05)."),
        ((367.05, 46.05), "367.05 degrees east are 7.05: pass point=(7.05, 46.05)."),
        ((325, 46), "325 degrees east are -35: pass point=(-35, 46)."),
    ],
)  # fmt: skip
def test_a_point_that_was_meant_otherwise_is_offered(alps, point, said):
    with pytest.raises(QueryError, match=re.escape(said)):
        alps.query(point=point)


def test_a_point_that_is_empty_either_way_is_not_turned(alps):
    with pytest.raises(QueryError, match=r"lies at 50\.0, 8\.0; see its extent with '[^']*'\.$"):
        alps.query(point=(50, 8))


def test_a_region_that_was_meant_otherwise_is_offered(alps):
    with pytest.warns(GeoHashRSWarning, match=r"tiles lie in region=\(7, 46, 7\.1, 46\.2\)"):
        assert len(alps.query(tile=0, region=(46, 7, 46.2, 7.1))) == 0
    triangle = shapely.Polygon([(46, 7), (46.1, 7), (46, 7.1)])
    with pytest.warns(GeoHashRSWarning, match="write its coordinates as longitude, latitude"):
        alps.query(tile=0, region=triangle)
    with pytest.warns(GeoHashRSWarning, match="'geohash-rs info' reports where its tiles lie"):
        alps.query(tile=0, region=(60, 7, 61, 8))
    with pytest.raises(
        RegionError, match=r"if the two are swapped, pass region=\(120, 46, 121, 47"
    ):
        alps.query(tile=0, region=(46, 120, 47, 121))
    with pytest.raises(RegionError, match=r"such as 325 as -35\.$"):
        alps.query(tile=0, region=(10, 46, 400, 47))
    with pytest.raises(RegionError, match="reproject it to EPSG:4326"):
        alps.query(tile=0, region=(500_000, 5_000_000, 510_000, 5_010_000))


def coarse(path, write_scene, *, pixel, side):
    grid = Affine(pixel, 0, 500_000, 0, -pixel, 5_400_000)
    return write_scene(path, np.tile(mosaic(1, 1, 5), (1, 4, 4))[:, :side, :side], transform=grid)


def test_a_coarse_patch_offers_what_can_be_searched(archive, write_scene, tmp_path):
    patch = coarse(tmp_path / "modis.tif", write_scene, pixel=160, side=160)
    with pytest.raises(PatchError) as told:
        archive.query(patch)
    text = str(told.value)
    assert "modis.tif has pixels of 160 m, 16 times as large as the archive's" in text
    assert "a tile of 640 m is only 4 x 4 of them" in text
    assert "1600 tiles" in text
    assert "Search with imagery of about 10 m, or with a part, such as window=" in text
    window = tuple(map(int, re.search(r"window=\(([\d, ]+)\)", text)[1].split(",")))
    assert window == (16, 16, 128, 128)
    with pytest.warns(GeoHashRSWarning, match=r"so matches may mean little.* the archive's 10 m"):
        assert len(archive.query(patch, window=window, k=3)) == 3


def test_pixels_larger_than_a_tile_are_refused(archive, write_scene, tmp_path):
    patch = coarse(tmp_path / "era5.tif", write_scene, pixel=2000, side=40)
    said = "pixels of 2,000 m, and a tile of the archive covers 640 m, less than one of them"
    with pytest.raises(PatchError, match=said):
        archive.query(patch)


def test_a_large_patch_offers_windows_of_its_own(archive, write_scene, tmp_path):
    patch = write_scene(tmp_path / "city.tif", np.tile(mosaic(1, 1, 5), (1, 33, 32)))
    said = (
        "city.tif covers as much ground (2048 x 2112 px) as 1056 tiles of the archive, but a "
        "search takes at most 1024. Search with the part that shows what you look for: "
        "window=(992, 1024, 64, 64) is a tile in its middle, window=(0, 32, 2048, 2048) the largest"
    )
    with pytest.raises(PatchError, match=re.escape(said)):
        archive.query(patch)
    assert len(archive.query(patch, window=(992, 1024, 64, 64), k=3)) == 3
