"""Compiled tests of single rows: not removed, in the right ranges, inside the region.

Most rows are far from every query, so a row is tested only after its code proved near enough, and
at most once for all queries of a batch.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from geohash_rs.store.search.kernel_cache import cached_njit
from geohash_rs.store.search.lanes import GROUP, in_range, lowest_bit, number_at
from geohash_rs.store.segment.layout import BLOCK, MARGIN, STEPS

__all__ = [
    "NO_BYTES",
    "NO_TESTS",
    "RowTests",
    "edges_near",
    "frozen",
    "place_blocks",
    "place_row",
    "place_rows",
    "remaining",
]


Array = npt.NDArray[Any]


class RowTests(NamedTuple):
    """The tests that rows of a segment must pass; read-only arrays, empty if not needed.

    Attributes:
        partial: Whether each scanned block has rows to test, uint8, shape (m,).
        edge: Whether each block's rows must be classified against the region, uint8, shape (m,).
        removed: One bit per row, most significant first, set if the row does not count.
        rules: One row per tested column, int64, shape (rules, 5): its address, the bytes per
            number, the lowest number that counts and the length of the range that counts; then the
            address of a table with a flag for each number, or 0 to use the range.
        boxes: Rows' boxes in steps of their block's box, uint16, shape (n, 4).
        corners: Blocks' boxes, float64, shape (blocks, 4).
        targets: The boxes that make up the region, or the box around it, float64, shape (t, 4).
        edges: If the region is not made of boxes, (x, y) of both ends of its edges, then 1 if the
            edge bounds an area, float64, shape (e, 5).
        inside_only: Whether a row must lie inside the region.
    """

    partial: Array
    edge: Array
    removed: Array
    rules: Array
    boxes: Array
    corners: Array
    targets: Array
    edges: Array
    inside_only: bool


def frozen(array: Array) -> Array:
    """Make an array read-only, like mapped ones, so that the loops compile once for both."""
    array.setflags(write=False)
    return array


NO_BYTES = frozen(np.empty(0, np.uint8))
NO_TESTS = RowTests(
    partial=NO_BYTES,
    edge=NO_BYTES,
    removed=NO_BYTES,
    rules=frozen(np.empty((0, 5), np.int64)),
    boxes=frozen(np.empty((0, 4), np.uint16)),
    corners=frozen(np.empty((0, 4))),
    targets=frozen(np.empty((0, 4))),
    edges=frozen(np.empty((0, 5))),
    inside_only=False,
)


@numba.njit  # type: ignore[untyped-decorator]
def remaining(rows: Any, first: int, num_rows: int, removed: Any, rules: Any) -> Any:
    """Test some of 64 rows by tombstones and numbers.

    Args:
        rows: A mask of rows: bit i is row first + i.
        first: The first row.
        num_rows: Rows of the segment.
        removed: As in `RowTests`.
        rules: As in `RowTests`.

    Returns:
        A mask of the rows that count.
    """
    if len(removed):
        left = rows
        while left:
            i = lowest_bit(left)
            left &= left - np.uint64(1)
            row = first + i
            if removed[row >> 3] & (128 >> (row & 7)):
                rows &= ~(np.uint64(1) << np.uint64(i))
    for rule in range(rules.shape[0]):
        column, size, low = rules[rule, 0], rules[rule, 1], rules[rule, 2]
        count, table = rules[rule, 3], rules[rule, 4]
        several = (rows & (rows - np.uint64(1))) != 0
        if table == 0 and several and first + GROUP <= num_rows:
            if size == 1:
                rows &= in_range(column, first, np.uint8(0), low, count)
            elif size == 2:
                rows &= in_range(column, first, np.uint16(0), low, count)
            else:
                rows &= in_range(column, first, np.uint32(0), low, count)
            continue
        left = rows
        while left:
            i = lowest_bit(left)
            left &= left - np.uint64(1)
            if size == 1:
                number = number_at(column, first + i, np.uint8(0))
            elif size == 2:
                number = number_at(column, first + i, np.uint16(0))
            else:
                number = number_at(column, first + i, np.uint32(0))
            if table != 0:
                counts = number_at(table, number, np.uint8(0)) != 0
            else:
                counts = low <= number < low + count
            if not counts:
                rows &= ~(np.uint64(1) << np.uint64(i))
    return rows


@numba.njit  # type: ignore[untyped-decorator]
def place_row(
    row: int,
    boxes: Any,
    corners: Any,
    targets: Any,
    edges: Any,
    inside_only: bool,
    near: Any,
    num_near: int,
) -> Any:
    """Classify a row against the region by its stored box.

    Args:
        row: The row.
        boxes: As in `RowTests`.
        corners: As in `RowTests`.
        targets: As in `RowTests`.
        edges: As in `RowTests`.
        inside_only: As in `RowTests`.
        near: Edges near the row's block.
        num_near: Number of edges in `near`.

    Returns:
        0 out, 1 in, 2 maybe.
    """
    block = row // BLOCK
    x, y = corners[block, 0], corners[block, 1]
    step_x, step_y = (corners[block, 2] - x) / STEPS, (corners[block, 3] - y) / STEPS
    if boxes[row, 0] > boxes[row, 2]:
        return 0
    x0, y0 = x + boxes[row, 0] * step_x, y + boxes[row, 1] * step_y
    x1, y1 = x + boxes[row, 2] * step_x, y + boxes[row, 3] * step_y
    slack_x, slack_y = step_x + MARGIN, step_y + MARGIN
    status = _place_box(x0, y0, x1, y1, targets, slack_x, slack_y, inside_only)
    if status != 0 and len(edges):
        return _place_in_edges(x0, y0, x1, y1, edges, near, num_near)
    return status


@numba.njit  # type: ignore[untyped-decorator]
def _place_box(
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    targets: Any,
    slack_x: float,
    slack_y: float,
    inside_only: bool,
) -> int:
    """Classify one box against boxes; `placement._place_boxes` explains why this is right."""
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


@numba.njit  # type: ignore[untyped-decorator]
def _crosses(
    ax: float, ay: float, bx: float, by: float, x0: float, y0: float, x1: float, y1: float
) -> bool:
    """Return whether a box may touch an edge: their boxes overlap and the edge's line cuts it."""
    if max(ax, bx) < x0 or min(ax, bx) > x1 or max(ay, by) < y0 or min(ay, by) > y1:
        return False
    dx, dy = bx - ax, by - ay
    a = dx * (y0 - ay) - dy * (x0 - ax)
    b = dx * (y0 - ay) - dy * (x1 - ax)
    c = dx * (y1 - ay) - dy * (x0 - ax)
    d = dx * (y1 - ay) - dy * (x1 - ax)
    return not ((a > 0 and b > 0 and c > 0 and d > 0) or (a < 0 and b < 0 and c < 0 and d < 0))


@numba.njit  # type: ignore[untyped-decorator]
def _place_in_edges(
    x0: float, y0: float, x1: float, y1: float, edges: Any, near: Any, num_near: int
) -> int:
    """Classify one box against edges; if no edge crosses it, its centre decides."""
    x0, y0, x1, y1 = x0 - MARGIN, y0 - MARGIN, x1 + MARGIN, y1 + MARGIN
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    status = 0
    for j in range(num_near):
        e = near[j]
        ax, ay, bx, by = edges[e, 0], edges[e, 1], edges[e, 2], edges[e, 3]
        if _crosses(ax, ay, bx, by, x0, y0, x1, y1):
            return 2
        bounds_area = edges[e, 4] != 0
        if bounds_area and (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            status = 1 - status
    return status


@numba.njit  # type: ignore[untyped-decorator]
def edges_near(box: Any, edges: Any, near: Any) -> int:
    """List the edges that matter for points in a box: level with it and not to its left.

    Args:
        box: (xmin, ymin, xmax, ymax).
        edges: As in `RowTests`.
        near: Output buffer for their numbers, shape (e,).

    Returns:
        The number of edges.
    """
    count = 0
    for e in range(len(edges)):
        ax, ay, bx, by = edges[e, 0], edges[e, 1], edges[e, 2], edges[e, 3]
        level = min(ay, by) <= box[3] + MARGIN and max(ay, by) >= box[1] - MARGIN
        if level and max(ax, bx) >= box[0] - MARGIN:
            near[count] = e
            count += 1
    return count


@cached_njit
def place_blocks(tests: Any, out: Any) -> None:
    """Classify the boxes of all blocks against the region.

    Args:
        tests: RowTests.
        out: Output: 0 out, 1 in, 2 maybe; uint8, shape (blocks,).
    """
    corners, targets, edges = tests.corners, tests.targets, tests.edges
    near, around = np.empty(len(edges), np.int64), np.empty(4, np.float64)
    inside_only = True
    for first in range(0, len(corners), GROUP):
        last = min(first + GROUP, len(corners))
        count = -1
        for i in range(first, last):
            x0, y0, x1, y1 = corners[i, 0], corners[i, 1], corners[i, 2], corners[i, 3]
            out[i] = 0
            if x0 <= x1:
                out[i] = _place_box(x0, y0, x1, y1, targets, 0.0, 0.0, inside_only)
            if out[i] != 0 and len(edges):
                if count < 0:
                    for axis in range(2):
                        around[axis] = corners[first:last, axis].min()
                        around[axis + 2] = corners[first:last, axis + 2].max()
                    count = edges_near(around, edges, near)
                out[i] = _place_in_edges(x0, y0, x1, y1, edges, near, count)


@cached_njit
def place_rows(rows: Any, tests: Any, out: Any) -> None:
    """Classify rows against the region.

    Args:
        rows: Row numbers, int64, shape (n,); faster if rows of a block are consecutive.
        tests: RowTests.
        out: Output: 0 out, 1 in, 2 maybe; uint8, shape (n,).
    """
    boxes, corners, targets, edges = tests.boxes, tests.corners, tests.targets, tests.edges
    inside_only = tests.inside_only
    near = np.empty(len(edges), np.int64)
    count, block = 0, -1
    for i in range(len(rows)):
        if rows[i] // BLOCK != block:
            block = rows[i] // BLOCK
            count = edges_near(corners[block], edges, near)
        out[i] = place_row(rows[i], boxes, corners, targets, edges, inside_only, near, count)
