"""Convert tiles from a GeoDataFrame to the table that an archive stores, and back."""

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from geopandas.array import from_shapely

from geohash_rs.errors import TileTableError
from geohash_rs.store.segment.columns import (
    COLUMNS,
    NUMBERS,
    OPTIONAL,
    SOURCE,
    SOURCES,
    STAMP,
    TileTable,
    check_texts,
)
from geohash_rs.store.segment.layout import MOST_FOOTPRINT, MOST_SOURCE, MOST_TEXT
from geohash_rs.store.segment.shapes import lonlat_crs, lonlat_shapes, shape_bounds, shapes_to_wkb
from geohash_rs.store.segment.sizes import size_of_windows
from geohash_rs.store.segment.windows import TILE_SIZE
from geohash_rs.store.segment.wkb import read_shapes

__all__ = ["empty_tiles", "sizes_of_tiles", "tiles_from_frame", "tiles_to_frame"]

LIMIT = np.iinfo(np.int32).max


def tiles_from_frame(frame: gpd.GeoDataFrame) -> TileTable:
    """Check tiles and convert them to the stored form.

    Args:
        frame: Columns scene (text), geometry (any CRS; may be missing) and, where known, col, row,
            width, height (integers, px), datetime, datetime_end (no zone means UTC), label (text),
            tile_size (integer, px, of windows that were resampled to this side), source (text, such
            as the URI of the image from which a code was made).

    Returns:
        The tiles, in the same order.

    Raises:
        TileTableError: If a column is missing, unknown or of the wrong type, or a text or footprint
            is too long.
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
    if TILE_SIZE in frame.columns:
        columns |= _resampled(_numbers(frame, TILE_SIZE), columns)
    if SOURCE in frame.columns:
        columns |= _sources(frame[SOURCE])
    shapes = lonlat_shapes(frame)
    columns["geometry"] = shapes_to_wkb(shapes)
    longest = pc.max(pc.binary_length(columns["geometry"])).as_py() or 0
    if longest > MOST_FOOTPRINT:
        msg = (
            f"a footprint of tiles takes {longest:,} bytes, but at most {MOST_FOOTPRINT:,} are "
            "stored; simplify it."
        )
        raise TileTableError(msg)
    return TileTable(table=pa.table(columns), bounds=shape_bounds(shapes))


def tiles_to_frame(table: pa.Table) -> gpd.GeoDataFrame:
    """Convert stored rows to a GeoDataFrame.

    Args:
        table: Rows with the columns of a segment's Parquet file.

    Returns:
        The tiles in EPSG:4326, columns tile_id, scene, col, row, width, height, datetime,
        [datetime_end], [label], [tile_size], [source], geometry; with tile_size, a tile that was
        not resampled has that of its window.

    Raises:
        ArchiveCorruptError: If a footprint cannot be decoded.
    """
    data: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        if name == "geometry":
            continue
        if name == TILE_SIZE:
            column = size_of_windows(table.column("width"), table.column("height"), given=column)
        if name in (*NUMBERS, TILE_SIZE) and column.null_count:
            data[name] = pd.array(column.to_pylist(), dtype="Int32")
        elif name in ("scene", "label", SOURCE):
            data[name] = pd.array(column.to_pylist(), dtype="str")
        elif pa.types.is_timestamp(column.type):
            micros = column.cast(pa.timestamp("us")).to_numpy()
            data[name] = pd.DatetimeIndex(micros, tz="UTC")
        else:
            data[name] = column.to_numpy()
    shapes = read_shapes(table.column("geometry").to_pylist())
    # set the CRS here, or geopandas compares CRSs several times
    data["geometry"] = from_shapely(shapes, crs=lonlat_crs())
    return gpd.GeoDataFrame(data, geometry="geometry")


def empty_tiles() -> gpd.GeoDataFrame:
    """Make an empty tile table.

    Returns:
        A GeoDataFrame without rows, with the columns that every tile has.
    """
    kinds = {"tile_id": pa.int64(), "scene": pa.string(), "datetime": STAMP}
    kinds |= {"geometry": pa.binary()}
    schema = pa.schema([(name, kinds.get(name, pa.int32())) for name in COLUMNS])
    return tiles_to_frame(schema.empty_table())


def sizes_of_tiles(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the tile sizes by which a search can be limited.

    Args:
        frame: Tiles, as from `tiles_to_frame`.

    Returns:
        The sizes, px, NaN where unknown, shape (n,).
    """
    names = [TILE_SIZE] if TILE_SIZE in frame.columns else ["width", "height"]
    sizes = frame[names].astype("Float64").max(axis=1)
    return np.asarray(sizes.to_numpy(dtype=np.float64, na_value=np.nan))


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
    check_texts(array.dictionary, name, most=MOST_TEXT)
    if required and array.null_count:
        msg = f"column {name!r} of tiles has {array.null_count} missing values; fill them in."
        raise TileTableError(msg)
    return array


def _sources(series: pd.Series) -> dict[str, pa.Array]:
    """Return the column of sources, without a dictionary; nothing if all are missing.

    Raises:
        TileTableError: If one is not text, has a zero byte or is too long.
    """
    try:
        array = pa.array(series, from_pandas=True)
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    except (pa.ArrowException, UnicodeEncodeError) as error:
        msg = f"column {SOURCE!r} of tiles must hold text: {error}"
        raise TileTableError(msg) from error
    if array.null_count == len(array):
        return {}
    if array.type not in (pa.string(), SOURCES):
        msg = (
            f"column {SOURCE!r} of tiles must hold text, but it holds {array.type}; convert it to "
            "text first, so that nothing of it is lost."
        )
        raise TileTableError(msg)
    check_texts(array, SOURCE, most=MOST_SOURCE)
    return {SOURCE: array.cast(SOURCES)}


def _resampled(sizes: pa.Array, columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Return the column of tile sizes, or nothing if they are those of the windows."""
    sides = size_of_windows(columns["width"], columns["height"])
    differ = pc.coalesce(pc.not_equal(sizes, sides), sides.is_null())
    needed = pc.any(pc.and_(sizes.is_valid(), differ)).as_py()
    return {TILE_SIZE: sizes} if needed else {}


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
        msg = f"column {name!r} of tiles must hold times, such as 2023-06-30T12:00Z: {error}"
        raise TileTableError(msg) from error
    return pa.array(micros.to_numpy(), type=pa.timestamp("us"), from_pandas=True).cast(STAMP)
