"""Read a Parquet file by row groups, and name those that are damaged."""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from geohash_rs.embeddings.metadata import CRS84, GeometryColumn
from geohash_rs.embeddings.table_rows import Unreadable
from geohash_rs.errors import SceneError, one_line
from geohash_rs.scenes.state import state_of

__all__ = ["ParquetRows"]

BUFFER = 1 << 20  # bytes of each column chunk that are in memory before they are decoded
NATIVE = ("Geometry", "Geography")


class ParquetRows:
    """The rows of a Parquet file; a `TableRows`.

    Attributes:
        path: The file.
        schema: Its columns.
        num_rows: Number of its rows.
        native: Its columns of the types GEOMETRY and GEOGRAPHY.
    """

    def __init__(self, path: Path) -> None:
        """Read the file's footer.

        Args:
            path: The file.

        Raises:
            SceneError: If it cannot be read.
        """
        self.path = path
        self._state = state_of([str(path)])
        with self._open() as file:
            # metadata that were added while a file was written are not in its Arrow schema
            said = {**(file.schema_arrow.metadata or {}), **(file.metadata.metadata or {})}
            said.pop(b"ARROW:schema", None)
            self.schema = file.schema_arrow.with_metadata(said)
            self.num_rows = int(file.metadata.num_rows)
            groups = range(file.metadata.num_row_groups)
            counts = [file.metadata.row_group(group).num_rows for group in groups]
            self.native = _native(file)
        self._starts: npt.NDArray[np.int64] = np.cumsum([0, *counts])

    @property
    def state(self) -> tuple[int, int]:
        """Size and time of change of the file when its footer was read."""
        return self._state

    @cached_property
    def spots(self) -> Sequence[tuple[int, int]]:
        """First row and number of rows of each row group that has any."""
        pairs = zip(self._starts[:-1].tolist(), np.diff(self._starts).tolist(), strict=True)
        return [(start, count) for start, count in pairs if count]

    def place(self, row: int) -> str:
        """Describe where a row is."""
        return f"row {row} (row group {self._group_of(row)})"

    def read(
        self, columns: Sequence[str], *, start: int, size: int
    ) -> Iterator[tuple[int, pa.RecordBatch | Unreadable]]:
        """Read rows in order.

        Args:
            columns: Columns to read.
            start: First row.
            size: Most rows of a batch.

        Yields:
            The number of the first row, and a batch, or what cannot be read from there on.

        Raises:
            SceneError: If the file can no longer be opened, or was changed meanwhile.
        """
        row = start
        with self._open() as file:
            todo = deque(self._blocks(start, size))
            while todo:
                block = todo.popleft()
                at, end = self._starts[block[0]], int(self._starts[block[-1] + 1])
                try:
                    for batch in file.iter_batches(size, row_groups=block, columns=list(columns)):
                        if (stop := int(at) + batch.num_rows) > row:
                            yield row, batch.slice(max(row - int(at), 0))
                            row = stop
                        at = stop
                except (pa.ArrowException, OSError) as error:
                    if len(block) > 1:
                        left = [[group] for group in block if self._starts[group + 1] > row]
                        todo.extendleft(reversed(left))
                    else:
                        reason = f"of a row group that cannot be read ({one_line(error)[:200]})"
                        yield row, Unreadable(count=end - row, reason=reason)
                        row = end
                pa.default_memory_pool().release_unused()
        self.check_unchanged()

    def check_unchanged(self) -> None:
        """Check that the file is still the one whose footer was read.

        Raises:
            SceneError: If it was changed or deleted meanwhile.
        """
        if state_of([str(self.path)]) != self._state:
            msg = (
                f"{self.path.name} was changed or deleted while it was read; run again once it is "
                "complete."
            )
            raise SceneError(msg)

    def _open(self) -> pq.ParquetFile:
        """Open the file, to be read piece by piece.

        Raises:
            SceneError: If it cannot be opened.
        """
        try:
            return pq.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False)
        except (pa.ArrowException, OSError, NotImplementedError) as error:
            msg = (
                f"{self.path.name} cannot be read as Parquet ({one_line(error)[:200]}); if it is "
                "cut short or damaged, copy or download it again."
            )
            raise SceneError(msg) from error

    def _group_of(self, row: int) -> int:
        return int(np.searchsorted(self._starts, row, side="right")) - 1

    def _blocks(self, start: int, size: int) -> Iterator[list[int]]:
        """Join row groups that end after a row until they fill a batch."""
        block: list[int] = []
        rows = 0
        for group, count in enumerate(np.diff(self._starts).tolist()):
            if count and self._starts[group + 1] > start:
                block.append(group)
                rows += count
            if rows >= size:
                yield block
                block, rows = [], 0
        if block:
            yield block


def _native(file: pq.ParquetFile) -> dict[str, GeometryColumn]:
    """Find columns of the Parquet types GEOMETRY and GEOGRAPHY.

    References:
        https://github.com/apache/parquet-format/blob/master/Geospatial.md
    """
    found = {}
    for number in range(len(file.schema)):
        column = file.schema.column(number)
        about = json.loads(column.logical_type.to_json())
        if about.get("Type") in NATIVE and "." not in column.path:
            crs = about.get("crs", "")
            found[column.path] = GeometryColumn(encoding="wkb", crs=_crs_of(crs, file))
    return found


def _crs_of(said: object, file: pq.ParquetFile) -> object:
    """Return what the CRS of a native column means: text, or a key of the file's metadata."""
    if not isinstance(said, str) or not said:
        return said or CRS84
    if said.startswith("srid:"):
        number = said.removeprefix("srid:")
        return None if number == "0" else f"EPSG:{number}"
    if said.startswith("projjson:"):
        value = (file.metadata.metadata or {}).get(said.removeprefix("projjson:").encode())
        with suppress(ValueError):
            return json.loads(value or b"null")
    return said
