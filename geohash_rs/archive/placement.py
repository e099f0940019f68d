"""Place blocks and tiles against a region: surely out, surely in, or to be looked at exactly."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from geohash_rs.archive.filters import POLYGONAL, Region
from geohash_rs.archive.segment import Segment
from geohash_rs.archive.writing import BLOCK, MARGIN, STEPS

__all__ = ["IN", "MAYBE", "OUT", "exact", "overlapping", "place_blocks", "place_rows"]

OUT, IN, MAYBE = 0, 1, 2
MANY_EDGES = 2000  # above it GEOS with its index of edges is faster
SLIVER = 1e-9  # part of a footprint's area that two neighbours may share by rounding

Array = npt.NDArray[Any]
Boxes = npt.NDArray[np.float64]
Status = npt.NDArray[np.uint8]


def place_blocks(region: Region, boxes: Boxes, *, within: bool) -> Status:
    """Place the boxes of blocks.

    Args:
        region: The region.
        boxes: (xmin, ymin, xmax, ymax) in degrees, shape (m, 4).
        within: Whether tiles must be inside of the region.

    Returns:
        OUT where no tile of the block can count, IN where all do, else MAYBE; uint8, shape (m,).
    """
    del within  # a block's box says the same for both: all out, all in, or look closer
    status = np.full(len(boxes), OUT, np.uint8)
    near = np.flatnonzero(_meets(boxes, _turns(region.bounds, boxes)))
    if not len(near):
        return status
    if len(region.boxes):
        targets = _turns(region.boxes, boxes)
        status[near] = np.where(_meets(boxes[near], targets), MAYBE, OUT)
        status[near[_inside(boxes[near], targets)]] = IN
        return status
    status[near] = _place_shapes(region, boxes[near])
    return status


def place_rows(
    region: Region, segment: Segment, blocks: npt.NDArray[np.int64], *, within: bool
) -> Status:
    """Place every row of some blocks by its stored box.

    Args:
        region: The region.
        segment: The segment.
        blocks: Which blocks, shape (m,).
        within: Whether tiles must be inside of the region.

    Returns:
        OUT, IN or MAYBE; uint8, shape (m, BLOCK); OUT past the last row.
    """
    status = np.full((len(blocks), BLOCK), OUT, np.uint8)
    kernels = _kernels()
    if kernels is not None and len(region.boxes):
        corners = segment.index["block_boxes"]
        targets = _turns(region.boxes, corners[blocks])
        stored = segment.index["boxes"]
        kernels.place_boxes(stored, corners, blocks, targets, MARGIN, within, status)
        return status
    for place, block in enumerate(blocks.tolist()):
        stored = segment.index["boxes"][block * BLOCK : (block + 1) * BLOCK]
        corner = segment.index["block_boxes"][block]
        step = (corner[2:] - corner[:2]) / STEPS
        boxes = np.tile(corner[:2], 2) + stored * np.tile(step, 2)
        empty = stored[:, 0] > stored[:, 2]
        if len(region.boxes):
            slack = step + MARGIN
            row = _place_boxes(_turns(region.boxes, boxes[~empty]), boxes, slack, within=within)
        else:
            row = np.full(len(boxes), OUT, np.uint8)
            near = ~empty & _meets(boxes, _turns(region.bounds, boxes[~empty]))
            row[near] = _place_shapes(region, boxes[near])
        row[empty] = OUT
        status[place, : len(row)] = row
    return status


def exact(
    region: Region, shapes: npt.NDArray[np.object_], *, within: bool
) -> npt.NDArray[np.bool_]:
    """Compare footprints with the region exactly.

    Args:
        region: The region.
        shapes: Footprints, shape (m,).
        within: Whether they must be inside of the region rather than meet it.

    Returns:
        Bool, shape (m,).
    """
    shapely.prepare(region.geometry)
    if within:
        return shapely.covers(region.geometry, shapes)
    return shapely.intersects(region.geometry, shapes)


def overlapping(region: Region, shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Tell which footprints share ground with the region; to touch is not to overlap.

    Args:
        region: The region.
        shapes: Footprints, shape (m,).

    Returns:
        Bool, shape (m,).
    """
    shared = shapely.area(shapely.intersection(region.geometry, shapes))
    smaller = np.minimum(shapely.area(shapes), region.geometry.area)
    return np.asarray((shared > SLIVER * smaller) & (shared > 0))


def _kernels() -> Any:  # noqa: ANN401 - a module of compiled functions, or None
    """Give the compiled loops where they work."""
    from geohash_rs.archive import scan  # noqa: PLC0415 - scan imports this module

    if not scan.engine().compiled:
        return None
    from geohash_rs.archive import kernels  # noqa: PLC0415 - slow to import

    return kernels


@functools.lru_cache(maxsize=8)
def _edges(geometry: BaseGeometry) -> npt.NDArray[np.float64]:
    """List the edges of all rings, (x, y) of both ends, shape (e, 4)."""
    rings = shapely.get_rings(shapely.get_parts(geometry))
    coords = [shapely.get_coordinates(ring) for ring in rings]
    return np.concatenate([np.hstack([ring[:-1], ring[1:]]) for ring in coords])


def _turns(targets: Array | tuple[float, ...], boxes: Boxes) -> Boxes:
    """Repeat boxes one turn further east if tiles across the antimeridian reach there."""
    targets = np.atleast_2d(np.asarray(targets, dtype=np.float64))
    if len(boxes) and boxes[:, 2].max() > 180:
        targets = np.vstack([targets, targets + [360.0, 0.0, 360.0, 0.0]])
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
    """Place rows against boxes.

    A stored box is larger than the true one by less than `slack` on each side. A footprint touches
    all four sides of its true box, so one that lies inside the target in y and whose left or right
    side is inside in x surely meets it, and likewise with x and y exchanged.
    """
    status = np.where(_meets(boxes, targets), MAYBE, OUT).astype(np.uint8)
    status[_inside(boxes, targets)] = IN
    if within:
        return status
    x0, y0, x1, y1 = boxes.T
    for xmin, ymin, xmax, ymax in targets:
        side_x = ((x1 - slack[0] >= xmin) & (x1 <= xmax)) | ((x0 >= xmin) & (x0 + slack[0] <= xmax))
        side_y = ((y1 - slack[1] >= ymin) & (y1 <= ymax)) | ((y0 >= ymin) & (y0 + slack[1] <= ymax))
        sure = (side_x & (y0 >= ymin) & (y1 <= ymax)) | (side_y & (x0 >= xmin) & (x1 <= xmax))
        status[sure] = IN
    return status


def _place_shapes(region: Region, boxes: Boxes) -> Status:
    """Place boxes against a shape of any kind."""
    kernels = _kernels()
    if kernels is not None and len(boxes) and region.geometry.geom_type in POLYGONAL:
        edges = _edges(region.geometry)
        if len(edges) <= MANY_EDGES:
            status = np.empty(len(boxes), np.uint8)
            kernels.place_edges(np.ascontiguousarray(boxes), edges, MARGIN, status)
            status[boxes[:, 2] > 180] = MAYBE
            return status
    west = np.maximum(boxes[:, 0] - MARGIN, -180.0 - MARGIN)
    cells = shapely.box(west, boxes[:, 1] - MARGIN, boxes[:, 2] + MARGIN, boxes[:, 3] + MARGIN)
    shapely.prepare(region.geometry)
    status = np.where(shapely.intersects(region.geometry, cells), MAYBE, OUT).astype(np.uint8)
    status[shapely.contains_properly(region.geometry, cells)] = IN
    beyond = boxes[:, 2] > 180
    status[beyond] = MAYBE
    return status
