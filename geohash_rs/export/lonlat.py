"""Reproject footprints to longitude and latitude, as web maps and RFC 7946 require."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.footprints.projection import WGS84
from geohash_rs.footprints.shapes import lonlat_polygons

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
        geometries = lonlat_polygons(geometries, frame.crs)
    return oriented(geometries)


def oriented(geometries: GeometryArray) -> GeometryArray:
    """Orient the outer rings of polygons counterclockwise and their holes clockwise.

    Args:
        geometries: Shapely geometries of any kind.

    Returns:
        The same geometries, right-handed.
    """
    result: GeometryArray = shapely.orient_polygons(geometries)
    return result
