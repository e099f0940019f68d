"""Feature vectors that a search is given, as an array, a file or a row of a table."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from geohash_rs.embeddings.inputs import is_table_path
from geohash_rs.embeddings.one_row import vector_of_row
from geohash_rs.errors import VectorError
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.hashing.feature_arrays import as_features

__all__ = ["VectorLike", "read_vectors"]

VectorLike = npt.ArrayLike | str | Path


def read_vectors(
    given: VectorLike,
) -> tuple[npt.NDArray[np.floating], str, Embedding | None]:
    """Return the vectors of a search.

    Args:
        given: One vector, shape (length,), or several, shape (n, length); or the path of a ``.npy``
            file of them; or the path and row of a Parquet file, such as "clay.parquet:17".

    Returns:
        The vectors, float, shape (n, length), what they are called in messages, and the model that
        a Parquet file names; None for other vectors.

    Raises:
        VectorError: If they are not floats, or there is none; or the file cannot be read.
    """
    source, embedding = "the vector", None
    if isinstance(given, str | Path):
        source = Path(given).name
        if (table := _table_of(given)) is not None:
            given, embedding = vector_of_row(*table)
        else:
            given = _load(Path(given))
    found = as_features(given, one=True)
    if not len(found):
        msg = f"{source} holds no vector; pass at least one."
        raise VectorError(msg)
    return found, source, embedding


def _table_of(given: str | Path) -> tuple[Path, int] | None:
    """Return the Parquet file and the row that a text names; None if it names another file.

    Raises:
        VectorError: If there is no row.
    """
    text = str(given)
    path, colon, row = text.rpartition(":")
    if colon and is_table_path(path):
        if row.isdecimal() and row.isascii():
            return Path(path), int(row)
        msg = f"{text} names the row {row!r}; pass a whole number from 0, such as {path}:17."
        raise VectorError(msg)
    if is_table_path(text):
        msg = f"{text} is a table; name the row whose vector to search with, such as {text}:17."
        raise VectorError(msg)
    return None


def _load(path: Path) -> npt.NDArray[Any]:
    """Read a file of numbers; one of pickled objects is refused.

    Raises:
        VectorError: If it cannot be read.
    """
    try:
        return np.array(open_memmap(path, mode="r"))
    except (OSError, ValueError, EOFError) as error:
        msg = (
            f"{path} cannot be read as vectors ({error}); pass a .npy file of floats, or a row of "
            "a Parquet file as FILE.parquet:ROW."
        )
        raise VectorError(msg) from error
