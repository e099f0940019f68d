"""Keep where tiles lie in their scenes beside the boxes, so that single rows are found at once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["WINDOW", "index_window", "window_numbers"]

WINDOW = ("col", "row", "width", "height")

Array = npt.NDArray[Any]


def index_window(table: pa.Table, *, block: int) -> dict[str, Array]:
    """Keep each number as what it is above the least of its block of rows.

    Args:
        table: Columns col, row, width and height, int32, n rows.
        block: Rows of a block.

    Returns:
        For each column `<name>_least`, int32, shape (blocks,), and `<name>_above`, unsigned, shape
        (n,), whose largest possible number stands for a missing one. `<name>_above` is left out
        when all of it is 0.
    """
    index: dict[str, Array] = {}
    starts = np.arange(0, table.num_rows, block)
    for name in WINDOW:
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
    """Give a column's numbers for some rows.

    Args:
        index: Holds what `index_window` gave.
        name: The column.
        rows: Row numbers, shape (m,).
        block: Rows of a block.

    Returns:
        int32, missing ones null, shape (m,).
    """
    numbers = index[f"{name}_least"][rows // block]
    above = index.get(f"{name}_above")
    if above is None:
        return pa.array(numbers)
    mine = above[rows]
    missing = mine == np.iinfo(above.dtype).max
    return pa.array((numbers + mine.astype(np.int64)).astype(np.int32), mask=missing)
