"""Search selected rows for the codes nearest to queries, with the fastest engine there is."""

import functools
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geohash_rs.archive.selection import Selection
from geohash_rs.archive.writing import BLOCK
from geohash_rs.errors import GeoHashRSWarning

__all__ = [
    "ID_BITS",
    "NO_KEY",
    "Engine",
    "Keys",
    "Task",
    "engine",
    "scan_count",
    "scan_top",
    "scan_within",
]

Array = npt.NDArray[Any]
Keys = npt.NDArray[np.uint64]

ID_BITS = 53  # a key is distance << 53 | tile id, so that keys sort by distance, then by id
NO_KEY = np.uint64(np.iinfo(np.uint64).max)
THREAD_WORK = 1 << 21  # codes compared below which a second thread is not worth its start


@dataclass(frozen=True, kw_only=True)
class Task:
    """Some of the selected blocks of a segment.

    Attributes:
        selection: Which rows of the segment count.
        first: The first place in the selection's blocks.
        last: One past the last place.
    """

    selection: Selection
    first: int
    last: int


class Engine(Protocol):
    """What compares codes. Every engine gives the same answers.

    Attributes:
        compiled: Whether compiled loops can be used.
    """

    compiled: bool

    def top(self, tasks: Iterable[Task], queries: Array, *, k: int, limit: int) -> Keys:
        """Find the k smallest keys of each query.

        Args:
            tasks: What to compare with.
            queries: Packed codes, uint8, shape (queries, bits / 8).
            k: How many.
            limit: The largest distance that counts.

        Returns:
            Keys, ascending, NO_KEY where there are fewer, shape (queries, k).
        """

    def count(self, tasks: Iterable[Task], queries: Array, *, limits: Array) -> Array:
        """Count the rows within a distance of each query.

        Args:
            tasks: What to compare with.
            queries: Packed codes, uint8, shape (queries, bits / 8).
            limits: The largest distance that counts, for each query.

        Returns:
            Counts, int64, shape (queries,).
        """

    def within(self, tasks: Iterable[Task], queries: Array, *, limits: Array) -> list[Keys]:
        """Collect every row within a distance of each query.

        Args:
            tasks: What to compare with.
            queries: Packed codes, uint8, shape (queries, bits / 8).
            limits: The largest distance that counts, for each query.

        Returns:
            For each query its keys, ascending.
        """


@functools.cache
def engine() -> Engine:
    """Give the compiled engine, or the NumPy one where Numba is absent or does not work."""
    from geohash_rs.archive.engine_numpy import NumpyEngine  # noqa: PLC0415 - imports this module

    try:
        from geohash_rs.archive import engine_numba  # noqa: PLC0415 - slow to import

        engine_numba.check()
        return engine_numba.NumbaEngine()
    except Exception as error:  # noqa: BLE001 - whatever breaks Numba, search must go on
        warnings.warn(
            f"Numba does not work here ({error!r}); search falls back to NumPy, which gives the "
            "same answers but is several times slower. Reinstall numba to repair it.",
            GeoHashRSWarning,
            stacklevel=2,
        )
        return NumpyEngine()


def scan_top(
    selections: Sequence[Selection],
    queries: Array,
    *,
    k: int,
    limit: int,
    num_threads: int | None = None,
) -> Keys:
    """Find the k smallest keys of each query over all selections.

    Args:
        selections: Rows to look at.
        queries: Packed codes, uint8, shape (queries, bits / 8).
        k: How many.
        limit: The largest distance that counts.
        num_threads: Threads, or None for one for each processor where it pays.

    Returns:
        Keys, ascending, NO_KEY where there are fewer, shape (queries, k).
    """
    found: list[Keys] = _spread(
        lambda tasks: engine().top(tasks, queries, k=k, limit=limit),
        selections,
        num_queries=len(queries),
        num_threads=num_threads,
    )
    if len(found) == 1:
        return found[0]
    best: Keys = np.sort(np.concatenate(found, axis=1), axis=1)[:, :k]
    return best


def scan_count(
    selections: Sequence[Selection],
    queries: Array,
    *,
    limits: Array,
    num_threads: int | None = None,
) -> npt.NDArray[np.int64]:
    """Count the rows within a distance of each query over all selections.

    Args:
        selections: Rows to look at.
        queries: Packed codes, uint8, shape (queries, bits / 8).
        limits: The largest distance that counts, for each query.
        num_threads: As in `scan_top`.

    Returns:
        Counts, int64, shape (queries,).
    """
    found = _spread(
        lambda tasks: engine().count(tasks, queries, limits=limits),
        selections,
        num_queries=len(queries),
        num_threads=num_threads,
    )
    return np.asarray(np.sum(found, axis=0, dtype=np.int64))


def scan_within(
    selections: Sequence[Selection],
    queries: Array,
    *,
    limits: Array,
    num_threads: int | None = None,
) -> list[Keys]:
    """Collect every row within a distance of each query over all selections.

    Args:
        selections: Rows to look at.
        queries: Packed codes, uint8, shape (queries, bits / 8).
        limits: The largest distance that counts, for each query.
        num_threads: As in `scan_top`.

    Returns:
        For each query its keys, ascending.
    """
    found = _spread(
        lambda tasks: engine().within(tasks, queries, limits=limits),
        selections,
        num_queries=len(queries),
        num_threads=num_threads,
    )
    return [np.sort(np.concatenate(parts)) for parts in zip(*found, strict=True)]


def _spread(
    work: Any,  # noqa: ANN401 - a function of tasks
    selections: Sequence[Selection],
    *,
    num_queries: int,
    num_threads: int | None,
) -> list[Any]:
    """Run work on equal shares of the blocks, one thread for each share."""
    total = sum(len(selection.blocks) for selection in selections)
    if num_threads is None:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        enough = 1 + total * BLOCK * num_queries // THREAD_WORK
        num_threads = min(processors or os.cpu_count() or 1, enough)
    num_threads = max(1, min(num_threads, total))
    if num_threads == 1:
        return [work(_tasks(selections, 0, total))]
    cuts = np.linspace(0, total, num_threads + 1).astype(int).tolist()
    shares = zip(cuts[:-1], cuts[1:], strict=True)
    with ThreadPoolExecutor(num_threads) as pool:
        jobs = [pool.submit(work, _tasks(selections, *share)) for share in shares]
        return [job.result() for job in jobs]


def _tasks(selections: Sequence[Selection], first: int, last: int) -> Iterator[Task]:
    """Cut one share out of the joined list of all selected blocks."""
    before = 0
    for selection in selections:
        begin, end = max(first - before, 0), min(last - before, len(selection.blocks))
        before += len(selection.blocks)
        if begin < end:
            yield Task(selection=selection, first=begin, last=end)
