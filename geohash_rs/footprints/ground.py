"""Measure the ground that polygons in longitude and latitude cover, on the WGS 84 ellipsoid."""

import numpy as np
import numpy.typing as npt
import shapely

__all__ = ["ring_km2", "square_km"]

MAJOR = 6378.137  # km, the equator's radius
FLATTENING = 1 / 298.257223563
MINOR = MAJOR * (1 - FLATTENING)
ECCENTRICITY = float(np.sqrt(FLATTENING * (2 - FLATTENING)))
# Gauss-Legendre: https://dlmf.nist.gov/3.5#v
NODES, WEIGHTS = np.polynomial.legendre.leggauss(3)

FloatArray = npt.NDArray[np.float64]
GeometryArray = npt.NDArray[np.object_]


def square_km(geometries: GeometryArray) -> FloatArray:
    """Measure polygons whose edges are straight in longitude and latitude.

    Args:
        geometries: Valid shapely polygons and multipolygons in EPSG:4326, shape (n,).

    Returns:
        Square kilometres, 0 where a geometry is missing, shape (n,).
    """
    parts, owners = shapely.get_parts(geometries, return_index=True)
    rings, ring_owners = shapely.get_rings(parts, return_index=True)
    sizes = ring_km2(rings)
    is_hole = np.r_[False, ring_owners[1:] == ring_owners[:-1]][: len(rings)]
    signed = np.where(is_hole, -sizes, sizes)
    sums = np.bincount(owners[ring_owners], weights=signed, minlength=len(geometries))
    return sums.astype(np.float64)  # bincount of nothing counts


def ring_km2(rings: GeometryArray) -> FloatArray:
    """Measure what closed rings enclose.

    Args:
        rings: Shapely rings in longitude and latitude, shape (n,).

    Returns:
        Square kilometres, shape (n,).

    References:
        Snyder, Map Projections: A Working Manual, 1987, equation 3-12: q, to which the area between
        the equator and a parallel is proportional. It is integrated along each edge.
    """
    points, owners = shapely.get_coordinates(rings, return_index=True)
    if not len(points):
        return np.zeros(len(rings))
    inner = owners[1:] == owners[:-1]
    start, end = np.radians(points[:-1][inner]), np.radians(points[1:][inner])
    owners = owners[1:][inner]
    shares = (NODES + 1) / 2
    latitudes = start[:, 1:] + shares * (end[:, 1:] - start[:, 1:])
    first = np.zeros(len(rings))
    first[owners[::-1]] = start[::-1, 1]  # from the first latitude, so that small areas are exact
    heights = _authalic(latitudes) - _authalic(first)[owners, None]
    strips = (end[:, 0] - start[:, 0]) * (heights @ WEIGHTS) / 2
    return np.abs(np.bincount(owners, weights=strips, minlength=len(rings))) * MINOR**2 / 2


def _authalic(latitudes: FloatArray) -> FloatArray:
    """Return Snyder's q, divided by 1 - e^2, of latitudes in radians."""
    e, sine = ECCENTRICITY, np.sin(latitudes)
    q: FloatArray = sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e
    return q
