"""Sum the pixels of tiles in one pass over a window, with compiled loops.

The pixels of a tile are added row by row, then column by column, so that its sums do not depend on
which other tiles are read with it. `sums` has the same in NumPy, with the same results.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.store.search.kernel_cache import cached_njit

__all__ = ["sum_encoded", "sum_floats", "valid_encoded", "valid_numbers"]

Array = npt.NDArray[Any]


@cached_njit
def valid_encoded(pixels: Array, valid: Array) -> None:
    """Mark pixels that are -128 in no band and not 0 in all.

    Args:
        pixels: int8, shape (bands, height, width).
        valid: To fill, int8, shape (height, width): -1 (all bits) for these, 0 for others.
    """
    bands, height, width = pixels.shape
    some, broken = np.zeros(width, np.int8), np.zeros(width, np.uint8)
    for y in range(height):
        some[:] = 0
        broken[:] = 0
        for band in range(bands):
            values = pixels[band, y]
            for x in range(width):
                some[x] |= values[x]
                broken[x] |= np.uint8(values[x] == np.int8(-128))
        for x in range(width):
            valid[y, x] = np.int8(-1) if some[x] != 0 and broken[x] == 0 else np.int8(0)


@cached_njit
def valid_numbers(pixels: Array, low: float, high: float, valid: Array) -> None:
    """Mark pixels that are finite and not nodata in every band, and not 0 in all.

    Args:
        pixels: Any real type, shape (bands, height, width).
        low: Values from this one on are nodata.
        high: Up to this one; lower than `low` without nodata.
        valid: To fill, int8, shape (height, width): -1 (all bits) for these, 0 for others.
    """
    bands, height, width = pixels.shape
    some, broken = np.zeros(width, np.uint8), np.zeros(width, np.uint8)
    for y in range(height):
        some[:] = 0
        broken[:] = 0
        for band in range(bands):
            values = pixels[band, y]
            for x in range(width):
                v = np.float64(values[x])
                some[x] |= np.uint8(v != 0.0)
                broken[x] |= np.uint8(v - v != 0.0) | np.uint8(v >= low and v <= high)
        for x in range(width):
            valid[y, x] = np.int8(-1) if some[x] != 0 and broken[x] == 0 else np.int8(0)


@cached_njit
def sum_encoded(
    pixels: Array, valid: Array, windows: Array, first: Array, second: Array, counts: Array
) -> None:
    """Sum ``v * abs(v)`` of the valid pixels of tiles, and its square: exactly, in integers.

    Args:
        pixels: int8, shape (bands, height, width).
        valid: From `valid_encoded`.
        windows: int64 (col, row, width, height), shape (tiles, 4), inside the pixels, all with the
            row and the height of the first.
        first: Sums to fill, int64, shape (tiles, bands).
        second: Sums of squares to fill, int64, shape (tiles, bands), or (0, 0) for none.
        counts: Valid pixels to fill, int64, shape (tiles,).
    """
    bands, _, width = pixels.shape
    rows = range(windows[0, 1], windows[0, 1] + windows[0, 3])
    lines, squares = np.zeros(width, np.int32), np.zeros(width, np.int64)
    _count(valid, windows, counts)
    for band in range(bands):
        lines[:] = 0
        for y in rows:
            values, row = pixels[band, y], valid[y]
            for x in range(width):
                v = np.int32(values[x] & row[x])
                lines[x] += v * abs(v)
        _across(lines, windows, first, band)
        if second.size:
            squares[:] = 0
            for y in rows:
                values, row = pixels[band, y], valid[y]
                for x in range(width):
                    wide = np.int64(values[x] & row[x])
                    squares[x] += wide * wide * wide * wide
            _across(squares, windows, second, band)


@cached_njit
def sum_floats(
    pixels: Array, valid: Array, windows: Array, first: Array, second: Array, counts: Array
) -> None:
    """Sum the valid pixels of tiles, and their squares, in float64.

    Args:
        pixels: Any real type, shape (bands, height, width).
        valid: From `valid_numbers`.
        windows: As in `sum_encoded`.
        first: Sums to fill, float64, shape (tiles, bands).
        second: Sums of squares to fill, float64, shape (tiles, bands), or (0, 0) for none.
        counts: As in `sum_encoded`.
    """
    bands, _, width = pixels.shape
    rows = range(windows[0, 1], windows[0, 1] + windows[0, 3])
    lines, squares = np.zeros(width, np.float64), np.zeros(width, np.float64)
    _count(valid, windows, counts)
    for band in range(bands):
        lines[:] = 0.0
        squares[:] = 0.0
        for y in rows:
            values, row = pixels[band, y], valid[y]
            for x in range(width):
                v = np.float64(values[x]) if row[x] else 0.0
                lines[x] += v
                squares[x] += v * v
        _across(lines, windows, first, band)
        if second.size:
            _across(squares, windows, second, band)


@cached_njit
def _count(valid: Array, windows: Array, counts: Array) -> None:
    """Count the valid pixels of tiles."""
    for i in range(len(windows)):
        col, row, width, height = windows[i]
        count = np.int64(0)
        for y in range(row, row + height):
            for x in range(col, col + width):
                count -= np.int64(valid[y, x])
        counts[i] = count


@cached_njit
def _across(lines: Array, windows: Array, sums: Array, band: int) -> None:
    """Add the columns of each tile, in order, to sums that are 0."""
    for i in range(len(windows)):
        total = sums[i, band]
        for x in range(windows[i, 0], windows[i, 0] + windows[i, 2]):
            total += lines[x]
        sums[i, band] = total
