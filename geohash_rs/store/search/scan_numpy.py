"""Compare codes with NumPy alone: the same answers as the compiled kernel, only slower."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.codes import hamming_distances
from geohash_rs.store.search.keys import ID_BITS, NO_KEY, Keys
from geohash_rs.store.search.selection import Task

__all__ = ["NumpyScanner"]

Array = npt.NDArray[Any]


class NumpyScanner:
    """Compare codes with NumPy; the contract is in `scan.Scanner`."""

    def top(self, tasks: Iterable[Task], queries: Array, *, k: int, limit: int) -> Keys:
        """Find the k smallest keys of each query; see `scan.Scanner.top`."""
        best = np.full((len(queries), k), NO_KEY, np.uint64)
        for keys in _key_pieces(tasks, queries, np.full(len(queries), limit)):
            joined = np.concatenate([best, keys], axis=1)
            best = np.partition(joined, k - 1, axis=1)[:, :k]
        return np.sort(best, axis=1)

    def count(self, tasks: Iterable[Task], queries: Array, *, limits: Array) -> Array:
        """Count the rows within each query's limit; see `scan.Scanner.count`."""
        counts = np.zeros(len(queries), np.int64)
        for keys in _key_pieces(tasks, queries, limits):
            counts += np.count_nonzero(keys != NO_KEY, axis=1)
        return counts

    def within(self, tasks: Iterable[Task], queries: Array, *, limits: Array) -> list[Keys]:
        """Collect every key within each query's limit; see `scan.Scanner.within`."""
        found: list[list[Keys]] = [[] for _ in queries]
        for keys in _key_pieces(tasks, queries, limits):
            for query, row in enumerate(keys):
                found[query].append(row[row != NO_KEY])
        empty = np.empty(0, np.uint64)
        return [np.sort(np.concatenate([empty, *pieces])) for pieces in found]


def _key_pieces(tasks: Iterable[Task], queries: Array, limits: Array) -> Iterable[Keys]:
    """Yield keys in pieces of shape (queries, rows); NO_KEY if a row does not count."""
    for task in tasks:
        segment = task.selection.segment
        for rows in task.selection.rows(task.first, task.last):
            distances = hamming_distances(queries, segment.codes[rows])
            ids = segment.ids_of(rows).astype(np.uint64)
            keys = (distances.astype(np.uint64) << np.uint64(ID_BITS)) | ids
            yield np.where(distances <= limits[:, None], keys, NO_KEY)
