"""Index the tile sizes of rows, so that a search can be limited to some of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from geohash_rs.store.segment.layout import BLOCK
from geohash_rs.store.segment.numbered import numbered
from geohash_rs.store.segment.windows import TILE_SIZE, window_numbers

__all__ = ["index_sizes", "size_of_windows"]

Array = npt.NDArray[Any]


def index_sizes(index: Mapping[str, Array], *, num_rows: int) -> dict[str, Array]:
    """Number the distinct tile sizes in order; a missing one gets the number after the last.

    Args:
        index: Contains the arrays of `index_window`.
        num_rows: Rows of the segment.

    Returns:
        `size_values`, int64, px, ascending, and the arrays of `numbered` for "size".
    """
    rows = np.arange(num_rows)

    def numbers(name: str) -> Any:  # noqa: ANN401 - an Arrow array
        return window_numbers(index, name, rows, block=BLOCK)

    given = numbers(TILE_SIZE) if f"{TILE_SIZE}_least" in index else None
    sizes = size_of_windows(numbers("width"), numbers("height"), given=given)
    missing = np.asarray(sizes.is_null())
    values, found = np.unique(np.asarray(sizes.drop_null()), return_inverse=True)
    places = np.full(num_rows, len(values), np.uint32)
    places[~missing] = found
    return {"size_values": values.astype(np.int64)} | numbered(places, "size", len(values) + 1)


def size_of_windows(width: Any, height: Any, *, given: Any = None) -> Any:  # noqa: ANN401 - Arrow
    """Return the tile sizes of windows.

    Args:
        width: Columns in the scene, px, an Arrow array.
        height: Rows in the scene, px.
        given: Sizes to which windows were resampled, px; null where they were not.

    Returns:
        The given sizes; the longer side of a window without one; null if that is not known either.
    """
    sides = pc.max_element_wise(width, height)
    return sides if given is None else pc.coalesce(given, sides)
