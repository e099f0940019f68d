"""Bitmaps with one bit per row, most significant first, such as tombstones."""

from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.store.segment.layout import BLOCK

__all__ = ["bits_at", "pack_rows"]


def bits_at(bitmap: npt.NDArray[np.uint8], rows: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return the bits of some rows.

    Args:
        bitmap: One bit per row.
        rows: Row numbers, shape (m,).

    Returns:
        Whether each row's bit is set, bool, shape (m,).
    """
    there: npt.NDArray[np.bool_] = (bitmap[rows >> 3] & (128 >> (rows & 7)).astype(np.uint8)) != 0
    return there


def pack_rows(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Pack a flag for every row of a segment, padded to whole blocks.

    Args:
        flags: bool, shape (n,).

    Returns:
        One bit per row, uint8.
    """
    packed = np.zeros(-(-len(flags) // BLOCK) * (BLOCK // 8), np.uint8)
    bits = np.packbits(flags)
    packed[: len(bits)] = bits
    return packed
