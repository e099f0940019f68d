"""A segment's index, each of whose arrays is checked once, when it is first used.

A checksum shows accidents, not intent. Compiled loops trust the arrays' types, shapes and row
numbers, so an array that does not fit its segment must not reach them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import ArchiveCorruptError
from geohash_rs.store.segment.layout import BLOCK, MOST_TEXT
from geohash_rs.store.segment.sizes import index_sizes

__all__ = ["IndexArrays"]

Array = npt.NDArray[Any]
Check = Callable[["IndexArrays", str, Array], bool]

MOST_PAGE = 256 << 20  # bytes that a page of footprints or sources may unpack to


class IndexArrays(Mapping[str, Array]):
    """The arrays of a segment's index by name; `docs/reference/archive-format.md` describes each.

    Args:
        path: The index's file, for messages.
        arrays: The arrays as mapped.
        num_rows: Rows of the segment.
        table_size: Length of the segment's Parquet file in bytes.

    Raises:
        ArchiveCorruptError: If only a part of a column's arrays is there.
    """

    def __init__(
        self, path: Path, arrays: Mapping[str, Array], *, num_rows: int, table_size: int
    ) -> None:
        self.path, self.num_rows, self.table_size = path, num_rows, table_size
        self.num_blocks = -(-num_rows // BLOCK)
        self._arrays = arrays
        self._checked: dict[str, Array] = {}
        self._sizes: dict[str, Array] | None = None
        for one, other in TOGETHER:
            if (one in arrays) != (other in arrays):
                missing = other if one in arrays else one
                raise ArchiveCorruptError(self._problem(missing, "is missing"))

    def __getitem__(self, name: str) -> Array:
        """Return an array.

        Raises:
            KeyError: If there is none of this name; all that every index has are there.
            ArchiveCorruptError: If it does not fit the segment.
        """
        found = self._checked.get(name)
        if found is None:
            found = self._checked[name] = self._check(name)
        return found

    def __contains__(self, name: object) -> bool:
        return self._stored(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def count(self, name: str) -> int:
        """Return how many distinct values a numbered column has.

        Args:
            name: "start", "end", "size", "scene" or "label".
        """
        if name in ("start", "end", "size"):
            return len(self[f"{name}_values"])
        packed = self.get(f"{name}_texts", np.empty(0, np.uint8))
        return int((packed == 0).sum()) + bool(len(packed))

    def _stored(self, name: object) -> Array | None:
        """Return an array as mapped; of sizes, which version 0.1.0 did not store, as computed."""
        if name not in SIZES or "size_ranges" in self._arrays:
            return self._arrays.get(str(name))
        if self._sizes is None:
            self._sizes = index_sizes(self, num_rows=self.num_rows)
        return self._sizes.get(str(name))

    def _check(self, name: str) -> Array:
        array = self._stored(name)
        if array is None:
            if name in REQUIRED:
                raise ArchiveCorruptError(self._problem(name, "is missing"))
            raise KeyError(name)
        for pattern, (kinds, shape, check) in RULES.items():
            if re.fullmatch(pattern, name):
                if array.dtype.name not in kinds:
                    problem = f"has the type {array.dtype.name}, not {' or '.join(kinds)}"
                    raise ArchiveCorruptError(self._problem(name, problem))
                self._check_shape(name, array, shape)
                if len(array) and not check(self, name, array):
                    problem = "has numbers that do not fit the segment"
                    raise ArchiveCorruptError(self._problem(name, problem))
                return array
        raise ArchiveCorruptError(self._problem(name, "is not part of an index"))

    def _check_shape(self, name: str, array: Array, shape: str) -> None:
        sizes = {
            "rows": (self.num_rows,),
            "rows, 4": (self.num_rows, 4),
            "blocks": (self.num_blocks,),
            "blocks, 2": (self.num_blocks, 2),
            "blocks, 4": (self.num_blocks, 4),
            "bits": (-(-self.num_rows // 8),),
            "any": (array.size,),
            "any, 2": (array.size // 2, 2),
        }
        if array.shape != sizes[shape]:
            problem = f"has the shape {array.shape}, not ({shape}), of {self.num_rows} rows"
            raise ArchiveCorruptError(self._problem(name, problem))

    def _problem(self, name: str, problem: str) -> str:
        return (
            f"{self.path}: array {name} {problem}; the file was not written by geohash_rs or was "
            "changed. Run 'geohash-rs verify' and restore it from a copy."
        )


def _numbers_fit(index: IndexArrays, name: str, array: Array) -> bool:
    """Return whether numbers of values are at most the count, which stands for a missing value."""
    return int(array.max()) <= index.count(name.split("_")[0])


def _ascending(index: IndexArrays, name: str, array: Array) -> bool:
    return len(array) <= index.num_rows and bool((array[1:] > array[:-1]).all())


def _is_text(index: IndexArrays, name: str, array: Array) -> bool:
    try:
        array.tobytes().decode()
    except UnicodeDecodeError:
        return False
    ends = np.flatnonzero(array == 0)
    lengths = np.diff(ends, prepend=-1, append=len(array)) - 1
    return len(ends) < max(index.num_rows, 2) and int(lengths.max()) <= MOST_TEXT


def _finite(index: IndexArrays, name: str, array: Array) -> bool:
    return bool(np.isfinite(array).all())


def _order_fits(index: IndexArrays, name: str, array: Array) -> bool:
    """Return whether rows are named that exist, in the order of their ids, each id once."""
    if int(array.max()) >= index.num_rows:
        return False
    ordered = index["ids"][array]
    return bool((ordered[1:] > ordered[:-1]).all())


def _pages_start(index: IndexArrays, name: str, array: Array) -> bool:
    """Return whether pages start with the first row and go on within the segment."""
    inside = int(array[0]) == 0 and int(array[-1]) < index.num_rows
    return inside and bool((array[1:] > array[:-1]).all())


def _page_places(index: IndexArrays, name: str, array: Array) -> bool:
    return (
        len(array) == len(index[name.replace("places", "rows")])
        and int(array.max()) <= index.table_size
    )


def _page_sizes(index: IndexArrays, name: str, array: Array) -> bool:
    if len(array) != len(index[name.replace("sizes", "rows")]):
        return False
    ends = index[name.replace("sizes", "places")] + array[:, 0].astype(np.uint64)
    return int(ends.max()) <= index.table_size and int(array[:, 1].max()) <= MOST_PAGE


def _anything(index: IndexArrays, name: str, array: Array) -> bool:
    return True


# name: types, shape, and what must hold for the numbers
RULES: dict[str, tuple[tuple[str, ...], str, Check]] = {
    "boxes": (("uint16",), "rows, 4", _anything),
    "block_boxes": (("float64",), "blocks, 4", _finite),
    "(start|end|size|scene|label)_rows": (("uint8", "uint16", "uint32"), "rows", _numbers_fit),
    "(start|end|size|scene|label)_ranges": (("uint32",), "blocks, 2", _numbers_fit),
    "(start|end|size)_values": (("int64",), "any", _ascending),
    "end_given": (("uint8",), "bits", _anything),
    "(scene|label)_texts": (("uint8",), "any", _is_text),
    "ids": (("uint32", "uint64"), "rows", _anything),
    "id_order": (("uint32",), "rows", _order_fits),
    "(col|row|width|height|tile_size)_least": (("int32",), "blocks", _anything),
    "(col|row|width|height|tile_size)_above": (
        ("uint8", "uint16", "uint32", "uint64"),
        "rows",
        _anything,
    ),
    "(source_)?page_rows": (("uint32",), "any", _pages_start),
    "(source_)?page_places": (("uint64",), "any", _page_places),
    "(source_)?page_sizes": (("uint32",), "any, 2", _page_sizes),
}
SIZES = ("size_values", "size_ranges", "size_rows")
# of optional columns
TOGETHER = [
    ("end_ranges", "end_values"),
    ("label_ranges", "label_texts"),
    ("size_ranges", "size_values"),
    ("source_page_rows", "source_page_places"),
    ("source_page_rows", "source_page_sizes"),
]
REQUIRED = {
    "boxes",
    "block_boxes",
    "start_ranges",
    "start_values",
    "scene_ranges",
    "scene_texts",
    "ids",
    "id_order",
    "page_rows",
    "page_places",
    "page_sizes",
    *(f"{name}_least" for name in ("col", "row", "width", "height")),
}
