"""Read a segment's tile table with a general Parquet reader, one row group per block."""

import functools
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from geohash_rs.errors import ArchiveCorruptError

__all__ = ["TileTableFile", "undecodable"]


class TileTableFile:
    """An open `tiles.parquet`; safe to use from several threads.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()  # a Parquet reader is not thread-safe

    @functools.cached_property
    def _file(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path, memory_map=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise ArchiveCorruptError(undecodable(self.path, error)) from error

    @property
    def num_rows(self) -> int:
        """Number of rows in the file."""
        return int(self._file.metadata.num_rows)

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
        groups = list(range(first, min(last, self._file.num_row_groups)))
        try:
            with self._lock:
                return self._file.read_row_groups(groups, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise ArchiveCorruptError(undecodable(self.path, error)) from error


def undecodable(path: Path, error: Exception) -> str:
    """Return the message for a damaged file.

    Args:
        path: The file.
        error: The decoder's error.

    Returns:
        The message.
    """
    return (
        f"{path} cannot be decoded ({error}); run 'geohash-rs verify' and restore it from a copy."
    )
