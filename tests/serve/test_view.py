"""What is drawn of an archive in view, held against a plain count."""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.errors import RegionError
from geohash_rs.serve.view import parse_view, tiles_in_view


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
def test_counts_are_those_of_a_plain_loop(archive, view):
    answer = json.loads(tiles_in_view(archive, parse_view(view)))
    assert answer["kind"] == "counts"
    counts = [one["properties"]["count"] for one in answer["features"]]
    assert sum(counts) == answer["count"]
    corners = shapely.bounds(archive.tiles(np.arange(400, 5500)).geometry.to_numpy())
    x, y = (corners[:, :2] + corners[:, 2:]).T / 2
    for feature in answer["features"][::7]:
        west, south, east, north = shapely.geometry.shape(feature["geometry"]).bounds
        if not shapely.box(*parse_view(view)).covers(shapely.box(west, south, east, north)):
            continue  # counts what is in view of it
        inside = (x >= west) & (x < east) & (y >= south) & (y < north)
        assert abs(int(inside.sum()) - feature["properties"]["count"]) <= 1  # boxes are rounded


def test_few_tiles_come_as_their_footprints(archive):
    view = (10, 10, 30, 30)
    answer = json.loads(tiles_in_view(archive, view))
    tiles = archive.tiles(np.arange(400, 5500))
    meets = set(tiles[tiles.intersects(shapely.box(*view))]["tile_id"])
    given = {one["properties"]["tile_id"] for one in answer["features"]}
    assert answer["kind"] == "footprints"
    assert meets <= given
    assert len(given - meets) <= 2  # boxes are a little larger than footprints


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "nan,0,1,1", "5,0,1,1", "0,0,inf,1"])
def test_what_is_no_view_is_refused(text):
    with pytest.raises(RegionError, match="bbox"):
        parse_view(text)
