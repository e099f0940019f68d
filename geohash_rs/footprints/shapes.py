"""Bring shapes of any CRS to longitude and latitude, split where longitudes jump."""

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from geohash_rs.errors import SceneError
from geohash_rs.footprints.projection import projection_of
from geohash_rs.footprints.windows import footprints_from_rings

__all__ = ["lonlat_polygons", "lonlat_shape"]

BEND = 1e-4  # of a ring's size: how far an edge may stray before it gets more points
LINE_PIECES = 256

GeometryArray = npt.NDArray[np.object_]


def lonlat_polygons(
    geometries: GeometryArray,
    crs: object,
    *,
    bend: float | None = None,
    tolerance: float | None = None,
) -> GeometryArray:
    """Bring polygons to EPSG:4326 ring by ring, in parts at the antimeridian.

    Args:
        geometries: Shapely polygons and multipolygons, shape (n,); None where one is missing.
        crs: CRS of their coordinates.
        bend: How far edges may stray, as a share of their ring's size, before they get more
            points; None leaves edges alone unless `tolerance` is given.
        tolerance: The same in units of the CRS, for all rings alike.

    Returns:
        Polygons and multipolygons, x in [-180, 180], shape (n,).

    Raises:
        SceneError: If nothing of a ring is on the Earth, or the CRS has no place on it.
    """
    parts, owners = shapely.get_parts(geometries, return_index=True)
    shells = _lonlat_rings(shapely.get_exterior_ring(parts), crs, bend, tolerance)
    rings, ring_owners = shapely.get_rings(parts, return_index=True)
    is_hole = np.r_[False, ring_owners[1:] == ring_owners[:-1]][: len(rings)]
    holes = _lonlat_rings(rings[is_hole], crs, bend, tolerance)
    _cut(shells, holes, ring_owners[is_hole])
    result = np.full(len(geometries), None, dtype=object)
    if len(parts):
        starts = np.r_[0, np.flatnonzero(np.diff(owners)) + 1]
        for start, pieces in zip(starts, np.split(shells, starts[1:]), strict=True):
            whole = pieces[0] if len(pieces) == 1 else shapely.union_all(pieces)
            result[owners[start]] = whole
    return result


def lonlat_shape(geometry: BaseGeometry, crs: object) -> BaseGeometry:
    """Bring a point, line, polygon or collection to longitude and latitude.

    Args:
        geometry: A valid shapely geometry.
        crs: CRS of its coordinates.

    Returns:
        The shape on the globe; longitudes of lines may go on beyond 180 degrees.

    Raises:
        SceneError: If a part has no longitude and latitude, or the CRS has no place on the Earth.
    """
    if hasattr(geometry, "geoms"):
        return shapely.union_all([lonlat_shape(part, crs) for part in geometry.geoms])
    if geometry.geom_type == "Polygon":
        shape: BaseGeometry = lonlat_polygons(np.array([geometry]), crs, bend=BEND)[0]
        return shapely.make_valid(shape)
    if geometry.length:
        geometry = shapely.segmentize(geometry, geometry.length / LINE_PIECES)
    points = projection_of(crs).to_lonlat(shapely.get_coordinates(geometry))
    if not np.isfinite(points).all():
        where = shapely.get_coordinates(geometry)[~np.isfinite(points).all(axis=1)][0].tolist()
        msg = f"the point {where} has no longitude and latitude in this CRS."
        raise SceneError(msg)
    points[:, 0] = np.unwrap(points[:, 0], period=360.0)
    return shapely.set_coordinates(geometry, points)


def _cut(shells: GeometryArray, holes: GeometryArray, owners: npt.NDArray[np.intp]) -> None:
    """Cut holes out of polygons, in place; `owners` are ascending."""
    for owner in np.unique(owners):
        mine = holes[slice(*np.searchsorted(owners, [owner, owner + 1]))]
        if (shapely.get_type_id([shells[owner], *mine]) == 3).all():  # none was split
            cut = shapely.Polygon(shells[owner].exterior, [hole.exterior for hole in mine])
            if not shells[owner].interiors and cut.is_valid:
                shells[owner] = cut
                continue
        shells[owner] = shapely.difference(shells[owner], shapely.union_all(mine))


def _lonlat_rings(
    rings: GeometryArray, crs: object, bend: float | None, tolerance: float | None
) -> GeometryArray:
    polygons = np.full(len(rings), None, dtype=object)
    sizes = shapely.get_num_coordinates(rings)
    for size in np.unique(sizes):
        same = np.flatnonzero(sizes == size)
        xy = shapely.get_coordinates(rings[same]).reshape(-1, size, 2)[:, :-1]
        if bend is None:
            polygons[same] = footprints_from_rings(xy, crs=crs, tolerance=tolerance)
            continue
        for row, ring in zip(same, xy, strict=True):
            most = bend * float(np.ptp(ring, axis=0).max())
            polygons[row] = footprints_from_rings(ring[None], crs=crs, tolerance=most)[0]
    return polygons
