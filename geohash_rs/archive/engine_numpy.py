"""Compare codes with NumPy alone: the same answers as the compiled kernel, only slower."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.archive.scan import ID_BITS, NO_KEY, Keys, Task
from geohash_rs.archive.writing import BLOCK
from geohash_rs.codes import hamming_distances

__all__ = ["NumpyEngine"]

Array = npt.NDArray[Any]
STEP = 16  # blocks at a time


class NumpyEngine:
    """Compare codes with NumPy; the contract is in `scan.Engine`."""

    compiled = False

    def top(self, tasks: Iterable[Task], queries: Array, *, k: int, limit: int) -> Keys:
        """Find the k smallest keys of each query; see `scan.Engine.top`."""
        best = np.full((len(queries), k), NO_KEY, np.uint64)
        for keys in _key_pieces(tasks, queries, np.full(len(queries), limit)):
            joined = np.concatenate([best, keys], axis=1)
            best = np.partition(joined, k - 1, axis=1)[:, :k]
        return np.sort(best, axis=1)

    def histogram(self, tasks: Iterable[Task], queries: Array, *, num_bits: int) -> Array:
        """Count the rows at each distance; see `scan.Engine.histogram`."""
        counts = np.zeros((len(queries), num_bits + 1), np.int64)
        limits = np.full(len(queries), num_bits)
        for keys in _key_pieces(tasks, queries, limits):
            distances = (keys >> np.uint64(ID_BITS)).astype(np.int64)
            for query, row in enumerate(distances):
                inside = row[row <= num_bits]
                counts[query] += np.bincount(inside, minlength=num_bits + 1)
        return counts

    def within(self, tasks: Iterable[Task], queries: Array, *, limits: Array) -> list[Keys]:
        """Collect every key within each query's limit; see `scan.Engine.within`."""
        found: list[list[Keys]] = [[] for _ in queries]
        for keys in _key_pieces(tasks, queries, limits):
            for query, row in enumerate(keys):
                found[query].append(row[row != NO_KEY])
        empty = np.empty(0, np.uint64)
        return [np.sort(np.concatenate([empty, *pieces])) for pieces in found]


def _key_pieces(tasks: Iterable[Task], queries: Array, limits: Array) -> Iterable[Keys]:
    """Give keys, shape (queries, rows), piece by piece; NO_KEY where a row does not count."""
    for task in tasks:
        for start in range(0, len(task.blocks), STEP):
            blocks = task.blocks[start : start + STEP]
            rows = (blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
            real = rows < len(task.codes)
            if task.mask is not None:
                real &= task.mask[start : start + STEP].reshape(-1) == 0
            rows = rows[real]
            distances = hamming_distances(queries, task.codes[rows])
            keys = (distances.astype(np.uint64) << np.uint64(ID_BITS)) | task.segment.ids_of(
                rows
            ).astype(np.uint64)
            yield np.where(distances <= limits[:, None], keys, NO_KEY)
