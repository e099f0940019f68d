"""The random fields depend on the position only."""

import math

import numpy as np
import pytest

from geohash_rs.demo import noise
from geohash_rs.demo.noise import LATTICE, Noise

SCALE, CHANNEL = 130.0, 5


def value(source: Noise, i: int, j: int) -> float:
    """Look a lattice point up; columns that repeat are shifted, so that the plane does not."""
    shift = CHANNEL * 71
    return float(source.lattice[(i + 3 * shift) % LATTICE, (j + i // LATTICE + shift) % LATTICE])


def eased(t: float) -> float:
    """Rise smoothly from 0 to 1."""
    return t * t * (3 - 2 * t)


def test_points_lie_between_the_four_corners_of_their_cell(monkeypatch):
    monkeypatch.setattr(noise, "PIECE", 7)  # several pieces
    source = Noise(seed=3)
    x, y = np.random.default_rng(0).uniform(-60_000, 60_000, (2, 5, 6)).astype(np.float32)
    found = source.smooth(x, y, scale=SCALE, channel=CHANNEL)
    assert found.shape == x.shape
    for place in np.ndindex(x.shape):
        u, v = float(x[place]) / SCALE, float(y[place]) / SCALE
        i, j = math.floor(u), math.floor(v)
        s, t = eased(u - i), eased(v - j)
        south, north = (
            (1 - s) * value(source, i, row) + s * value(source, i + 1, row) for row in (j, j + 1)
        )
        assert found[place] == pytest.approx((1 - t) * south + t * north, abs=1e-3)


def test_cells_are_looked_up_at_negative_numbers_too():
    i, j = np.meshgrid(np.arange(-600, 600, 7), np.arange(-300, 300, 11))
    cells = Noise(seed=3).cells(i, j, channel=CHANNEL)
    expected = np.vectorize(lambda a, b: value(Noise(seed=3), a, b))
    sample = (slice(None, None, 9), slice(None, None, 9))
    assert np.array_equal(cells[sample], expected(i[sample], j[sample]).astype(np.float32))
