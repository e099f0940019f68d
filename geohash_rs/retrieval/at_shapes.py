"""Find the archive's tiles at many points and in many polygons at once."""

import dataclasses
from collections.abc import Iterator

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.retrieval.at_point import centres_of, covering, turned_points
from geohash_rs.store.search.filters import parse_region
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable, bits_of

__all__ = ["MOST_TILES", "first_at", "seen_in"]

Ids = npt.NDArray[np.int64]
GeometryArray = npt.NDArray[np.object_]

POINTS, POLYGONS = 4096, 512  # looked up at once
MOST_TILES = 1 << 16  # that one polygon may meet, and whose footprints are in memory
NONE = np.empty(0, np.int64)


def first_at(archive: Searchable, points: GeometryArray, *, where: Where) -> Ids:
    """Find the tile at each of many points: the first of `tiles_at`.

    Args:
        archive: The archive, in one state.
        points: Points in longitude and latitude, degrees, shape (n,).
        where: Limits on the tiles; its region is ignored.

    Returns:
        Tile ids, shape (n,); -1 where no tile lies that passes the limits.
    """
    points = turned_points(points)
    found = np.full(len(points), -1, np.int64)
    for part, ids in _that_meet(archive, points, where, at_once=POINTS):
        first = _first(archive.tiles(ids), points[part])
        there = first >= 0
        found[part[there]] = ids[first[there]]
    return found


def seen_in(archive: Searchable, polygons: GeometryArray, *, where: Where) -> list[Ids | None]:
    """Find the tiles that are seen in each of many polygons.

    A tile is seen in a polygon if its centre lies in it and `first_at` returns it there: of several
    sizes the smallest, of several dates the latest. If there is none, it is the tile at a point in
    the part of the polygon that tiles cover.

    Args:
        archive: The archive, in one state.
        polygons: Polygons in longitude and latitude, shape (n,).
        where: Limits on the tiles; its region is ignored.

    Returns:
        Ids for each polygon, ascending, none where no tile lies that passes the limits; None for
        one that meets more than `MOST_TILES`.
    """
    found: list[Ids | None] = [NONE for _ in polygons]
    for part, ids in _that_meet(archive, polygons, where, at_once=POLYGONS):
        if len(ids) > MOST_TILES:
            found[part[0]] = None
            continue
        tiles = archive.tiles(ids)
        footprints = tiles.geometry.to_numpy()
        centres = centres_of(footprints)
        polygon, tile = shapely.STRtree(centres).query(polygons[part], predicate="intersects")
        inside = np.unique(tile)
        seen = inside[_first(tiles, centres[inside]) == inside]
        mine = np.isin(tile, seen)
        polygon, tile = polygon[mine], tile[mine]
        others = np.setdiff1d(np.arange(len(part)), polygon)
        covered = _covered(polygons[part[others]], footprints)
        around = _first(tiles, covered)
        polygon = np.concatenate([polygon, others[around >= 0]])
        tile = np.concatenate([tile, around[around >= 0]])
        for row, place in enumerate(part.tolist()):
            found[place] = np.sort(ids[tile[polygon == row]])
    return found


def _covered(polygons: GeometryArray, footprints: GeometryArray) -> GeometryArray:
    """Return a point in the part of each polygon that footprints cover; empty if there is none."""
    tree = shapely.STRtree(footprints)
    points = np.full(len(polygons), shapely.Point(), dtype=object)
    for row, polygon in enumerate(polygons):
        shared = shapely.intersection(footprints[tree.query(polygon, "intersects")], polygon)
        shared = shared[shapely.area(shared) > 0]
        if len(shared):
            points[row] = shapely.point_on_surface(shapely.union_all(shared))
    return points


def _first(tiles: gpd.GeoDataFrame, points: GeometryArray) -> Ids:
    """Return the row of the first tile at each point, or -1."""
    best = covering(tiles, points).drop_duplicates("point")
    found = np.full(len(points), -1, np.int64)
    found[best["point"].to_numpy()] = best["tile"].to_numpy()
    return found


def _that_meet(
    archive: Searchable, shapes: GeometryArray, where: Where, *, at_once: int
) -> Iterator[tuple[Ids, Ids]]:
    """Yield the rows of some shapes at a time, and the ids of the tiles that meet them.

    Shapes that meet more than `MOST_TILES` together come apart, so that only those of a single one
    may be more.
    """
    num_bits = bits_of(archive)
    anything = np.zeros((1, num_bits // 8), dtype=np.uint8)
    everything = Limits(k=None, max_distance=num_bits)
    order = np.argsort(shapely.get_x(shapely.centroid(shapes)), kind="stable")
    waiting = [order[start : start + at_once] for start in range(0, len(order), at_once)]
    while waiting:
        part = waiting.pop()
        region = parse_region(shapely.union_all(shapes[part]))
        there = dataclasses.replace(
            where, region=region, within=False, exclude_region=None, exclude_ids=None
        )
        found = archive.find(anything, limits=everything, where=there)
        ids = np.sort(found.ids[0][found.ids[0] >= 0])
        if len(ids) > MOST_TILES and len(part) > 1:
            waiting += [part[: len(part) // 2], part[len(part) // 2 :]]
        else:
            yield part, ids
