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

__all__ = ["BLOCK", "histogram", "place_boxes", "place_edges", "top", "within"]

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


@numba.njit  # type: ignore[untyped-decorator]
def _place_box(box: Any, targets: Any, slack_x: float, slack_y: float, inside_only: bool) -> int:
    """Place one box against boxes; `placement._place_boxes` says why it is right."""
    x0, y0, x1, y1 = box
    status = 0
    for t in range(targets.shape[0]):
        xmin, ymin, xmax, ymax = targets[t, 0], targets[t, 1], targets[t, 2], targets[t, 3]
        if x0 > xmax or x1 < xmin or y0 > ymax or y1 < ymin:
            continue
        in_x, in_y = x0 >= xmin and x1 <= xmax, y0 >= ymin and y1 <= ymax
        if in_x and in_y:
            return 1
        status = 2
        if not inside_only:
            side_x = (x1 - slack_x >= xmin and x1 <= xmax) or (x0 >= xmin and x0 + slack_x <= xmax)
            side_y = (y1 - slack_y >= ymin and y1 <= ymax) or (y0 >= ymin and y0 + slack_y <= ymax)
            if (side_x and in_y) or (side_y and in_x):
                return 1
    return status


@cached_njit
def place_boxes(
    stored: Any, corners: Any, blocks: Any, targets: Any, margin: float, inside_only: bool, out: Any
) -> None:
    """Place the rows of some blocks against boxes.

    Args:
        stored: Rows' boxes in steps of their block's box, uint16, shape (n, 4).
        corners: Blocks' boxes, shape (blocks, 4).
        blocks: Which blocks, shape (m,).
        targets: Boxes of the region, shape (t, 4).
        margin: Added to the size of a step where a stored box may be too large.
        inside_only: Whether rows must be inside.
        out: 0 out, 1 in, 2 maybe; uint8, shape (m, BLOCK); 0 on entry.
    """
    for place in range(len(blocks)):
        x, y, right, top_ = corners[blocks[place]]
        step_x, step_y = (right - x) / 65535, (top_ - y) / 65535
        begin = blocks[place] * BLOCK
        for i in range(min(BLOCK, stored.shape[0] - begin)):
            row = stored[begin + i]
            if row[0] > row[2]:
                continue
            box = (
                x + row[0] * step_x,
                y + row[1] * step_y,
                x + row[2] * step_x,
                y + row[3] * step_y,
            )
            out[place, i] = _place_box(box, targets, step_x + margin, step_y + margin, inside_only)


@numba.njit  # type: ignore[untyped-decorator]
def _crosses(edge: Any, x0: float, y0: float, x1: float, y1: float) -> bool:
    """Tell whether a box may touch an edge: boxes overlap, and corners lie on both sides."""
    ax, ay, bx, by = edge[0], edge[1], edge[2], edge[3]
    if max(ax, bx) < x0 or min(ax, bx) > x1 or max(ay, by) < y0 or min(ay, by) > y1:
        return False
    dx, dy = bx - ax, by - ay
    a = dx * (y0 - ay) - dy * (x0 - ax)
    b = dx * (y0 - ay) - dy * (x1 - ax)
    c = dx * (y1 - ay) - dy * (x0 - ax)
    d = dx * (y1 - ay) - dy * (x1 - ax)
    return not ((a > 0 and b > 0 and c > 0 and d > 0) or (a < 0 and b < 0 and c < 0 and d < 0))


@cached_njit
def place_edges(boxes: Any, edges: Any, margin: float, out: Any) -> None:
    """Place boxes against polygons given by the edges of all their rings.

    A box that no edge comes near is wholly in or out, as its middle is.

    Args:
        boxes: (xmin, ymin, xmax, ymax), shape (n, 4).
        edges: (x, y) of both ends, shape (e, 4).
        margin: How far around a box an edge counts as near.
        out: 0 out, 1 in, 2 maybe; uint8, shape (n,).
    """
    if not len(boxes):
        return
    near = np.empty(len(edges), np.int64)
    for first in range(0, len(boxes), GROUP):
        last = min(first + GROUP, len(boxes))
        low, high = boxes[first:last, 1].min() - margin, boxes[first:last, 3].max() + margin
        count = 0
        for e in range(len(edges)):
            if min(edges[e, 1], edges[e, 3]) <= high and max(edges[e, 1], edges[e, 3]) >= low:
                near[count] = e
                count += 1
        for i in range(first, last):
            x0, y0 = boxes[i, 0] - margin, boxes[i, 1] - margin
            x1, y1 = boxes[i, 2] + margin, boxes[i, 3] + margin
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
            status = 0
            for j in range(count):
                edge = edges[near[j]]
                if _crosses(edge, x0, y0, x1, y1):
                    status = 2
                    break
                if (edge[1] > y) != (edge[3] > y):
                    meets = edge[0] + (y - edge[1]) / (edge[3] - edge[1]) * (edge[2] - edge[0])
                    if x < meets:
                        status = 1 - status
            out[i] = status
