"""Store the number of each row's value, and the range of these numbers in each block."""

from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.store.segment.layout import BLOCK

__all__ = ["numbered"]


def numbered(rows: npt.NDArray[np.uint32], name: str, count: int) -> dict[str, npt.NDArray[Any]]:
    """Store numbers in the narrowest type that fits, with the range of each block.

    Args:
        rows: The numbers, shape (n,).
        name: Of the column, in the names of the arrays.
        count: How many numbers there can be.

    Returns:
        `<name>_ranges`, uint32, shape (blocks, 2), and `<name>_rows`, shape (n,), which is left
        out if all rows have the same number.
    """
    starts = np.arange(0, len(rows), BLOCK)
    lows, highs = np.minimum.reduceat(rows, starts), np.maximum.reduceat(rows, starts)
    ranges = {f"{name}_ranges": np.stack([lows, highs], axis=1)}
    if (rows == rows[0]).all():
        return ranges
    width = np.uint8 if count <= 256 else np.uint16 if count <= 65536 else np.uint32
    return ranges | {f"{name}_rows": rows.astype(width)}
