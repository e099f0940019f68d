"""Smooth random fields whose values depend only on the position, not on the sampling grid."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FloatArray", "IntArray", "Noise", "smoothstep"]

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]

LATTICE = 256  # values repeat after this many lattice cells, far outside the demo's landscape


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
        shift = channel * 71
        found: FloatArray = self.lattice[
            (i + 3 * shift) % LATTICE, (j + i // LATTICE + shift) % LATTICE
        ]
        return found

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
        u, v = x / np.float32(scale), y / np.float32(scale)
        i, j = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
        s, t = smoothstep(u - i), smoothstep(v - j)
        south = self._mix(i, j, s, channel)
        north = self._mix(i, j + 1, s, channel)
        return south + (north - south) * t

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

    def _mix(self, i: IntArray, j: IntArray, s: FloatArray, channel: int) -> FloatArray:
        west = self.cells(i, j, channel=channel)
        return west + (self.cells(i + 1, j, channel=channel) - west) * s


def smoothstep(t: FloatArray) -> FloatArray:
    """Rise smoothly from 0 to 1 with flat ends; values outside are clipped."""
    clipped = np.clip(t, np.float32(0), np.float32(1))
    eased: FloatArray = clipped * clipped * (3 - 2 * clipped)
    return eased
