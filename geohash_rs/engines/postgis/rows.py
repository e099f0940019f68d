"""Convert tiles to rows for COPY, and query results back to tiles."""

import io
from collections.abc import Sequence
from typing import Any, LiteralString

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc

from geohash_rs.engines.postgis.schema import COLUMNS
from geohash_rs.store.code_table import KINDS, fixed_binary
from geohash_rs.store.search.nearest import SearchResult
from geohash_rs.store.segment.columns import OPTIONAL, STAMP
from geohash_rs.store.segment.tiles import empty_tiles, tiles_to_frame

__all__ = [
    "CODES",
    "SELECTED",
    "TILES",
    "bit_text",
    "codes_of",
    "copy_rows",
    "result_of",
    "table_of",
    "tiles_of",
]

HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
TYPES = {name: kind for name, kind in KINDS.items() if name != "code"}

# For each id in `%(ids)s`, in the given order: its position, the id, and the other columns.
TILES = """
SELECT wanted.place, tile_id, scene, col, "row", width, height,
       (extract(epoch FROM datetime) * 1000000::numeric)::bigint,
       (extract(epoch FROM datetime_end) * 1000000::numeric)::bigint,
       label, tile_size, source, ST_AsBinary(geometry, 'NDR')
FROM pg_catalog.unnest(%(ids)s::bigint[]) WITH ORDINALITY AS wanted(id, place)
JOIN {tiles} ON tile_id = wanted.id
ORDER BY wanted.place"""
CODES = """
SELECT wanted.place, tile_id, code::text
FROM pg_catalog.unnest(%(ids)s::bigint[]) WITH ORDINALITY AS wanted(id, place)
JOIN {tiles} ON tile_id = wanted.id
ORDER BY wanted.place"""
# What to select for each column of a table of tiles and codes.
SELECTED: dict[str, LiteralString] = {
    "tile_id": "tile_id",
    "scene": "scene",
    "col": "col",
    "row": '"row"',
    "width": "width",
    "height": "height",
    "datetime": "(extract(epoch FROM datetime) * 1000000::numeric)::bigint",
    "datetime_end": "(extract(epoch FROM datetime_end) * 1000000::numeric)::bigint",
    "label": "label",
    "tile_size": "coalesce(tile_size, greatest(width, height))",
    "source": "source",
    "code": "code::text",
    "geometry": "ST_AsBinary(geometry, 'NDR')",
}


def copy_rows(codes: npt.NDArray[np.uint8], table: pa.Table) -> bytes:
    """Format rows as CSV for COPY; a missing value is empty, an empty text is quoted.

    Args:
        codes: Packed codes, uint8, shape (n, bits / 8).
        table: n rows with the columns of a segment.

    Returns:
        The CSV.
    """
    names = set(table.column_names)
    columns = {
        name: table.column(name) if name in names else pa.nulls(len(table), pa.string())
        for name in COLUMNS
        if name != "code"
    }
    for name in ("scene", "label", "source"):
        columns[name] = columns[name].cast(pa.string())
    columns["code"] = _bits(codes)
    columns["geometry"] = _hex(columns["geometry"])
    ordered = pa.table({name: columns[name] for name in COLUMNS})
    target = io.BytesIO()
    pc.write_csv(ordered, target, pc.WriteOptions(include_header=False))
    return target.getvalue()  # a buffer view in a reference cycle crashes Python 3.12.1


def bit_text(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Format codes as ASCII zeros and ones, most significant bit first.

    Args:
        codes: Packed codes, uint8, shape (n, bits / 8).

    Returns:
        ASCII, uint8, shape (n, bits).
    """
    return np.unpackbits(codes, axis=1) + np.uint8(ord("0"))


def codes_of(rows: Sequence[tuple[Any, ...]], *, num_bits: int) -> npt.NDArray[np.uint8]:
    """Convert rows to codes.

    Args:
        rows: Rows of `CODES`.
        num_bits: Bits per code.

    Returns:
        Packed codes, uint8, shape (n, bits / 8).
    """
    return _packed([row[2] for row in rows], num_bits=num_bits)


def table_of(rows: Sequence[tuple[Any, ...]], columns: Sequence[str], *, num_bits: int) -> pa.Table:
    """Convert rows to a table of tiles and codes.

    Args:
        rows: At least one row, whose values are those of `SELECTED`.
        columns: Names of its columns.
        num_bits: Bits per code.

    Returns:
        As from `geohash_rs.store.searchable.Searchable.rows`.
    """
    arrays = {}
    for name, values in zip(columns, zip(*rows, strict=True), strict=True):
        if name == "code":
            arrays[name] = fixed_binary(_packed(values, num_bits=num_bits))
        else:
            arrays[name] = _array(values, TYPES[name])
    return pa.table(arrays)


def tiles_of(rows: Sequence[tuple[Any, ...]]) -> gpd.GeoDataFrame:
    """Convert rows to tiles.

    Args:
        rows: Rows of `TILES`.

    Returns:
        n rows as from `geohash_rs.store.searchable.Searchable.tiles`.
    """
    if not rows:
        return empty_tiles()
    columns = zip(*(row[1:] for row in rows), strict=True)
    arrays = {}
    for (name, kind), values in zip(TYPES.items(), columns, strict=True):
        array = _array(values, kind)
        if name not in OPTIONAL or array.null_count < len(array):
            arrays[name] = array
    return tiles_to_frame(pa.table(arrays))


def result_of(found: Sequence[Sequence[tuple[Any, ...]]]) -> SearchResult:
    """Convert rows to a search result.

    Args:
        found: For each query, the ids and distances of its matches.

    Returns:
        As from `geohash_rs.store.searchable.Searchable.search`.
    """
    width = max((len(rows) for rows in found), default=0)
    ids = np.full((len(found), width), -1, np.int64)
    distances = np.full((len(found), width), -1, np.int32)
    for query, rows in enumerate(found):
        if rows:
            pairs = np.array(rows, np.int64)
            ids[query, : len(rows)] = pairs[:, 0]
            distances[query, : len(rows)] = pairs[:, 1]
    return SearchResult(ids=ids, distances=distances)


def _packed(texts: Sequence[str], *, num_bits: int) -> npt.NDArray[np.uint8]:
    bits = np.frombuffer("".join(texts).encode(), np.uint8) - np.uint8(ord("0"))
    return np.packbits(bits.reshape(-1, num_bits), axis=1)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Convert the values of a column; times are microseconds since 1970."""
    return pa.array(values, pa.int64()).cast(kind) if kind == STAMP else pa.array(values, kind)


def _bits(codes: npt.NDArray[np.uint8]) -> pa.StringArray:
    text = bit_text(codes)
    offsets = np.arange(len(codes) + 1, dtype=np.int32) * np.int32(text.shape[1])
    return pa.StringArray.from_buffers(len(codes), pa.py_buffer(offsets), pa.py_buffer(text))


def _hex(geometry: pa.ChunkedArray) -> pa.Array:
    """Format WKB as hexadecimal digits."""
    if isinstance(geometry, pa.ChunkedArray):
        geometry = geometry.combine_chunks()
    if isinstance(geometry, pa.ChunkedArray):
        geometry = pa.concat_arrays(geometry.chunks)
    present, offsets, data = geometry.buffers()
    count, first = len(geometry), geometry.offset
    ends = np.frombuffer(offsets, np.int32)[first : first + count + 1]
    raw = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data else np.empty(0, np.uint8)
    digits = np.stack([HEX[raw >> 4], HEX[raw & 15]], axis=1)
    spelt = ((ends - ends[0]) * 2).astype(np.int32)
    mask = None
    if present is not None and geometry.null_count:
        valid = np.unpackbits(np.frombuffer(present, np.uint8), bitorder="little")
        mask = pa.py_buffer(np.packbits(valid[first : first + count], bitorder="little"))
    return pa.StringArray.from_buffers(count, pa.py_buffer(spelt), pa.py_buffer(digits), mask)
