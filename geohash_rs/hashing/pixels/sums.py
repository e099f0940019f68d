"""Sum the valid pixels of tiles, with compiled loops for large windows and NumPy for small ones."""

import functools
import warnings
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.scenes.resampling import is_nodata, nodata_ends

__all__ = ["TileSums", "sum_tiles", "valid_pixels"]

Array = npt.NDArray[Any]

COMPILED = 1 << 21  # numbers of a window from which loading the compiled loops pays
NOTHING = -128  # of encoded pixels


class TileSums(NamedTuple):
    """Sums over the valid pixels of tiles.

    Attributes:
        first: Sums, int64 of ``v * abs(v)`` of encoded pixels, float64 of others; shape (tiles,
            bands).
        second: Sums of squares, same type and shape; None if not asked for.
        counts: Valid pixels, int64, shape (tiles,).
    """

    first: Array
    second: Array | None
    counts: npt.NDArray[np.int64]


def valid_pixels(pixels: Array, *, encoded: bool, nodata: float | None) -> npt.NDArray[np.int8]:
    """Find the pixels that hold a vector.

    Args:
        pixels: Shape (bands, height, width).
        encoded: Whether the pixels are AlphaEarth's int8, of which -128 is nothing.
        nodata: Value of pixels without data, of those that are not encoded; None if there is none.

    Returns:
        int8, shape (height, width): -1 where no band is nodata or not finite and not all are 0,
        since a vector of length zero points nowhere; 0 elsewhere. A nodata value of 0 is nothing
        only if all bands have it.
    """
    nodata = None if nodata == 0 or nodata is None or np.isnan(nodata) else nodata
    compiled = _kernels() if pixels.size >= COMPILED else None
    if compiled is not None:
        valid = np.empty(pixels.shape[1:], np.int8)
        if encoded:
            compiled.valid_encoded(pixels, valid)
        else:
            low, high = nodata_ends(pixels.dtype, nodata)
            compiled.valid_numbers(pixels, low, high, valid)
        return valid
    whole = pixels != NOTHING if encoded else np.isfinite(pixels)
    if not encoded and nodata is not None:
        whole &= ~is_nodata(pixels, nodata)
    found = np.logical_and(pixels.any(axis=0), whole.all(axis=0))
    return -found.astype(np.int8)


def sum_tiles(
    pixels: Array,
    valid: npt.NDArray[np.int8],
    windows: npt.NDArray[np.int64],
    *,
    encoded: bool,
    squares: bool = False,
) -> TileSums:
    """Sum the valid pixels of tiles.

    Pixels are added row by row, then column by column: a tile's sums do not depend on which other
    tiles are read with it.

    Args:
        pixels: Shape (bands, height, width).
        valid: From `valid_pixels`.
        windows: (col, row, width, height) inside the pixels, int64, shape (tiles, 4).
        encoded: As in `valid_pixels`; then ``v * abs(v)`` is summed, exactly.
        squares: Whether to sum the squares too.

    Returns:
        The sums.
    """
    shape, kind = (len(windows), len(pixels)), np.int64 if encoded else np.float64
    first, counts = np.zeros(shape, kind), np.zeros(len(windows), np.int64)
    second = np.zeros(shape if squares else (0, 0), kind)
    compiled = _kernels() if pixels.size >= COMPILED else None
    work = _by_numpy
    if compiled is not None:
        work = compiled.sum_encoded if encoded else compiled.sum_floats
    apart = (np.diff(windows[:, [1, 3]], axis=0) != 0).any(axis=1)
    edges = [0, *(np.flatnonzero(apart) + 1).tolist(), len(windows)] if len(windows) else []
    for begin, end in pairwise(edges):  # tiles side by side
        part = slice(begin, end)
        mine = second[part] if squares else second
        work(pixels, valid, windows[part], first[part], mine, counts[part])
    return TileSums(first, second if squares else None, counts)


def _by_numpy(
    pixels: Array, valid: Array, windows: Array, first: Array, second: Array, counts: Array
) -> None:
    """Do what `kernels.sum_encoded` and `kernels.sum_floats` do, in the same order."""
    for place, (col, row, width, height) in enumerate(windows.tolist()):
        here = slice(row, row + height), slice(col, col + width)
        mine, seen = pixels[:, *here], valid[here] != 0
        counts[place] = seen.sum()
        values = np.where(seen, mine, 0).astype(first.dtype)
        if first.dtype == np.int64:
            values *= np.abs(values)
        first[place] = _added(values)
        if second.size:
            second[place] = _added(values * values)


def _added(values: Array) -> Array:
    """Add the numbers of each band row by row, then column by column."""
    lines = values[:, 0].copy()
    for row in range(1, values.shape[1]):
        lines += values[:, row]
    total = np.zeros_like(lines[:, 0])
    for col in range(lines.shape[1]):
        total += lines[:, col]
    return total


@functools.cache
def _kernels() -> ModuleType | None:
    """Load the compiled loops; warn once and return None if Numba does not work here."""
    try:
        return _checked_kernels()
    except Exception as error:  # noqa: BLE001 - reading must work whatever breaks Numba
        warnings.warn(
            f"Numba does not work here ({error!r}); embeddings are read with NumPy, which gives "
            "the same vectors but is many times slower. Reinstall numba to fix it.",
            GeoHashRSWarning,
            stacklevel=2,
        )
        return None


def _checked_kernels() -> ModuleType:
    """Load the compiled loops and check that they add up.

    Raises:
        RuntimeError: If they do not.
    """
    from geohash_rs.hashing.pixels import kernels  # noqa: PLC0415 - slow to import

    pixels, valid = np.array([[[3, -2]]], np.int8), np.empty((1, 2), np.int8)
    sums, count = np.zeros((1, 1), np.int64), np.zeros(1, np.int64)
    kernels.valid_encoded(pixels, valid)
    window = np.array([[0, 0, 2, 1]], np.int64)
    kernels.sum_encoded(pixels, valid, window, sums, np.zeros((0, 0), np.int64), count)
    if (int(sums[0, 0]), int(count[0])) != (5, 2):
        msg = f"the compiled loops found {sums[0, 0]} and {count[0]} instead of 5 and 2"
        raise RuntimeError(msg)
    return kernels
