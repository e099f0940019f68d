"""Draw what is in view: the footprints themselves while they are few, else counts in a grid."""

import json
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.errors import RegionError
from geohash_rs.footprints.web_mercator import from_square, to_square
from geohash_rs.store.snapshot import Answers

__all__ = ["MOST_FOOTPRINTS", "parse_view", "tiles_in_view"]

MOST_FOOTPRINTS = 1500  # in one answer; above, counts
CELLS_ACROSS = 64  # of the longer side of a view
MAX_LEVEL = 24  # cells no smaller than 2.4 m on the ground


def parse_view(text: str) -> tuple[float, float, float, float]:
    """Read the corners of a view.

    Args:
        text: ``minlon,minlat,maxlon,maxlat`` in degrees; longitudes may lie beyond 180.

    Returns:
        The four numbers, not wider than the globe.

    Raises:
        RegionError: If they are no view.
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


def tiles_in_view(archive: Answers, view: Sequence[float]) -> str:
    """Describe the tiles in a view as GeoJSON.

    Args:
        archive: The archive.
        view: (minlon, minlat, maxlon, maxlat) as from `parse_view`.

    Returns:
        A feature collection with the members ``kind`` and ``count``. Up to `MOST_FOOTPRINTS`
        tiles come as ``footprints``, exact, with the property tile_id; more as ``counts``: squares
        of the web map's grid with the property count. A tile counts where the middle of its box
        lies; if that is out of view, where the middle of the part in view does.
    """
    found = list(archive.boxes(view))
    count = sum(len(ids) for ids, _ in found)
    if count <= MOST_FOOTPRINTS:
        features = _footprints(archive, [ids for ids, _ in found])
        return _collection("footprints", count, features)
    return _collection("counts", count, _cells([boxes for _, boxes in found], view))


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


def _cells(boxes: Sequence[npt.NDArray[np.float64]], view: Sequence[float]) -> list[str]:
    """Count tiles in squares of the web map's grid, of a level for the view."""
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
    """Count centres in a grid of size x size squares; give the squares that hold any."""
    if not len(boxes):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    west, south, east, north = view
    lon, lat = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    outside = np.flatnonzero((lon < west) | (lon > east) | (lat < south) | (lat > north))
    if len(outside):  # no tile, however large, adds squares beyond the view's few
        x0, y0, x1, y1 = boxes[outside].T
        turn = np.where(x0 > east, -360, np.where(x1 < west, 360, 0))
        lon[outside] = (np.maximum(x0 + turn, west) + np.minimum(x1 + turn, east)) / 2
        lat[outside] = (np.maximum(y0, south) + np.minimum(y1, north)) / 2
    columns = ((lon + 180) * (size / 360)).astype(np.int64)
    ends = to_square([(0.0, lat.max()), (0.0, lat.min())])[:, 1]
    first, last = np.clip(np.floor(ends * size), 0, size - 1).astype(int)
    rims = np.arange(last, first, -1) / size
    edges = from_square(np.stack([rims, rims], axis=1))[:, 1]  # rising: the rows' northern rims
    rows = last - np.searchsorted(edges, lat)  # of few edges, quicker than a logarithm each
    left = int(columns.min())
    width = int(columns.max()) - left + 1
    counted = np.bincount((rows - first) * width + columns - left)
    held = np.flatnonzero(counted)
    return (held // width + first) * size + (held % width + left) % size, counted[held]
