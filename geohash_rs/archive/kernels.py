"""Compiled loops over packed codes: the k nearest, all within a distance, counts by distance.

Blocks of codes stay in the first cache while every query passes over them. A first loop does
nothing but count differing bits, so that LLVM turns it into vector popcounts; a second asks whether
any of 64 distances is small enough; only then is a row looked at by itself.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from geohash_rs.archive.kernel_cache import cached_njit

__all__ = ["BLOCK", "histogram", "top", "within"]

BLOCK = 4096  # rows of a block, as in `writing`
GROUP = 64  # distances that are tested together
SHIFT = 53  # of the distance in a key, as in `scan`
NOTHING = np.empty(0, np.uint8)


@intrinsic  # type: ignore[untyped-decorator]
def _popcount(typing_context: Any, value: Any) -> Any:
    """Count the bits of an unsigned integer."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
        del context, signature
        return builder.ctpop(args[0])

    return value(value), build


@numba.njit  # type: ignore[untyped-decorator]
def _distances(words: Any, width: int, query: Any, out: Any, count: int) -> None:
    """Count the differing bits of rows; widths are spelled out so that strides are known."""
    if width == 1:
        q0 = query[0]
        for i in range(count):
            out[i] = _popcount(words[i] ^ q0)
    elif width == 2:
        q0, q1 = query[0], query[1]
        for i in range(count):
            out[i] = _popcount(words[2 * i] ^ q0) + _popcount(words[2 * i + 1] ^ q1)
    elif width == 3:
        q0, q1, q2 = query[0], query[1], query[2]
        for i in range(count):
            out[i] = (
                _popcount(words[3 * i] ^ q0)
                + _popcount(words[3 * i + 1] ^ q1)
                + _popcount(words[3 * i + 2] ^ q2)
            )
    elif width == 4:
        q0, q1, q2, q3 = query[0], query[1], query[2], query[3]
        for i in range(count):
            out[i] = (
                _popcount(words[4 * i] ^ q0)
                + _popcount(words[4 * i + 1] ^ q1)
                + _popcount(words[4 * i + 2] ^ q2)
                + _popcount(words[4 * i + 3] ^ q3)
            )
    else:
        for i in range(count):
            total = np.uint32(0)
            for j in range(width):
                total += np.uint32(_popcount(words[i * width + j] ^ query[j]))
            out[i] = total


@numba.njit  # type: ignore[untyped-decorator]
def _hide(out: Any, mask: Any, count: int) -> None:
    """Put rows that do not count, and the rest of the last group, out of reach."""
    for i in range(len(mask)):
        out[i] |= np.uint16(mask[i]) * np.uint16(257)  # 255 becomes all ones in either width
    for i in range(count, -(-count // GROUP) * GROUP):
        out[i] = np.uint16(0xFFFF)


@intrinsic  # type: ignore[untyped-decorator]
def _near(typing_context: Any, out: Any, place: Any, bound: Any) -> Any:
    """Compare 64 distances with a bound at once; bit i of the answer tells of distance i."""
    signature = types.uint64(out, types.intp, bound)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        item = context.get_data_type(signature.args[0].dtype)
        group = ir.VectorType(item, GROUP)
        pointer = builder.bitcast(builder.gep(array.data, [args[1]]), group.as_pointer())
        limit = builder.trunc(args[2], item)
        empty = ir.Constant(group, ir.Undefined)
        single = builder.insert_element(empty, limit, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), GROUP), [0] * GROUP)
        limits = builder.shuffle_vector(single, empty, lanes)
        smaller = builder.icmp_unsigned("<", builder.load(pointer, align=1), limits)
        return builder.bitcast(smaller, ir.IntType(64))

    return signature, build


@numba.njit  # type: ignore[untyped-decorator]
def _sift(heap: Any, key: Any) -> None:
    """Put a key in place of the largest of a heap whose first item is the largest."""
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


@cached_njit
def top(
    words: Any,
    width: int,
    queries: Any,
    blocks: Any,
    mask: Any,
    ids: Any,
    first_id: Any,
    heaps: Any,
    limits: Any,
    any_order: bool,
    out: Any,
) -> None:
    """Keep the smallest keys of each query.

    Args:
        words: The codes, shape (n * width,).
        width: Words of a code.
        queries: Words, shape (queries, width).
        blocks: Blocks to scan, shape (m,).
        mask: Nonzero where a row does not count, shape (m, BLOCK), or (0, 0) when all count.
        ids: Ids less the first, shape (n,), or (0,) when ids follow the rows.
        first_id: The first id.
        heaps: Keys, the largest of each query first, shape (queries, k); changed.
        limits: One more than the largest distance that counts, shape (queries,); changed.
        any_order: Whether a row's id may be smaller than one that was kept before.
        out: Room for the distances of some rows; its length divides BLOCK.
    """
    step = len(out)
    masked = mask.shape[0] > 0
    low_bits = np.uint64((1 << SHIFT) - 1)
    for place in range(len(blocks)):
        begin = blocks[place] * BLOCK
        end = min(begin + BLOCK, len(words) // width)
        for start in range(begin, end, step):
            count = min(step, end - start)
            piece = words[start * width : (start + count) * width]
            hidden = mask[place, start - begin : start - begin + count] if masked else NOTHING
            for q in range(queries.shape[0]):
                _distances(piece, width, queries[q], out, count)
                _hide(out, hidden, count)
                bound = limits[q]
                for group in range(0, count, GROUP):
                    hits = _near(out, group, bound)
                    if hits == 0:
                        continue
                    for i in range(group, group + GROUP):
                        if out[i] < bound:
                            row = start + i
                            ident = np.uint64(ids[row]) if len(ids) else np.uint64(row)
                            key = (np.uint64(out[i]) << np.uint64(SHIFT)) | (ident + first_id)
                            if key < heaps[q, 0]:
                                _sift(heaps[q], key)
                                worst = heaps[q, 0]
                                if worst != np.uint64(0xFFFFFFFFFFFFFFFF):
                                    far = np.int64(worst >> np.uint64(SHIFT))
                                    if any_order and (worst & low_bits) != 0:
                                        far += 1
                                    bound = min(bound, far)
                limits[q] = bound


@cached_njit
def histogram(
    words: Any,
    width: int,
    queries: Any,
    blocks: Any,
    mask: Any,
    counts: Any,
    out: Any,
) -> None:
    """Count rows by their distance.

    Args:
        words: The codes, shape (n * width,).
        width: Words of a code.
        queries: Words, shape (queries, width).
        blocks: Blocks to scan, shape (m,).
        mask: As in `top`.
        counts: Shape (queries, bits + 1); added to.
        out: As in `top`.
    """
    step = len(out)
    masked = mask.shape[0] > 0
    for place in range(len(blocks)):
        begin = blocks[place] * BLOCK
        end = min(begin + BLOCK, len(words) // width)
        for start in range(begin, end, step):
            count = min(step, end - start)
            piece = words[start * width : (start + count) * width]
            hidden = mask[place, start - begin : start - begin + count] if masked else NOTHING
            for q in range(queries.shape[0]):
                _distances(piece, width, queries[q], out, count)
                _hide(out, hidden, count)
                for i in range(count):
                    if out[i] < counts.shape[1]:
                        counts[q, out[i]] += 1


@cached_njit
def within(
    words: Any,
    width: int,
    queries: Any,
    blocks: Any,
    mask: Any,
    ids: Any,
    first_id: Any,
    limits: Any,
    ends: Any,
    keys: Any,
    out: Any,
) -> None:
    """Count the rows within each query's limit, or collect their keys.

    Args:
        words: The codes, shape (n * width,).
        width: Words of a code.
        queries: Words, shape (queries, width).
        blocks: Blocks to scan, shape (m,).
        mask: As in `top`.
        ids: As in `top`.
        first_id: As in `top`.
        limits: The largest distance that counts, shape (queries,).
        ends: Where each query's next key goes, shape (queries,); moved on for each row found.
        keys: Room for the keys, or empty to count only.
        out: As in `top`.
    """
    step = len(out)
    masked = mask.shape[0] > 0
    for place in range(len(blocks)):
        begin = blocks[place] * BLOCK
        end = min(begin + BLOCK, len(words) // width)
        for start in range(begin, end, step):
            count = min(step, end - start)
            piece = words[start * width : (start + count) * width]
            hidden = mask[place, start - begin : start - begin + count] if masked else NOTHING
            for q in range(queries.shape[0]):
                _distances(piece, width, queries[q], out, count)
                _hide(out, hidden, count)
                bound = limits[q]
                for group in range(0, count, GROUP):
                    hits = _near(out, group, bound + 1)
                    if hits == 0:
                        continue
                    if not len(keys):
                        ends[q] += np.int64(_popcount(hits))
                        continue
                    for i in range(group, group + GROUP):
                        if out[i] <= bound:
                            row = start + i
                            ident = np.uint64(ids[row]) if len(ids) else np.uint64(row)
                            key = np.uint64(out[i]) << np.uint64(SHIFT)
                            keys[ends[q]] = key | (ident + first_id)
                            ends[q] += 1
