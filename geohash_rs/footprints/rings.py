"""Turn rings into longitude/latitude polygons, at the antimeridian, poles and Earth's outline."""

import numpy as np
import numpy.typing as npt
import shapely
import shapely.affinity
from shapely.geometry.base import BaseGeometry

from geohash_rs.errors import SceneError
from geohash_rs.footprints.projection import Projection

__all__ = ["curved_footprint", "edge_bends", "polygons", "split_at_antimeridian", "split_unwrapped"]

MAX_PIECES = 256  # per edge
MAX_LONGITUDE = 3600.0  # ten turns: a larger one is a mistake, not a place
WIDE_PIECES = 16  # per edge of a ring that spans many meridians
EARTH_CELLS = 64  # per side of a footprint that the Earth's outline cuts
AT_POLE = 1e-9  # share of the ring's size within which a pole counts as lying on an edge

GeometryArray = npt.NDArray[np.object_]
FloatArray = npt.NDArray[np.float64]


def polygons(rings: FloatArray) -> GeometryArray:
    """Make right-handed polygons.

    Args:
        rings: Points without the closing point, shape (rings, points, 2).

    Returns:
        Shapely polygons, shape (rings,).
    """
    return np.asarray(shapely.polygons(_counterclockwise(rings)), dtype=object)


def split_at_antimeridian(ring: npt.ArrayLike, *, pole: float | None = None) -> BaseGeometry:
    """Close a ring of longitudes and latitudes and split it where it crosses 180 degrees.

    Args:
        ring: Longitudes and latitudes without the closing point, shape (points, 2). Neighbouring
            points are assumed to be less than 180 degrees apart.
        pole: Latitude of the pole at which a ring around the Earth is closed; None uses the pole
            of its hemisphere.

    Returns:
        A polygon or multipolygon, right-handed, x in [-180, 180].

    >>> split_at_antimeridian([[179, 0], [-179, 0], [-179, 1], [179, 1]]).bounds
    (-180.0, 0.0, 180.0, 1.0)
    """
    points = np.asarray(ring, dtype=np.float64)
    steps = np.diff(np.append(points[:, 0], points[0, 0]))
    turns = -360.0 * np.round(steps / 360.0)
    offsets = np.concatenate([[0.0], np.cumsum(turns)])
    # Adding full turns only where needed keeps every other longitude bit for bit.
    unwrapped = np.column_stack([points[:, 0] + offsets[:-1], points[:, 1]])
    if offsets[-1]:
        if pole is None:
            pole = 90.0 if points[:, 1].mean() > 0 else -90.0
        first, last = unwrapped[0, 0], points[0, 0] + offsets[-1]
        closing = [[last, points[0, 1]], [last, pole], [first, pole]]
        unwrapped = np.concatenate([unwrapped, closing])
    return split_unwrapped(unwrapped)


def split_unwrapped(ring: FloatArray) -> BaseGeometry:
    """Split a ring whose longitudes continue beyond 180 degrees.

    Args:
        ring: Longitudes of any size and latitudes, without the closing point, shape (points, 2).

    Returns:
        A polygon or multipolygon, right-handed, x in [-180, 180].

    Raises:
        SceneError: If the longitudes are too many turns away to mean a place.
    """
    farthest = float(np.abs(ring[:, 0]).max())
    if not farthest <= MAX_LONGITUDE:
        msg = (
            f"it reaches to a longitude of {farthest:g} degrees, which is not on the Earth; "
            "check the scene's CRS and transform with 'rio info'."
        )
        raise SceneError(msg)
    polygon = shapely.Polygon(ring)
    whole = polygon if polygon.is_valid else shapely.make_valid(polygon)
    west, _, east, _ = whole.bounds
    pieces = []
    for turn in range(int(np.floor((west + 180) / 360)), int(np.ceil((east - 180) / 360)) + 1):
        strip = shapely.box(-180.0 + 360 * turn, -90.0, 180.0 + 360 * turn, 90.0)
        part = whole if strip.contains(whole) else whole.intersection(strip)
        moved = shapely.affinity.translate(part, xoff=-360.0 * turn) if turn else part
        pieces += [p for p in _parts(moved) if p.area > 0]
    if east - west >= 360:  # the strips touch, or overlap if the ring circles more than once
        pieces = _parts(shapely.union_all(pieces))
    oriented = [shapely.geometry.polygon.orient(piece) for piece in pieces]
    return oriented[0] if len(oriented) == 1 else shapely.MultiPolygon(oriented)


def edge_bends(
    ends: FloatArray, lonlat: FloatArray, projection: Projection
) -> npt.NDArray[np.float64]:
    """Measure how far edges that are straight in longitude and latitude stray from the true ones.

    Args:
        ends: Both ends of edges in the CRS, shape (..., 2, 2).
        lonlat: The same ends in degrees, both longitudes of an edge on the same turn.
        projection: The CRS.

    Returns:
        Distance between their midpoints across the edge, units of the CRS, shape (...); infinite
        if the midpoint cannot be placed.
    """
    off = projection.offsets(ends.mean(axis=-2), lonlat.mean(axis=-2))
    placed: npt.NDArray[np.bool_] = np.asarray(np.isfinite(off).all(axis=-1))
    off = np.where(placed[..., None], off, 0.0)
    along = ends[..., 1, :] - ends[..., 0, :]
    length = np.maximum(np.hypot(along[..., 0], along[..., 1]), np.finfo(float).tiny)
    across = np.abs(along[..., 0] * off[..., 1] - along[..., 1] * off[..., 0]) / length
    return np.asarray(np.where(placed, across, np.inf))


def curved_footprint(
    ring: FloatArray, projection: Projection, *, tolerance: float | None
) -> BaseGeometry:
    """Convert one ring to longitude and latitude if converting its corners is not enough.

    Args:
        ring: Corners in the CRS without the closing point, shape (points, 2).
        projection: The CRS, one that is not plain.
        tolerance: Largest bend of an edge, in units of the CRS, before it gets more points; None
            adds points only to wide rings and rings around a pole.

    Returns:
        A polygon or multipolygon, right-handed, x in [-180, 180].

    Raises:
        SceneError: If no part of the ring is on the Earth.
    """
    course = _counterclockwise(ring[None])[0]
    inside: float | None = None
    at_pole = []
    for pole, latitude in projection.poles:
        course, touches = _through_pole(course, pole)
        if touches:
            at_pole.append((pole, latitude))
        elif shapely.Polygon(course).contains(shapely.Point(pole)):
            inside = latitude
    pieces = WIDE_PIECES if inside is not None or at_pole or _is_wide(course, projection) else 1
    dense, lonlat = _placed(course, pieces, projection)
    size = float(np.ptp(ring, axis=0).max())
    if not projection.on_earth(dense, lonlat, slack=size).all():
        return _part_on_earth(course, projection)
    while tolerance is not None and pieces < MAX_PIECES:
        if _widest_bend(dense, lonlat, projection, at_pole) <= tolerance:
            break
        pieces *= 2
        dense, lonlat = _placed(course, pieces, projection)
    for pole, latitude in at_pole:
        dense, lonlat = _spread_pole(dense, lonlat, pole, latitude, projection)
    return split_at_antimeridian(lonlat, pole=inside)


def _counterclockwise(rings: FloatArray) -> FloatArray:
    x, y = rings[..., 0], rings[..., 1]
    # Shoelace formula relative to the first corner, so that far-off coordinates cancel exactly.
    x0, y0 = x - x[:, :1], y - y[:, :1]
    twice_area = (x0 * np.roll(y0, -1, axis=1) - np.roll(x0, -1, axis=1) * y0).sum(axis=1)
    return np.where((twice_area < 0)[:, None, None], rings[:, ::-1], rings)


def _through_pole(ring: FloatArray, pole: FloatArray) -> tuple[FloatArray, bool]:
    """Make a pole that lies on an edge or at a corner a corner of the ring."""
    edges = np.roll(ring, -1, axis=0) - ring
    lengths = np.maximum((edges**2).sum(axis=1), np.finfo(float).tiny)
    shares = np.clip(((pole - ring) * edges).sum(axis=1) / lengths, 0.0, 1.0)
    away = np.hypot(*(ring + shares[:, None] * edges - pole).T)
    size = float(np.ptp(ring, axis=0).max())
    edge = int(np.argmin(away))
    if away[edge] > AT_POLE * size:
        return ring, False
    corners = np.hypot(*(ring - pole).T)
    if corners.min() <= AT_POLE * size:
        ring = ring.copy()
        ring[np.argmin(corners)] = pole
        return ring, True
    return np.insert(ring, edge + 1, pole, axis=0), True


def _spread_pole(
    ring: FloatArray,
    lonlat: FloatArray,
    pole: FloatArray,
    latitude: float,
    projection: Projection,
) -> tuple[FloatArray, FloatArray]:
    """Replace a corner at a pole by points that span the ring's longitudes there."""
    at = int(np.argmin(np.hypot(*(ring - pole).T)))
    before, after = ring[at - 1] - pole, ring[(at + 1) % len(ring)] - pole
    start = np.arctan2(after[1], after[0])
    angle = (np.arctan2(before[1], before[0]) - start) % (2 * np.pi)
    ways = start + angle * np.array([1.0, 0.5, 0.0])
    reach = min(np.hypot(*before), np.hypot(*after))
    seen = projection.to_lonlat(pole + reach * np.column_stack([np.cos(ways), np.sin(ways)]))
    spread = np.column_stack([seen[:, 0], np.full(3, latitude)])
    return (
        np.concatenate([ring[:at], np.repeat(pole[None], 3, axis=0), ring[at + 1 :]]),
        np.concatenate([lonlat[:at], spread, lonlat[at + 1 :]]),
    )


def _placed(ring: FloatArray, pieces: int, projection: Projection) -> tuple[FloatArray, FloatArray]:
    shares = (np.arange(pieces) / pieces)[None, :, None]
    edges = np.roll(ring, -1, axis=0) - ring
    dense = (ring[:, None, :] + shares * edges[:, None, :]).reshape(-1, 2)
    return dense, projection.to_lonlat(dense)


def _is_wide(ring: FloatArray, projection: Projection) -> bool:
    lon = projection.to_lonlat(np.vstack([ring, ring.mean(axis=0)]))[:, 0]
    if not np.isfinite(lon).all():
        return True
    size = float(np.ptp(ring, axis=0).max())
    lonlat = projection.to_lonlat(ring)
    if projection.crs.is_geographic or not projection.on_earth(ring, lonlat, slack=size / 2).all():
        return True
    away = lon - lon[-1]
    away -= 360.0 * np.round(away / 360.0)
    return bool(np.ptp(away) > 90.0)


def _widest_bend(
    ring: FloatArray,
    lonlat: FloatArray,
    projection: Projection,
    at_pole: list[tuple[FloatArray, float]],
) -> float:
    ends = np.stack([ring, np.roll(ring, -1, axis=0)], axis=1)
    drawn = np.stack([lonlat, np.roll(lonlat, -1, axis=0)], axis=1)
    drawn[:, 1, 0] -= 360.0 * np.round((drawn[:, 1, 0] - drawn[:, 0, 0]) / 360.0)
    bends = edge_bends(ends, drawn, projection)
    for pole, _ in at_pole:  # edges from a pole run along a meridian
        bends[(ends == pole).all(axis=-1).any(axis=-1)] = 0.0
    return float(bends.max())


def _part_on_earth(ring: FloatArray, projection: Projection) -> BaseGeometry:
    """Return the part of a ring on the Earth, as a union of small cells.

    Raises:
        SceneError: If there is none.
    """
    low, high = ring.min(axis=0), ring.max(axis=0)
    steps = np.linspace(0.0, 1.0, EARTH_CELLS + 1)
    x, y = np.meshgrid(low[0] + steps * (high[0] - low[0]), low[1] + steps * (high[1] - low[1]))
    nodes = np.stack([x, y], axis=-1)
    cells = np.stack([nodes[:-1, :-1], nodes[:-1, 1:], nodes[1:, 1:], nodes[1:, :-1]], axis=2)
    cells = cells.reshape(-1, 4, 2)
    cells = cells[shapely.covers(shapely.Polygon(ring), shapely.polygons(cells))]
    lonlat = projection.to_lonlat(cells)
    slack = float((high - low).max()) / EARTH_CELLS
    lonlat = lonlat[projection.on_earth(cells, lonlat, slack=slack).all(axis=1)]
    if len(lonlat) == 0:
        where = ring.mean(axis=0).tolist()
        msg = (
            f"the tile around {where} in {projection.crs.name} has no longitude and latitude, so "
            "it cannot be placed; check the scene's CRS and transform with 'rio info'."
        )
        raise SceneError(msg)
    pieces = [split_at_antimeridian(cell) for cell in lonlat]
    joined = shapely.union_all(pieces)
    parts = [shapely.geometry.polygon.orient(part) for part in _parts(joined)]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _parts(geometry: BaseGeometry) -> list[shapely.Polygon]:
    return [p for p in shapely.get_parts(geometry) if isinstance(p, shapely.Polygon)]
