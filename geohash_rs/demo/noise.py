"""Smooth random fields whose values depend only on the position, not on the sampling grid."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FloatArray", "IntArray", "Noise", "smoothstep"]

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]
Column = tuple[IntArray, IntArray]

BITS = 8
LATTICE = 1 << BITS  # values repeat after this many cells, far outside the demo's landscape
PIECE = 32_768  # points at a time, whose arrays stay in the cache


@dataclass(frozen=True, kw_only=True)
class Noise:
    """A source of random values over a plane in metres, fixed by its seed."""

    seed: int

    @cached_property
    def lattice(self) -> npt.NDArray[np.float32]:
        """Uniform values in [0, 1), shape (LATTICE, LATTICE)."""
        return np.random.default_rng(self.seed).random((LATTICE, LATTICE), dtype=np.float32)

    def cells(self, i: IntArray, j: IntArray, *, channel: int = 0) -> FloatArray:
        """Return one random value for each cell of an integer grid.

        Args:
            i: Column numbers of cells, any shape.
            j: Row numbers of cells, same shape.
            channel: Selects one of several independent values.

        Returns:
            Values in [0, 1), same shape.
        """
        return self._at(*_column(i, channel), j)

    def smooth(self, x: FloatArray, y: FloatArray, *, scale: float, channel: int = 0) -> FloatArray:
        """Interpolate random values smoothly between lattice points.

        Args:
            x: Metres east, any shape.
            y: Metres north, same shape.
            scale: Distance between lattice points in metres.
            channel: Selects one of several independent fields.

        Returns:
            Values in [0, 1), same shape.
        """
        shape, found = x.shape, np.empty(x.size)
        x, y = x.reshape(-1), y.reshape(-1)
        for first in range(0, len(found), PIECE):
            piece = slice(first, first + PIECE)
            u, v = x[piece] / np.float32(scale), y[piece] / np.float32(scale)
            i, j = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
            s, t = smoothstep(u - i), smoothstep(v - j)
            west, east = _column(i, channel), _column(i + 1, channel)
            south, north = (self._mix(west, east, row, s) for row in (j, j + 1))
            found[piece] = south + (north - south) * t
        return found.reshape(shape)

    def rough(
        self, x: FloatArray, y: FloatArray, *, scale: float, octaves: int = 4, channel: int = 0
    ) -> FloatArray:
        """Average smooth fields, each with half the scale and half the weight of the one before.

        Args:
            x: Metres east, any shape.
            y: Metres north, same shape.
            scale: Width of the largest features in metres.
            octaves: Number of fields.
            channel: Selects one of several independent fields.

        Returns:
            Values in [0, 1], around 0.5, same shape.
        """
        total = np.zeros_like(x)
        weight, weights = 1.0, 0.0
        for octave in range(octaves):
            total += np.float32(weight) * self.smooth(
                x, y, scale=scale / 2**octave, channel=channel * 8 + octave + 1
            )
            weights += weight
            weight /= 2
        return total / np.float32(weights)

    def _at(self, start: IntArray, shift: IntArray, j: IntArray) -> FloatArray:
        return self.lattice.reshape(-1).take(start | ((j + shift) & (LATTICE - 1)))

    def _mix(self, west: Column, east: Column, j: IntArray, s: FloatArray) -> FloatArray:
        left = self._at(*west, j)
        return left + (self._at(*east, j) - left) * s


def _column(i: IntArray, channel: int) -> Column:
    """Return where a column starts in the flat lattice, and how far its rows are shifted."""
    shift = channel * 71
    return ((i + 3 * shift) & (LATTICE - 1)) << BITS, (i >> BITS) + shift


def smoothstep(t: FloatArray) -> FloatArray:
    """Rise smoothly from 0 to 1 with flat ends; values outside are clipped."""
    clipped = np.clip(t, np.float32(0), np.float32(1))
    eased: FloatArray = clipped * clipped * (3 - 2 * clipped)
    return eased
