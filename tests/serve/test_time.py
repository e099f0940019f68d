"""What the map shows of several dates, compared with a plain loop over places."""

import datetime as dt
import json
import re
from urllib.parse import urlencode

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.errors import QueryError
from geohash_rs.serve.dates import MOST_SCENES
from geohash_rs.serve.on_top import on_top
from geohash_rs.serve.searching import Searcher
from geohash_rs.serve.shown import Shown
from geohash_rs.serve.view import tiles_at_click, tiles_in_view

VIEW = (-180.0, -90.0, 180.0, 90.0)
DAYS = ["2019-06-01", "2020-06-01", "2021-06-01", None]


def grids(*shifts, size=64):
    """Make 6 x 6 tiles for each shift, each of its own scene, the days in the order of `DAYS`."""
    parts = []
    for number, shift in enumerate(shifts):
        x, y = (part.ravel() for part in np.meshgrid(np.arange(6) + shift, np.arange(6) + shift))
        day = DAYS[number]
        tiles = gpd.GeoDataFrame(
            {
                "scene": [f"folder{number}/{day}_{number % 2}.tif"] * len(x),
                "col": 0,
                "row": 0,
                "width": size,
            },
            geometry=shapely.box(x, y, x + 1, y + 1),
            crs=4326,
        )
        hours = None if day is None else f"{day}T{10 + number}:30:00Z"
        parts.append(tiles.assign(height=size, datetime=pd.Timestamp(hours) if hours else pd.NaT))
    frame = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=4326)
    return frame.assign(datetime=pd.to_datetime(frame["datetime"], utc=True))


def archive_of(folder, *frames):
    made = Archive.create(folder / "archive", num_bits=64)
    for frame in frames:  # each becomes a segment
        codes = np.random.default_rng(0).integers(0, 256, (len(frame), 8), dtype=np.uint8)
        made.add_codes(codes, frame)
    return made.snapshot()


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Tiles of three days and undated ones over one place, the later ones further north-east."""
    tiles = grids(0.0, 0.5, 2.0, -1.0)
    return archive_of(tmp_path_factory.mktemp("stack"), tiles[::2], tiles[1::2])


def drawn(archive, **asked):
    answer = json.loads(tiles_in_view(archive, VIEW, shown=Shown.parse(archive, **asked)))
    assert answer["kind"] == "footprints"
    assert answer["count"] == len(answer["features"])
    return {feature["properties"]["tile_id"] for feature in answer["features"]}, answer["dates"]


def test_the_tile_that_a_click_takes_is_drawn_and_all_drawn_tiles_can_be_taken(stack):
    taken = set()
    for x, y in np.random.default_rng(2).uniform(-1, 8, (600, 2)):
        try:
            taken.add(int(tiles_at_click(stack, (x, y))["tile_id"].iloc[0]))
        except QueryError as error:
            assert "no tile of the archive lies at" in str(error)  # noqa: PT017 - some have none
    seen, dates = drawn(stack)
    assert len(stack) == 144
    assert 36 < len(seen) < 100
    assert seen <= taken
    # tiles of which less than a third of a side is seen are left out
    assert len(taken - seen) <= 12
    assert [one["day"] for one in dates] == ["undated", "2019-06-01", "2020-06-01", "2021-06-01"]
    assert [one["tiles"] for one in dates] == [36] * 4


@pytest.mark.parametrize("day", ["undated", "2019-06-01", "2021-06-01"])
def test_only_the_chosen_day_is_drawn_and_taken(stack, day):
    seen, dates = drawn(stack, day=day)
    tiles = stack.tiles(sorted(seen))
    assert len(tiles) == 36
    known = tiles["datetime"].dt.strftime("%Y-%m-%d").fillna("undated")
    assert set(known) == {day}
    assert len(dates) == 4
    found = tiles_at_click(stack, (2.7, 2.7), shown=Shown.parse(stack, day=day))
    assert set(found["tile_id"]) <= seen
    assert len(found) == 1


def test_a_time_range_leaves_the_other_dates_out(stack):
    seen, dates = drawn(stack, time="2019-06-01/2020")
    assert [one["day"] for one in dates] == ["2019-06-01", "2020-06-01"]
    assert set(stack.tiles(sorted(seen))["datetime"].dt.year) == {2019, 2020}
    shown = Shown.parse(stack, time="2019-06-01/2020")
    assert tiles_at_click(stack, (2.7, 2.7), shown=shown)["datetime"].dt.year.iloc[0] == 2020
    with pytest.raises(QueryError, match=r"on 2021-06-01; there are tiles of 2019-06-01"):
        tiles_at_click(stack, (0.2, 0.2), shown=Shown.parse(stack, day="2021-06-01"))
    with pytest.raises(QueryError, match=r"is without a date; there are tiles of 2021-06-01"):
        tiles_at_click(stack, (7.5, 7.5), shown=Shown.parse(stack, day="undated"))


def test_the_pictures_of_scenes_are_limited_as_the_tiles_are(stack):
    def has(start, end=None, **asked):
        times = (None if text is None else dt.datetime.fromisoformat(text) for text in (start, end))
        return Shown.parse(stack, **asked).has_scene("a.tif", *times)

    for start in ("2020-06-01", "2020-06-01T23:59:59", "2020-06-02T01:30:00+02:00"):
        assert has(start)
        assert has(start, day="2020-06-01")
        assert not has(start, day="2020-06-02")
        assert has(start, time="2019/2020-06-01")
        assert not has(start, time="2020-06-02/..")
        assert not has(start, day="undated")
        assert not has(start, scene="2020-06-01_1.tif")
    assert has("2019-01-01", "2019-12-31", time="2019-06")
    assert not has("2019-01-01", "2019-12-31", day="2019-06-01")
    assert has(None)
    assert has(None, day="undated")
    assert not has(None, time="2019/..")


def test_a_scene_is_chosen_by_its_file_name(stack):
    seen, dates = drawn(stack, scene="2020-06-01_1.tif")
    assert len(dates) == 4
    assert set(stack.tiles(sorted(seen))["scene"]) == {"folder1/2020-06-01_1.tif"}
    with pytest.raises(QueryError, match=r"no scene named 'folder1/2020-06-01_1.tif'"):
        Shown.parse(stack, scene="folder1/2020-06-01_1.tif")


def test_smaller_tiles_lie_on_larger_and_later_ones(tmp_path):
    large = grids(0.0, 0.0, size=128)
    small = grids(0.0, size=64).iloc[:3]
    archive = archive_of(tmp_path, large, small)
    seen, _ = drawn(archive)
    assert sorted(archive.tiles(sorted(seen))["width"]) == [64] * 3 + [128] * 33
    only, _ = drawn(archive, tile_size=128)
    assert set(archive.tiles(sorted(only))["datetime"].dt.year) == {2020}
    assert len(only) == 36


def test_tiles_of_one_moment_that_overlap_are_all_drawn(tmp_path):
    tiles = grids(0.0, 0.4)
    tiles["datetime"] = tiles["datetime"].iloc[0]
    assert len(drawn(archive_of(tmp_path, tiles))[0]) == 72


def test_a_tile_far_smaller_than_others_still_takes_a_cell():
    boxes = np.array([[0, 0, 60, 60], [10, 10, 10 + 1e-7, 10 + 1e-7], [0, 0, 60, 60]])
    seen = on_top(boxes, np.array([64, 64, 64]), np.array([1, 2, 0]))
    assert seen.tolist() == [True, True, False]


@pytest.mark.parametrize("largest", [1.0, 12.0])
def test_no_tile_that_nothing_covers_is_hidden(largest):
    x, y = (part.ravel() for part in np.meshgrid(np.arange(200) * 0.1, np.arange(200) * 0.1))
    small = np.column_stack([x, y, x + 0.1, y + 0.1])
    west, south = np.random.default_rng(0).uniform(0, 20 - largest, (2, 9000))
    large = np.column_stack([west, south, west + largest, south + largest])
    boxes = np.concatenate([small, large])
    sizes = np.repeat([64, 512], [len(small), len(large)])
    starts = np.concatenate([np.arange(len(small)) % 2 + 2, np.ones(len(large), np.int64)])
    seen = on_top(boxes, sizes, starts)
    assert seen[: len(small)].all()
    assert seen[len(small) :].mean() < 0.5, "small tiles cover the large ones"


def test_tiles_that_are_all_smaller_than_a_cell_are_seen(monkeypatch):
    monkeypatch.setattr("geohash_rs.serve.on_top.MOST_CELLS", 1e-3)
    boxes = np.array([[0.1, 0.1, 1.1, 1.1], [0.2, 0.2, 1.2, 1.2]])
    assert on_top(boxes, np.array([64, 64]), np.array([1, 2])).tolist() == [True, True]


def test_a_tile_of_a_time_range_belongs_to_the_day_on_which_it_begins(tmp_path):
    tiles = grids(0.0, 0.0).assign(datetime_end=pd.Timestamp("2022-12-31T00:00:00Z"))
    archive = archive_of(tmp_path, tiles)
    seen, dates = drawn(archive, day="2019-06-01")
    assert set(archive.tiles(sorted(seen))["datetime"].dt.year) == {2019}
    assert [one["day"] for one in dates] == ["2019-06-01", "2020-06-01"]
    found = tiles_at_click(archive, (2.5, 2.5), shown=Shown.parse(archive, day="2019-06-01"))
    assert len(found) == 1


def test_three_hundred_dates_are_counted_as_a_plain_loop_does(tmp_path):
    rng = np.random.default_rng(3)
    days = pd.date_range("2001-01-01", periods=300, tz="UTC")
    chosen = rng.integers(0, 300, 5000)
    x = rng.uniform(0, 10, 5000)
    tiles = gpd.GeoDataFrame(
        {"scene": [f"{n}.tif" for n in chosen], "datetime": days[chosen]},
        geometry=shapely.box(x, x, x + 1, x + 1),
        crs=4326,
    )
    _, dates = drawn(archive_of(tmp_path, tiles), day="2001-01-01")
    counts = np.bincount(chosen, minlength=300)
    expected = [
        {"day": f"{day:%Y-%m-%d}", "tiles": int(count), "scenes": [f"{number}.tif"]}
        for number, (day, count) in enumerate(zip(days, counts, strict=True))
        if count
    ]
    assert dates == expected


def test_the_scenes_of_very_many_are_left_out(tmp_path):
    tiles = grids(0.0)
    many = pd.concat([tiles] * (MOST_SCENES // len(tiles) + 1), ignore_index=True)
    names = [f"{n}.tif" for n in range(len(many))]
    archive = archive_of(tmp_path, gpd.GeoDataFrame(many.assign(scene=names), crs=4326))
    _, (date,) = drawn(archive)
    assert date == {"day": "2019-06-01", "tiles": len(many), "scenes": []}


def test_a_point_beyond_180_is_the_same_place(stack, tmp_path):
    here = tiles_at_click(stack, (2.7, 2.7))["tile_id"].tolist()
    assert tiles_at_click(stack, (362.7, 2.7))["tile_id"].tolist() == here
    searcher = Searcher(Archive.open(stack.path, mode="r"))
    listed = json.loads(searcher.tiles_at((-357.3, 2.7)))["features"]
    assert [one["properties"]["tile_id"] for one in listed] == here
    first = json.loads(searcher.tile_at((2.7, 2.7), day="2020-06-01"))["properties"]
    assert re.match(r"2020-06-01T11:30:00", first["datetime"])
    assert urlencode({"scene": first["scene_name"]}) == "scene=2020-06-01_1.tif"
