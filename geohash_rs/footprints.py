"""Turn windows of a scene into polygons, on the scene's own grid and as longitude and latitude."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import shapely
import shapely.affinity
from affine import Affine
from pyproj import CRS, Geod, Transformer
from shapely.geometry.base import BaseGeometry

from geohash_rs.errors import SceneError

__all__ = [
    "WGS84",
    "footprints",
    "footprints_from_rings",
    "ground_pixel",
    "native_footprints",
    "split_at_antimeridian",
    "window_corners",
]

WGS84 = "EPSG:4326"

# An edge that is straight in the scene's CRS bends in longitude and latitude. Where the bend is
# more than this share of a pixel, points are put on the edge until it is not.
MAX_BEND_PX = 0.5
MAX_PIECES = 256

GeometryArray = npt.NDArray[np.object_]
FloatArray = npt.NDArray[np.float64]


def window_corners(transform: Affine, windows: npt.ArrayLike) -> FloatArray:
    """Place the four corners of windows in the scene's CRS.

    Args:
        transform: Affine transform of the scene, pixel to CRS; rotation and south-up are welcome.
        windows: Integers (col, row, width, height) in px, shape (windows, 4).

    Returns:
        Float64 x and y, shape (windows, 4, 2), in the order upper left, lower left, lower right,
        upper right of the pixel grid.

    >>> window_corners(Affine(10, 0, 500, 0, -10, 900), [[1, 2, 3, 4]]).tolist()
    [[[510.0, 880.0], [510.0, 840.0], [540.0, 840.0], [540.0, 880.0]]]
    """
    col, row, width, height = np.asarray(windows, dtype=np.float64).reshape(-1, 4).T
    cols = np.stack([col, col, col + width, col + width], axis=1)
    rows = np.stack([row, row + height, row + height, row], axis=1)
    return _apply(transform, cols, rows)


def native_footprints(transform: Affine, windows: npt.ArrayLike) -> GeometryArray:
    """Make the polygon of each window in the scene's own CRS.

    Args:
        transform: Affine transform of the scene, pixel to CRS.
        windows: Integers (col, row, width, height) in px, shape (windows, 4).

    Returns:
        Shapely polygons, shape (windows,), right-handed (counter-clockwise).
    """
    return _polygons(window_corners(transform, windows))


def footprints(transform: Affine, windows: npt.ArrayLike, *, crs: object) -> GeometryArray:
    """Make the polygon of each window in longitude and latitude (EPSG:4326).

    A corner is the float64 image of the window's corner. Edges that bend by more than half a
    pixel get more points, a footprint across the antimeridian is split there, and one around a
    pole is closed along it.

    Args:
        transform: Affine transform of the scene, pixel to CRS.
        windows: Integers (col, row, width, height) in px, shape (windows, 4).
        crs: CRS of the scene, anything that ``pyproj.CRS.from_user_input`` takes.

    Returns:
        Shapely polygons or multipolygons, shape (windows,), right-handed, x in [-180, 180].

    Raises:
        SceneError: If a corner has no longitude and latitude.
    """
    pixel = float(np.sqrt(abs(transform.determinant)))
    corners = window_corners(transform, windows)
    return footprints_from_rings(corners, crs=crs, tolerance=MAX_BEND_PX * pixel)


def footprints_from_rings(
    rings: npt.ArrayLike, *, crs: object, tolerance: float | None = None
) -> GeometryArray:
    """Bring rings of any CRS to longitude and latitude as valid, split polygons.

    Args:
        rings: Float64 corners without the closing point, shape (rings, points, 2).
        crs: CRS of the corners.
        tolerance: How far, in units of the CRS, an edge may bend before it gets more points;
            None leaves the edges alone.

    Returns:
        Shapely polygons or multipolygons in EPSG:4326, shape (rings,).

    Raises:
        SceneError: If a corner has no longitude and latitude.
    """
    corners = np.asarray(rings, dtype=np.float64)
    if len(corners) == 0:
        return np.empty(0, dtype=object)
    known = _crs(crs)
    lonlat = _to_lonlat(corners, known)
    lon = lonlat[:, :, 0]
    # Antimeridian, poles and bent edges are rare: the rest goes through in one vector call.
    special = (np.ptp(lon, axis=1) > 180) | (np.abs(lon) > 180).any(axis=1)
    if not known.is_geographic:
        special |= _hold_a_pole(corners, known)
        if tolerance is not None:
            special |= _bend(corners, lonlat, known) > tolerance
    geometries = np.empty(len(corners), dtype=object)
    geometries[~special] = _polygons(lonlat[~special])
    for index in np.flatnonzero(special):
        geometries[index] = _special_footprint(corners[index], known, tolerance)
    return geometries


def split_at_antimeridian(ring: npt.ArrayLike) -> BaseGeometry:
    """Close a ring of longitudes and latitudes and split it where it crosses 180 degrees.

    Args:
        ring: Longitudes and latitudes without the closing point, shape (points, 2). Neighbouring
            points are taken to be less than 180 degrees apart; a ring that runs once around the
            Earth is closed along the pole of its hemisphere.

    Returns:
        A polygon or multipolygon, right-handed, x in [-180, 180].

    >>> split_at_antimeridian([[179, 0], [-179, 0], [-179, 1], [179, 1]]).bounds
    (-180.0, 0.0, 180.0, 1.0)
    """
    points = np.asarray(ring, dtype=np.float64)
    steps = np.diff(np.append(points[:, 0], points[0, 0]))
    turns = -360.0 * np.round(steps / 360.0)
    offsets = np.concatenate([[0.0], np.cumsum(turns)])
    # Adding a whole turn only where one is due keeps every other longitude bit for bit.
    unwrapped = np.column_stack([points[:, 0] + offsets[:-1], points[:, 1]])
    if offsets[-1]:
        pole = 90.0 if points[:, 1].mean() > 0 else -90.0
        first, last = unwrapped[0, 0], points[0, 0] + offsets[-1]
        closing = [[last, points[0, 1]], [last, pole], [first, pole]]
        unwrapped = np.concatenate([unwrapped, closing])
    polygon = shapely.Polygon(unwrapped)
    west, east = polygon.bounds[0], polygon.bounds[2]
    pieces = []
    for turn in range(int(np.floor((west + 180) / 360)), int(np.ceil((east - 180) / 360)) + 1):
        strip = shapely.box(-180.0 + 360 * turn, -90.0, 180.0 + 360 * turn, 90.0)
        part = polygon if strip.contains(polygon) else polygon.intersection(strip)
        moved = shapely.affinity.translate(part, xoff=-360.0 * turn) if turn else part
        pieces += [p for p in _parts(moved) if p.area > 0]
    if offsets[-1]:  # the strips of a polar cap may meet at its seam
        pieces = _parts(shapely.union_all(pieces))
    oriented = [shapely.geometry.polygon.orient(piece) for piece in pieces]
    return oriented[0] if len(oriented) == 1 else shapely.MultiPolygon(oriented)


def ground_pixel(transform: Affine, width: int, height: int, *, crs: object) -> tuple[float, float]:
    """Measure the width and height of a scene's centre pixel on the ground.

    Args:
        transform: Affine transform of the scene, pixel to CRS.
        width: Columns of the scene.
        height: Rows of the scene.
        crs: CRS of the scene.

    Returns:
        Metres along a row and along a column of the pixel grid, on the WGS 84 ellipsoid.

    Raises:
        SceneError: If the centre has no longitude and latitude.
    """
    cols = np.array([0.0, 1.0, 0.0]) + width / 2
    rows = np.array([0.0, 0.0, 1.0]) + height / 2
    middle, right, below = _to_lonlat(_apply(transform, cols, rows), _crs(crs))
    geod = Geod(ellps="WGS84")
    _, _, across = geod.inv(*middle, *right)
    _, _, down = geod.inv(*middle, *below)
    return float(across), float(down)


def _apply(transform: Affine, cols: FloatArray, rows: FloatArray) -> FloatArray:
    x = transform.a * cols + transform.b * rows + transform.c
    y = transform.d * cols + transform.e * rows + transform.f
    return np.stack([x, y], axis=-1)


@lru_cache(maxsize=256)
def _crs_from_text(text: str) -> CRS:
    return CRS.from_user_input(text)


def _crs(crs: object) -> CRS:
    if isinstance(crs, CRS):
        return crs
    return _crs_from_text(crs) if isinstance(crs, str) else CRS.from_user_input(crs)


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def _to_lonlat(points: FloatArray, crs: CRS) -> FloatArray:
    if crs.to_epsg() == 4326:
        return points
    lon, lat = _transformer(crs.to_wkt(), WGS84).transform(points[..., 0], points[..., 1])
    lonlat = np.stack([lon, lat], axis=-1)
    if not np.isfinite(lonlat).all():
        where = points[~np.isfinite(lonlat).all(axis=-1)][0].tolist()
        msg = (
            f"the point {where} in {crs.name} has no longitude and latitude, so the tile cannot "
            "be placed; check the scene's CRS and transform with 'rio info'."
        )
        raise SceneError(msg)
    return lonlat


def _polygons(rings: FloatArray) -> GeometryArray:
    x, y = rings[..., 0], rings[..., 1]
    # Shoelace formula relative to the first corner, so that far-off coordinates cancel exactly.
    x0, y0 = x - x[:, :1], y - y[:, :1]
    twice_area = (x0 * np.roll(y0, -1, axis=1) - np.roll(x0, -1, axis=1) * y0).sum(axis=1)
    oriented = np.where((twice_area < 0)[:, None, None], rings[:, ::-1], rings)
    return np.asarray(shapely.polygons(oriented), dtype=object)


def _hold_a_pole(rings: FloatArray, crs: CRS) -> npt.NDArray[np.bool_]:
    x, y = _transformer(WGS84, crs.to_wkt()).transform([0.0, 0.0], [90.0, -90.0])
    poles = np.column_stack([x, y])
    poles = poles[np.isfinite(poles).all(axis=1)]
    holds = np.zeros(len(rings), dtype=bool)
    low, high = rings.min(axis=1), rings.max(axis=1)
    for pole in poles:
        near = ((low <= pole) & (pole <= high)).all(axis=1)
        for index in np.flatnonzero(near):
            holds[index] |= shapely.Polygon(rings[index]).covers(shapely.Point(pole))
    return holds


def _bend(rings: FloatArray, lonlat: FloatArray, crs: CRS) -> FloatArray:
    """Measure how far the straight edges in lon/lat stray from the true ones, in CRS units."""
    true_middle = (rings + np.roll(rings, -1, axis=1)) / 2
    drawn = (lonlat + np.roll(lonlat, -1, axis=1)) / 2
    x, y = _transformer(WGS84, crs.to_wkt()).transform(drawn[..., 0], drawn[..., 1])
    off = np.stack([x, y], axis=-1) - true_middle
    edge = np.roll(rings, -1, axis=1) - rings
    length = np.maximum(np.hypot(edge[..., 0], edge[..., 1]), np.finfo(float).tiny)
    across = np.abs(edge[..., 0] * off[..., 1] - edge[..., 1] * off[..., 0]) / length
    return np.asarray(np.where(np.isfinite(across), across, np.inf).max(axis=1))


def _special_footprint(ring: FloatArray, crs: CRS, tolerance: float | None) -> BaseGeometry:
    holds_pole = not crs.is_geographic and bool(_hold_a_pole(ring[None], crs)[0])
    dense = ring
    if not crs.is_geographic and tolerance is not None:
        pieces = 16 if holds_pole else 1
        dense = _densify(ring, pieces)
        while pieces < MAX_PIECES and _widest_bend(dense, crs) > tolerance:
            pieces *= 2
            dense = _densify(ring, pieces)
    return split_at_antimeridian(_to_lonlat(dense, crs))


def _widest_bend(ring: FloatArray, crs: CRS) -> float:
    lonlat = _to_lonlat(ring, crs).copy()
    lon = lonlat[:, 0]
    lonlat[:, 0] = lon - 360.0 * np.round((lon - lon[0]) / 360.0)
    start, end = ring, np.roll(ring, -1, axis=0)
    pairs = np.stack([start, end], axis=1)
    ends = np.stack([lonlat, np.roll(lonlat, -1, axis=0)], axis=1)
    ends[:, 1, 0] -= 360.0 * np.round((ends[:, 1, 0] - ends[:, 0, 0]) / 360.0)
    return float(_bend(pairs, ends, crs).max())


def _densify(ring: FloatArray, pieces: int) -> FloatArray:
    shares = (np.arange(pieces) / pieces)[None, :, None]
    edges = np.roll(ring, -1, axis=0) - ring
    return np.asarray((ring[:, None, :] + shares * edges[:, None, :]).reshape(-1, 2))


def _parts(geometry: BaseGeometry) -> list[shapely.Polygon]:
    return [p for p in shapely.get_parts(geometry) if isinstance(p, shapely.Polygon)]
