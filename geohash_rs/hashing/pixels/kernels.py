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
        valid: To fill, uint8 0 or 1, shape (height, width).
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
            valid[y, x] = np.uint8(some[x] != 0 and broken[x] == 0)


@cached_njit
def valid_numbers(pixels: Array, low: float, high: float, valid: Array) -> None:
    """Mark pixels that are finite and not nodata in every band, and not 0 in all.

    Args:
        pixels: Any real type, shape (bands, height, width).
        low: Values from this one on are nodata.
        high: Up to this one; lower than `low` if there is no nodata.
        valid: To fill, uint8 0 or 1, shape (height, width).
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
            valid[y, x] = np.uint8(some[x] != 0 and broken[x] == 0)


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
    top, bottom = windows[0, 1], windows[0, 1] + windows[0, 3]
    lines, squares = np.zeros(width, np.int32), np.zeros(width, np.int64)
    for y in range(top, bottom):
        row = valid[y]
        for x in range(width):
            lines[x] += np.int32(row[x])
    complete = True
    for x in range(width):
        complete = complete and lines[x] == bottom - top
    for i in range(len(windows)):
        counts[i] = lines[windows[i, 0] : windows[i, 0] + windows[i, 2]].sum()
    for band in range(bands):
        lines[:] = 0
        for y in range(top, bottom):
            values = pixels[band, y]
            if complete:
                for x in range(width):
                    v = np.int32(values[x])
                    lines[x] += v * abs(v)
            else:
                row = valid[y]
                for x in range(width):
                    v = np.int32(values[x]) * np.int32(row[x])
                    lines[x] += v * abs(v)
        for i in range(len(windows)):
            total = np.int64(0)
            for x in range(windows[i, 0], windows[i, 0] + windows[i, 2]):
                total += lines[x]
            first[i, band] = total
        if second.size:
            squares[:] = 0
            for y in range(top, bottom):
                values, row = pixels[band, y], valid[y]
                for x in range(width):
                    v = np.int64(values[x]) * np.int64(row[x])
                    squares[x] += v * v * v * v
            for i in range(len(windows)):
                total = np.int64(0)
                for x in range(windows[i, 0], windows[i, 0] + windows[i, 2]):
                    total += squares[x]
                second[i, band] = total


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
    top, bottom = windows[0, 1], windows[0, 1] + windows[0, 3]
    lines, squares = np.zeros(width, np.float64), np.zeros(width, np.float64)
    for i in range(len(windows)):
        count = np.int64(0)
        for y in range(top, bottom):
            for x in range(windows[i, 0], windows[i, 0] + windows[i, 2]):
                count += np.int64(valid[y, x])
        counts[i] = count
    for band in range(bands):
        lines[:] = 0.0
        squares[:] = 0.0
        for y in range(top, bottom):
            values, row = pixels[band, y], valid[y]
            for x in range(width):
                lines[x] += np.float64(values[x]) if row[x] else 0.0
            if second.size:
                for x in range(width):
                    v = np.float64(values[x]) if row[x] else 0.0
                    squares[x] += v * v
        for i in range(len(windows)):
            total, square = 0.0, 0.0
            for x in range(windows[i, 0], windows[i, 0] + windows[i, 2]):
                total += lines[x]
                square += squares[x]
            first[i, band] = total
            if second.size:
                second[i, band] = square
