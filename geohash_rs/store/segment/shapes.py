"""Convert footprints to the stored form: longitude and latitude, WKB, boxes."""

import functools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from geohash_rs.errors import SceneError, TileTableError
from geohash_rs.store.segment.wkb import read_shapes

if TYPE_CHECKING:  # slow to import, and of no use to a search
    import geopandas as gpd
    import pyproj

__all__ = [
    "geo_metadata",
    "lonlat_crs",
    "lonlat_shapes",
    "shape_bounds",
    "shapes_to_wkb",
    "stored_bounds",
]

LIMIT = np.iinfo(np.int32).max
QUAD = np.dtype(
    [("order", "u1"), ("kind", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))]
)


def lonlat_shapes(frame: "gpd.GeoDataFrame") -> npt.NDArray[np.object_]:
    """Reproject the footprints of tiles to longitude and latitude.

    Args:
        frame: n tiles, in any CRS.

    Returns:
        2D footprints, split at the antimeridian, None if missing, shape (n,).

    Raises:
        TileTableError: If they have no CRS, or one cannot be split or lies outside the globe.
    """
    shapes = frame.geometry
    if shapes.crs is None and not shapes.isna().all():
        msg = "tiles has no CRS, so its footprints cannot be placed; use tiles.set_crs(...)."
        raise TileTableError(msg)
    other = shapes.crs is not None and shapes.crs != lonlat_crs()
    array = _reproject(shapes) if other else np.asarray(shapes.array)
    if shapely.has_z(array).any():
        array = shapely.force_2d(array)
    array = array.copy()
    array[shapely.is_empty(array)] = None
    bounds = shapely.bounds(array)
    low, high = np.array([-180.0, -90.0] * 2), np.array([180.0, 90.0] * 2)
    placed = ~shapely.is_missing(array)
    wrong = placed & ~((bounds >= low) & (bounds <= high)).all(axis=1)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        msg = (
            f"the footprint of row {first} of tiles has bounds {tuple(bounds[first].tolist())}, "
            "outside longitude -180..180 and latitude -90..90; split it at the antimeridian."
        )
        raise TileTableError(msg)
    return np.asarray(array, dtype=object)


def _reproject(shapes: "gpd.GeoSeries") -> npt.NDArray[np.object_]:
    """Reproject footprints to longitude and latitude, split at the antimeridian.

    Raises:
        TileTableError: If one cannot be split, or crosses the antimeridian or a pole and is not a
            polygon without holes.
    """
    from geohash_rs.footprints.windows import footprints_from_rings

    array = np.asarray(shapes.to_crs(lonlat_crs()).array)
    bounds = shapely.bounds(array)
    # wider than 180 degrees: its corners lie on both sides of the antimeridian
    for row in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180):
        parts = shapely.bounds(shapely.get_parts(array[row]))
        if (parts[:, 2] - parts[:, 0] <= 180).all():
            continue  # split there already
        shape = shapes.iloc[row]
        if shape.geom_type != "Polygon" or shape.interiors:
            msg = (
                f"the footprint of row {row} of tiles, a {shape.geom_type}, crosses the "
                f"antimeridian or a pole; reproject it from {shapes.crs.name} to EPSG:4326 and "
                "split it at the antimeridian."
            )
            raise TileTableError(msg)
        ring = shapely.get_coordinates(shape)[None, :-1]
        try:
            array[row] = footprints_from_rings(ring, crs=shapes.crs)[0]
        except SceneError as error:
            msg = f"the footprint of row {row} of tiles cannot be placed: {error}"
            raise TileTableError(msg) from error
    return array


def shapes_to_wkb(shapes: npt.NDArray[np.object_]) -> pa.BinaryArray:
    """Encode footprints as little-endian WKB; quadrilaterals, the common case, all at once.

    Args:
        shapes: Footprints, shape (n,).

    Returns:
        WKB, n rows, null for a missing footprint.
    """
    coords = shapely.get_coordinates(shapes)
    simple = (
        len(coords) == 5 * len(shapes)
        and bool((shapely.get_type_id(shapes) == 3).all())
        and bool((shapely.get_num_coordinates(shapes) == 5).all())
        and not shapely.get_num_interior_rings(shapes).any()
    )
    if not simple:
        return pa.array(shapely.to_wkb(shapes, byte_order=1, include_srid=False), type=pa.binary())
    rows = np.empty(len(shapes), QUAD)
    rows["order"], rows["kind"], rows["rings"], rows["points"] = 1, 3, 1, 5
    rows["xy"] = coords.reshape(-1, 5, 2)
    if rows.nbytes > LIMIT:
        return pa.array(shapely.to_wkb(shapes, byte_order=1, include_srid=False), type=pa.binary())
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(QUAD.itemsize)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(rows)]
    return pa.BinaryArray.from_buffers(pa.binary(), len(rows), buffers)


def shape_bounds(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    """Return the boxes of footprints; one split at the antimeridian gets xmax above 180.

    Args:
        shapes: Footprints, shape (n,).

    Returns:
        (xmin, ymin, xmax, ymax) in degrees, NaN for a missing footprint, shape (n, 4).
    """
    bounds = shapely.bounds(shapes)
    split = (shapely.get_type_id(shapes) == 6) & (bounds[:, 0] <= -180) & (bounds[:, 2] >= 180)
    for row in np.flatnonzero(split):
        parts = shapely.bounds(shapely.get_parts(shapes[row]))
        parts[parts[:, 2] <= 0] += [360.0, 0.0, 360.0, 0.0]
        west, east = parts[:, 0].min(), parts[:, 2].max()
        if east - west < 180:
            bounds[row, 0], bounds[row, 2] = west, east
    return np.asarray(bounds, dtype=np.float64)


def stored_bounds(geometry: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return the boxes of footprints read back from a segment.

    Args:
        geometry: WKB, n rows.

    Returns:
        As `shape_bounds`, shape (n, 4).

    Raises:
        ArchiveCorruptError: If one cannot be decoded.
    """
    column = geometry.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    _, offsets, data = column.buffers()
    edges = np.frombuffer(offsets, np.int32)[column.offset :][: len(column) + 1]
    if not column.null_count and bool((np.diff(edges) == QUAD.itemsize).all()):
        rows = np.frombuffer(data, np.uint8)[edges[0] : edges[-1]].view(QUAD)
        if (rows["kind"] == 3).all():
            low, high = rows["xy"].min(axis=1), rows["xy"].max(axis=1)
            return np.hstack([low, high])
    return shape_bounds(read_shapes(column.to_pylist()))


def geo_metadata(bounds: Sequence[float] | None, kinds: Sequence[str]) -> bytes:
    """Return the "geo" metadata that makes a Parquet file GeoParquet.

    Args:
        bounds: (xmin, ymin, xmax, ymax) around all footprints, or None if there are none.
        kinds: Geometry types in the file.

    Returns:
        JSON.

    References:
        GeoParquet 1.1.0, https://geoparquet.org/releases/v1.1.0/
    """
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(kinds),
        "crs": lonlat_crs().to_json_dict(),
        "edges": "planar",
    }
    if bounds is not None:
        west, south, east, north = bounds
        column["bbox"] = [west, south, east - 360 if east > 180 else east, north]  # RFC 7946, 5.2
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return json.dumps(geo).encode()


@functools.cache
def lonlat_crs() -> "pyproj.CRS":
    """Return EPSG:4326, created once."""
    import pyproj

    return pyproj.CRS.from_epsg(4326)
