"""Feature vectors that were computed before, as arrays that a hasher takes."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.errors import VectorError

__all__ = ["LEAST", "as_features", "check_features"]

LEAST = 1e-12  # of a vector's largest number: shorter ones are not brought to length one


def as_features(vectors: npt.ArrayLike, *, one: bool = False) -> npt.NDArray[np.floating]:
    """Return feature vectors that were computed before as an array.

    Args:
        vectors: The vectors.
        one: Whether a single vector, shape (length,), is accepted too.

    Returns:
        The vectors, float, shape (n, length).

    Raises:
        VectorError: If they are not floats of one length.
    """
    if isinstance(vectors, Tensor):
        given = vectors.detach().cpu()  # NumPy has no bfloat16
        vectors = (given.float() if given.dtype == torch.bfloat16 else given).numpy()
    if np.ma.is_masked(vectors):
        msg = "vectors have masked numbers, which stand for none; leave these vectors out."
        raise VectorError(msg)
    try:
        found = np.asarray(vectors)
    except (TypeError, ValueError) as error:  # lists of unequal length
        msg = f"vectors are not of one length ({error}); pass floats of shape (n, length)."
        raise VectorError(msg) from error
    found = found[None] if one and found.ndim == 1 else found
    if found.dtype.kind != "f" or found.ndim != 2 or not found.shape[1]:
        msg = f"vectors are {found.dtype} of shape {found.shape}; pass floats of shape (n, length)."
        raise VectorError(msg)
    return found


def check_features(vectors: npt.ArrayLike, *, length: int) -> npt.NDArray[np.floating]:
    """Check feature vectors that were computed before.

    Args:
        vectors: The vectors.
        length: Numbers that each must have.

    Returns:
        The vectors, float, shape (n, length).

    Raises:
        VectorError: If they are not floats of this length, or one is zero, NaN or infinite.
    """
    found = as_features(vectors)
    if found.shape[1] != length:
        msg = (
            f"vectors have {found.shape[1]} numbers each, but the hasher takes {length}; pass "
            "those of the network or embedding that it was made for."
        )
        raise VectorError(msg)
    with np.errstate(over="ignore"):
        sizes = np.abs(found).max(axis=1, initial=0).astype(np.float32)
    wrong = np.flatnonzero(~(np.isfinite(sizes) & (sizes >= LEAST)))
    if len(wrong):
        msg = (
            f"{len(wrong)} of {len(found)} vectors are zero (below {LEAST:g}), NaN or infinite as "
            f"float32 (first: vector {wrong[0]}); leave them out."
        )
        raise VectorError(msg)
    return found
