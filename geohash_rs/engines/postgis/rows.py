"""Bring stored tiles into the form in which PostgreSQL takes many rows at once."""

import io

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc

from geohash_rs.engines.postgis.schema import COLUMNS

__all__ = ["copy_rows"]

HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def copy_rows(codes: npt.NDArray[np.uint8], table: pa.Table) -> bytes:
    """Write rows as CSV for COPY; a missing value is empty, an empty text is quoted.

    Args:
        codes: Packed codes, uint8, shape (n, bits / 8).
        table: n rows with the columns of a segment.

    Returns:
        The text.
    """
    names = set(table.column_names)
    columns = {
        name: table.column(name) if name in names else pa.nulls(len(table), pa.string())
        for name in COLUMNS
        if name != "code"
    }
    for name in ("scene", "label"):
        columns[name] = columns[name].cast(pa.string())
    columns["code"] = _bits(codes)
    columns["geometry"] = _hex(columns["geometry"])
    ordered = pa.table({name: columns[name] for name in COLUMNS})
    target = io.BytesIO()
    pc.write_csv(ordered, target, pc.WriteOptions(include_header=False))
    return target.getvalue()  # a view of it in a cycle of garbage crashes Python 3.12.1


def _bits(codes: npt.NDArray[np.uint8]) -> pa.StringArray:
    """Spell codes in zeros and ones, most significant bit first."""
    text = np.unpackbits(codes, axis=1) + np.uint8(ord("0"))
    offsets = np.arange(len(codes) + 1, dtype=np.int32) * np.int32(text.shape[1])
    return pa.StringArray.from_buffers(len(codes), pa.py_buffer(offsets), pa.py_buffer(text))


def _hex(geometry: pa.ChunkedArray) -> pa.Array:
    """Spell well-known binary in hexadecimal digits."""
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
