"""Find the archive's tiles at a point: one rule for Python, the command line, the page and QGIS."""

import dataclasses
from collections.abc import Iterable, Sequence

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from geohash_rs.export.plain_text import scene_name
from geohash_rs.retrieval.swapped import check_point, swapped_point
from geohash_rs.store.search.filters import TimeRange, parse_region
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable, bits_of
from geohash_rs.store.segment.tiles import sizes_of_tiles

__all__ = [
    "DAY",
    "centres_of",
    "check_point",
    "covering",
    "days_of",
    "explain_none",
    "tiles_at",
    "turned_lon",
    "turned_points",
]

MOST_LISTED = 12  # dates or scenes in a message
DAY = 86_400_000_000  # microseconds


def tiles_at(archive: Searchable, point: Sequence[float], *, where: Where) -> gpd.GeoDataFrame:
    """Find the tiles that cover a point, the one to search with first.

    That is the smallest, px; of those the latest; of those the one whose centre is nearest to the
    point; of those the one with the lowest id. Tiles without a size or date come last.
    The map is painted in the same order, so this is the tile that is seen at the point.

    Args:
        archive: The archive.
        point: Longitude and latitude, degrees.
        where: Limits on the tiles. Its region is ignored: it says where matches may lie.

    Returns:
        The tiles with the columns of `Searchable.tiles`; empty if none is there.

    Raises:
        QueryError: If the point is not valid.
    """
    here = shapely.Point(check_point(point))
    at_point = dataclasses.replace(
        where, region=parse_region(here), within=False, exclude_region=None, exclude_ids=None
    )
    num_bits = bits_of(archive)
    anything = np.zeros((1, num_bits // 8), dtype=np.uint8)
    found = archive.find(anything, limits=Limits(k=None, max_distance=num_bits), where=at_point)
    tiles = archive.tiles(found.ids[0][found.ids[0] >= 0])
    return tiles.iloc[covering(tiles, np.array([here]))["tile"].to_numpy()].reset_index(drop=True)


def covering(tiles: gpd.GeoDataFrame, points: npt.NDArray[np.object_]) -> pd.DataFrame:
    """List the tiles that cover each of some points, in the order of `tiles_at`.

    Args:
        tiles: Tiles with the columns of `Searchable.tiles`.
        points: Points, or empty ones, with longitudes as from `turned_lon` and latitudes, shape
            (n,).

    Returns:
        Columns point and tile, the rows in what was given; the points one after another.
    """
    shapes = tiles.geometry.to_numpy()
    point, tile = shapely.STRtree(shapes).query(points, predicate="intersects")
    centres, here = centres_of(shapes)[tile], points[point]
    east = turned_lon(shapely.get_x(centres) - shapely.get_x(here))
    north = shapely.get_y(centres) - shapely.get_y(here)
    pairs = pd.DataFrame(
        {
            "point": point,
            "size": sizes_of_tiles(tiles)[tile],
            "datetime": tiles["datetime"].to_numpy()[tile],
            "away": np.hypot(east, north).round(9),
            "tile_id": tiles["tile_id"].to_numpy()[tile],
            "tile": tile,
        }
    )
    return pairs.sort_values(
        ["point", "size", "datetime", "away", "tile_id"], ascending=[True, True, False, True, True]
    )[["point", "tile"]]


def turned_lon(lon: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Turn longitudes, or differences of them, into -180..180; those within stay as they are.

    Args:
        lon: Degrees, any shape.

    Returns:
        Degrees, of the same shape.

    >>> turned_lon([7.1, 180, -190]).tolist()
    [7.1, 180.0, 170.0]
    """
    given = np.asarray(lon, dtype=np.float64)
    return np.where(np.abs(given) <= 180, given, given - 360 * np.floor((given + 180) / 360))


def centres_of(footprints: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Return the centres of footprints, also of those that are split at 180 degrees.

    Args:
        footprints: Polygons in longitude and latitude, shape (tiles,).

    Returns:
        Points with longitudes as from `turned_lon`, shape (tiles,).
    """
    bounds = shapely.bounds(footprints)
    split = np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180)
    whole = footprints.copy()
    whole[split] = shapely.transform(
        footprints[split], lambda xy: np.where(xy[:, :1] < 0, [360, 0], [0, 0]) + xy
    )
    centres = shapely.centroid(whole)
    centres[split] = turned_points(centres[split])
    return centres


def turned_points(points: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Turn the longitudes of points as `turned_lon` does, shape (n,)."""
    return np.asarray(shapely.points(turned_lon(shapely.get_x(points)), shapely.get_y(points)))


def explain_none(
    archive: Searchable,
    point: Sequence[float],
    *,
    where: Where,
    advice: str = "see its extent with 'geohash-rs info'",
) -> str:
    """Explain why no tile at a point passes the limits.

    Args:
        archive: The archive.
        point: Longitude and latitude, degrees.
        where: The limits, which no tile there passes.
        advice: What to do if there is no tile at all.

    Returns:
        A sentence that lists the dates, scenes, sizes or labels that are there, whichever is
        limited.

    Raises:
        QueryError: If the point is not valid.
    """
    lon, lat = check_point(point)
    at = f"{round(lon, 6)}, {round(lat, 6)}"
    there = tiles_at(archive, point, where=Where())
    if not len(archive):
        return f"{archive.path} holds no tiles; add scenes with 'geohash-rs index'."
    if there.empty:
        said = f"no tile of the archive lies at {at}; {advice}."
        return f"{said} {swapped_point(archive, lon, lat)}".rstrip()
    limits: list[str] = []
    kinds: list[Iterable[str]] = []
    if where.time is not None:
        limits.append(f"was taken {_period(where.time)}")
        kinds.append(days_of(there))
    if where.scenes is not None:
        limits.append(f"is of {_listed(map(scene_name, sorted(where.scenes)))}")
        kinds.append(map(scene_name, there["scene"]))
    if where.tile_sizes is not None:
        limits.append(f"has {_listed(map(str, sorted(where.tile_sizes)))} px")
        sizes = np.unique(sizes_of_tiles(there))
        kinds.append(["no size" if np.isnan(size) else f"{size:.0f} px" for size in sizes])
    if where.labels is not None:
        limits.append(f"has the label {_listed(sorted(where.labels))}")
        labels = there["label"] if "label" in there.columns else pd.Series([None] * len(there))
        kinds.append(labels.fillna("no label"))
    known = "; of ".join(_listed(dict.fromkeys(kind)) for kind in kinds)
    return f"no tile at {at} {' and '.join(limits)}; there are tiles of {known}."


def days_of(tiles: gpd.GeoDataFrame) -> list[str]:
    """Return the days of tiles.

    Args:
        tiles: As from `Searchable.tiles`.

    Returns:
        Days such as "2023-06-01", or "no date", each once, the earliest first.
    """
    days = pd.to_datetime(tiles["datetime"]).dt.strftime("%Y-%m-%d")
    return [*sorted(days.dropna().unique()), *(["no date"] if days.isna().any() else [])]


def _period(time: TimeRange) -> str:
    first = None if time.start is None else _moment(time.start, whole=time.start % DAY == 0)
    last = None if time.end is None else _moment(time.end, whole=(time.end + 1) % DAY == 0)
    if first is None or last is None:
        return f"since {first}" if first else f"until {last}" if last else "at a known time"
    return f"on {first}" if first == last else f"from {first} to {last}"


def _moment(microseconds: int, *, whole: bool) -> str:
    moment = np.datetime64(microseconds, "us")
    return str(moment.astype("datetime64[D]" if whole else "datetime64[s]"))


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    if len(every) > MOST_LISTED:
        half = MOST_LISTED // 2
        every = [*every[:half], f"{len(every) - MOST_LISTED} more", *every[-half:]]
    return ", ".join(every)
