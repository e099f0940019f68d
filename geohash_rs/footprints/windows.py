"""Turn windows of a scene into polygons, in the scene's CRS and in longitude and latitude."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pyproj import Geod

from geohash_rs.errors import SceneError
from geohash_rs.footprints.projection import WGS84, Projection, projection_of
from geohash_rs.footprints.rings import (
    curved_footprint,
    edge_bends,
    polygons,
    split_at_antimeridian,
    split_unwrapped,
)

if TYPE_CHECKING:
    from affine import Affine

__all__ = [
    "WGS84",
    "footprints",
    "footprints_from_rings",
    "ground_pixel",
    "native_footprints",
    "split_at_antimeridian",
    "window_corners",
]

# An edge that is straight in the scene's CRS bends in longitude and latitude. Points are added to
# it until the bend is at most this share of a pixel.
MAX_BEND_PX = 0.5
WIDE_DEGREES = 90.0

GeometryArray = npt.NDArray[np.object_]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def window_corners(transform: "Affine", windows: npt.ArrayLike) -> FloatArray:
    """Return the four corners of windows in the scene's CRS.

    Args:
        transform: Affine transform of the scene, pixel to CRS; may be rotated or south-up.
        windows: Integers (col, row, width, height) in px, shape (windows, 4).

    Returns:
        Float64 x and y, shape (windows, 4, 2), ordered upper left, lower left, lower right, upper
        right in the pixel grid.

    >>> from affine import Affine
    >>> window_corners(Affine(10, 0, 500, 0, -10, 900), [[1, 2, 3, 4]]).tolist()
    [[[510.0, 880.0], [510.0, 840.0], [540.0, 840.0], [540.0, 880.0]]]
    """
    col, row, width, height = np.asarray(windows, dtype=np.float64).reshape(-1, 4).T
    cols = np.stack([col, col, col + width, col + width], axis=1)
    rows = np.stack([row, row + height, row + height, row], axis=1)
    return _apply(transform, cols, rows)


def native_footprints(transform: "Affine", windows: npt.ArrayLike) -> GeometryArray:
    """Return the polygon of each window in the scene's CRS.

    Args:
        transform: Affine transform of the scene, pixel to CRS.
        windows: Integers (col, row, width, height) in px, shape (windows, 4).

    Returns:
        Shapely polygons, shape (windows,), right-handed (counter-clockwise).
    """
    return polygons(window_corners(transform, windows))


def footprints(transform: "Affine", windows: npt.ArrayLike, *, crs: object) -> GeometryArray:
    """Return the polygon of each window in longitude and latitude (EPSG:4326).

    Corners are transformed in float64. An edge that bends by more than half a pixel gets more
    points, a footprint across the antimeridian is split there, and one around a pole is closed at
    the pole. If a window reaches beyond the Earth's outline (a geostationary disc, the sinusoidal
    grid of MODIS), its footprint is the part on the Earth, to 1/64 of the window.

    Args:
        transform: Affine transform of the scene, pixel to CRS.
        windows: Integers (col, row, width, height) in px, shape (windows, 4).
        crs: CRS of the scene, anything that ``pyproj.CRS.from_user_input`` accepts.

    Returns:
        Shapely polygons or multipolygons, shape (windows,), right-handed, x in [-180, 180].

    Raises:
        SceneError: If no part of a window is on the Earth, or the CRS cannot be converted.
    """
    pixel = float(np.sqrt(abs(transform.determinant)))
    corners = window_corners(transform, windows)
    return footprints_from_rings(corners, crs=crs, tolerance=MAX_BEND_PX * pixel)


def footprints_from_rings(
    rings: npt.ArrayLike, *, crs: object, tolerance: float | None = None
) -> GeometryArray:
    """Convert rings in any CRS to valid longitude/latitude polygons, split at the antimeridian.

    Args:
        rings: Float64 corners without the closing point, shape (rings, points, 2).
        crs: CRS of the corners.
        tolerance: Largest bend of an edge, in units of the CRS, before it gets more points; None
            ignores bends.

    Returns:
        Shapely polygons or multipolygons in EPSG:4326, shape (rings,).

    Raises:
        SceneError: If no part of a ring is on the Earth, or the CRS cannot be converted.
    """
    corners = np.asarray(rings, dtype=np.float64)
    geometries = np.empty(len(corners), dtype=object)
    if len(corners) == 0:
        return geometries
    projection = projection_of(crs)
    lonlat = projection.to_lonlat(corners)
    # Antimeridian, poles and bent edges are rare; the other rings are handled in one call.
    if projection.plain:
        special = (np.abs(lonlat[..., 0]) > 180).any(axis=1)
    else:
        special = _is_special(corners, lonlat, projection, tolerance)
    geometries[~special] = polygons(lonlat[~special])
    for index in np.flatnonzero(special):
        geometries[index] = (
            split_unwrapped(lonlat[index])
            if projection.plain
            else curved_footprint(corners[index], projection, tolerance=tolerance)
        )
    return geometries


def ground_pixel(
    transform: "Affine", width: int, height: int, *, crs: object
) -> tuple[float, float]:
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
    points = _apply(transform, cols, rows)
    projection = projection_of(crs)
    middle, right, below = lonlat = projection.to_lonlat(points)
    if not np.isfinite(lonlat).all():
        msg = (
            f"the scene's centre {points[0].tolist()} in {projection.crs.name} has no longitude "
            "and latitude; check the scene's CRS and transform with 'rio info'."
        )
        raise SceneError(msg)
    geod = Geod(ellps="WGS84")
    _, _, across = geod.inv(*middle, *right)
    _, _, down = geod.inv(*middle, *below)
    return float(across), float(down)


def _apply(transform: "Affine", cols: FloatArray, rows: FloatArray) -> FloatArray:
    x = transform.a * cols + transform.b * rows + transform.c
    y = transform.d * cols + transform.e * rows + transform.f
    return np.stack([x, y], axis=-1)


def _is_special(
    rings: FloatArray, lonlat: FloatArray, projection: Projection, tolerance: float | None
) -> BoolArray:
    """Return which rings need more than joining their corners in longitude and latitude."""
    middle = projection.to_lonlat(rings.mean(axis=1))
    placed = np.isfinite(lonlat).all(axis=(1, 2)) & np.isfinite(middle).all(axis=1)
    lost: BoolArray = np.asarray(~placed)
    known = np.where(lost[:, None, None], 0.0, lonlat)
    away = known[..., 0] - np.where(lost, 0.0, middle[:, 0])[:, None]
    turns = np.round(away / 360.0)
    wide = np.ptp(away - 360.0 * turns, axis=1) > WIDE_DEGREES
    special: BoolArray = lost | wide | turns.any(axis=1) | (np.abs(known[..., 0]) > 180).any(axis=1)
    low, high = rings.min(axis=1), rings.max(axis=1)
    for pole, _ in projection.poles:
        margin = 1e-6 * (high - low)
        special |= ((low - margin <= pole) & (pole <= high + margin)).all(axis=1)
    if tolerance is not None:
        ends = np.stack([rings, np.roll(rings, -1, axis=1)], axis=2)
        drawn = np.stack([known, np.roll(known, -1, axis=1)], axis=2)
        special |= edge_bends(ends, drawn, projection).max(axis=1) > tolerance
    return special
