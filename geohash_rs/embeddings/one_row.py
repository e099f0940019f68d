"""Read the vector in one row of a Parquet file, to search with it."""

from pathlib import Path

from geohash_rs.embeddings.columns import find_vectors
from geohash_rs.embeddings.faults import Faults
from geohash_rs.embeddings.metadata import about_table
from geohash_rs.embeddings.numbers import length_of
from geohash_rs.embeddings.opening import quantization_of
from geohash_rs.embeddings.parquet import ParquetRows
from geohash_rs.embeddings.rows import decoded
from geohash_rs.embeddings.source import Vectors
from geohash_rs.embeddings.table_rows import Unreadable
from geohash_rs.errors import SceneError, VectorError
from geohash_rs.hashing.embedding import Embedding

__all__ = ["vector_of_row"]

SIZE = 1024  # rows that are decoded at once


def vector_of_row(path: Path, row: int) -> tuple[Vectors, Embedding]:
    """Read the vector in a row, found and decoded as when the file is added to an archive.

    Args:
        path: The Parquet file.
        row: Number of the row, from 0.

    Returns:
        The vector, float32, shape (1, dimensions), and the model that the file names.

    Raises:
        VectorError: If the file cannot be read, has no such row, or no usable vector in it.
    """
    try:
        rows = ParquetRows(path)
        columns = find_vectors(rows.schema)
        about = about_table(rows.schema, rows.native)
        quantization = quantization_of(rows.schema, columns, about, [])
        if not 0 <= row < rows.num_rows:
            msg = f"{path.name} has no row {row}; its {rows.num_rows} rows are numbered from 0."
            raise VectorError(msg)
        _, batch = next(rows.read(columns.names, start=row, size=SIZE))
    except SceneError as error:
        msg = f"{path.name} cannot be searched with: {error}"
        raise VectorError(msg) from error
    faults = Faults(1, lambda _: rows.place(row))
    if isinstance(batch, Unreadable):
        msg = f"{path.name}: row {row} is {batch.reason}."
        raise VectorError(msg)
    batch = batch.slice(0, 1)
    length = length_of(batch.column(columns.vector)) or 0
    vector = decoded(batch, columns, quantization, length=length, faults=faults)
    if faults.left_out:
        msg = f"{path.name}: row {row} is one {faults.left_out[0].reason}; choose another."
        raise VectorError(msg)
    return vector, Embedding(about.model, length, version=about.version)
