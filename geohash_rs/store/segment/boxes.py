"""Find the boxes of tiles in a view of the map, from the mapped index alone."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from geohash_rs.store.segment.layout import BLOCK, STEPS
from geohash_rs.store.segment.read import Segment

__all__ = ["boxes_in_view"]

Boxes = npt.NDArray[np.float64]


def boxes_in_view(segment: Segment, view: Sequence[float]) -> tuple[npt.NDArray[np.int64], Boxes]:
    """Find the live tiles of a segment whose boxes meet a view.

    Args:
        segment: The segment.
        view: (minlon, minlat, maxlon, maxlat) in degrees, minlon <= maxlon; both may lie beyond
            180, as on a map that wraps around the globe.

    Returns:
        Row numbers, int64, shape (m,), and boxes (xmin, ymin, xmax, ymax) in degrees, float64,
        shape (m, 4): larger than the footprints by up to 1/65535 of the extent of their block.
    """
    corners = np.asarray(segment.index["block_boxes"])
    stored = segment.index["boxes"]
    removed = None if segment.removed is None else segment.removed_rows()
    rows: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    found: list[Boxes] = [np.empty((0, 4))]
    for block in np.flatnonzero(_meets(corners, view)).tolist():  # one block fits in the cache
        part = slice(block * BLOCK, min((block + 1) * BLOCK, len(segment)))
        corner = corners[block]
        step = (corner[2:] - corner[:2]) / STEPS
        boxes = np.tile(corner[:2], 2) + stored[part] * np.tile(step, 2)
        kept = _meets(boxes, view)
        kept &= stored[part, 0] <= stored[part, 2]  # xmin above xmax: no footprint
        if removed is not None:
            kept &= ~removed[part]
        rows.append(np.flatnonzero(kept) + part.start)
        found.append(boxes[kept])
    return np.concatenate(rows), np.concatenate(found)


def _meets(boxes: Boxes, view: Sequence[float]) -> npt.NDArray[np.bool_]:
    west, south, east, north = view
    level = (boxes[:, 1] <= north) & (boxes[:, 3] >= south)
    turned = [(boxes[:, 0] + t <= east) & (boxes[:, 2] + t >= west) for t in (-360, 0, 360)]
    return level & (turned[0] | turned[1] | turned[2])
