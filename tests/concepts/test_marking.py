"""What a user points at becomes marks."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.concepts.mark import Mark, check_marks, joined
from geohash_rs.concepts.marking import new_marks
from geohash_rs.errors import ConceptError, SceneError, TileNotFoundError
from geohash_rs.store.search.where import Where


def marks_of(
    archive: Archive, shown: object, *, right: bool, where: Where | None = None
) -> list[Mark]:
    """Mark things of one kind."""
    kinds = {"right": None, "wrong": None, "right" if right else "wrong": shown}
    return new_marks(archive, **kinds, where=where)[0]  # type: ignore[arg-type]


def ids_of(marks: list[Mark]) -> list[int | None]:
    return [mark.tile for mark in marks]


def test_a_tile_marks_itself_with_its_code_and_place(archive: Archive) -> None:
    (mark,) = marks_of(archive, 7, right=True)
    tile = archive.tiles([7]).iloc[0]
    assert (mark.tile, mark.right, mark.source) == (7, True, tile["scene"])
    assert mark.code == bytes(archive.codes([7])[0])
    assert mark.place == pytest.approx(tile.geometry.centroid.coords[0], abs=1e-6)


def test_a_patch_marks_each_of_its_codes(archive: Archive, scene_folder: Path) -> None:
    marks = marks_of(archive, scene_folder / "a_20230601.tif", right=False)
    found = archive.tiles(range(len(archive)))
    here = found[found["scene"] == str(scene_folder / "a_20230601.tif")]["tile_id"]
    assert {mark.code for mark in marks} == {bytes(code) for code in archive.codes(here)}
    assert {(mark.tile, mark.right) for mark in marks} == {(None, False)}


def test_a_point_marks_the_tile_around_it(archive: Archive) -> None:
    tile = archive.tiles([9]).iloc[0]
    where = Where.parse(scenes=[tile["scene"]])
    centre = tile.geometry.centroid
    pair = (centre.x, centre.y)
    assert ids_of(marks_of(archive, pair, right=True, where=where)) == [9]
    assert ids_of(marks_of(archive, centre, right=True, where=where)) == [9]


def test_a_polygon_marks_the_tiles_of_which_it_covers_half(archive: Archive) -> None:
    frame = archive.tiles(range(20))
    scene = frame["scene"].iloc[0]
    pair = frame[frame["scene"] == scene].iloc[:2]
    left, bottom, right, top = shapely.union_all(pair.geometry.to_numpy()).bounds
    wide = shapely.box(left, bottom, right, top)
    where = Where.parse(scenes=[scene])
    found = marks_of(archive, wide, right=True, where=where)
    shapes = frame.geometry.to_numpy()
    areas = shapely.area(shapely.intersection(shapes, wide)) / shapely.area(shapes)
    expected = frame["tile_id"][(areas >= 0.5) & (frame["scene"] == scene)]
    assert set(ids_of(found)) == set(expected)
    assert len(found) >= 2


def test_a_polygon_smaller_than_a_tile_marks_the_tile_around_its_middle(archive: Archive) -> None:
    tile = archive.tiles([3]).iloc[0]
    small = tile.geometry.centroid.buffer(1e-4)
    found = marks_of(archive, small, right=True, where=Where.parse(scenes=[tile["scene"]]))
    assert ids_of(found) == [3]


def test_a_point_marks_the_tile_that_a_query_takes_however_it_is_written(tmp_path: Path) -> None:
    days, sizes = ["2020-06-01", "2023-06-01", "2021-06-01"], [64, 64, 128]
    west, side = np.array([0.0, 0.3, 0.0]), np.array([1.0, 1.0, 2.0])
    tiles = gpd.GeoDataFrame(
        {
            "scene": [f"{day}.tif" for day in days],
            "col": 0,
            "row": 0,
            "width": sizes,
            "height": sizes,
            "datetime": pd.to_datetime(days, utc=True),
        },
        geometry=shapely.box(west, 0, west + side, side),
        crs=4326,
    )
    archive = Archive.create(tmp_path / "archive", num_bits=64)
    archive.add_codes(np.arange(24, dtype=np.uint8).reshape(3, 8), tiles)
    point = shapely.Point(0.5, 0.5)  # the middle of the earlier small tile
    late, early = (archive.query(point=(0.5, 0.5), time=year, k=1) for year in ("2023", "2020"))
    assert (late["scene"][0], early["scene"][0]) == ("2023-06-01.tif", "2020-06-01.tif")
    layer = gpd.GeoSeries([point, point], crs=4326).to_crs(3857)
    before = Where.parse(time=("2020", "2021"))
    for shown in ((0.5, 0.5), point, layer, point.buffer(0.01)):
        assert ids_of(marks_of(archive, shown, right=True)) == [late["tile_id"][0]]
        found = marks_of(archive, shown, right=True, where=before)
        assert ids_of(found) == [early["tile_id"][0]]


def test_a_layer_in_another_crs_marks_tiles_and_a_time_limits_them(
    archive: Archive, tmp_path: Path
) -> None:
    frame = archive.tiles(range(len(archive)))
    twice = frame[[Path(scene).name.startswith("a_") for scene in frame["scene"]]]
    shapes = shapely.buffer(twice.geometry.to_numpy()[:2], -1e-4)
    layer = gpd.GeoDataFrame(geometry=shapes, crs=4326).to_crs(3857)
    layer.to_file(tmp_path / "marks.gpkg")
    june = Where.parse(time=("2023-06-01", "2023-06-30"))
    found = ids_of(marks_of(archive, str(tmp_path / "marks.gpkg"), right=True, where=june))
    every = ids_of(marks_of(archive, layer, right=True))
    dates = archive.tiles(found)["datetime"].dt.month
    assert set(dates) == {6}
    assert set(found) < set(every)


def test_several_things_are_mixed_and_no_tile_is_marked_twice(archive: Archive) -> None:
    tile = archive.tiles([5]).iloc[0]
    where = Where.parse(scenes=[tile["scene"]])
    found = marks_of(archive, [5, tile.geometry.centroid, np.int64(6)], right=True, where=where)
    assert ids_of(found) == [5, 6]


@pytest.mark.parametrize(
    ("shown", "error", "words"),
    [
        (10_000, TileNotFoundError, "no tile with id 10000"),
        ([3, 2**63], TileNotFoundError, "no tile with id 9223372036854775808"),
        (-1, TileNotFoundError, "no tile with id -1"),
        ((8, 47), ConceptError, r"pass \[8, 47\] for the tiles, or \(8.0, 47.0\) for longitude"),
        (2.5, ConceptError, "2.5 does not mark a tile"),
        ([True], ConceptError, "True does not mark a tile"),
        (shapely.box(0, 0, 1, 1), ConceptError, "meets a tile"),
        (shapely.LineString([(0, 0), (1, 1)]), ConceptError, "marks are points or polygons"),
        (gpd.GeoDataFrame(geometry=[], crs=4326), ConceptError, "no geometry"),
        ("missing.gpkg", ConceptError, "missing.gpkg"),
        ("missing.tif", SceneError, "missing.tif"),
    ],
)
def test_what_marks_nothing_is_refused(
    archive: Archive, shown: object, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        marks_of(archive, shown, right=True)


def mark(tile: int | None, *, right: bool, code: bytes = b"a") -> Mark:
    return Mark(right=right, code=code, tile=tile, source="s.tif")


def test_marks_need_one_that_is_right() -> None:
    with pytest.raises(ConceptError, match="has none; pass right"):
        check_marks([])
    with pytest.raises(ConceptError, match="only 2 wrong ones"):
        check_marks([mark(1, right=False), mark(2, right=False)])


def test_one_tile_cannot_be_right_and_wrong() -> None:
    with pytest.raises(ConceptError, match="tile 4 is marked both right and wrong"):
        check_marks([mark(4, right=True), mark(4, right=False)])


def test_marks_that_contradict_each_other_are_noted() -> None:
    one, other = check_marks([mark(1, right=True)]), mark(2, right=False)
    assert "no mark is wrong" in one[0]
    (note,) = check_marks([mark(1, right=True), other])
    assert "2 marks contradict each other" in note


def test_a_later_judgement_replaces_an_earlier_one() -> None:
    old = [mark(1, right=True), mark(2, right=True), mark(None, right=True, code=b"p")]
    found = joined(old, [mark(2, right=False)])
    assert [(m.tile, m.right) for m in found] == [(1, True), (None, True), (2, False)]
