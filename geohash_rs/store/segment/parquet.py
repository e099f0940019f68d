"""Read a segment's tile table with a general reader of Parquet, whole row groups at a time."""

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from geohash_rs.errors import ArchiveCorruptError
from geohash_rs.store.segment.layout import BLOCK

__all__ = ["TileTableFile", "undecodable"]

Array = npt.NDArray[Any]


class TileTableFile:
    """An opened `tiles.parquet`, for any number of threads.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()  # a Parquet reader serves one thread at a time

    @functools.cached_property
    def _file(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path, memory_map=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise ArchiveCorruptError(undecodable(self.path, error)) from error

    @property
    def num_rows(self) -> int:
        """Rows of the file."""
        return int(self._file.metadata.num_rows)

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return list(self._file.schema_arrow.names)

    @functools.cached_property
    def _group_rows(self) -> int:
        """Rows of each row group but the last."""
        return int(self._file.metadata.row_group(0).num_rows)

    def rows(self, rows: Array, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Read some rows; only the row groups that hold them are decoded.

        Args:
            rows: Row numbers, any order, shape (m,).
            columns: Names, or None for all.

        Returns:
            The rows in the order asked for, texts as strings.

        Raises:
            ArchiveCorruptError: If the file is damaged.
        """
        size = self._group_rows
        groups, place = np.unique(np.asarray(rows) // size, return_inverse=True)
        table = _plain(self._read(groups.tolist(), columns))
        return table.take(pa.array(place * size + np.asarray(rows) % size))

    def blocks(self, first: int, last: int) -> pa.Table:
        """Read consecutive blocks of rows.

        Args:
            first: The first block.
            last: One past the last block.

        Returns:
            All their rows.

        Raises:
            ArchiveCorruptError: If the file is damaged.
        """
        per_block = BLOCK // self._group_rows or 1
        end = min(last * per_block, self._file.num_row_groups)
        return self._read(list(range(first * per_block, end)), None)

    def _read(self, groups: list[int], columns: Sequence[str] | None) -> pa.Table:
        try:
            with self._lock:
                return self._file.read_row_groups(groups, columns=columns, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise ArchiveCorruptError(undecodable(self.path, error)) from error


def _plain(table: pa.Table) -> pa.Table:
    """Give numbered texts as strings, which rows of other segments are."""
    for place, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            texts = table.column(place).cast(pa.string())
            table = table.set_column(place, column.name, texts)
    return table


def undecodable(path: Path, error: Exception) -> str:
    """Say that a file is damaged, and what to do.

    Args:
        path: The file.
        error: What its decoder said.

    Returns:
        The message.
    """
    return (
        f"{path} cannot be decoded ({error}); run 'geohash-rs verify' and restore it from a copy."
    )
