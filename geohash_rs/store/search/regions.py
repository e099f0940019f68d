"""Read polygons of any file and CRS as one region in longitude and latitude."""

import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geohash_rs.errors import GeoHashRSWarning, RegionError, SceneError, one_line
from geohash_rs.footprints.projection import WGS84
from geohash_rs.footprints.shapes import lonlat_shape

__all__ = ["read_region", "region_of_frame"]

PARQUET = (".parquet", ".geoparquet", ".pq")
MOST_NAMED = 10


def read_region(path: str | Path, *, layer: str | None = None) -> BaseGeometry:
    """Read a file of polygons, lines or points.

    Args:
        path: GeoParquet, GeoJSON, GeoPackage, shapefile, or any other vector file that GDAL reads;
            or well-known text in a file that ends in ``.wkt``.
        layer: Layer of a file that has several.

    Returns:
        The union of its geometries on the globe, valid.

    Raises:
        RegionError: If it cannot be read, holds no geometry or several layers, or cannot be placed.
    """
    file = Path(path)
    try:
        if file.suffix.lower() == ".wkt":
            frame = gpd.GeoSeries.from_wkt([file.read_text("utf-8-sig")], crs=WGS84)
        elif file.suffix.lower() in PARQUET:
            frame = gpd.read_parquet(file)
        else:
            layer = _check_layer(file, layer)
            frame = gpd.read_file(file, layer=layer)
    except RegionError:
        raise
    except Exception as error:  # of GDAL, pyarrow or GEOS, which share no class
        msg = f"{path} cannot be read as a region: {one_line(error)}"
        raise RegionError(msg) from error
    if not isinstance(frame, gpd.GeoDataFrame | gpd.GeoSeries):
        msg = f"{path} holds no geometry; pass a file of polygons, such as GeoJSON or GeoPackage."
        raise RegionError(msg)
    return region_of_frame(frame, name=str(path))


def region_of_frame(frame: gpd.GeoDataFrame | gpd.GeoSeries, *, name: str) -> BaseGeometry:
    """Join the geometries of a table to one region on the globe.

    Invalid geometries are repaired, with a warning.

    Args:
        frame: The table. One without CRS is taken as longitude and latitude, with a warning.
        name: Its name in messages.

    Returns:
        A valid shapely geometry in longitude and latitude.

    Raises:
        RegionError: If it holds no geometry, or one that has no longitude and latitude.
    """
    shapes = np.asarray(frame.geometry.array, dtype=object)
    shapes = shapely.force_2d(shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))])
    if not len(shapes):
        msg = f"{name} holds no geometry; pass a file of polygons, such as GeoJSON or GeoPackage."
        raise RegionError(msg)
    if not np.isfinite(shapely.get_coordinates(shapes)).all():
        msg = f"{name} has coordinates that are not finite numbers; correct them."
        raise RegionError(msg)
    if frame.crs is None:
        msg = f"{name} has no CRS, so its coordinates are taken as longitude and latitude."
        warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
    shapes = _repaired(shapes, name)
    try:
        if frame.crs is not None and frame.crs != WGS84:
            crs = frame.crs.to_wkt()
            shapes = np.array([lonlat_shape(shape, crs) for shape in shapes], dtype=object)
        joined: BaseGeometry = shapely.union_all(shapes)
    except (SceneError, shapely.GEOSException, ValueError) as error:
        msg = f"{name} cannot be brought to longitude and latitude: {one_line(error)}"
        raise RegionError(msg) from error
    return joined


def _repaired(shapes: np.ndarray, name: str) -> np.ndarray:
    """Repair invalid geometries; of a polygon only what has an area is kept."""
    bad = np.flatnonzero(~shapely.is_valid(shapes))
    if not len(bad):
        return shapes
    msg = (
        f"{len(bad)} of {len(shapes)} geometries of {name} are invalid "
        f"({shapely.is_valid_reason(shapes[bad[0]])}) and were repaired; check what they cover."
    )
    warnings.warn(msg, GeoHashRSWarning, stacklevel=4)
    shapes = shapes.copy()
    for row in bad:
        parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(shapes[row])))
        most = shapely.get_dimensions(parts).max()
        shapes[row] = shapely.union_all(parts[shapely.get_dimensions(parts) == most])
    return shapes


def _check_layer(file: Path, layer: str | None) -> str | None:
    """Check that a layer can be told: it is named, or the only one with geometries.

    Raises:
        RegionError: If it is not.
    """
    import pyogrio

    found = pyogrio.list_layers(file)
    layers = [str(name) for name, kind in found if kind is not None]
    named = ", ".join(layers[:MOST_NAMED]) + (", ..." if len(layers) > MOST_NAMED else "")
    if layer is not None and layer not in layers:
        msg = f"{file} has no layer {layer!r}; its layers are {named or 'none'}."
        raise RegionError(msg)
    if layer is None and len(layers) > 1:
        msg = f"{file} has {len(layers)} layers ({named}); choose one with layer=..."
        raise RegionError(msg)
    return layer if layer is not None or not layers else layers[0]
