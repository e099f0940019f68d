"""The days on which the tiles in view were taken, read from the index."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.export.plain_text import scene_name
from geohash_rs.retrieval.at_point import DAY
from geohash_rs.serve.shown import UNDATED, day_name
from geohash_rs.store.segment.read import Segment

__all__ = ["PartInView", "dates_of"]

MOST_SCENES = 1000  # names in an answer
MOST_BINS = 1_000_000
NEVER = np.iinfo(np.int64).min
UNKNOWN = np.iinfo(np.int64).max  # size of a tile

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PartInView:
    """The tiles in view of one segment.

    Attributes:
        segment: The segment.
        rows: Row numbers, shape (n,).
        boxes: (xmin, ymin, xmax, ymax) in degrees, shape (n, 4).
    """

    segment: Segment
    rows: Ints
    boxes: npt.NDArray[np.float64]

    def sizes(self) -> Ints:
        """Return the tile sizes, px, the largest number where unknown, shape (n,)."""
        values = np.append(self.segment.index["size_values"], UNKNOWN)
        return values[self.segment.numbers("size", self.rows)]

    def starts(self) -> Ints:
        """Return when tiles were taken, us since 1970, the smallest number where unknown."""
        return self._moments()[self.segment.numbers("start", self.rows)]

    def on(self, day: int | str | None, *, scenes: Collection[str] | None) -> "PartInView":
        """Return the tiles of a day and of scenes.

        Args:
            day: As in `Shown`.
            scenes: Paths or URIs; None means all.

        Returns:
            Those that were taken on it.
        """
        kept = np.ones(len(self.rows), bool)
        if day is not None:
            moments = self._moments()
            counts = moments == NEVER if day == UNDATED else moments // DAY == day
            kept &= counts[self.segment.numbers("start", self.rows)]
        if scenes is not None:
            counts = np.array([text in scenes for text in self.segment.texts("scene")])
            kept &= counts[self.segment.numbers("scene", self.rows)]
        return PartInView(segment=self.segment, rows=self.rows[kept], boxes=self.boxes[kept])

    def count(self) -> Iterable[tuple[int | str, str, int]]:
        """Count tiles by moment and scene.

        Yields:
            The day, the scene's name and the number of tiles.
        """
        names = self.segment.texts("scene")
        moments = self._moments()
        pairs = self.segment.numbers("start", self.rows).astype(np.int64) * len(names)
        pairs += self.segment.numbers("scene", self.rows)
        if len(moments) * len(names) <= MOST_BINS:  # faster than sorting
            totals = np.bincount(pairs)
            found = np.flatnonzero(totals)
            totals = totals[found]
        else:
            found, totals = np.unique(pairs, return_counts=True)
        for pair, total in zip(found.tolist(), totals.tolist(), strict=True):
            start, scene = divmod(pair, len(names))
            moment = int(moments[start])
            yield UNDATED if moment == NEVER else moment // DAY, scene_name(names[scene]), total

    def _moments(self) -> Ints:
        return np.append(self.segment.index["start_values"], NEVER)


def dates_of(parts: Iterable[PartInView]) -> list[dict[str, Any]]:
    """List the days of tiles.

    Args:
        parts: The tiles.

    Returns:
        For each day, `UNDATED` first and then the earliest: its name ``day``, the number of
        ``tiles``, and the names of their ``scenes``, which are left out of a long answer.
    """
    counts: dict[int | str, int] = {}
    scenes: dict[int | str, set[str]] = {}
    for part in parts:
        for day, scene, total in part.count():
            counts[day] = counts.get(day, 0) + total
            scenes.setdefault(day, set()).add(scene)
    in_order = sorted(counts, key=lambda day: NEVER if isinstance(day, str) else day)
    listed = sum(map(len, scenes.values())) <= MOST_SCENES
    return [
        {
            "day": day_name(day),
            "tiles": counts[day],
            "scenes": sorted(scenes[day]) if listed else [],
        }
        for day in in_order
    ]
