"""Reproject footprints to longitude and latitude, as web maps and RFC 7946 require."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.footprints.windows import WGS84, footprints_from_rings

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["lonlat_geometries", "oriented"]

GeometryArray = npt.NDArray[np.object_]


def lonlat_geometries(frame: "GeoDataFrame") -> GeometryArray:
    """Reproject footprints to EPSG:4326, split at the antimeridian, rings counterclockwise.

    Args:
        frame: Footprints in any CRS; those in EPSG:4326 are assumed to be split already.

    Returns:
        Shapely polygons and multipolygons, shape (rows,).
    """
    geometries = np.asarray(frame.geometry.array, dtype=object)
    if frame.crs != WGS84:
        geometries = _reprojected(geometries, frame.crs)
    return oriented(geometries)


def _reprojected(geometries: GeometryArray, crs: object) -> GeometryArray:
    """Reproject polygons ring by ring, which splits them where longitudes jump."""
    parts, owners = shapely.get_parts(geometries, return_index=True)
    shells = _reprojected_rings(shapely.get_exterior_ring(parts), crs)
    rings, ring_owners = shapely.get_rings(parts, return_index=True)
    is_hole = np.r_[False, ring_owners[1:] == ring_owners[:-1]][: len(rings)]
    holes = _reprojected_rings(rings[is_hole], crs)
    for owner, hole in zip(ring_owners[is_hole], holes, strict=True):
        shells[owner] = shapely.difference(shells[owner], hole)
    result = np.full(len(geometries), None, dtype=object)
    if len(parts):
        starts = np.r_[0, np.flatnonzero(np.diff(owners)) + 1]
        for start, pieces in zip(starts, np.split(shells, starts[1:]), strict=True):
            whole = pieces[0] if len(pieces) == 1 else shapely.union_all(pieces)
            result[owners[start]] = whole
    return result


def _reprojected_rings(rings: GeometryArray, crs: object) -> GeometryArray:
    polygons = np.full(len(rings), None, dtype=object)
    sizes = shapely.get_num_coordinates(rings)
    for size in np.unique(sizes):
        same = sizes == size
        xy = shapely.get_coordinates(rings[same]).reshape(-1, size, 2)
        polygons[same] = footprints_from_rings(xy[:, :-1], crs=crs)
    return polygons


def oriented(geometries: GeometryArray) -> GeometryArray:
    """Orient the outer rings of polygons counterclockwise and their holes clockwise.

    Args:
        geometries: Shapely geometries of any kind.

    Returns:
        The same geometries, right-handed.
    """
    result: GeometryArray = shapely.orient_polygons(geometries)
    return result
