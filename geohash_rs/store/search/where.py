"""The filters of a search: region, time, scenes, labels, tile sizes and exclusions, parsed once."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Self, TypedDict

import numpy as np
import numpy.typing as npt

from geohash_rs.store.search.filters import (
    Region,
    RegionLike,
    SizeLike,
    TimeLike,
    TimeRange,
    parse_names,
    parse_region,
    parse_sizes,
    parse_time,
)

__all__ = ["Where", "WhereOptions"]


class WhereOptions(TypedDict, total=False):
    """Which tiles of an archive are meant, as a user says it.

    Attributes:
        region: Only tiles that meet this: a shapely geometry in lon/lat, or (minlon, minlat,
            maxlon, maxlat); minlon > maxlon crosses the dateline.
        within: Only tiles that lie entirely in the region.
        time: Only tiles from this range, (first, last), inclusive; None leaves an end open.
        scenes: Only tiles of these scenes.
        labels: Only tiles with these labels.
        tile_size: Only tiles of this size or these sizes, px.
    """

    region: RegionLike | None
    within: bool
    time: TimeLike | None
    scenes: Collection[str] | None
    labels: Collection[str] | None
    tile_size: SizeLike | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Where:
    """The filters of a search. A tile must pass all of them; None does not filter.

    Attributes:
        region: The region that footprints must meet.
        within: Whether a footprint must lie inside the region rather than meet it.
        time: The range that tiles must have been taken in.
        scenes: Scenes that tiles must come from.
        labels: Labels that tiles must have.
        tile_sizes: Tile sizes that tiles must have, px.
        exclude_region: A region that no footprint may overlap; touching it is allowed.
        exclude_ids: Ids that tiles must not have, int64, ascending.
    """

    region: Region | None = None
    within: bool = False
    time: TimeRange | None = None
    scenes: frozenset[str] | None = None
    labels: frozenset[str] | None = None
    tile_sizes: frozenset[int] | None = None
    exclude_region: Region | None = None
    exclude_ids: npt.NDArray[np.int64] | None = None

    @property
    def is_everything(self) -> bool:
        """Whether no filter is set, so that every tile passes."""
        names = (field.name for field in fields(self) if field.name != "within")
        return all(getattr(self, name) is None for name in names)

    @classmethod
    def parse(
        cls,
        *,
        region: RegionLike | None = None,
        within: bool = False,
        time: TimeLike | None = None,
        scenes: Collection[str] | None = None,
        labels: Collection[str] | None = None,
        tile_size: SizeLike | None = None,
        exclude_region: RegionLike | None = None,
        exclude_ids: npt.NDArray[np.int64] | Collection[int] | None = None,
    ) -> Self:
        """Parse and check the filters that a user passes.

        Args:
            region: As in `parse_region`.
            within: Whether footprints must lie inside the region.
            time: As in `parse_time`.
            scenes: Scenes; an empty collection finds nothing.
            labels: Labels.
            tile_size: As in `parse_sizes`.
            exclude_region: As in `parse_region`.
            exclude_ids: Tile ids; unknown ids are ignored.

        Returns:
            The filters; they can be pickled for another process.

        Raises:
            RegionError: If a region is empty, invalid or outside the globe.
            TimeRangeError: If the time range cannot be parsed or ends before it starts.
            QueryError: If scenes or labels are a single string, or a tile size is not a whole
                number of pixels from 1 on.
        """
        return cls(
            region=None if region is None else parse_region(region),
            within=within,
            time=None if time is None else parse_time(time),
            scenes=None if scenes is None else parse_names(scenes, what="scenes"),
            labels=None if labels is None else parse_names(labels, what="labels"),
            tile_sizes=None if tile_size is None else parse_sizes(tile_size),
            exclude_region=None if exclude_region is None else parse_region(exclude_region),
            exclude_ids=(
                None if exclude_ids is None else np.unique(np.asarray(exclude_ids, dtype=np.int64))
            ),
        )
