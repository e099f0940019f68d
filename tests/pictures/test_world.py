"""Coastlines and borders that travel with the package."""

import gzip
import json

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geohash_rs.pictures.natural_earth import make_lines
from geohash_rs.pictures.world import FILE, STEP, lines_in, pack_lines, unpack_lines

points = st.lists(
    st.tuples(st.integers(-18_000, 18_000), st.integers(-9_000, 9_000)), min_size=1, max_size=5
)


@given(st.lists(points, max_size=4), st.lists(points, max_size=4))
def test_lines_come_back_as_they_were_packed(coasts, borders):
    packed = pack_lines(*([np.array(one) * STEP for one in lines] for lines in (coasts, borders)))
    for lines, found in zip((coasts, borders), unpack_lines(packed), strict=True):
        assert [np.rint(one / STEP).tolist() for one in found] == [
            [list(point) for point in line] for line in lines
        ]


def nearest(lon, lat):
    """Return how far the nearest line is from a point, in degrees."""
    lines = lines_in((lon - 2, lat - 2, lon + 2, lat + 2))
    return shapely.distance(shapely.MultiLineString(lines), shapely.Point(lon, lat))


@pytest.mark.parametrize(
    ("lon", "lat"),
    [
        (-9.50, 38.78),  # Cabo da Roca
        (18.47, -34.36),  # Cape of Good Hope
        (8.55, 47.60),  # the Rhine between Switzerland and Germany
        (-114.72, 32.72),  # Mexico meets California and Arizona
        (49.95, 40.35),  # Baku, on the Caspian Sea
        (-180.0, 68.98),  # Chukotka, where the antimeridian cuts it
        (180.0, 68.98),
    ],
)
def test_lines_lie_where_coasts_and_borders_are(lon, lat):
    assert nearest(lon, lat) < 0.15


@pytest.mark.parametrize(("lon", "lat"), [(-40, 30), (24, 23), (-105, 60), (0, -89)])
def test_oceans_inlands_and_the_pole_have_no_lines(lon, lat):
    assert lines_in((lon - 0.5, lat - 0.5, lon + 0.5, lat + 0.5)) == []


@pytest.mark.parametrize("bounds", [(175, 60, -170, 72), (175, 60, 190, 72), (-185, 60, -170, 72)])
def test_a_box_across_the_antimeridian_has_lines_on_both_sides(bounds):
    lines = lines_in(bounds)
    west = bounds[0]
    xy = np.concatenate(lines)
    assert (xy[:, 0] >= west).all()
    assert (xy[:, 0] <= west + 15).all()
    assert (xy[:, 0] < west + 5).any()
    assert (xy[:, 0] > west + 5).any()
    assert all(np.abs(np.diff(line[:, 0])).max() < 2 for line in lines)  # none across the map
    assert not any((np.abs(line[:, 0]) == 180).all() for line in lines)  # nor along the cut


def test_the_world_is_small_and_its_lines_are_cut_at_the_box():
    assert FILE.stat().st_size < 100_000
    xy = np.concatenate(lines_in((5, 45, 15, 55)))
    assert xy.min(axis=0).tolist() >= [5, 45]
    assert xy.max(axis=0).tolist() <= [15, 55]


def test_an_arc_of_two_countries_is_a_border_and_the_others_are_coasts():
    topology = {
        "transform": {"scale": [0.5, 0.5], "translate": [170, -90]},
        "objects": {"countries": {"geometries": [{"arcs": [[0, 1]]}, {"arcs": [[[~0, 2]]]}, {}]}},
        "arcs": [
            [[0, 100], [0, 20]],  # shared
            [[0, 120], [10, 0], [10, 0], [0, -20], [-20, 0]],  # follows the antimeridian
            [[0, 100], [0, -100], [19, 0]],  # ends along the pole
        ],
    }
    coasts, borders = unpack_lines(make_lines(json.loads(json.dumps(topology))))
    assert [one.tolist() for one in borders] == [[[170, -40], [170, -30]]]
    assert [one.tolist() for one in coasts] == [
        [[170, -30], [180, -30]],
        [[180, -40], [170, -40]],
        [[170, -40], [170, -90]],
    ]


def test_the_file_is_in_the_format_that_is_written():
    content = FILE.read_bytes()
    again = pack_lines(*unpack_lines(content))
    assert gzip.decompress(again) == gzip.decompress(content)
