"""What the map shows of an archive: a day, a scene, a time range, a tile size."""

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import Self, TypedDict

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from geohash_rs.errors import QueryError
from geohash_rs.export.plain_text import scene_name
from geohash_rs.retrieval.at_point import DAY
from geohash_rs.store.search.filters import TimeRange, parse_time
from geohash_rs.store.search.rules import rules_of
from geohash_rs.store.search.where import Where
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.snapshot import Snapshot

__all__ = ["EVERYTHING", "UNDATED", "Asked", "Shown", "day_name"]

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
UNDATED = "undated"  # the day of tiles without a date


class Asked(TypedDict, total=False):
    """What the page asks to be shown, as text; see `Shown.parse`."""

    day: str | None
    scene: str | None
    time: str | None
    tile_size: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """Which tiles the map shows, of which a click takes the topmost.

    Attributes:
        where: Limits by time, scene and tile size.
        day: The day on which they were taken (UTC), days since 1970; `UNDATED` for those without
            a date; None shows every day.
    """

    where: Where
    day: int | str | None = None

    @classmethod
    def parse(
        cls,
        archive: Snapshot,
        *,
        day: str | None = None,
        scene: str | None = None,
        time: str | None = None,
        tile_size: int | None = None,
    ) -> Self:
        """Parse what the page asks to be shown.

        Args:
            archive: The archive, in one state.
            day: Such as "2023-06-01", or `UNDATED`.
            scene: Name of a scene without its folder; of several with this name, all are shown.
            time: As in `parse_time`.
            tile_size: Only tiles of this size, px.

        Returns:
            The limits.

        Raises:
            QueryError: If the day cannot be read, or there is no such scene.
            TimeRangeError: If the time range cannot be read, or ends before it starts.
        """
        scenes = None
        if scene is not None:
            known = {text for segment in archive.segments for text in segment.texts("scene")}
            scenes = frozenset(text for text in known if scene_name(text) == scene)
            if not scenes:
                msg = f"the archive has no scene named {scene!r}; see the list of its dates."
                raise QueryError(msg)
        where = Where(
            time=None if time is None else parse_time(time),
            scenes=scenes,
            tile_sizes=None if tile_size is None else frozenset([tile_size]),
        )
        return cls(where=where, day=None if day is None else _day(day))

    def rows(self, segment: Segment, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which rows of a segment are shown on any day and of any scene.

        Args:
            segment: The segment.
            rows: Row numbers, shape (m,).

        Returns:
            Booleans, shape (m,).
        """
        kept = np.ones(len(rows), bool)
        where = dataclasses.replace(self.where, scenes=None)
        if where.is_everything:
            return kept
        rules = rules_of(segment, where)
        if rules is None:
            return ~kept
        for rule in rules:
            kept[kept] = rule.test(segment.numbers(rule.column, rows[kept]))
        return kept

    def tiles(self, tiles: gpd.GeoDataFrame) -> npt.NDArray[np.bool_]:
        """Return which tiles were taken on the day.

        Args:
            tiles: Tiles with the column datetime, shape (m,).

        Returns:
            Booleans, shape (m,).
        """
        moments = pd.to_datetime(tiles["datetime"], utc=True)
        if self.day is None:
            return np.ones(len(tiles), bool)
        if self.day == UNDATED:
            return np.asarray(moments.isna(), dtype=bool)
        is_shown = moments.dt.strftime("%Y-%m-%d") == day_name(self.day)
        return np.asarray(is_shown, dtype=bool)

    def has_scene(
        self, scene: str, start: dt.datetime | None, end: dt.datetime | None = None
    ) -> bool:
        """Return whether a scene is shown.

        Args:
            scene: Its path or URI.
            start: When it was taken.
            end: End of a range of times.

        Returns:
            Whether it passes the day, the time and the scenes.
        """
        if self.where.scenes is not None and scene not in self.where.scenes:
            return False
        if start is None:
            return self.where.time is None and self.day in (None, UNDATED)
        first, last = _microseconds(start), _microseconds(end or start)
        time = self.where.time or TimeRange(start=None, end=None)
        in_time = (time.start is None or last >= time.start) and (
            time.end is None or first <= time.end
        )
        return in_time and self.day in (None, first // DAY)

    def limits(self) -> Where:
        """Return the limits with the day as a time range, to explain what passes none of them."""
        if not isinstance(self.day, int):
            return self.where
        start = self.day * DAY
        return dataclasses.replace(self.where, time=TimeRange(start=start, end=start + DAY - 1))


EVERYTHING = Shown(where=Where())


def day_name(day: int | str) -> str:
    """Return a day as text.

    Args:
        day: Days since 1970, or `UNDATED`.

    Returns:
        Such as "2023-06-01", or `UNDATED`.
    """
    return day if isinstance(day, str) else str(np.datetime64(day, "D"))


def _day(text: str) -> int | str:
    if text == UNDATED:
        return text
    try:
        found = np.datetime64(dt.date.fromisoformat(text), "D")
    except ValueError as error:
        msg = f"day is {text[:40]!r}; write it as 2023-06-01, or {UNDATED!r}."
        raise QueryError(msg) from error
    return int(found.astype(np.int64))


def _microseconds(moment: dt.datetime) -> int:
    known = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
    return (known - EPOCH) // dt.timedelta(microseconds=1)
