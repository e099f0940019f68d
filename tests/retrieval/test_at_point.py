"""Which tile lies at a point, compared with a plain sort."""

import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geohash_rs import Archive
from geohash_rs.errors import QueryError
from geohash_rs.retrieval.at_point import tiles_at
from geohash_rs.retrieval.at_shapes import first_at
from geohash_rs.retrieval.query import query_of_point
from geohash_rs.serve.view import tiles_at_click
from geohash_rs.store.search.filters import parse_region
from geohash_rs.store.search.where import Where

DATES = ["2009-08-18", "2010-06-29T10:15:00", "2020-08-31", None]


def archive_of(folder: Path, rows: list[dict]) -> Archive:
    """Make an archive of tiles at the origin; a row has scene, size, date, x and label."""
    frame = pd.DataFrame(rows)
    size = frame["size"].to_numpy()
    side = size / 1000
    tiles = gpd.GeoDataFrame(
        {
            "scene": frame["scene"],
            "col": 0,
            "row": 0,
            "width": size,
            "height": size,
            "datetime": pd.to_datetime(frame["date"], format="ISO8601", utc=True),
            "label": frame["label"],
        },
        geometry=shapely.box(frame["x"], -side, frame["x"] + 2 * side, side),
        crs=4326,
    )
    codes = np.random.default_rng(0).integers(0, 256, (len(frame), 8), dtype=np.uint8)
    made = Archive.create(folder / "archive", num_bits=64)
    made.add_codes(codes, tiles)
    return made


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Return tiles of four dates, two sizes and three places, in a scattered order."""
    rows = [
        {
            "scene": f"folder/{size}_{str(date)[:4]}.tif",
            "size": size,
            "date": date,
            "x": x,
            "label": label,
        }
        for size, label in ((128, "farm"), (64, None))
        for date in DATES
        for x in (-0.06, -0.02, -0.09)
    ]
    order = np.random.default_rng(1).permutation(len(rows))
    return archive_of(tmp_path_factory.mktemp("there"), [rows[i] for i in order])


LIMITS = {
    "time": [None, ("2010", "2010"), ("2009", "2010-06-29"), (None, None), ("2021", None)],
    "scenes": [None, ["folder/64_2009.tif", "folder/128_2009.tif"], ["folder/64_None.tif"]],
    "tile_size": [None, 64, 128, (64, 128)],
    "labels": [None, ["farm"]],
}


@given(
    x=st.floats(-0.1, 0.3),
    y=st.floats(-0.13, 0.13),
    asked=st.fixed_dictionaries({name: st.sampled_from(some) for name, some in LIMITS.items()}),
)
def test_the_smallest_then_latest_then_nearest_tile_that_passes_is_taken(
    there: Archive, x: float, y: float, asked: dict
) -> None:
    expected = []
    for row in there.tiles(range(24)).itertuples():
        point = shapely.Point(x, y)
        date = None if pd.isna(row.datetime) else row.datetime.tz_localize(None)
        if not row.geometry.intersects(point):
            continue
        if asked["scenes"] and row.scene not in asked["scenes"]:
            continue
        if asked["tile_size"] and row.width not in np.atleast_1d(asked["tile_size"]):
            continue
        if asked["labels"] and row.label not in asked["labels"]:
            continue
        if asked["time"]:
            start, end = asked["time"]
            last = pd.Timestamp.max if end is None else pd.Period(end).end_time
            if date is None or not pd.Timestamp(start or "1970") <= date <= last:
                continue
        age = np.inf if date is None else -date.timestamp()
        away = round(row.geometry.centroid.distance(point), 9)
        expected.append((row.width, age, away, row.tile_id))
    where = Where.parse(region=(50, 50, 51, 51), **asked)  # where matches may lie
    found = tiles_at(there, (x, y), where=where)["tile_id"].tolist()
    assert found == [tile for *_, tile in sorted(expected)]
    if found:
        assert query_of_point(there, (x, y), where=where).source == found[0]
    else:
        with pytest.raises(QueryError, match="no tile"):
            query_of_point(there, (x, y), where=where)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"time": ("2015", "2016-03")},
            "was taken from 2015-01-01 to 2016-03-31; there are tiles of 2009-08-18, 2010-06-29, "
            "2020-08-31, no date.",
        ),
        ({"time": ("2015-02-03", "2015-02-03")}, "was taken on 2015-02-03; there are tiles of"),
        ({"time": ("2021-01-01T06:00", None)}, "was taken since 2021-01-01T06:00:00; there are"),
        ({"time": (None, "2001")}, "was taken until 2001-12-31; there are tiles of 2009-08-18"),
        ({"tile_size": (32, 512)}, "has 32, 512 px; there are tiles of 64 px, 128 px."),
        ({"labels": ["town"]}, "has the label town; there are tiles of "),
        (
            {"scenes": ["/secret/gone.tif"], "time": ("2021", None)},
            "was taken since 2021-01-01 and is of gone.tif; there are tiles of 2009-08-18, "
            "2010-06-29, 2020-08-31, no date; of ",
        ),
    ],
)
def test_an_error_lists_what_is_there(there: Archive, asked: dict, said: str) -> None:
    with pytest.raises(QueryError, match=re.escape(f"no tile at 0.001, 0.002 {said}")) as caught:
        query_of_point(there, (0.001, 0.002), where=Where.parse(**asked))
    assert "secret" not in str(caught.value)
    assert "folder/" not in str(caught.value)


def test_an_error_lists_the_first_and_last_of_many_dates(tmp_path: Path) -> None:
    days = pd.date_range("2001-01-01", periods=300)
    rows = [
        {"scene": "a.tif", "size": 64, "date": day.isoformat(), "x": 0.0, "label": None}
        for day in days
    ]
    archive = archive_of(tmp_path, rows)
    with pytest.raises(QueryError) as caught:
        query_of_point(archive, (0.01, 0.01), where=Where.parse(time=("1990", "1991")))
    assert "2001-01-06, 288 more, 2001-10-22, " in str(caught.value)
    assert query_of_point(archive, (0.01, 0.01)).source == 299


def test_a_query_by_point_obeys_its_time(there: Archive) -> None:
    for year in ("2009", "2010", "2020"):
        found = there.query(point=(0.001, 0.002), time=(year, year), k=1)
        (tile,) = found.itertuples()
        assert (tile.distance, str(tile.datetime.year)) == (0, year)
    with pytest.raises(QueryError, match="no tile of the archive lies at 9.0, 9.0; see its extent"):
        there.query(point=(9, 9), time=("2009", "2009"))


def test_the_nearest_centre_and_longitude_180_are_found_across_the_edge_of_the_map(
    tmp_path: Path,
) -> None:
    west = {"over": 179.4, "east": -180.0, "far east": -179.97, "far west": 178.99, "west": 179.0}
    tiles = gpd.GeoDataFrame(
        {"scene": list(west)},
        geometry=[parse_region((x, 0, x + 1, 1)).geometry for x in west.values()],
        crs=4326,
    )
    archive = Archive.create(tmp_path / "archive", num_bits=64)
    archive.add_codes(np.arange(40, dtype=np.uint8).reshape(5, 8), tiles)
    order = {
        -179.95: ["over", "east", "far east"],  # centres at 179.9, -179.5 and -179.47
        179.95: ["over", "west", "far west"],
        180.0: ["over", "west"],
        -180.0: ["over", "east"],
    }
    with archive.one_state() as still:
        for lon, scenes in order.items():
            point = (lon, 0.5)
            assert tiles_at(still, point, where=Where())["scene"].tolist() == scenes
            (first,) = first_at(still, np.array([shapely.Point(point)]), where=Where())
            assert still.tiles([first])["scene"].tolist() == scenes[:1]
            assert tiles_at_click(still, point)["scene"].tolist() == scenes
            turned = lon + (360 if abs(lon) < 180 else 0)
            assert tiles_at_click(still, (turned, 0.5))["scene"].tolist() == scenes
