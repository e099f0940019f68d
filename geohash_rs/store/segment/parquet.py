"""Read a segment's tile table with a general Parquet reader, one row group per block."""

import functools
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from geohash_rs.errors import ArchiveCorruptError
from geohash_rs.store.segment.arrays import map_bytes
from geohash_rs.store.segment.columns import SOURCE, SOURCES, STAMP
from geohash_rs.store.segment.layout import BLOCK, MOST_SOURCE, MOST_TEXT
from geohash_rs.store.segment.pages import unpacked_size
from geohash_rs.store.segment.wkb import check_wkb

__all__ = ["TileTableFile", "undecodable"]

MOST_METADATA = 64 << 20  # bytes
MOST_GROUP = 256 << 20  # bytes that 4,096 tiles may unpack to
REQUIRED = ("tile_id", "scene", "col", "row", "width", "height", "datetime", "geometry")


TEXT = pa.dictionary(pa.int32(), pa.string())
COLUMNS = {
    "tile_id": pa.int64(),
    "geometry": pa.binary(),
    SOURCE: SOURCES,
    **dict.fromkeys(("scene", "label"), TEXT),
    **dict.fromkeys(("col", "row", "width", "height", "tile_size"), pa.int32()),
    **dict.fromkeys(("datetime", "datetime_end"), STAMP),
}


class TileTableFile:
    """An open `tiles.parquet`; safe to use from several threads.

    Args:
        path: The file.
        num_rows: Rows that the manifest says.
    """

    def __init__(self, path: Path, *, num_rows: int) -> None:
        self.path, self._num_rows = path, num_rows
        self._lock = threading.RLock()  # a Parquet reader is not thread-safe

    @functools.cached_property
    def _file(self) -> pq.ParquetFile:
        try:
            file = pq.ParquetFile(
                self.path,
                memory_map=True,
                thrift_string_size_limit=MOST_METADATA,
                thrift_container_size_limit=MOST_METADATA,
            )
            self._check(file)
        except (pa.ArrowException, ValueError, OSError) as error:
            raise ArchiveCorruptError(undecodable(self.path, error)) from error
        return file

    def _check(self, file: pq.ParquetFile) -> None:
        """Check the columns and the rows of each block.

        Raises:
            ValueError: If they are not those of a segment.
        """
        schema = file.schema_arrow
        for name in {*REQUIRED, *schema.names}:
            found = [schema.field(place).type for place in schema.get_all_field_indices(name)]
            if found != [COLUMNS.get(name)]:
                types = " and ".join(map(str, found)) or "nothing"
                msg = f"its column {name} holds {types}"
                raise ValueError(msg)
        metadata = file.metadata
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        expected = [min(BLOCK, self._num_rows - at) for at in range(0, self._num_rows, BLOCK)]
        if rows != expected:
            msg = f"it has {sum(rows)} rows in {len(rows)} groups for {self._num_rows} tiles"
            raise ValueError(msg)

    def _check_size(self, groups: list[int]) -> None:
        """Check what the pages of row groups unpack to, before they are unpacked.

        Raises:
            ValueError: If it is more than any group of 4,096 tiles needs.
        """
        data = self.content.data
        for group in groups:
            chunks = self._file.metadata.row_group(group)
            total = 0
            for column in range(chunks.num_columns):
                chunk = chunks.column(column)
                start = chunk.data_page_offset
                if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
                    start = min(start, chunk.dictionary_page_offset)
                total += unpacked_size(data, start, chunk.total_compressed_size)
            if total > MOST_GROUP:
                msg = f"row group {group} unpacks to {total:,} bytes, over {MOST_GROUP:,}"
                raise ValueError(msg)

    @functools.cached_property
    def content(self) -> npt.NDArray[np.uint8]:
        """The file's bytes, uint8, mapped."""
        return map_bytes(self.path)

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
                self._check_size(groups)
                table = self._file.read_row_groups(groups, use_threads=False)
            table.validate(full=True)  # the numbers of texts, which are not checked when read
            _check_filled(table)
            check_wkb(table.column("geometry").to_pylist())
        except (pa.ArrowException, ValueError, IndexError, OSError) as error:
            raise ArchiveCorruptError(undecodable(self.path, error)) from error
        return table


def _check_filled(table: pa.Table) -> None:
    """Check that every tile has an id and a scene, and that texts are short.

    Raises:
        ValueError: If one has not.
    """
    for name in {"scene", "label", SOURCE} & {*table.column_names}:
        most = MOST_SOURCE if name == SOURCE else MOST_TEXT
        for chunk in table.column(name).chunks:
            texts = chunk if name == SOURCE else chunk.dictionary
            longest = pc.max(pc.binary_length(texts)).as_py() or 0
            if longest > most:
                msg = f"its column {name} has a text of {longest:,} bytes, over {most:,}"
                raise ValueError(msg)
    for name in ("tile_id", "scene"):
        if table.column(name).null_count:
            msg = f"its column {name} has missing values"
            raise ValueError(msg)


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
