"""Lay a square footprint of a size in metres around the centre of each chip."""

import numpy as np
import numpy.typing as npt
from pyproj import Geod

from geohash_rs.footprints.windows import footprints_from_rings

__all__ = ["squares_around"]

GeometryArray = npt.NDArray[np.object_]
FloatArray = npt.NDArray[np.float64]

WGS84 = Geod(ellps="WGS84")
AZIMUTHS = (225.0, 135.0, 45.0, 315.0)  # of the corners: lower left, lower right, and so on
RADIUS = 6_371_000.0
MAX_BEND = 0.005  # of a side: how far a parallel may stray from it before edges get more points


def squares_around(lonlat: FloatArray, side: float) -> GeometryArray:
    """Return squares in longitude and latitude, their edges towards north, east, south and west.

    Args:
        lonlat: Centres, degrees, shape (n, 2).
        side: Length of an edge on the WGS 84 ellipsoid, m.

    Returns:
        Polygons, or multipolygons at the antimeridian, shape (n,).

    Raises:
        SceneError: If one has no place on the Earth.
    """
    lon, lat = lonlat[:, 0], lonlat[:, 1]
    squares = np.empty(len(lonlat), dtype=object)
    near_pole = np.abs(lat) + np.degrees(side / RADIUS) >= 90
    bend = side * np.abs(np.tan(np.radians(np.clip(lat, -89.9, 89.9)))) / (8 * RADIUS)
    bent = near_pole | (bend > MAX_BEND)
    plain = np.flatnonzero(~bent)
    if len(plain):
        rings = np.empty((len(plain), len(AZIMUTHS), 2))
        away = np.full(len(plain), side / np.sqrt(2))
        for corner, azimuth in enumerate(AZIMUTHS):
            towards = np.full(len(plain), azimuth)
            x, y, _ = WGS84.fwd(lon[plain], lat[plain], towards, away)
            rings[:, corner, 0] = x - 360.0 * np.round((x - lon[plain]) / 360.0)
            rings[:, corner, 1] = y
        squares[plain] = footprints_from_rings(rings, crs="EPSG:4326")
    half = side / 2
    ring = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    for row in np.flatnonzero(bent):
        middle = f"+lat_0={float(lat[row])!r} +lon_0={float(lon[row])!r}"
        crs = f"+proj=aeqd {middle} +datum=WGS84 +units=m"
        found = footprints_from_rings(ring[None], crs=crs, tolerance=MAX_BEND * side)
        squares[row] = found[0]
    return squares
