"""Take tables that are in memory or come as a stream, so that they can be read again and again."""

import mmap
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from geohash_rs.embeddings.metadata import GeometryColumn
from geohash_rs.errors import SceneError, VectorError, one_line
from geohash_rs.store.disk.durable import writing

__all__ = ["ArrowRows", "as_arrow", "with_vectors"]

PART = 16_384  # rows that are read on their own


class ArrowRows:
    """The rows of an Arrow table; a `TableRows`.

    Attributes:
        schema: Its columns.
        num_rows: Number of its rows.
        native: No columns, since a table has metadata.
    """

    native: Mapping[str, GeometryColumn] = {}  # noqa: RUF012 - never changed

    def __init__(self, table: pa.Table) -> None:
        """Take a table.

        Args:
            table: The table, in memory or mapped.
        """
        self.table = table
        self.schema = table.schema
        self.num_rows = int(table.num_rows)

    @cached_property
    def spots(self) -> Sequence[tuple[int, int]]:
        """First row and number of rows of parts of the table."""
        starts = range(0, self.num_rows, PART)
        return [(start, min(PART, self.num_rows - start)) for start in starts]

    def place(self, row: int) -> str:
        """Describe where a row is."""
        return f"row {row}"

    def read(
        self, columns: Sequence[str], *, start: int, size: int
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Read rows in order, as `TableRows.read`."""
        chosen = self.table.select(list(columns))
        for row in range(start, self.num_rows, size):
            part = chosen.slice(row, size).combine_chunks()
            yield row, part.to_batches()[0]


def as_arrow(data: Any, *, folder: Path) -> pa.Table:  # noqa: ANN401 - anything with a stream
    """Return data as an Arrow table; a stream is first written to a file without a name.

    Args:
        data: A GeoDataFrame, a DataFrame, an Arrow table, or anything with the Arrow stream
            protocol, such as a RecordBatchReader or a relation of DuckDB.
        folder: Where the file is made, which is gone once the table is.

    Returns:
        The table.

    Raises:
        SceneError: If a column cannot be represented, or the stream stops with an error.
        ArchiveWriteError: If the file cannot be written.
    """
    try:
        if isinstance(data, gpd.GeoDataFrame):
            found = pa.table(data.to_arrow(index=False, geometry_encoding="WKB"))
        elif isinstance(data, pd.DataFrame):
            found = pa.Table.from_pandas(data, preserve_index=False)
        elif isinstance(data, pa.Table):
            found = data
        else:
            found = _spooled(data, folder)
    except (pa.ArrowException, ValueError, TypeError) as error:
        msg = f"the table cannot be read as Arrow data ({one_line(error)[:300]})."
        raise SceneError(msg) from error
    views = [_without_view(one) for one in found.schema]
    schema = pa.schema(views, metadata=found.schema.metadata)
    return found if schema == found.schema else found.cast(schema)


def with_vectors(vectors: Any, tiles: pa.Table) -> tuple[pa.Table, str]:  # noqa: ANN401 - array-like
    """Add vectors to a table of their places.

    Args:
        vectors: Numbers, shape (n, dimensions).
        tiles: n rows.

    Returns:
        The table, and the name of the new column.

    Raises:
        VectorError: If they are not numbers of this shape.
    """
    array: npt.NDArray[Any] = np.asarray(vectors)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or len(array) != tiles.num_rows:
        msg = (
            f"vectors are {array.dtype} of shape {array.shape}; pass numbers of shape "
            f"({tiles.num_rows}, dimensions), one row for each of the {tiles.num_rows} tiles."
        )
        raise VectorError(msg)
    name = "embedding"
    while name in tiles.schema.names:
        name += "_"
    values = pa.array(np.ascontiguousarray(array).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(values, array.shape[1])
    return tiles.append_column(name, column), name


def _spooled(data: Any, folder: Path) -> pa.Table:  # noqa: ANN401 - anything with a stream
    """Write a stream to a file without a name, and map it."""
    reader = pa.RecordBatchReader.from_stream(data)
    with tempfile.TemporaryFile(dir=folder) as file:
        with writing(folder), pa.ipc.new_file(pa.PythonFile(file, "w"), reader.schema) as sink:
            for batch in reader:
                sink.write_batch(batch)
        file.flush()
        mapped = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return pa.ipc.open_file(pa.BufferReader(mapped)).read_all()


def _without_view(one: pa.Field) -> pa.Field:
    """Return a field of the usual type, where DuckDB and Polars use views."""
    kind = one.type
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return one.with_type(pa.large_list(kind.value_field))
    return one
