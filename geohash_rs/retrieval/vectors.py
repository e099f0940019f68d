"""Feature vectors that a search is given, as an array or a file."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from geohash_rs.errors import VectorError
from geohash_rs.hashing.hasher import as_features

__all__ = ["VectorLike", "read_vectors"]

VectorLike = npt.ArrayLike | str | Path


def read_vectors(given: VectorLike) -> tuple[npt.NDArray[np.floating], str]:
    """Return the vectors of a search.

    Args:
        given: One vector, shape (length,), or several, shape (n, length); or the path of a ``.npy``
            file of them.

    Returns:
        The vectors, float, shape (n, length), and what they are called in messages.

    Raises:
        VectorError: If they are not floats, or there is none; or the file cannot be read.
    """
    source = "the vector"
    if isinstance(given, str | Path):
        source = Path(given).name
        given = _load(Path(given))
    found = as_features(given, one=True)
    if not len(found):
        msg = f"{source} holds no vector; pass at least one."
        raise VectorError(msg)
    return found, source


def _load(path: Path) -> npt.NDArray[Any]:
    """Read a file of numbers; one of pickled objects is refused.

    Raises:
        VectorError: If it cannot be read.
    """
    try:
        return np.array(open_memmap(path, mode="r"))
    except (OSError, ValueError, EOFError) as error:
        msg = f"{path} cannot be read as vectors ({error}); pass a .npy file of floats."
        raise VectorError(msg) from error
