"""Index the tiles' windows in their scenes, so that single rows need no Parquet reader."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["TILE_SIZE", "WINDOW", "index_window", "window_numbers"]

WINDOW = ("col", "row", "width", "height")
TILE_SIZE = "tile_size"  # optional column: side that a window was resampled to, px

Array = npt.NDArray[Any]


def index_window(table: pa.Table, *, block: int) -> dict[str, Array]:
    """Store each number as its offset from the smallest in its block of rows.

    Args:
        table: Columns col, row, width, height and, if given, tile_size, int32, n rows.
        block: Rows per block.

    Returns:
        For each column, `<name>_least`, int32, shape (blocks,), and `<name>_above`, unsigned,
        shape (n,), whose largest possible value marks a missing number. `<name>_above` is left out
        if all offsets are 0 and no number is missing.
    """
    index: dict[str, Array] = {}
    starts = np.arange(0, table.num_rows, block)
    given = [TILE_SIZE] if TILE_SIZE in table.column_names else []
    for name in (*WINDOW, *given):
        column = table.column(name)
        missing = np.asarray(column.is_null())
        numbers = np.asarray(column.fill_null(0)).astype(np.int64)
        far = np.iinfo(np.int64).max
        least = np.minimum.reduceat(np.where(missing, far, numbers), starts)
        least[least == far] = 0
        above = np.where(missing, 0, numbers - least.repeat(block)[: len(numbers)])
        index[f"{name}_least"] = least.astype(np.int32)
        if above.any() or missing.any():
            kinds = (np.uint8, np.uint16, np.uint32, np.uint64)
            kind = next(kind for kind in kinds if above.max() < np.iinfo(kind).max)
            index[f"{name}_above"] = np.where(missing, np.iinfo(kind).max, above).astype(kind)
    return index


def window_numbers(index: Mapping[str, Array], name: str, rows: Array, *, block: int) -> pa.Array:
    """Return a column's numbers for some rows.

    Args:
        index: Contains the arrays of `index_window`.
        name: The column.
        rows: Row numbers, shape (m,).
        block: Rows per block.

    Returns:
        int32, null if missing, shape (m,).
    """
    numbers = index[f"{name}_least"][rows // block]
    above = index.get(f"{name}_above")
    if above is None:
        return pa.array(numbers)
    mine = above[rows]
    missing = mine == np.iinfo(above.dtype).max
    return pa.array((numbers + mine.astype(np.int64)).astype(np.int32), mask=missing)
