"""Bring tiles from a GeoDataFrame into the table that an archive stores, and back."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyproj
import shapely
from geopandas.array import from_shapely

from geohash_rs.errors import TileTableError

__all__ = [
    "COLUMNS",
    "TileTable",
    "empty_tiles",
    "geo_metadata",
    "stored_bounds",
    "tiles_from_frame",
    "tiles_to_frame",
]

NUMBERS = ("col", "row", "width", "height")
OPTIONAL = ("datetime_end", "label")
COLUMNS = ("tile_id", "scene", *NUMBERS, "datetime", "geometry")
STAMP = pa.timestamp("us", tz="UTC")
LIMIT = np.iinfo(np.int32).max
QUAD = np.dtype(
    [("order", "u1"), ("kind", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))]
)


@dataclass(frozen=True, kw_only=True)
class TileTable:
    """Tiles in the form that is stored.

    Attributes:
        table: Columns scene, col, row, width, height, datetime, [datetime_end], [label] and
            geometry (WKB, EPSG:4326), without tile ids.
        bounds: (xmin, ymin, xmax, ymax) of each footprint in degrees, xmax above 180 where it
            crosses the antimeridian, NaN where there is none; float64, shape (n, 4).
    """

    table: pa.Table
    bounds: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return int(self.table.num_rows)


def tiles_from_frame(frame: gpd.GeoDataFrame) -> TileTable:
    """Check tiles and bring them into the form that is stored.

    Args:
        frame: Columns scene (text), geometry (any CRS; missing for a tile without place) and,
            where known, col, row, width, height (integers, px), datetime, datetime_end (no zone is
            UTC), label (text).

    Returns:
        The tiles, in the same order.

    Raises:
        TileTableError: If a column is missing, unknown or holds something else.
    """
    if not isinstance(frame, gpd.GeoDataFrame):
        msg = f"tiles is a {type(frame).__name__}, but it must be a geopandas.GeoDataFrame."
        raise TileTableError(msg)
    geometry_name = frame.active_geometry_name
    known = {"tile_id", "scene", *NUMBERS, "datetime", *OPTIONAL, geometry_name}
    unknown = [name for name in frame.columns if name not in known]
    if unknown or "scene" not in frame.columns or geometry_name is None:
        msg = (
            f"tiles has the columns {list(frame.columns)}; it must have 'scene' and a geometry, "
            f"may have {[*NUMBERS, 'datetime', *OPTIONAL]}, and nothing else is stored."
        )
        raise TileTableError(msg)
    columns: dict[str, pa.Array] = {"scene": _texts(frame["scene"], "scene", required=True)}
    for name in NUMBERS:
        columns[name] = _numbers(frame, name)
    columns["datetime"] = _stamps(frame, "datetime")
    if "datetime_end" in frame.columns:
        columns["datetime_end"] = _stamps(frame, "datetime_end")
    if "label" in frame.columns:
        columns["label"] = _texts(frame["label"], "label", required=False)
    shapes = _lonlat(frame)
    columns["geometry"] = _wkb(shapes)
    return TileTable(table=pa.table(columns), bounds=_bounds(shapes))


def tiles_to_frame(table: pa.Table) -> gpd.GeoDataFrame:
    """Turn stored rows into a GeoDataFrame.

    Args:
        table: Rows with the columns of a segment's Parquet file.

    Returns:
        The tiles in EPSG:4326, columns tile_id, scene, col, row, width, height, datetime,
        [datetime_end], [label], geometry.
    """
    data: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        if name == "geometry":
            continue
        if name in NUMBERS and column.null_count:
            data[name] = pd.array(column.to_pylist(), dtype="Int32")
        elif name in ("scene", "label"):
            data[name] = pd.array(column.to_pylist(), dtype="str")
        elif pa.types.is_timestamp(column.type):
            micros = column.cast(pa.timestamp("us")).to_numpy()
            data[name] = pd.DatetimeIndex(micros, tz="UTC")
        else:
            data[name] = column.to_numpy()
    shapes = shapely.from_wkb(np.array(table.column("geometry").to_pylist(), dtype=object))
    # with its CRS from the start, which geopandas would else compare several times
    data["geometry"] = from_shapely(np.asarray(shapes), crs=_lonlat_crs())
    return gpd.GeoDataFrame(data, geometry="geometry")


def empty_tiles() -> gpd.GeoDataFrame:
    """Make a table of no tiles.

    Returns:
        A GeoDataFrame without rows, with the columns that every tile has.
    """
    kinds = {"tile_id": pa.int64(), "scene": pa.string(), "datetime": STAMP}
    kinds |= {"geometry": pa.binary()}
    schema = pa.schema([(name, kinds.get(name, pa.int32())) for name in COLUMNS])
    return tiles_to_frame(schema.empty_table())


def stored_bounds(geometry: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Box footprints that were read back from a segment.

    Args:
        geometry: WKB, n rows.

    Returns:
        As `TileTable.bounds`, shape (n, 4).
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
    return _bounds(np.asarray(shapely.from_wkb(np.array(column.to_pylist(), dtype=object))))


def geo_metadata(bounds: Sequence[float] | None, kinds: Sequence[str]) -> bytes:
    """Write the "geo" metadata that makes a Parquet file GeoParquet.

    Args:
        bounds: (xmin, ymin, xmax, ymax) around all footprints, or None without any.
        kinds: Geometry types that occur.

    Returns:
        JSON.

    References:
        GeoParquet 1.1.0, https://geoparquet.org/releases/v1.1.0/
    """
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(kinds),
        "crs": _lonlat_crs().to_json_dict(),
        "edges": "planar",
    }
    if bounds is not None:
        west, south, east, north = bounds
        column["bbox"] = [west, south, east - 360 if east > 180 else east, north]  # RFC 7946, 5.2
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return json.dumps(geo).encode()


@functools.cache
def _lonlat_crs() -> pyproj.CRS:
    return pyproj.CRS.from_epsg(4326)


def _texts(series: pd.Series, name: str, *, required: bool) -> pa.DictionaryArray:
    try:
        array = pa.array(series, from_pandas=True)
        if not pa.types.is_dictionary(array.type):
            array = array.cast(pa.string()).dictionary_encode()
        if isinstance(array, pa.ChunkedArray):
            array = array.unify_dictionaries().combine_chunks()
        array = pa.DictionaryArray.from_arrays(
            array.indices.cast(pa.int32()), array.dictionary.cast(pa.string())
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        msg = f"column {name!r} of tiles must hold text: {error}"
        raise TileTableError(msg) from error
    if any(text and "\0" in text for text in array.dictionary.to_pylist()):
        msg = f"column {name!r} of tiles has a text with a zero byte; leave it out."
        raise TileTableError(msg)
    if required and array.null_count:
        msg = f"column {name!r} of tiles has {array.null_count} missing values; name every scene."
        raise TileTableError(msg)
    return array


def _numbers(frame: gpd.GeoDataFrame, name: str) -> pa.Array:
    if name not in frame.columns:
        return pa.nulls(len(frame), pa.int32())
    try:
        return pa.array(frame[name], type=pa.int32(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        msg = f"column {name!r} of tiles must hold whole numbers of pixels up to {LIMIT}: {error}"
        raise TileTableError(msg) from error


def _stamps(frame: gpd.GeoDataFrame, name: str) -> pa.Array:
    if name not in frame.columns:
        return pa.nulls(len(frame), STAMP)
    try:
        stamps = pd.to_datetime(frame[name], utc=True)
        micros = stamps.dt.as_unit("us").dt.tz_localize(None)
    except (ValueError, TypeError, AttributeError) as error:
        msg = f"column {name!r} of tiles must hold moments, such as 2023-06-30T12:00Z: {error}"
        raise TileTableError(msg) from error
    return pa.array(micros.to_numpy(), type=pa.timestamp("us"), from_pandas=True).cast(STAMP)


def _lonlat(frame: gpd.GeoDataFrame) -> npt.NDArray[np.object_]:
    shapes = frame.geometry
    if shapes.crs is None and not shapes.isna().all():
        msg = "tiles has no CRS, so its footprints cannot be placed; use tiles.set_crs(...)."
        raise TileTableError(msg)
    if shapes.crs is not None and shapes.crs != _lonlat_crs():
        shapes = shapes.to_crs(_lonlat_crs())
    array = np.asarray(shapes.array)
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
            "outside of longitude -180..180 and latitude -90..90; split it at the antimeridian."
        )
        raise TileTableError(msg)
    return np.asarray(array, dtype=object)


def _wkb(shapes: npt.NDArray[np.object_]) -> pa.BinaryArray:
    """Write footprints as little-endian WKB; quadrilaterals, the common case, all at once."""
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


def _bounds(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    """Box the footprints; one in two parts at the antimeridian gets xmax above 180."""
    bounds = shapely.bounds(shapes)
    split = (shapely.get_type_id(shapes) == 6) & (bounds[:, 0] <= -180) & (bounds[:, 2] >= 180)
    for row in np.flatnonzero(split):
        parts = shapely.bounds(shapely.get_parts(shapes[row]))
        parts[parts[:, 2] <= 0] += [360.0, 0.0, 360.0, 0.0]
        west, east = parts[:, 0].min(), parts[:, 2].max()
        if east - west < 180:
            bounds[row, 0], bounds[row, 2] = west, east
    return np.asarray(bounds, dtype=np.float64)
