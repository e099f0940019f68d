"""Describe the tiles in view: as footprints if they are few, otherwise as counts in a grid."""

import json
import math
from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.errors import QueryError, RegionError
from geohash_rs.footprints.web_mercator import from_square, to_square
from geohash_rs.store.segment.tiles import sizes_of_tiles
from geohash_rs.store.snapshot import Answers

__all__ = ["MOST_FOOTPRINTS", "cells_in_view", "parse_view", "tile_at", "tiles_in_view"]

MOST_FOOTPRINTS = 1500  # per response; more become counts
CELLS_ACROSS = 64  # most cells along the longer side of a view
MAX_LEVEL = 24  # cells are at least 2.4 m wide at the equator


def parse_view(text: str) -> tuple[float, float, float, float]:
    """Parse the corners of a view.

    Args:
        text: ``minlon,minlat,maxlon,maxlat`` in degrees; longitudes may lie beyond 180.

    Returns:
        The four numbers, no wider than the globe.

    Raises:
        RegionError: If the text is not a valid view.
    """
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        west = south = east = north = math.nan
    sound = west <= east and south <= north and abs(west) <= 720 and abs(east) <= 720
    if not sound:
        msg = f"bbox is {text[:80]!r}, but it must be minlon,minlat,maxlon,maxlat in degrees."
        raise RegionError(msg)
    if east - west >= 360:
        west, east = -180.0, 180.0
    turns = 360.0 * math.floor((west + 180.0) / 360.0)
    return west - turns, max(south, -90.0), east - turns, min(north, 90.0)


def tile_at(
    archive: Answers, point: Sequence[float], *, tile_size: int | None = None
) -> gpd.GeoDataFrame:
    """Find the tile at a point: the smallest, then the nearest centre, then the latest.

    Args:
        archive: The archive, in one state.
        point: Longitude and latitude, degrees.
        tile_size: Only tiles of this size, px.

    Returns:
        The tiles there, that one first.

    Raises:
        QueryError: If no tile of these sizes covers the point.
    """
    lon, lat = (float(value) for value in point)
    lon = (lon + 180) % 360 - 180
    if not -90 <= lat <= 90 or not np.isfinite(lon):
        msg = f"place is {lon}, {lat}; pass longitude, latitude in degrees."
        raise QueryError(msg)
    found = [ids for ids, _ in archive.boxes((lon, lat, lon, lat))]
    tiles = archive.tiles(np.concatenate([np.empty(0, np.int64), *found]))
    here = shapely.Point(lon, lat)
    tiles = tiles[shapely.intersects(tiles.geometry.to_numpy(), here)]
    sizes = sizes_of_tiles(tiles)
    if tile_size is not None:
        tiles, sizes = tiles[sizes == tile_size], sizes[sizes == tile_size]
    if tiles.empty:
        of = "" if tile_size is None else f" of {tile_size} px"
        msg = f"the archive has no tile{of} at {lon:.5f}, {lat:.5f}."
        raise QueryError(msg)
    away = shapely.distance(shapely.centroid(tiles.geometry.to_numpy()), here).round(9)
    ranked = tiles.assign(size=sizes, away=away).sort_values(
        ["size", "away", "datetime", "tile_id"], ascending=[True, True, False, True]
    )
    return ranked.drop(columns=["size", "away"])


def tiles_in_view(archive: Answers, view: Sequence[float]) -> str:
    """Describe the tiles in a view as GeoJSON.

    Args:
        archive: The archive.
        view: (minlon, minlat, maxlon, maxlat) as from `parse_view`.

    Returns:
        A feature collection with the members ``kind`` and ``count``. Up to `MOST_FOOTPRINTS`
        tiles are returned as exact ``footprints`` with the property tile_id; more as ``counts``:
        squares of the web map's grid with the property count. A tile counts in the square of its
        box's centre; if that is out of view, of the centre of the box's part in view.
    """
    found = list(archive.boxes(view))
    count = sum(len(ids) for ids, _ in found)
    if count <= MOST_FOOTPRINTS:
        features = _footprints(archive, [ids for ids, _ in found])
        return _collection("footprints", count, features)
    return _collection("counts", count, cells_in_view([boxes for _, boxes in found], view))


def _collection(kind: str, count: int, features: Sequence[str]) -> str:
    joined = ",".join(features)
    return f'{{"type":"FeatureCollection","kind":"{kind}","count":{count},"features":[{joined}]}}'


def _footprints(archive: Answers, ids: Sequence[npt.NDArray[np.int64]]) -> list[str]:
    tiles = archive.tiles(np.sort(np.concatenate([np.empty(0, np.int64), *ids])))
    shapes = shapely.to_geojson(tiles.geometry.to_numpy())
    return [
        f'{{"type":"Feature","geometry":{shape},"properties":{{"tile_id":{tile_id}}}}}'
        for tile_id, shape in zip(tiles["tile_id"].tolist(), shapes, strict=True)
    ]


def cells_in_view(boxes: Sequence[npt.NDArray[np.float64]], view: Sequence[float]) -> list[str]:
    """Count tiles in squares of the web map's grid, at a level that suits the view.

    Args:
        boxes: (xmin, ymin, xmax, ymax) of tiles in degrees, each of shape (tiles, 4); at least one
            tile in all.
        view: (minlon, minlat, maxlon, maxlat) as from `parse_view`.

    Returns:
        Squares as GeoJSON features with the property count.
    """
    left, bottom, right, top = to_square(np.reshape(view, (2, 2))).ravel()
    extent = max(float(right - left), float(bottom - top), 2.0**-MAX_LEVEL)
    level = min(MAX_LEVEL, max(0, math.floor(math.log2(CELLS_ACROSS / extent))))
    size = 1 << level
    numbers, counts = [], []
    for part in boxes:
        number, count = _count(part, size, view)
        numbers.append(number)
        counts.append(count)
    cells, place = np.unique(np.concatenate(numbers), return_inverse=True)
    totals = np.bincount(place, np.concatenate(counts)).astype(int)
    columns, rows = cells % size, cells // size
    low = from_square(np.stack([columns, rows + 1], axis=1) / size)
    high = from_square(np.stack([columns + 1, rows], axis=1) / size)
    corners = np.hstack([low, high]).round(7).tolist()
    return [
        json.dumps(
            {
                "type": "Feature",
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]],
                },
                "properties": {"count": count},
            },
            separators=(",", ":"),
        )
        for (w, s, e, n), count in zip(corners, totals.tolist(), strict=True)
    ]


Array = npt.NDArray[np.float64]


def _count(
    boxes: Array, size: int, view: Sequence[float]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count centres in a grid of size x size squares; return the non-empty squares."""
    if not len(boxes):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    west, south, east, north = view
    lon, lat = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    outside = np.flatnonzero((lon < west) | (lon > east) | (lat < south) | (lat > north))
    if len(outside):  # so that large tiles add no squares outside the view
        x0, y0, x1, y1 = boxes[outside].T
        turn = np.where(x0 > east, -360, np.where(x1 < west, 360, 0))
        lon[outside] = (np.maximum(x0 + turn, west) + np.minimum(x1 + turn, east)) / 2
        lat[outside] = (np.maximum(y0, south) + np.minimum(y1, north)) / 2
    columns = ((lon + 180) * (size / 360)).astype(np.int64)
    ends = to_square([(0.0, lat.max()), (0.0, lat.min())])[:, 1]
    first, last = np.clip(np.floor(ends * size), 0, size - 1).astype(int)
    rims = np.arange(last, first, -1) / size
    edges = from_square(np.stack([rims, rims], axis=1))[:, 1]  # ascending: the rows' north edges
    rows = last - np.searchsorted(edges, lat)  # faster than a logarithm per tile
    left = int(columns.min())
    width = int(columns.max()) - left + 1
    counted = np.bincount((rows - first) * width + columns - left)
    held = np.flatnonzero(counted)
    return (held // width + first) * size + (held % width + left) % size, counted[held]
