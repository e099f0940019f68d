"""Rotate vectors so that every number of a row is about as large as the others.

A row of int8 has one scale, set by its largest number. Features often have a few dimensions that
are much larger than the others and nearly the same for all tiles; then steps would be too coarse
for the small dimensions, in which tiles differ. After a rotation that mixes all dimensions, none
stands out. It is orthogonal, so lengths and angles stay, and fixed, so nothing of it is stored.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["rotated", "rotated_back"]

Floats = npt.NDArray[np.float64]


def rotated(rows: npt.NDArray[Any]) -> Floats:
    """Flip the signs of half of the numbers of each row, then apply the Hartley transform.

    Args:
        rows: Numbers, shape (n, length).

    Returns:
        The rotated rows, shape (n, length).

    References:
        Bracewell, Discrete Hartley transform, JOSA 73, 1983, https://doi.org/10.1364/JOSA.73.001832
    """
    return _hartley(rows * _signs(rows.shape[1]))


def rotated_back(rows: npt.NDArray[Any]) -> Floats:
    """Undo `rotated`.

    Args:
        rows: Rotated rows, shape (n, length).

    Returns:
        The rows, shape (n, length).
    """
    return _hartley(rows) * _signs(rows.shape[1])


def _hartley(rows: npt.NDArray[Any]) -> Floats:
    """Apply the Hartley transform, scaled so that it is its own inverse."""
    length = rows.shape[1]
    half = np.fft.rfft(np.asarray(rows, dtype=np.float64), axis=1, norm="ortho")
    found = np.empty(rows.shape)
    found[:, : half.shape[1]] = half.real - half.imag
    mirrored = half[:, 1 : length - half.shape[1] + 1]
    found[:, half.shape[1] :] = (mirrored.real + mirrored.imag)[:, ::-1]
    return found


def _signs(length: int) -> Floats:
    """Return 1 or -1 for each dimension: the highest bit of its number, multiplied and mixed."""
    mixed = (np.arange(length, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.where(mixed >> np.uint64(63), -1.0, 1.0)
