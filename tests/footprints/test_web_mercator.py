"""The unit square of web maps, compared with pyproj."""

import numpy as np
import pyproj
import pytest

from geohash_rs.footprints.web_mercator import HALF_WORLD, LIMIT, from_square, to_square


def test_points_match_pyproj():
    rng = np.random.default_rng(0)
    lonlat = np.column_stack([rng.uniform(-180, 180, 100), rng.uniform(-85, 85, 100)])
    metres = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(*lonlat.T)
    square = to_square(lonlat)
    np.testing.assert_allclose((square[:, 0] * 2 - 1) * HALF_WORLD, metres[0], atol=1e-6)
    np.testing.assert_allclose((1 - square[:, 1] * 2) * HALF_WORLD, metres[1], atol=1e-6)
    np.testing.assert_allclose(from_square(square), lonlat, atol=1e-10)


def test_the_map_is_a_square_and_the_poles_lie_on_its_edge():
    assert to_square((180.0, LIMIT)) == pytest.approx((1, 0), abs=1e-12)
    assert to_square((-180.0, -90.0)) == pytest.approx((0, 1), abs=1e-12)
    assert to_square((200.0, 0.0))[0] == pytest.approx(380 / 360)  # continues to the east
