"""Turn the filters of a search into SQL conditions with every value a parameter."""

import datetime as dt
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from psycopg import sql

from geohash_rs.store.search.filters import Region, TimeRange
from geohash_rs.store.search.placement import SLIVER
from geohash_rs.store.search.where import Where

__all__ = ["Conditions"]

ROUNDING = 1e-4  # degrees, well above the 1.5e-5 to which PostGIS rounds the boxes of `@`
NOWHERE = 1000.0
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EARLIEST = (dt.datetime.min.replace(tzinfo=dt.UTC) - EPOCH) // dt.timedelta(microseconds=1)
LATEST = (dt.datetime.max.replace(tzinfo=dt.UTC) - EPOCH) // dt.timedelta(microseconds=1)


class Conditions:
    """The conditions of a search; a tile must meet all of them.

    Attributes:
        values: The parameters by name.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._parts: list[sql.Composable] = [sql.SQL("true")]

    @classmethod
    def of(cls, where: Where) -> "Conditions":
        """Return the conditions of filters.

        Args:
            where: The filters.

        Returns:
            The conditions.
        """
        conditions = cls()
        if where.region is not None:
            conditions.place(where.region, within=where.within)
        if where.time is not None:
            conditions.time(where.time)
        if where.scenes is not None:
            conditions.one_of("scene", where.scenes)
        if where.labels is not None:
            conditions.one_of("label", where.labels)
        if where.tile_sizes is not None:
            conditions.sizes(where.tile_sizes)
        if where.exclude_region is not None:
            conditions.not_over(where.exclude_region)
        if where.exclude_ids is not None:
            conditions.not_among(where.exclude_ids)
        return conditions

    def joined(self) -> sql.Composed:
        """Join the conditions with AND."""
        return sql.SQL(" AND ").join(self._parts)

    def near(self, distance: sql.Composable, most: int) -> None:
        """Require tiles to be within a distance, inclusive.

        Args:
            distance: The expression of `question.Question`.
            most: The largest distance, or cost, that counts.
        """
        self._add(sql.SQL("{} <= %(max_distance)s").format(distance), max_distance=most)

    def place(self, region: Region, *, within: bool) -> None:
        """Require tiles to be in a region.

        Args:
            region: The region.
            within: Whether a tile must lie inside the region rather than meet it.
        """
        place = "ST_GeomFromWKB(%(region)s, 4326)"
        test = "ST_CoveredBy" if within else "ST_Intersects"
        boxes = region.targets if region.is_boxes else region.targets[:0]
        # a tile whose box lies well inside a box of the region needs no exact test
        inner = [
            f"geometry @ ST_MakeEnvelope(%(w{n})s, %(s{n})s, %(e{n})s, %(n{n})s, 4326)"
            for n in range(len(boxes))
        ]
        sure = " OR ".join([*inner, f"{test}(geometry, {place})"])
        values = {
            f"{side}{n}": float(value)
            for n, box in enumerate(boxes)
            for side, value in zip("wsen", _shrunk(box), strict=True)
        }
        text = f"geometry && {place} AND ({sure})"
        self._add(sql.SQL(text), region=shapely.to_wkb(region.geometry), **values)

    def not_over(self, region: Region) -> None:
        """Exclude tiles that overlap a region.

        Args:
            region: The region.
        """
        place = "ST_GeomFromWKB(%(excluded)s, 4326)"
        smaller = f"least(ST_Area(geometry), ST_Area({place}))"
        shared = f"ST_Area(ST_Intersection(geometry, {place})) > %(sliver)s * {smaller}"
        # a tile without a footprint overlaps nothing
        text = f"(NOT (ST_Intersects(geometry, {place}) AND {shared}) OR geometry IS NULL)"
        excluded = shapely.to_wkb(region.geometry)
        self._add(sql.SQL(text), excluded=excluded, sliver=SLIVER)

    def time(self, time: TimeRange) -> None:
        """Require tiles to be in a time range.

        Args:
            time: The range, both ends included.
        """
        self._add(sql.SQL("datetime IS NOT NULL"))
        if time.start is not None:
            text = "coalesce(datetime_end, datetime) >= %(start)s::timestamptz"
            self._add(sql.SQL(text), start=_moment(time.start))
        if time.end is not None:
            self._add(sql.SQL("datetime <= %(end)s::timestamptz"), end=_moment(time.end))

    def one_of(self, column: str, texts: Collection[str]) -> None:
        """Require a column to hold one of the given texts.

        Args:
            column: "scene" or "label".
            texts: The texts; those with a zero byte are dropped, since no row can hold them.
        """
        text = sql.SQL("{} = ANY(%({})s::text[])")
        wanted = sorted(item for item in texts if "\0" not in item)
        self._add(text.format(sql.Identifier(column), sql.SQL(column)), **{column: wanted})

    def sizes(self, sizes: Collection[int]) -> None:
        """Require tiles to have one of the given sizes.

        Args:
            sizes: The sizes, px; those that no row can hold are dropped.
        """
        text = "coalesce(tile_size, greatest(width, height)) = ANY(%(tile_sizes)s::integer[])"
        wanted = sorted(size for size in sizes if size < 2**31)
        self._add(sql.SQL(text), tile_sizes=wanted)

    def not_among(self, ids: npt.NDArray[np.int64]) -> None:
        """Exclude tiles with these ids.

        Args:
            ids: Tile ids.
        """
        self._add(sql.SQL("tile_id <> ALL(%(excluded_ids)s::bigint[])"), excluded_ids=ids.tolist())

    def _add(self, condition: sql.Composable, **values: Any) -> None:  # noqa: ANN401 - any parameter
        self._parts.append(condition)
        self.values |= values


def _shrunk(box: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shrink a box by more than PostGIS's rounding; an empty result moves off the globe."""
    smaller = box + np.array([ROUNDING, ROUNDING, -ROUNDING, -ROUNDING])
    empty = smaller[0] >= smaller[2] or smaller[1] >= smaller[3]
    return np.array([NOWHERE, NOWHERE, NOWHERE, NOWHERE]) if empty else smaller


def _moment(microseconds: int) -> str:
    """Format a time for PostgreSQL; times beyond Python's range become infinity."""
    if microseconds < EARLIEST:
        return "-infinity"
    if microseconds > LATEST:
        return "infinity"
    return (EPOCH + dt.timedelta(microseconds=microseconds)).isoformat()
