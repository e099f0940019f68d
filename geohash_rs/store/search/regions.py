"""Read polygons of any file and CRS as one region in longitude and latitude."""

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from geohash_rs.errors import (
    GeoHashRSWarning,
    RegionError,
    SceneError,
    ignore_warnings,
    one_line,
)

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = [
    "EXAMPLES",
    "across_180",
    "holds_examples",
    "read_region",
    "read_shapes",
    "region_of_frame",
    "repaired",
    "shapes_of_frame",
]

PARQUET = (".parquet", ".geoparquet", ".pq")
GEOJSON = (".geojson", ".json", ".geojsonl", ".geojsons")
MOST_NAMED = 10
EXAMPLES = "what the matches of geohash_rs were searched with"  # describes a layer next to them
SRID = re.compile(r"\s*SRID=(\d+);", re.IGNORECASE)  # as PostGIS writes it


def read_region(path: str | Path, *, layer: str | None = None) -> BaseGeometry:
    """Read a file of polygons, lines or points.

    Args:
        path: GeoParquet, GeoJSON, GeoPackage, shapefile, or any other vector file that GDAL reads;
            or well-known text in a file that ends in ``.wkt``, with ``SRID=NUMBER;`` in front
            unless it is in longitude and latitude.
        layer: Layer of a file that has several.

    Returns:
        The union of its geometries on the globe, valid.

    Raises:
        RegionError: If it cannot be read, holds no geometry or several layers, or cannot be placed.
    """
    import geopandas as gpd

    frame = read_shapes(path, layer=layer, what="a region")
    if not isinstance(frame, gpd.GeoDataFrame | gpd.GeoSeries):
        msg = f"{path} holds no geometry; pass a file of polygons, such as GeoJSON or GeoPackage."
        raise RegionError(msg)
    return region_of_frame(frame, name=str(path))


def read_shapes(
    path: str | Path, *, layer: str | None, what: str
) -> "gpd.GeoDataFrame | gpd.GeoSeries":
    """Read the table of a file of geometries, in the file's own CRS.

    Args:
        path: As in `read_region`.
        layer: Layer of a file that has several, or None.
        what: What it is read as, for messages.

    Returns:
        The table; one without geometries if the file has none.

    Raises:
        RegionError: If it cannot be read, or holds several layers.
    """
    file = Path(path)
    try:
        # coordinates that are not numbers are named later, and so are rings that are not closed
        with np.errstate(invalid="ignore"), ignore_warnings(RuntimeWarning):
            return _read(file, layer)
    except RegionError:
        raise
    except Exception as error:  # of GDAL, pyarrow or GEOS, which share no class
        msg = f"{path} cannot be read as {what}: {_reason(error, file)}"
        raise RegionError(msg) from error


def _read(file: Path, layer: str | None) -> "gpd.GeoDataFrame | gpd.GeoSeries":
    """Read a file of geometries; the errors of its format pass through."""
    import geopandas as gpd

    from geohash_rs.footprints.projection import WGS84

    if file.suffix.lower() == ".wkt":
        text = file.read_text("utf-8-sig")
        given = SRID.match(text)
        crs = int(given[1]) if given else WGS84
        return gpd.GeoSeries.from_wkt([text[given.end() if given else 0 :]], crs=crs)
    if file.suffix.lower() in PARQUET or (file.is_dir() and any(file.glob("**/*.parquet"))):
        return gpd.read_parquet(file)
    return gpd.read_file(file, layer=_check_layer(file, layer))


def _reason(error: Exception, file: Path) -> str:
    """Explain why a file of geometries cannot be read."""
    if file.suffix.lower() == ".shp" and not file.with_suffix(".shx").exists():
        return f"{file.with_suffix('.shx').name} is missing; copy all files of the shapefile."
    if file.suffix.lower() in PARQUET and "geo metadata" in str(error).lower():
        return "it holds no geometry; write it as GeoParquet, for example with geopandas."
    return one_line(error)


def region_of_frame(frame: "gpd.GeoDataFrame | gpd.GeoSeries", *, name: str) -> BaseGeometry:
    """Join the geometries of a table to one region on the globe.

    Args:
        frame: The table, as for `shapes_of_frame`.
        name: Its name in messages.

    Returns:
        A valid shapely geometry in longitude and latitude.

    Raises:
        RegionError: If it holds no geometry, or one that has no longitude and latitude.
    """
    return _union(shapes_of_frame(frame, name=name), name)


def shapes_of_frame(
    frame: "gpd.GeoDataFrame | gpd.GeoSeries", *, name: str
) -> npt.NDArray[np.object_]:
    """Bring the geometries of a table to longitude and latitude.

    Invalid geometries are repaired, with a warning.

    Args:
        frame: The table. One without CRS is taken as longitude and latitude, with a warning.
        name: Its name in messages.

    Returns:
        Valid shapely geometries, without those that are missing or empty, at least one.

    Raises:
        RegionError: If it holds no geometry, or one that has no longitude and latitude.
    """
    from geohash_rs.footprints.projection import WGS84
    from geohash_rs.footprints.shapes import lonlat_shape

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
        warnings.warn(msg, GeoHashRSWarning, stacklevel=4)
    shapes = repaired(shapes, name)
    if frame.crs is None or frame.crs.is_geographic:
        shapes = across_180(shapes, name)
    if frame.crs is None or frame.crs == WGS84:
        return shapes
    try:
        crs = frame.crs.to_wkt()
        return np.array([lonlat_shape(shape, crs) for shape in shapes], dtype=object)
    except (SceneError, shapely.GEOSException, ValueError) as error:
        msg = f"{name} cannot be brought to longitude and latitude: {one_line(error)}"
        raise RegionError(msg) from error


def _union(shapes: npt.NDArray[np.object_], name: str) -> BaseGeometry:
    try:
        joined: BaseGeometry = shapely.union_all(shapes)
    except (shapely.GEOSException, ValueError) as error:
        msg = f"{name} cannot be joined to one region: {one_line(error)}"
        raise RegionError(msg) from error
    return joined


def across_180(shapes: np.ndarray, name: str) -> np.ndarray:
    """Read polygons with an edge over more than half of the globe, such as from 179 to -179.

    The edge may run through longitude 0, as it is written, or be meant to cross 180 degrees. In a
    GeoJSON file the order of the corners decides: RFC 7946 lists those of an outline
    counterclockwise. Shapefiles list all clockwise, and other formats in any order, so their edges
    are taken as written. A warning says which was taken.

    Args:
        shapes: Geometries in longitude and latitude, shape (n,).
        name: Path of the file, or name of the table in messages.

    Returns:
        The geometries; of those that cross 180 degrees the parts on both sides.
    """
    is_ordered = Path(name).suffix.lower() in GEOJSON
    parts, owners = shapely.get_parts(shapes, return_index=True)
    outlines = shapely.get_exterior_ring(parts)
    result = shapes.copy()
    for place in np.flatnonzero(shapely.get_type_id(parts) == 3).tolist():  # polygons
        lon = shapely.get_coordinates(outlines[place])[:, 0]
        steps = np.abs(np.diff(lon))
        wide = np.flatnonzero((steps > 180) & (steps < 360))
        if not len(wide):
            continue
        edge = f"{name} has an edge from longitude {lon[wide[0]]:g} to {lon[wide[0] + 1]:g}"
        if not is_ordered or shapely.is_ccw(outlines[place]):
            msg = (
                f"{edge}, which is taken to run through longitude 0, as it is written; if it "
                "crosses 180 degrees, write longitudes beyond 180, such as 181."
            )
        else:
            msg = (
                f"{edge}, which is taken to cross 180 degrees; if it runs through longitude 0, add "
                "a corner there."
            )
            parts[place] = _split_at_180(parts[place])
            whole = shapely.union_all(parts[owners == owners[place]])
            result[owners[place]] = whole
        warnings.warn(msg, GeoHashRSWarning, stacklevel=4)
    return result


def _split_at_180(polygon: BaseGeometry) -> BaseGeometry:
    east = shapely.transform(polygon, lambda xy: np.where(xy[:, :1] < 0, [360, 0], [0, 0]) + xy)
    here = shapely.intersection(east, shapely.box(-180, -90, 180, 90))
    there = shapely.intersection(east, shapely.box(180, -90, 540, 90))
    return shapely.union(here, shapely.transform(there, lambda xy: xy - [360, 0]))


def repaired(shapes: np.ndarray, name: str) -> np.ndarray:
    """Repair invalid geometries, with a warning; of a polygon only what has an area is kept.

    Args:
        shapes: Geometries, shape (n,).
        name: Name of the table in messages.

    Returns:
        Valid geometries, shape (n,).
    """
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
    if layer is None and len(layers) > 1:
        layers = [name for name in layers if not holds_examples(file, name)] or layers
    named = ", ".join(layers[:MOST_NAMED]) + (", ..." if len(layers) > MOST_NAMED else "")
    if layer is not None and layer not in layers:
        msg = f"{file} has no layer {layer!r}; its layers are {named or 'none'}."
        raise RegionError(msg)
    if layer is None and len(layers) > 1:
        msg = f"{file} has {len(layers)} layers ({named}); choose one with layer=..."
        raise RegionError(msg)
    return layer if layer is not None or not layers else layers[0]


def holds_examples(file: Path, layer: str) -> bool:
    """Return whether a layer holds what the matches next to it were searched with.

    Args:
        file: A vector file.
        layer: One of its layers.

    Returns:
        Whether it says so in its description.
    """
    import pyogrio

    described = pyogrio.read_info(file, layer=layer)["layer_metadata"] or {}
    return bool(described.get("DESCRIPTION") == EXAMPLES)
