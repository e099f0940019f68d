"""Scan selected rows for the codes nearest to what is asked, with the fastest available scanner."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geohash_rs.store.search import compiled
from geohash_rs.store.search.asked import Asked, num_bytes_of, num_queries
from geohash_rs.store.search.keys import Keys
from geohash_rs.store.search.scan_numpy import NumpyScanner
from geohash_rs.store.search.selection import Selection, Task
from geohash_rs.store.search.weights import BitWeights
from geohash_rs.store.segment.layout import BLOCK

__all__ = [
    "Scanner",
    "scan_count",
    "scan_top",
    "scan_within",
    "scanner",
]

Array = npt.NDArray[Any]

THREAD_WORK = 1 << 21  # comparisons that justify starting another thread


class Scanner(Protocol):
    """Compares codes. Every scanner gives the same answers."""

    def top(self, tasks: Iterable[Task], asked: Asked, *, k: int, limit: int) -> Keys:
        """Find the k smallest keys of each query.

        Args:
            tasks: Rows to compare with.
            asked: Packed codes, uint8, shape (queries, bits / 8), or the weights of one query.
            k: Number of keys per query.
            limit: The largest distance that counts.

        Returns:
            Keys, ascending, padded with NO_KEY, shape (queries, k).
        """

    def count(self, tasks: Iterable[Task], asked: Asked, *, limits: Array) -> Array:
        """Count the rows within a distance of each query.

        Args:
            tasks: Rows to compare with.
            asked: Packed codes, uint8, shape (queries, bits / 8), or the weights of one query.
            limits: The largest distance that counts, for each query.

        Returns:
            Counts, int64, shape (queries,).
        """

    def within(self, tasks: Iterable[Task], asked: Asked, *, limits: Array) -> list[Keys]:
        """Collect the keys of all rows within a distance of each query.

        Args:
            tasks: Rows to compare with.
            asked: Packed codes, uint8, shape (queries, bits / 8), or the weights of one query.
            limits: The largest distance that counts, for each query.

        Returns:
            The keys of each query, ascending.
        """


def scanner(comparisons: int, *, num_bytes: int, weighed: bool = False) -> Scanner:
    """Return the compiled scanner, or the NumPy one where compiling does not pay or work.

    Args:
        comparisons: Pairs of codes to compare.
        num_bytes: Bytes of a code.
        weighed: Whether bits have weights.

    Returns:
        The scanner.
    """
    if not compiled.compiling_pays(comparisons, num_bytes=num_bytes, weighed=weighed):
        return NumpyScanner()
    from geohash_rs.store.search.scan_numba import NumbaScanner  # noqa: PLC0415 - slow to import

    return NumbaScanner()


def scan_top(
    selections: Sequence[Selection],
    asked: Asked,
    *,
    k: int,
    limit: int,
    num_threads: int | None = None,
) -> Keys:
    """Find the k smallest keys of each query over all selections.

    Args:
        selections: Rows to scan.
        asked: Packed codes, uint8, shape (queries, bits / 8), or the weights of one query.
        k: Number of keys per query.
        limit: The largest distance that counts.
        num_threads: Number of threads; None uses up to one per processor, as the work justifies.

    Returns:
        Keys, ascending, padded with NO_KEY, shape (queries, k).
    """
    found: list[Keys] = _spread(
        lambda scanner, tasks: scanner.top(tasks, asked, k=k, limit=limit),
        selections,
        asked,
        num_threads=num_threads,
    )
    if len(found) == 1:
        return found[0]
    best: Keys = np.sort(np.concatenate(found, axis=1), axis=1)[:, :k]
    return best


def scan_count(
    selections: Sequence[Selection],
    asked: Asked,
    *,
    limits: Array,
    num_threads: int | None = None,
) -> npt.NDArray[np.int64]:
    """Count the rows within a distance of each query over all selections.

    Args:
        selections: Rows to scan.
        asked: Packed codes, uint8, shape (queries, bits / 8), or the weights of one query.
        limits: The largest distance that counts, for each query.
        num_threads: As in `scan_top`.

    Returns:
        Counts, int64, shape (queries,).
    """
    found = _spread(
        lambda scanner, tasks: scanner.count(tasks, asked, limits=limits),
        selections,
        asked,
        num_threads=num_threads,
    )
    return np.asarray(np.sum(found, axis=0, dtype=np.int64))


def scan_within(
    selections: Sequence[Selection],
    asked: Asked,
    *,
    limits: Array,
    num_threads: int | None = None,
) -> list[Keys]:
    """Collect the keys of all rows within a distance of each query over all selections.

    Args:
        selections: Rows to scan.
        asked: Packed codes, uint8, shape (queries, bits / 8), or the weights of one query.
        limits: The largest distance that counts, for each query.
        num_threads: As in `scan_top`.

    Returns:
        The keys of each query, ascending.
    """
    found = _spread(
        lambda scanner, tasks: scanner.within(tasks, asked, limits=limits),
        selections,
        asked,
        num_threads=num_threads,
    )
    # a stable sort merges sorted parts, three times as fast as another full sort
    return [np.sort(np.concatenate(parts), kind="stable") for parts in zip(*found, strict=True)]


def _spread(
    work: Any,  # noqa: ANN401 - a function of a scanner and tasks
    selections: Sequence[Selection],
    asked: Asked,
    *,
    num_threads: int | None,
) -> list[Any]:
    """Run work on equal shares of the blocks, one thread per share."""
    total = sum(len(selection.blocks) for selection in selections)
    comparisons = total * BLOCK * num_queries(asked)
    weighed = isinstance(asked, BitWeights)
    chosen = scanner(comparisons, num_bytes=num_bytes_of(asked), weighed=weighed)
    if num_threads is None:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        enough = 1 + comparisons // THREAD_WORK
        num_threads = min(processors or os.cpu_count() or 1, enough)
    num_threads = max(1, min(num_threads, total))
    if num_threads == 1:
        return [work(chosen, _tasks(selections, 0, total))]
    cuts = np.linspace(0, total, num_threads + 1).astype(int).tolist()
    shares = zip(cuts[:-1], cuts[1:], strict=True)
    with ThreadPoolExecutor(num_threads) as pool:
        jobs = [pool.submit(work, chosen, _tasks(selections, *share)) for share in shares]
        return [job.result() for job in jobs]


def _tasks(selections: Sequence[Selection], first: int, last: int) -> Iterator[Task]:
    """Return one share of the concatenated list of all selected blocks."""
    before = 0
    for selection in selections:
        begin, end = max(first - before, 0), min(last - before, len(selection.blocks))
        before += len(selection.blocks)
        if begin < end:
            yield Task(selection=selection, first=begin, last=end)
