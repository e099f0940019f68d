"""The rows of a table as they are stored: a door for files and for tables in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from geohash_rs.embeddings.metadata import GeometryColumn

__all__ = ["TableRows", "Unreadable"]


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """Rows that cannot be read.

    Attributes:
        count: How many.
        reason: Why.
    """

    count: int
    reason: str


class TableRows(Protocol):
    """A table as it is stored: a file, or Arrow data.

    Attributes:
        schema: Its columns, with their metadata.
        num_rows: Number of its rows.
        native: Columns of geometries whose type says so, other than by metadata.
        spots: First row and number of rows of parts that can be read on their own.
    """

    schema: pa.Schema
    num_rows: int

    @property
    def native(self) -> Mapping[str, GeometryColumn]:
        """Columns of geometries whose type says so."""

    @property
    def spots(self) -> Sequence[tuple[int, int]]:
        """First row and number of rows of each part."""

    def place(self, row: int) -> str:
        """Describe where a row is."""

    def read(
        self, columns: Sequence[str], *, start: int, size: int
    ) -> Iterator[tuple[int, pa.RecordBatch | Unreadable]]:
        """Read rows from one on, in order.

        Args:
            columns: Columns to read.
            start: First row.
            size: Most rows of a batch.

        Yields:
            The number of the first row, and a batch, or what cannot be read from there on.

        Raises:
            SceneError: If the table can no longer be read, or was changed meanwhile.
        """
