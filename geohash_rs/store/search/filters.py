"""Parse what a search is limited to: region, time range, names and tile sizes."""

import datetime as dt
import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt
import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from geohash_rs.errors import QueryError, RegionError, TimeRangeError
from geohash_rs.store.search.regions import read_region, region_of_frame
from geohash_rs.store.times import EXAMPLE, parse_iso

if TYPE_CHECKING:  # slow to import, so functions import them for what only they can parse
    import geopandas as gpd

__all__ = [
    "BBox",
    "Region",
    "RegionLike",
    "SizeLike",
    "TimeLike",
    "TimeRange",
    "parse_names",
    "parse_region",
    "parse_sizes",
    "parse_time",
]

BBox = tuple[float, float, float, float]
RegionLike: TypeAlias = Union[  # noqa: UP007 - geopandas is named, not imported
    BaseGeometry, "gpd.GeoDataFrame", "gpd.GeoSeries", Path, str, Sequence[float]
]
Moment = str | dt.date | dt.datetime | np.datetime64 | None
TimeLike = Sequence[Moment] | str
SizeLike = int | Collection[int]

WHOLE_UNITS = {("Y", 1), ("M", 1), ("D", 1)}
LONG_UNITS = {"Y", "M", "W", "D"}


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of the globe, in longitude and latitude.

    Attributes:
        targets: (minlon, minlat, maxlon, maxlat) of the boxes that make up the region, or of the
            one box around it; read-only, float64, shape (boxes, 4).
        shape: The region's geometry, if it is not made of boxes.
    """

    targets: npt.NDArray[np.float64]
    shape: BaseGeometry | None = field(default=None, repr=False)

    @property
    def is_boxes(self) -> bool:
        """Whether the region is made of boxes."""
        return self.shape is None

    @functools.cached_property
    def geometry(self) -> BaseGeometry:
        """The region, longitudes within [-180, 180], split at the antimeridian."""
        if self.shape is not None:
            return self.shape
        shapes = [_box_geometry(box) for box in self.targets]
        return shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)

    @functools.cached_property
    def bounds(self) -> BBox:
        """The smallest box around the region."""
        xmin, ymin = self.targets[:, :2].min(axis=0).tolist()
        xmax, ymax = self.targets[:, 2:].max(axis=0).tolist()
        return (xmin, ymin, xmax, ymax)


@dataclass(frozen=True, kw_only=True)
class TimeRange:
    """A time range, both ends included.

    Attributes:
        start: Microseconds since 1970 UTC, or None if open.
        end: Microseconds since 1970 UTC, or None if open.
    """

    start: int | None
    end: int | None


def parse_names(names: Collection[str], *, what: str) -> frozenset[str]:
    """Check a collection of scenes or labels.

    Args:
        names: Scenes or labels.
        what: The argument's name, for messages.

    Returns:
        The distinct names.

    Raises:
        QueryError: If it is a single string, whose letters would be taken for names.
    """
    if isinstance(names, str | bytes):
        msg = f"{what} is the string {names!r}, but it must be a collection; pass [{names!r}]."
        raise QueryError(msg)
    return frozenset(names)


def parse_sizes(tile_size: SizeLike) -> frozenset[int]:
    """Check tile sizes.

    Args:
        tile_size: One size or several, px; an empty collection finds nothing.

    Returns:
        The distinct sizes.

    Raises:
        QueryError: If one is not a whole number of pixels from 1 on.
    """
    alone = isinstance(tile_size, str | bytes) or not isinstance(tile_size, Collection)
    sizes: list[Any] = [tile_size] if alone else list(tile_size)  # type: ignore[arg-type]
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            msg = (
                f"tile_size is {tile_size!r}, but it must be a whole number of pixels, 1 or more, "
                "or several of them, such as (64, 128)."
            )
            raise QueryError(msg)
    return frozenset(int(size) for size in sizes)


def parse_region(region: RegionLike) -> Region:
    """Parse a region.

    Args:
        region: A shapely geometry in longitude and latitude; a table or file of geometries in any
            CRS, as in `read_region`; or (minlon, minlat, maxlon, maxlat) in degrees. A box whose
            minlon is larger than its maxlon crosses the antimeridian, as in RFC 7946. Longitudes in
            [-360, 360] are wrapped into [-180, 180].

    Returns:
        The checked region.

    Raises:
        RegionError: If it is empty, invalid, has numbers that are not finite, or lies outside the
            valid longitudes and latitudes.
    """
    name = "region"
    if isinstance(region, str | Path):
        name = str(region)
        region = read_region(region)
    elif not isinstance(region, BaseGeometry | Sequence | np.ndarray):
        import geopandas as gpd

        if isinstance(region, gpd.GeoDataFrame | gpd.GeoSeries):
            region = region_of_frame(region, name="region")
    given: Any = region
    return _from_geometry(given, name) if isinstance(given, BaseGeometry) else _from_bbox(given)


def _from_bbox(values: Sequence[float]) -> Region:
    try:
        minlon, minlat, maxlon, maxlat = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        msg = (
            f"region is {values!r}, but it must be a shapely geometry or four numbers "
            "(minlon, minlat, maxlon, maxlat)."
        )
        raise RegionError(msg) from error
    _check_range((minlon, minlat, maxlon, maxlat), "region")
    if minlat > maxlat:
        msg = (
            f"region has minlat {minlat:g} above maxlat {maxlat:g}; the order is "
            "(minlon, minlat, maxlon, maxlat)."
        )
        raise RegionError(msg)
    spans = [(minlon, maxlon + 360.0 if minlon > maxlon else maxlon)]
    full = spans[0][1] - spans[0][0] >= 360
    spans = [(-180.0, 180.0)] if full else _wrap_span(*spans[0])
    boxes = np.array([(low, minlat, high, maxlat) for low, high in spans])
    boxes.setflags(write=False)
    return Region(targets=boxes)


def _wrap_span(low: float, high: float) -> list[tuple[float, float]]:
    shift = 360.0 * np.floor((low + 180.0) / 360.0)
    if low == high == 180.0:
        shift = 0.0
    low, high = low - shift, high - shift
    if high <= 180.0:
        return [(low, high)]
    return [(low, 180.0), (-180.0, high - 360.0)]


def _box_geometry(box: npt.NDArray[np.float64]) -> BaseGeometry:
    """Turn a box into a point, line or polygon, to avoid degenerate polygons in GEOS."""
    minlon, minlat, maxlon, maxlat = box
    if minlon == maxlon and minlat == maxlat:
        return shapely.Point(minlon, minlat)
    if minlon == maxlon or minlat == maxlat:
        return shapely.LineString([(minlon, minlat), (maxlon, maxlat)])
    polygon: BaseGeometry = shapely.box(minlon, minlat, maxlon, maxlat)
    return polygon


def _from_geometry(region: BaseGeometry, name: str) -> Region:
    if region.is_empty:
        msg = f"{name} is an empty {region.geom_type}; pass a geometry with coordinates."
        raise RegionError(msg)
    geometry = shapely.force_2d(region)
    _check_range(geometry.bounds, name)
    if not geometry.is_valid:
        msg = (
            f"{name} is not a valid {geometry.geom_type} ({shapely.is_valid_reason(geometry)}); "
            "repair it, for example with shapely.make_valid."
        )
        raise RegionError(msg)
    geometry = _wrap_geometry(geometry)
    xmin, ymin, xmax, ymax = geometry.bounds
    around = shapely.box(xmin, ymin, xmax, ymax)
    is_box = geometry.geom_type == "Polygon" and bool(geometry.equals(around))
    targets = np.array([geometry.bounds])
    targets.setflags(write=False)
    return Region(targets=targets, shape=None if is_box else geometry)


def _wrap_geometry(geometry: BaseGeometry) -> BaseGeometry:
    """Wrap the parts of a region beyond the antimeridian back into [-180, 180]."""
    xmin, _, xmax, _ = geometry.bounds
    if xmin >= -180 and xmax <= 180:
        return geometry
    parts = shapely.get_parts(geometry)
    while (shapely.get_type_id(parts) > 3).any():  # collections of collections
        parts = shapely.get_parts(parts)
    pieces = []
    for turn in (-360.0, 0.0, 360.0):
        for part in parts:
            piece = shapely.intersection(part, shapely.box(turn - 180.0, -91.0, turn + 180.0, 91.0))
            # a polygon that only touches the antimeridian must not leave a line on the other side
            if not piece.is_empty and shapely.get_dimensions(piece) == shapely.get_dimensions(part):
                pieces.append(affinity.translate(piece, xoff=-turn))
    return shapely.union_all(pieces)


def _check_range(bounds: Sequence[float], name: str) -> None:
    if not np.all(np.isfinite(bounds)):
        msg = f"{name} has bounds {tuple(bounds)}, which are not all finite numbers."
        raise RegionError(msg)
    minlon, minlat, maxlon, maxlat = bounds
    lon, lat = max(abs(minlon), abs(maxlon)), max(abs(minlat), abs(maxlat))
    if lon <= 360 and lat <= 90:
        return
    advice = "reproject it to EPSG:4326 (x is the longitude)"
    if lon <= 90 and lat <= 360:
        swapped = ", ".join(f"{value:.10g}" for value in (minlat, minlon, maxlat, maxlon))
        advice = f"longitude comes first: if the two are swapped, pass region=({swapped})"
    elif lon <= 720 and lat <= 90:
        advice = "longitudes up to 360 are read as turns of the globe, such as 325 as -35"
    msg = (
        f"{name} has bounds ({minlon:g}, {minlat:g}, {maxlon:g}, {maxlat:g}), outside "
        f"longitude -180..180 and latitude -90..90; {advice}."
    )
    raise RegionError(msg)


def parse_time(time: TimeLike) -> TimeRange:
    """Parse a time range.

    Args:
        time: (start, end), both included. Each is an ISO 8601 string, a date, a datetime, or None
            for an open end. A time without a zone is UTC. An end given as a year, month, week or
            day (or as a datetime64 in years, months or days) means its last moment, so
            ("2023", "2023") is the whole year. Or both as text, ``start/end``, or one period, such
            as ``2023-06``.

    Returns:
        The range in microseconds.

    Raises:
        TimeRangeError: If it cannot be parsed or ends before it starts.
    """
    if isinstance(time, str):
        if not time.strip():
            msg = "time is empty; write a period, such as 2023-06, or leave it out."
            raise TimeRangeError(msg)
        first, slash, second = time.partition("/")
        time = (first, second if slash else first)
    if len(time) != 2:
        msg = f"time is {time!r}, but it must be a pair (start, end); None leaves an end open."
        raise TimeRangeError(msg)
    start, end = _moment(time[0], last=False), _moment(time[1], last=True)
    if start is not None and end is not None and end < start:
        msg = f"time ends before it starts: {time[0]!s} to {time[1]!s}; swap the two."
        raise TimeRangeError(msg)
    return TimeRange(start=start, end=end)


def _moment(value: Any, *, last: bool) -> int | None:  # noqa: ANN401 - anything a user passes
    if value is None or (isinstance(value, str) and value.strip() in ("", "..")):
        return None
    import pandas as pd

    try:
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            value = value.isoformat()
        if isinstance(value, np.datetime64) and np.datetime_data(value) in WHOLE_UNITS:
            value = str(value)
        if isinstance(value, np.datetime64) and np.datetime_data(value)[0] in LONG_UNITS:
            # NumPy's weeks begin on Thursday
            msg = f"its unit is neither a year, a month nor a day; {EXAMPLE}"
            raise TypeError(msg)  # noqa: TRY301
        if isinstance(value, str):
            value = parse_iso(value)[last]
        if not isinstance(value, dt.datetime | np.datetime64):
            msg = f"a {type(value).__name__} is not a date; {EXAMPLE}"
            raise TypeError(msg)
        stamp = pd.Timestamp(value)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"time {value!r} cannot be parsed: {error}."
        raise TimeRangeError(msg) from error
    if pd.isna(stamp):
        msg = "time has a missing value (NaT); use None for an open end."
        raise TimeRangeError(msg)
    if stamp.tzinfo is not None:
        stamp = stamp.tz_convert("UTC").tz_localize(None)
    return int(stamp.to_datetime64().astype("datetime64[us]").astype(np.int64))
