"""A tree over blocks of tiles, of which a page reads only the nodes at the border of a region."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.export.site.blocks import ROWS

__all__ = ["FAN", "Tree"]

FAN = 16  # nodes below one node
MOST_TOP = 1024  # nodes that a page always reads
EARLIEST, LATEST = int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max)

Array = npt.NDArray[Any]


@dataclass
class Tree:
    """The boxes and times of blocks, and of groups of 16 of them, and so on.

    Attributes:
        boxes: (xmin, ymin, xmax, ymax) of the tiles of each block, degrees, float32 rounded
            outward, xmax above 180 across the antimeridian; infinite if only some of the tiles
            have a footprint, inverted if none has. One array per piece, shape (blocks, 4).
        times: Least and greatest start, least and greatest end, microseconds since 1970 UTC; a
            missing start is the latest of all moments as greatest, a missing end the earliest
            as least. One array per piece, shape (blocks, 4).
    """

    boxes: list[Array] = field(default_factory=list)
    times: list[Array] = field(default_factory=list)

    def add(self, bounds: Array, starts: Array, ends: Array) -> None:
        """Add tiles.

        Args:
            bounds: Boxes of footprints in degrees, NaN where missing, shape (n, 4); n is a multiple
                of `ROWS`, but for the last.
            starts: Microseconds since 1970 UTC, the smallest integer where missing, shape (n,).
            ends: Likewise.
        """
        edges = np.arange(0, len(bounds), ROWS)
        missing = np.isnan(bounds[:, 0])
        low = np.where(missing[:, None], np.inf, bounds[:, :2])
        high = np.where(missing[:, None], -np.inf, bounds[:, 2:])
        lows = _outward(np.minimum.reduceat(low, edges), -np.inf)
        highs = _outward(np.maximum.reduceat(high, edges), np.inf)
        mixed = np.logical_or.reduceat(missing, edges) & np.isfinite(lows[:, 0])
        lows[mixed], highs[mixed] = -np.inf, np.inf
        self.boxes.append(np.hstack([lows, highs]))
        unknown = starts == EARLIEST
        self.times.append(
            np.stack(
                [
                    np.minimum.reduceat(np.where(unknown, LATEST, starts), edges),
                    np.maximum.reduceat(np.where(unknown, LATEST, starts), edges),
                    np.minimum.reduceat(np.where(unknown, EARLIEST, ends), edges),
                    np.maximum.reduceat(np.where(unknown, EARLIEST, ends), edges),
                ],
                axis=1,
            )
        )

    def write(self, folder: Path, *, timed: bool) -> int:
        """Write the boxes of each level to a file such as `nodes-0.bin`; level 0 are the blocks.

        Args:
            folder: Where to write.
            timed: Whether to write times too, to files such as `times-0.bin`.

        Returns:
            The number of levels.
        """
        boxes, times = np.concatenate(self.boxes), np.concatenate(self.times)
        level = 0
        while True:
            (folder / f"nodes-{level}.bin").write_bytes(boxes.astype("<f4").tobytes())
            if timed:
                (folder / f"times-{level}.bin").write_bytes(times.astype("<i8").tobytes())
            level += 1
            if len(boxes) <= MOST_TOP:
                return level
            edges = np.arange(0, len(boxes), FAN)
            # a group with blocks without any footprint has rows that no region holds
            bare = np.logical_or.reduceat(boxes[:, 0] > boxes[:, 2], edges)
            low, high = (
                np.minimum.reduceat(boxes[:, :2], edges),
                np.maximum.reduceat(boxes[:, 2:], edges),
            )
            mixed = bare & (low[:, 0] <= high[:, 0])
            low[mixed], high[mixed] = -np.inf, np.inf
            boxes = np.hstack([low, high])
            least, most = np.minimum.reduceat(times, edges), np.maximum.reduceat(times, edges)
            times = np.stack([least[:, 0], most[:, 1], least[:, 2], most[:, 3]], axis=1)


def _outward(values: Array, towards: float) -> Array:
    """Round to float32, down if `towards` is negative infinity, up if it is positive."""
    rounded = values.astype(np.float32)
    short = rounded > values if towards < 0 else rounded < values
    return np.where(short, np.nextafter(rounded, np.float32(towards)), rounded)
