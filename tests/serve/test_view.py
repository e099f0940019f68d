"""The tiles in view, compared with a plain count."""

import json
import tracemalloc

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.errors import RegionError
from geohash_rs.serve.searching import Searcher
from geohash_rs.serve.view import parse_view, tiles_in_view
from geohash_rs.store.snapshot import Snapshot
from tests.store.helpers import make_grid


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Tiles all over the globe, some of them removed, in two segments."""
    rng = np.random.default_rng(0)
    made = Archive.create(tmp_path_factory.mktemp("view") / "archive", num_bits=64)
    for count in (4000, 1500):
        x, y = rng.uniform(-179, 178.9, count), rng.uniform(-80, 80, count)
        tiles = gpd.GeoDataFrame(
            {"scene": ["a"] * count}, geometry=shapely.box(x, y, x + 0.1, y + 0.1), crs=4326
        )
        made.add_codes(rng.integers(0, 256, (count, 8), dtype=np.uint8), tiles)
    made.remove_tiles(np.arange(0, 400))
    return made


@pytest.mark.parametrize("view", ["-180,-85,180,85", "-80,-60,80,70"])
def test_counts_equal_a_plain_loop(archive, view):
    answer = json.loads(tiles_in_view(archive, parse_view(view)))
    assert answer["kind"] == "counts"
    counts = [one["properties"]["count"] for one in answer["features"]]
    assert sum(counts) == answer["count"]
    corners = shapely.bounds(archive.tiles(np.arange(400, 5500)).geometry.to_numpy())
    x, y = (corners[:, :2] + corners[:, 2:]).T / 2
    for feature in answer["features"][::7]:
        west, south, east, north = shapely.geometry.shape(feature["geometry"]).bounds
        if not shapely.box(*parse_view(view)).covers(shapely.box(west, south, east, north)):
            continue  # only its part in view counts
        inside = (x >= west) & (x < east) & (y >= south) & (y < north)
        assert abs(int(inside.sum()) - feature["properties"]["count"]) <= 1  # boxes are rounded


def test_large_tiles_in_a_small_view_take_little_memory(tmp_path):
    rng = np.random.default_rng(0)
    archive = Archive.create(tmp_path / "archive", num_bits=64)
    x, y = rng.uniform(-2, 9, 2000), rng.uniform(37, 47, 2000)
    tiles = gpd.GeoDataFrame(
        {"scene": ["a"] * 2000}, geometry=shapely.box(x, y, x + 12, y + 12), crs=4326
    )
    archive.add_codes(rng.integers(0, 256, (2000, 8), dtype=np.uint8), tiles)
    tracemalloc.start()
    answer = json.loads(tiles_in_view(archive, parse_view("9.5,48,9.5,48")))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (answer["kind"], answer["count"]) == ("counts", 2000)
    assert sum(one["properties"]["count"] for one in answer["features"]) == 2000
    assert len(answer["features"]) <= 4
    assert most < 50e6


def test_a_view_across_the_antimeridian_counts_both_sides(tmp_path):
    rng = np.random.default_rng(0)
    archive = Archive.create(tmp_path / "archive", num_bits=64)
    x, y = np.r_[np.full(1000, 178.0), np.full(1000, -178.1)], rng.uniform(-5, 5, 2000)
    tiles = gpd.GeoDataFrame(
        {"scene": ["a"] * 2000}, geometry=shapely.box(x, y, x + 0.1, y + 0.1), crs=4326
    )
    archive.add_codes(rng.integers(0, 256, (2000, 8), dtype=np.uint8), tiles)
    answer = json.loads(tiles_in_view(archive, parse_view("170,-10,190,10")))
    wests = [one["geometry"]["coordinates"][0][0][0] for one in answer["features"]]
    counts = [one["properties"]["count"] for one in answer["features"]]
    assert {round(west) for west in wests} == {178, -178}
    assert sum(counts) == answer["count"] == 2000


def test_few_tiles_are_returned_as_footprints(archive):
    view = (10, 10, 30, 30)
    answer = json.loads(tiles_in_view(archive, view))
    tiles = archive.tiles(np.arange(400, 5500))
    meets = set(tiles[tiles.intersects(shapely.box(*view))]["tile_id"])
    given = {one["properties"]["tile_id"] for one in answer["features"]}
    assert answer["kind"] == "footprints"
    assert meets <= given
    assert len(given - meets) <= 2  # boxes are slightly larger than footprints


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "nan,0,1,1", "5,0,1,1", "0,0,inf,1"])
def test_an_invalid_view_is_refused(text):
    with pytest.raises(RegionError, match="bbox"):
        parse_view(text)


def test_the_tile_at_a_point_is_of_one_state(tmp_path, monkeypatch):
    archive = Archive.create(tmp_path / "archive", num_bits=64)
    reader = Archive.open(archive.path, mode="r")
    codes, tiles = np.zeros((1, 8), np.uint8), make_grid(1)
    archive.add_codes(codes, tiles)
    reader.refresh()
    boxes = Snapshot.boxes

    def boxes_then_move(self, view):
        found = list(boxes(self, view))
        archive.add_codes(codes, tiles, replace_scenes=["scene.tif"])
        reader.refresh()
        return found

    monkeypatch.setattr(Snapshot, "boxes", boxes_then_move)
    assert json.loads(Searcher(reader).tile_at((10.05, 49.95)))["properties"]["tile_id"] == 0
