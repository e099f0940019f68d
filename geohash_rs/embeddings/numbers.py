"""Read vectors out of an Arrow column of lists, whatever the type of their numbers."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geohash_rs.embeddings.faults import Faults
from geohash_rs.embeddings.source import Vectors

__all__ = ["holds_vectors", "length_of", "plain", "read_vectors"]


def plain(array: pa.Array | pa.DataType) -> Any:  # noqa: ANN401 - an array for an array, a type for a type
    """Return an Arrow array or type without the extension around its storage."""
    kind = array if isinstance(array, pa.DataType) else array.type
    if not isinstance(kind, pa.BaseExtensionType):
        return array
    return kind.storage_type if isinstance(array, pa.DataType) else array.storage


def holds_vectors(kind: pa.DataType) -> bool:
    """Return whether a type is a list of numbers."""
    kind = plain(kind)
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not (listed or pa.types.is_fixed_size_list(kind)):
        return False
    inner = kind.value_type
    return bool(pa.types.is_floating(inner) or pa.types.is_integer(inner))


def length_of(array: pa.Array) -> int | None:
    """Return how many numbers most vectors have.

    Args:
        array: A column of vectors.

    Returns:
        The length; None if there are no vectors.
    """
    kind = plain(array.type)
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) or None
    lengths = pc.list_value_length(plain(array)).drop_null().to_numpy(zero_copy_only=False)
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return None
    values, counts = np.unique(lengths, return_counts=True)
    return int(values[counts.argmax()])


def read_vectors(array: pa.Array, *, length: int, faults: Faults, name: str) -> Vectors:
    """Read the vectors of a batch.

    Args:
        array: A column of lists of numbers, n rows.
        length: Numbers that each must have.
        faults: Receives the rows that have no vector, or one of another length, or with missing
            numbers.
        name: The column's name.

    Returns:
        float32, shape (n, length); zeros in rows that are left out.
    """
    lists = plain(array)
    lengths = pc.list_value_length(lists).fill_null(-1).to_numpy(zero_copy_only=False)
    faults.leave_out(lengths < 0, f"without a vector in {name!r}")
    faults.leave_out(lengths != length, f"whose vector in {name!r} has not {length} numbers")
    values = lists.flatten()  # without those of null lists
    numbers = _numbers(values)
    good = lengths == length
    if good.all():
        return numbers.reshape(-1, length)
    found = np.zeros((len(lengths), length), dtype=np.float32)
    held = np.maximum(lengths, 0).astype(np.int64)
    starts = np.cumsum(held) - held
    found[good] = numbers[starts[good][:, None] + np.arange(length)]
    return found


def _numbers(values: pa.Array) -> Vectors:
    """Convert numbers to float32; a missing one is NaN."""
    if not values.null_count:
        with np.errstate(over="ignore"):  # too large for float32: infinite, which is found later
            whole: Vectors = values.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        return whole
    missing = values.is_null().to_numpy(zero_copy_only=False)
    zero = pa.scalar(0).cast(values.type)
    with np.errstate(over="ignore"):
        found: Vectors = values.fill_null(zero).to_numpy(zero_copy_only=False).astype(np.float32)
    found[missing] = np.nan
    return found
