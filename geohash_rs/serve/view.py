"""Describe the tiles in view: as footprints if they are few, otherwise as counts in a grid."""

import json
import math
from collections.abc import Iterator, Sequence

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.errors import QueryError, RegionError
from geohash_rs.footprints.web_mercator import from_square, to_square
from geohash_rs.retrieval.at_point import days_of, explain_none, tiles_at, turned_lon
from geohash_rs.serve.dates import PartInView, dates_of
from geohash_rs.serve.on_top import MOST_COMPARED, on_top
from geohash_rs.serve.shown import EVERYTHING, UNDATED, Shown
from geohash_rs.store.segment.boxes import boxes_in_view
from geohash_rs.store.snapshot import Snapshot

__all__ = [
    "LOOK",
    "MOST_FOOTPRINTS",
    "cells_in_view",
    "parse_view",
    "tiles_at_click",
    "tiles_in_view",
]

LOOK = "press All to see where tiles lie"  # what the page's user can do
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


def tiles_at_click(
    archive: Snapshot, point: Sequence[float], *, shown: Shown = EVERYTHING
) -> gpd.GeoDataFrame:
    """Find the tiles at a point of the map.

    Args:
        archive: The archive, in one state.
        point: Longitude and latitude, degrees; the longitude may lie beyond 180.
        shown: What the map shows.

    Returns:
        The tiles there, the one on top first; see `tiles_at`.

    Raises:
        QueryError: If no tile that is shown covers the point.
    """
    lon, lat = (float(value) for value in point)
    place = (float(turned_lon(lon)), lat)
    tiles = tiles_at(archive, place, where=shown.where)
    on_day: gpd.GeoDataFrame = tiles[shown.tiles(tiles)].reset_index(drop=True)
    if on_day.empty and shown.day == UNDATED and not tiles.empty:
        dates = ", ".join(days_of(tiles))
        msg = f"no tile at {place[0]:.6f}, {lat:.6f} is without a date; there are tiles of {dates}."
        raise QueryError(msg)
    if on_day.empty:
        raise QueryError(explain_none(archive, place, where=shown.limits(), advice=LOOK))
    return on_day


def tiles_in_view(archive: Snapshot, view: Sequence[float], *, shown: Shown = EVERYTHING) -> str:
    """Describe the tiles in a view as GeoJSON.

    Args:
        archive: The archive, in one state.
        view: (minlon, minlat, maxlon, maxlat) as from `parse_view`.
        shown: What the map shows.

    Returns:
        A feature collection with the members ``kind``, ``count`` and ``dates``. Up to
        `MOST_FOOTPRINTS` tiles are returned as exact ``footprints`` with the property tile_id;
        more as ``counts``: squares of the web map's grid with the property count. A tile counts in
        the square of its box's centre; if that is out of view, of the centre of the box's part in
        view. Tiles under others do not count, see `on_top`. ``dates`` lists the days of all tiles
        in view, whichever of them is shown, see `dates_of`.
    """
    everything = list(_parts(archive, view, shown))
    dates = json.dumps(dates_of(everything), separators=(",", ":"))
    parts = _topmost([part.on(shown.day, scenes=shown.where.scenes) for part in everything])
    count = sum(len(part.rows) for part in parts)
    if count <= MOST_FOOTPRINTS:
        kind = "footprints"
        features = _footprints(archive, [part.segment.ids_of(part.rows) for part in parts])
    else:
        kind, features = "counts", cells_in_view([part.boxes for part in parts], view)
    joined = ",".join(features)
    return (
        f'{{"type":"FeatureCollection","kind":"{kind}","count":{count},"dates":{dates},'
        f'"features":[{joined}]}}'
    )


def _parts(archive: Snapshot, view: Sequence[float], shown: Shown) -> Iterator[PartInView]:
    for segment in archive.segments:
        rows, boxes = boxes_in_view(segment, view)
        kept = shown.rows(segment, rows)
        if kept.any():
            yield PartInView(segment=segment, rows=rows[kept], boxes=boxes[kept])


def _topmost(parts: Sequence[PartInView]) -> Sequence[PartInView]:
    """Leave out tiles that lie under others; of too many tiles, none."""
    counts = [len(part.rows) for part in parts]
    if not 1 < sum(counts) <= MOST_COMPARED:
        return parts
    columns = [(part.boxes, part.sizes(), part.starts()) for part in parts]
    seen = on_top(*(np.concatenate(column) for column in zip(*columns, strict=True)))
    kept = np.split(seen, np.cumsum(counts)[:-1])
    return [
        PartInView(segment=part.segment, rows=part.rows[one], boxes=part.boxes[one])
        for part, one in zip(parts, kept, strict=True)
    ]


def _footprints(archive: Snapshot, ids: Sequence[npt.NDArray[np.int64]]) -> list[str]:
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
