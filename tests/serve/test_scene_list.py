"""Scenes found by name and date."""

import datetime as dt

from geohash_rs.pictures.scenes import PlacedScene
from geohash_rs.serve.scene_list import MOST_LISTED, find_scenes, list_scenes
from geohash_rs.store.disk.records import SceneRecord


def record(name, day=None):
    moment = None if day is None else dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
    return SceneRecord(scene=f"/secret/{name}", datetime=moment, num_tiles=7)


RECORDS = [
    record("b.tif", "2021-07-01"),
    record("Alps.tif", "2021-07-01"),
    record("c.tif"),
    record("d.tif", "2022-01-05"),
]
PLACED = {1: PlacedScene(scene="", date=None, box=(0, 0, 1, 1), bounds=(7, 46, 8, 47))}


def names(text, **options):
    return [one.name for one in find_scenes(list_scenes(RECORDS, PLACED), text, **options).scenes]


def test_scenes_are_listed_from_late_to_early_without_their_folders():
    assert names("") == ["d.tif", "Alps.tif", "b.tif", "c.tif"]
    alps = list_scenes(RECORDS, PLACED)[1]
    assert (alps.number, alps.date, alps.num_tiles) == (1, "2021-07-01", 7)
    assert alps.bounds == (7, 46, 8, 47)
    assert list_scenes(RECORDS, PLACED)[0].bounds is None  # not on a web map


def test_words_are_parts_of_names_or_beginnings_of_dates():
    assert names("alps") == ["Alps.tif"]
    assert names("2021-07") == ["Alps.tif", "b.tif"]
    assert names("2021 b") == ["b.tif"]
    assert names("07-01") == []
    assert names("secret") == []


def test_many_scenes_come_a_page_at_a_time():
    scenes = list_scenes([record(f"{n:05}.tif") for n in range(10_000)], {})
    first, later = find_scenes(scenes, ""), find_scenes(scenes, "", start=9_950)
    assert first.total == later.total == 10_000
    assert [one.number for one in first.scenes] == list(range(MOST_LISTED))
    assert [one.number for one in later.scenes] == list(range(9_950, 10_000))
