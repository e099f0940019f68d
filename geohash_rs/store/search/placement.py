"""Classify blocks and tiles against a region: surely outside, surely inside, or uncertain."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from geohash_rs.store.search import compiled
from geohash_rs.store.search.filters import Region
from geohash_rs.store.segment.layout import BLOCK, MARGIN, STEPS
from geohash_rs.store.segment.read import Segment

__all__ = [
    "IN",
    "MAYBE",
    "OUT",
    "exact",
    "overlapping",
    "place_blocks",
    "place_rows",
    "region_tests",
]

OUT, IN, MAYBE = 0, 1, 2
TURN = np.array([360.0, 0.0, 360.0, 0.0])  # moves a box 360 degrees east
SLIVER = 1e-9  # share of a footprint's area by which neighbours may overlap through rounding
# Pairs of codes that take NumPy as long as placing a box, and as preparing a corner of a shape.
BOX_WORK, SHAPE_WORK, CORNER_WORK = 4, 100, 10

Array = npt.NDArray[Any]
Boxes = npt.NDArray[np.float64]
Status = npt.NDArray[np.uint8]


def place_blocks(region: Region, segment: Segment) -> Status:
    """Classify a segment's blocks by their boxes.

    Args:
        region: The region.
        segment: The segment.

    Returns:
        OUT if no tile of the block can count, IN if all tiles with a footprint do, otherwise
        MAYBE; uint8, shape (blocks,).
    """
    boxes = segment.index["block_boxes"]
    loops = _loops(region, segment, len(boxes))
    if loops is not None:
        status = np.empty(len(boxes), np.uint8)
        loops.place_blocks(region_tests(loops, region, segment, within=True), status)
        return status
    status = np.full(len(boxes), OUT, np.uint8)
    targets = _turns(region.targets, boxes)
    near = np.flatnonzero(_meets(boxes, targets))
    if region.is_boxes:
        status[near] = MAYBE
        status[near[_inside(boxes[near], targets)]] = IN
    else:
        status[near] = _place_shapes(region, boxes[near])
    return status


def place_rows(
    region: Region, segment: Segment, rows: npt.NDArray[np.int64], *, within: bool
) -> Status:
    """Classify rows by their stored boxes.

    Args:
        region: The region.
        segment: The segment.
        rows: Row numbers, shape (m,).
        within: Whether tiles must lie inside the region.

    Returns:
        OUT, IN or MAYBE; uint8, shape (m,).
    """
    status = np.full(len(rows), OUT, np.uint8)
    stored, corners = segment.index["boxes"], segment.index["block_boxes"]
    loops = _loops(region, segment, len(rows))
    if loops is not None:
        loops.place_rows(rows, region_tests(loops, region, segment, within=within), status)
        return status
    places = stored[rows]
    placed = places[:, 0] <= places[:, 2]
    corner = corners[rows[placed] // BLOCK]
    step = (corner[:, 2:] - corner[:, :2]) / STEPS
    boxes = np.tile(corner[:, :2], 2) + places[placed] * np.tile(step, 2)
    targets = _turns(region.targets, boxes)
    if region.is_boxes:
        status[placed] = _place_boxes(targets, boxes, step + MARGIN, within=within)
    else:
        near = _meets(boxes, targets)
        status[np.flatnonzero(placed)[near]] = _place_shapes(region, boxes[near])
    return status


def exact(
    region: Region, shapes: npt.NDArray[np.object_], *, within: bool
) -> npt.NDArray[np.bool_]:
    """Compare footprints with the region exactly.

    Args:
        region: The region.
        shapes: Footprints, shape (m,).
        within: Whether they must lie inside the region rather than meet it.

    Returns:
        Whether each does, bool, shape (m,).
    """
    if region.geometry.geom_type == "MultiPoint" and not within:
        return _meets_points(region.geometry, shapes)
    shapely.prepare(region.geometry)
    if within:
        return shapely.covers(region.geometry, shapes)
    return shapely.intersects(region.geometry, shapes)


def overlapping(region: Region, shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Return which footprints overlap the region; touching it does not count.

    Args:
        region: The region.
        shapes: Footprints, shape (m,).

    Returns:
        Whether each does, bool, shape (m,).
    """
    shared = shapely.area(shapely.intersection(region.geometry, shapes))
    smaller = np.minimum(shapely.area(shapes), region.geometry.area)
    return np.asarray((shared > SLIVER * smaller) & (shared > 0))


def region_tests(loops: Any, region: Region, segment: Segment, *, within: bool) -> Any:  # noqa: ANN401 - RowTests
    """Convert a region to the arrays that the compiled loops test rows with.

    Args:
        loops: The module `row_filters`.
        region: The region.
        segment: The segment.
        within: Whether tiles must lie inside the region.

    Returns:
        RowTests for the region alone.
    """
    none, targets = loops.NO_TESTS, region.targets
    turned = segment.crosses_antimeridian
    if turned:
        targets = loops.frozen(np.vstack([targets, targets + TURN]))
    return loops.RowTests(
        partial=none.partial,
        edge=none.edge,
        removed=none.removed,
        rules=none.rules,
        boxes=segment.index["boxes"],
        corners=segment.index["block_boxes"],
        targets=targets,
        edges=none.edges if region.is_boxes else _edges(region.geometry, turned),
        inside_only=within,
    )


def _loops(region: Region, segment: Segment, count: int) -> Any:  # noqa: ANN401 - a module or None
    """Return the compiled loops if they are worth it for a number of boxes, and work here."""
    if region.is_boxes:
        comparisons = BOX_WORK * count * len(region.targets)
    else:
        corners = shapely.get_num_coordinates(region.geometry)
        comparisons = SHAPE_WORK * count + CORNER_WORK * int(corners)
    if not compiled.compiling_pays(comparisons, num_bytes=segment.codes.shape[1]):
        return None
    from geohash_rs.store.search import row_filters  # noqa: PLC0415 - slow to import

    return row_filters


@functools.lru_cache(maxsize=8)
def _edges(geometry: BaseGeometry, turned: bool) -> npt.NDArray[np.float64]:  # noqa: FBT001 - cached
    """List the edges of a geometry; see `RowTests`."""
    parts = shapely.get_parts(geometry)
    while (shapely.get_type_id(parts) > 3).any():
        parts = shapely.get_parts(parts)
    kinds = shapely.get_type_id(parts)
    areas = shapely.get_parts(shapely.union_all(parts[kinds == 3]))
    groups = [(1.0, shapely.get_rings(areas)), (0.0, parts[kinds != 3])]
    pieces = [np.empty((0, 5))]
    for bounds_area, lines in groups:
        for line in lines:
            points = shapely.get_coordinates(line)
            first, last = (points, points) if len(points) == 1 else (points[:-1], points[1:])
            pieces.append(np.hstack([first, last, np.full((len(first), 1), bounds_area)]))
    edges = np.concatenate(pieces)
    if turned:
        edges = np.concatenate([edges, edges + np.append(TURN, 0.0)])
    edges.setflags(write=False)
    return edges


def _turns(targets: Boxes, boxes: Boxes) -> Boxes:
    """Repeat boxes 360 degrees further east if tiles cross the antimeridian."""
    if len(boxes) and boxes[:, 2].max() > 180:
        return np.vstack([targets, targets + TURN])
    return targets


def _meets(boxes: Boxes, targets: Boxes) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(boxes), bool)
    for xmin, ymin, xmax, ymax in targets:
        found |= (
            (boxes[:, 0] <= xmax)
            & (boxes[:, 2] >= xmin)
            & (boxes[:, 1] <= ymax)
            & (boxes[:, 3] >= ymin)
        )
    return found


def _inside(boxes: Boxes, targets: Boxes) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(boxes), bool)
    for xmin, ymin, xmax, ymax in targets:
        found |= (
            (boxes[:, 0] >= xmin)
            & (boxes[:, 2] <= xmax)
            & (boxes[:, 1] >= ymin)
            & (boxes[:, 3] <= ymax)
        )
    return found


def _place_boxes(targets: Boxes, boxes: Boxes, slack: Array, *, within: bool) -> Status:
    """Classify rows against boxes.

    A stored box exceeds the true one by less than `slack` on each side. A footprint touches all
    four sides of its true box, so if it lies inside the target in y and its left or right side is
    inside in x, it surely meets the target; likewise with x and y swapped.
    """
    status = np.where(_meets(boxes, targets), MAYBE, OUT).astype(np.uint8)
    status[_inside(boxes, targets)] = IN
    if within:
        return status
    (x0, y0, x1, y1), (dx, dy) = boxes.T, slack.T
    for xmin, ymin, xmax, ymax in targets:
        side_x = ((x1 - dx >= xmin) & (x1 <= xmax)) | ((x0 >= xmin) & (x0 + dx <= xmax))
        side_y = ((y1 - dy >= ymin) & (y1 <= ymax)) | ((y0 >= ymin) & (y0 + dy <= ymax))
        sure = (side_x & (y0 >= ymin) & (y1 <= ymax)) | (side_y & (x0 >= xmin) & (x1 <= xmax))
        status[sure] = IN
    return status


def _place_shapes(region: Region, boxes: Boxes) -> Status:
    """Classify boxes against any shape with GEOS.

    A prepared geometry builds its index on first use, which is not thread-safe
    (https://libgeos.org/usage/c_api/#prepared-geometry), so each call prepares its own copy.
    """
    west = np.maximum(boxes[:, 0] - MARGIN, -180.0 - MARGIN)
    cells = shapely.box(west, boxes[:, 1] - MARGIN, boxes[:, 2] + MARGIN, boxes[:, 3] + MARGIN)
    if region.geometry.geom_type == "MultiPoint":  # which holds no box
        status = np.where(_meets_points(region.geometry, cells), MAYBE, OUT).astype(np.uint8)
    else:
        shape = shapely.from_wkb(shapely.to_wkb(region.geometry))
        shapely.prepare(shape)
        status = np.where(shapely.intersects(shape, cells), MAYBE, OUT).astype(np.uint8)
        status[shapely.contains_properly(shape, cells)] = IN
    beyond = boxes[:, 2] > 180
    status[beyond] = MAYBE
    return status


def _meets_points(points: BaseGeometry, shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Return which shapes meet any of many points, for which GEOS prepares no index."""
    tree = shapely.STRtree(shapely.get_parts(points))
    found = np.zeros(len(shapes), dtype=bool)
    found[tree.query(shapes, predicate="intersects")[0]] = True
    return found
