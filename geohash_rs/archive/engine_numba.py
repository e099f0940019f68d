"""Compare codes with compiled kernels that run over the mapped codes at the speed of memory."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.archive import kernels
from geohash_rs.archive.scan import NO_KEY, Keys, Task

__all__ = ["NumbaEngine", "check"]

Array = npt.NDArray[Any]

NO_MASK = np.empty((0, 0), np.uint8)
NO_IDS = np.empty(0, np.uint32)
CACHE_BYTES = 32_768  # of codes that stay in L1 while every query passes over them


class NumbaEngine:
    """Compare codes with Numba; the contract is in `scan.Engine`."""

    compiled = True

    def top(self, tasks: Iterable[Task], queries: Array, *, k: int, limit: int) -> Keys:
        """Find the k smallest keys of each query; see `scan.Engine.top`."""
        words = _words(queries)
        heaps = np.full((len(queries), k), NO_KEY, np.uint64)
        limits = np.full(len(queries), limit + 1, np.int64)
        highest = -1
        for task in tasks:
            entry = task.segment.entry
            ids, first = _ids(task)
            ordered = entry.sequential and first + int(task.blocks[0]) * kernels.BLOCK > highest
            kernels.top(
                *_flat(task.codes),
                words,
                task.blocks,
                NO_MASK if task.mask is None else task.mask,
                ids,
                np.uint64(first),
                heaps,
                limits,
                not ordered,
                _buffer(queries),
            )
            highest = max(highest, entry.last_id)
        return np.sort(heaps, axis=1)

    def histogram(self, tasks: Iterable[Task], queries: Array, *, num_bits: int) -> Array:
        """Count the rows at each distance; see `scan.Engine.histogram`."""
        words = _words(queries)
        counts = np.zeros((len(queries), num_bits + 1), np.int64)
        for task in tasks:
            mask = NO_MASK if task.mask is None else task.mask
            kernels.histogram(
                *_flat(task.codes), words, task.blocks, mask, counts, _buffer(queries)
            )
        return counts

    def within(self, tasks: Iterable[Task], queries: Array, *, limits: Array) -> list[Keys]:
        """Collect every key within each query's limit; see `scan.Engine.within`."""
        words = _words(queries)
        found: list[list[Keys]] = [[] for _ in queries]
        for task in tasks:
            mask = NO_MASK if task.mask is None else task.mask
            ids, first = _ids(task)
            call = (*_flat(task.codes), words, task.blocks, mask, ids, np.uint64(first), limits)
            counts = np.zeros(len(queries), np.int64)
            nothing = np.empty(0, np.uint64)
            kernels.within(*call, counts, nothing, _buffer(queries))
            ends = np.cumsum(counts)
            keys = np.empty(int(ends[-1]), np.uint64)
            if len(keys):
                kernels.within(*call, ends - counts, keys, _buffer(queries))
            for query, (begin, end) in enumerate(zip(ends - counts, ends, strict=True)):
                found[query].append(keys[begin:end])
        empty = np.empty(0, np.uint64)
        return [np.sort(np.concatenate([empty, *pieces])) for pieces in found]


def _words(codes: Array) -> Array:
    """View codes as the widest integers that their length is a multiple of."""
    length = codes.shape[1]
    for kind in (np.uint64, np.uint32, np.uint16):
        if length % np.dtype(kind).itemsize == 0:
            return codes.view(kind)
    return codes


def _flat(codes: Array) -> tuple[Array, int]:
    words = _words(codes)
    return words.reshape(-1), words.shape[1]


def _buffer(queries: Array) -> Array:
    """Make room for the distances of the codes that fit the cache."""
    rows = CACHE_BYTES // queries.shape[1]
    rows = max(256, min(kernels.BLOCK, 1 << (rows.bit_length() - 1)))
    return np.empty(rows, np.uint8 if queries.shape[1] * 8 < 255 else np.uint16)


def _ids(task: Task) -> tuple[Array, int]:
    entry = task.segment.entry
    return (NO_IDS if entry.sequential else task.segment.index["ids"]), entry.first_id


def check() -> None:
    """Compile or load every kernel's first form and see that it counts bits.

    Raises:
        RuntimeError: If a kernel gives a wrong answer.
    """
    codes = np.array([[0], [255]], np.uint8)
    out = np.zeros((1, 9), np.int64)
    blocks = np.zeros(1, np.int64)
    kernels.histogram(
        codes.reshape(-1), 1, codes[:1], blocks, NO_MASK, out, np.empty(256, np.uint8)
    )
    if out[0, 0] != 1 or out[0, 8] != 1:
        msg = f"the compiled kernel counted {out[0].tolist()}"
        raise RuntimeError(msg)
