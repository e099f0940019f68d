"""Regions and time ranges as users write them."""

import datetime as dt
import pickle

import numpy as np
import pytest
import shapely

from geohash_rs.errors import QueryError
from geohash_rs.store.search.filters import parse_names, parse_region, parse_time
from geohash_rs.store.search.where import Where

SQUARE = shapely.box(0, 0, 1, 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (shapely.Point(190, 5), shapely.Point(-170, 5)),
        (
            shapely.MultiPoint([(180, 5), (-190, 5)]),
            shapely.MultiPoint([(-180, 5), (180, 5), (170, 5)]),
        ),
        (
            shapely.LineString([(170, 0), (200, 0)]),
            shapely.MultiLineString([[(170, 0), (180, 0)], [(-180, 0), (-160, 0)]]),
        ),
        (
            shapely.GeometryCollection([shapely.Point(-200, 5), shapely.box(300, 0, 301, 1)]),
            shapely.GeometryCollection([shapely.Point(160, 5), shapely.box(-60, 0, -59, 1)]),
        ),
        (
            shapely.MultiPolygon([shapely.box(170, 0, 190, 1), SQUARE]),
            shapely.MultiPolygon(
                [shapely.box(170, 0, 180, 1), shapely.box(-180, 0, -170, 1), SQUARE]
            ),
        ),
        (shapely.box(180, 0, 190, 1), shapely.box(-180, 0, -170, 1)),
    ],
)
def test_regions_of_every_kind_are_wrapped_onto_the_globe(given, expected):
    region = parse_region(given)
    assert region.geometry.equals(expected)
    assert region.bounds == expected.bounds


@pytest.mark.parametrize(
    ("end", "last"),
    [
        ("2023-06-30", "2023-06-30T23:59:59.999999"),
        (dt.date(2023, 6, 30), "2023-06-30T23:59:59.999999"),
        (np.datetime64("2023-06-30"), "2023-06-30T23:59:59.999999"),
        (np.datetime64("2023-06"), "2023-06-30T23:59:59.999999"),
        (np.datetime64("2023"), "2023-12-31T23:59:59.999999"),
        (np.datetime64("2023-06-30T00"), "2023-06-30T00:00"),
        (np.datetime64("2023-06-30T00:00:00", "ns"), "2023-06-30T00:00"),
    ],
)
def test_a_day_or_month_or_year_ends_with_its_last_moment(end, last):
    assert parse_time((None, end)).end == np.datetime64(last, "us").astype(np.int64)


def test_a_string_is_not_a_collection_of_names():
    with pytest.raises(QueryError, match=r"labels is the string 'farm'.*pass \['farm'\]"):
        parse_names("farm", what="labels")
    assert parse_names(["farm", "farm"], what="labels") == {"farm"}


def test_filters_can_be_pickled() -> None:
    circle = shapely.Point(10, 50).buffer(1)
    where = Where.parse(
        region=circle, within=True, time=("2023", None), scenes=["a"], exclude_ids=[5, 3, 3]
    )
    there = pickle.loads(pickle.dumps(where))  # noqa: S301 - made here
    assert there.region is not None
    assert there.region.geometry.equals(circle)
    assert (there.within, there.time, there.scenes) == (True, where.time, frozenset({"a"}))
    assert (there.labels, there.exclude_region) == (None, None)
    assert there.exclude_ids.tolist() == [3, 5]
