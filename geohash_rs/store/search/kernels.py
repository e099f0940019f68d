"""The compiled loop over packed codes: the k nearest, or all within a distance.

Codes stay in the L1 cache while every query passes over them. Single rows are tested only if one
of the 512 rows of their span is near enough. The same loop finds the k cheapest by weights: it is
compiled once without and once with masks.
"""

from typing import Any

import numba
import numpy as np

from geohash_rs.store.search.kernel_cache import cached_njit
from geohash_rs.store.search.keys import ID_BITS, NO_KEY
from geohash_rs.store.search.lanes import (
    GROUP,
    SPAN,
    any_near,
    code_of,
    cost_of,
    fetch_ahead,
    lowest_bit,
    near,
    popcount,
)
from geohash_rs.store.search.row_filters import edges_near, place_row, remaining
from geohash_rs.store.segment.layout import BLOCK

__all__ = ["scan"]

CACHE_BYTES = 16_384  # of codes that stay in the L1 cache while every query passes over them
AHEAD_BYTES = 8192  # prefetch distance, as far as the L1 cache leaves room
LINE = 64  # bytes of a cache line
LOW_BITS = np.uint64((1 << ID_BITS) - 1)


@numba.njit  # type: ignore[untyped-decorator]
def _sift(heap: Any, key: Any) -> None:
    """Replace the largest key of a max-heap, which is its first item."""
    size = len(heap)
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= key:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = key


@numba.njit  # type: ignore[untyped-decorator]
def _bound_of(heap: Any, bound: int, any_order: bool) -> Any:
    """Return one more than the largest distance that can still enter a heap."""
    worst = heap[0]
    if worst == NO_KEY:
        return bound
    far = np.int64(worst >> np.uint64(ID_BITS))
    if any_order and (worst & LOW_BITS) != 0:
        far += 1
    return min(bound, far)


@numba.njit  # type: ignore[untyped-decorator]
def _coarse(bound: Any, shift: Any) -> Any:
    """Return one more than the largest distance below a bound, in units of 2^shift."""
    return ((bound - 1) >> shift) + 1


@numba.njit  # type: ignore[untyped-decorator]
def _padded_tail(words: Any, width: int) -> Any:
    """Copy the rows after the last whole span, zero-padded to a whole span.

    A loop, because Numba compiles an assignment of slices for seconds, for its error message.
    """
    rest = len(words) % (SPAN * width)
    tail = np.zeros(SPAN * width, words.dtype)
    for i in range(rest):
        tail[i] = words[len(words) - rest + i]
    return tail


@cached_njit
def scan(
    words: Any,
    shape: Any,
    queries: Any,
    weighing: Any,
    blocks: Any,
    tests: Any,
    ids: Any,
    first_id: Any,
    limits: Any,
    heaps: Any,
    any_order: bool,
    keys: Any,
    ends: Any,
) -> None:
    """Keep the smallest keys of each query, or count or collect all keys within its limit.

    Args:
        words: The codes, shape (n * w,).
        shape: Any tuple of w numbers; makes w, the words per code, a compile-time constant.
        queries: Words, shape (queries * w,).
        weighing: Weighing of the one query, or `NOT_WEIGHED`.
        blocks: Blocks to scan, shape (m,).
        tests: RowTests of the blocks.
        ids: Ids minus `first_id`, shape (n,), or (0,) if ids follow the rows.
        first_id: The first id.
        limits: One more than the largest distance that counts, int64, shape (queries,); lowered as
            heaps fill.
        heaps: A max-heap of keys for each query, shape (queries, k); changed. Shape (queries, 0)
            to count or collect instead.
        any_order: Whether a row's id may be smaller than one already kept.
        keys: Output buffer for the collected keys, or empty to count only.
        ends: Where each query's next key goes, int64, shape (queries,); advanced for each key.
    """
    width = len(shape)
    num_rows = len(words) // width
    last_span = num_rows // SPAN * SPAN
    tail = _padded_tail(words, width)
    piece = max(SPAN, CACHE_BYTES // (width * words.itemsize) // SPAN * SPAN)
    keep = heaps.shape[1] > 0
    counting = not keep and not len(keys)
    known, good = np.zeros(BLOCK // GROUP, np.uint64), np.zeros(BLOCK // GROUP, np.uint64)
    partly, edge, removed, rules = tests.partial, tests.edge, tests.removed, tests.rules
    boxes, corners, targets, edges = tests.boxes, tests.corners, tests.targets, tests.edges
    inside_only = tests.inside_only
    masks, tables, shift = weighing.masks, weighing.tables, weighing.shift
    nearby = np.empty(len(edges), np.int64)
    num_nearby = 0
    for place in range(len(blocks)):
        begin = blocks[place] * BLOCK
        end = min(begin + BLOCK, num_rows)
        partial = partly[place] != 0
        if partial:
            known[:] = 0
            good[:] = 0
            if edge[place]:
                num_nearby = edges_near(corners[blocks[place]], edges, nearby)
        for start in range(begin, end, piece):
            stop = min(start + piece, end)
            for q in range(len(limits)):
                query = code_of(queries, q, shape)
                bound = limits[q]
                close = _coarse(bound, shift)
                for span in range(start, stop, SPAN):
                    whole = span < last_span
                    source, at = (words, span) if whole else (tail, 0)
                    if q == 0:  # hardware prefetch usually stops at the end of a page
                        ahead = span * width + AHEAD_BYTES // words.itemsize
                        for word in range(ahead, ahead + SPAN * width, LINE // words.itemsize):
                            fetch_ahead(words, word)
                    if not any_near(source, at, query, masks, close):
                        continue
                    for group in range(0, min(SPAN, stop - span), GROUP):
                        hits = near(source, at + group, query, masks, close)
                        first = span + group
                        if stop - first < GROUP:
                            hits &= (np.uint64(1) << np.uint64(stop - first)) - np.uint64(1)
                        if partial and hits:
                            slot = (first - begin) // GROUP
                            todo = hits & ~known[slot]
                            if todo:
                                known[slot] |= todo
                                todo = remaining(todo, first, num_rows, removed, rules)
                                good[slot] |= todo
                                while edge[place] and todo:
                                    i = lowest_bit(todo)
                                    todo &= todo - np.uint64(1)
                                    status = place_row(
                                        first + i,
                                        boxes,
                                        corners,
                                        targets,
                                        edges,
                                        inside_only,
                                        nearby,
                                        num_nearby,
                                    )
                                    if status == 0:
                                        good[slot] &= ~(np.uint64(1) << np.uint64(i))
                            hits &= good[slot]
                        if counting and not len(tables):
                            ends[q] += np.int64(popcount(hits))
                            continue
                        while hits:
                            row = first + lowest_bit(hits)
                            hits &= hits - np.uint64(1)
                            far = cost_of(words, row, query, masks, tables)
                            if far >= np.uint64(bound):
                                continue
                            if counting:
                                ends[q] += 1
                                continue
                            ident = np.uint64(ids[row]) if len(ids) else np.uint64(row)
                            key = (far << np.uint64(ID_BITS)) | (ident + first_id)
                            if not keep:
                                keys[ends[q]] = key
                                ends[q] += 1
                            elif key < heaps[q, 0]:
                                _sift(heaps[q], key)
                                bound = _bound_of(heaps[q], bound, any_order)
                                close = _coarse(bound, shift)
                limits[q] = bound
