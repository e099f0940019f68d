"""Compare codes with NumPy alone: the same answers as the compiled kernel, without compiling it."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.store.search.asked import Asked, distances_to, num_queries, some_of
from geohash_rs.store.search.keys import ID_BITS, NO_KEY, Keys, keys_of
from geohash_rs.store.search.selection import Task

__all__ = ["NumpyScanner"]

Array = npt.NDArray[Any]

PIECE = 1 << 18  # comparisons at a time, at least a query's with the rows of a few blocks


class NumpyScanner:
    """Compare codes with NumPy; the contract is in `scan.Scanner`."""

    def top(self, tasks: Iterable[Task], asked: Asked, *, k: int, limit: int) -> Keys:
        """Find the k smallest keys of each query; see `scan.Scanner.top`."""
        best = np.full((num_queries(asked), k), NO_KEY, np.uint64)
        limits = np.full(num_queries(asked), limit)
        for some, keys in _key_pieces(tasks, asked, limits):
            joined = np.concatenate([best[some], keys], axis=1)
            best[some] = np.partition(joined, k - 1, axis=1)[:, :k]
            worst = (best[some, k - 1] >> np.uint64(ID_BITS)).astype(np.int64)
            limits[some] = np.minimum(worst, limit)  # later pieces keep fewer keys
        return np.sort(best, axis=1)

    def count(self, tasks: Iterable[Task], asked: Asked, *, limits: Array) -> Array:
        """Count the rows within each query's limit; see `scan.Scanner.count`."""
        counts = np.zeros(num_queries(asked), np.int64)
        for some, keys in _key_pieces(tasks, asked, limits):
            counts[some] += np.count_nonzero(keys != NO_KEY, axis=1)
        return counts

    def within(self, tasks: Iterable[Task], asked: Asked, *, limits: Array) -> list[Keys]:
        """Collect every key within each query's limit; see `scan.Scanner.within`."""
        found: list[list[Keys]] = [[] for _ in range(num_queries(asked))]
        for some, keys in _key_pieces(tasks, asked, limits):
            for pieces, row in zip(found[some], keys, strict=True):
                pieces.append(row[row != NO_KEY])
        empty = np.empty(0, np.uint64)
        return [np.sort(np.concatenate([empty, *pieces])) for pieces in found]


def _key_pieces(tasks: Iterable[Task], asked: Asked, limits: Array) -> Iterator[tuple[slice, Keys]]:
    """Yield some queries and the keys of rows near to any of them, shape (queries, rows).

    A key is NO_KEY if the row is beyond that query's limit. Limits may be lowered between pieces.
    """
    for task in tasks:
        segment = task.selection.segment
        for rows in task.selection.rows(task.first, task.last):
            codes = segment.codes[rows]
            step = max(1, PIECE // max(1, len(rows)))
            for first in range(0, num_queries(asked), step):
                some = slice(first, first + step)
                distances = distances_to(some_of(asked, some), codes)
                near = distances <= limits[some, None]
                rows_near = np.flatnonzero(near.any(axis=0))
                keys = keys_of(distances[:, rows_near], segment.ids_of(rows[rows_near]))
                yield some, np.where(near[:, rows_near], keys, NO_KEY)
