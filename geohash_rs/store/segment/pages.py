"""Read single footprints and sources from a Parquet file by page, without its metadata.

Parquet readers decode a column one row group at a time. A segment's index therefore records where
each page of these columns starts, so fetching a tile decompresses one page of about 256 values.

Reference:
    https://parquet.apache.org/docs/file-format/data-pages/
"""

import errno
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from geohash_rs.errors import ArchiveWriteError
from geohash_rs.store.segment.arrays import map_bytes

__all__ = ["PAGE_BYTES", "PAGE_ROWS", "index_pages", "read_values", "unpacked_size"]

PAGE_ROWS = 256  # rows after which the writer checks whether a page is full
PAGE_BYTES = 16_384  # size of a full page; 256 quadrilaterals take 24,832
QUAD_BYTES = 93  # size of a quadrilateral's WKB, the common case
QUAD = np.dtype([("size", "<u4"), ("wkb", f"V{QUAD_BYTES}")])
LENGTH = struct.Struct("<I")  # of a value, before it
DATA_PAGE, PLAIN = 0, 0  # PageType and Encoding of parquet.thrift
MOST_DEPTH = 4  # structs in structs of a page header; statistics make it two

Array = npt.NDArray[Any]


def index_pages(path: Path, column: str = "geometry") -> dict[str, Array]:
    """Locate the pages of a column of bytes or text.

    Args:
        path: A Parquet file, compressed by zstd.
        column: The column, which has no dictionary.

    Returns:
        `page_rows`, the first row of each page, uint32, shape (pages,); `page_places`, the offset
        of its compressed values, uint64, shape (pages,); `page_sizes`, their size in bytes,
        compressed and uncompressed, uint32, shape (pages, 2). Names of arrays of any
        column except "geometry" begin with that of the column, such as `source_page_rows`.

    Raises:
        ArchiveWriteError: If `read_values` cannot read this kind of page.
    """
    metadata = pq.read_metadata(path)
    place_of = metadata.schema.names.index(column)
    described = metadata.schema.column(place_of)
    if (described.max_definition_level, described.max_repetition_level) != (1, 0):
        raise ArchiveWriteError(errno.ENOTSUP, _unreadable(path))
    data = map_bytes(path).data
    pages: list[tuple[int, int, int, int]] = []
    row = 0
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(place_of)
        if chunk.compression != "ZSTD" or chunk.has_dictionary_page:
            raise ArchiveWriteError(errno.ENOTSUP, _unreadable(path))
        place, last = chunk.data_page_offset, row + chunk.num_values
        while row < last:
            header, place = _read_struct(data, place)
            if header[1] != DATA_PAGE or header[5][2] != PLAIN:
                raise ArchiveWriteError(errno.ENOTSUP, _unreadable(path))
            pages.append((row, place, header[3], header[2]))
            row, place = row + header[5][1], place + header[3]
    rows, places, packed, unpacked = np.array(pages, np.int64).reshape(-1, 4).T
    prefix = _prefix(column)
    return {
        f"{prefix}page_rows": rows.astype(np.uint32),
        f"{prefix}page_places": places.astype(np.uint64),
        f"{prefix}page_sizes": np.stack([packed, unpacked], axis=1).astype(np.uint32),
    }


def _prefix(column: str) -> str:
    """Return the start of the names of a column's arrays; footprints came first and have none."""
    return "" if column == "geometry" else f"{column}_"


def unpacked_size(data: memoryview, place: int, size: int) -> int:
    """Add up what the pages of a column chunk unpack to, by their own headers.

    Args:
        data: The Parquet file.
        place: Offset of the first page.
        size: Bytes of the chunk.

    Returns:
        Bytes.

    Raises:
        ValueError: If a header cannot be read or leads out of the chunk.
        IndexError: If the file ends within a header.
    """
    total, end = 0, place + size
    while place < end:
        header, place = _read_struct(data, place)
        packed, unpacked = header.get(3), header.get(2)
        if type(packed) is not int or type(unpacked) is not int or min(packed, unpacked) < 0:
            msg = "a page header has no sizes"
            raise ValueError(msg)
        total, place = total + unpacked, place + packed
    if place != end:
        msg = f"pages end at byte {place}, not {end}"
        raise ValueError(msg)
    return total


def _unreadable(path: Path) -> str:
    return (
        f"{path} has Parquet pages that geohash_rs cannot read, written by pyarrow "
        f"{pa.__version__}; install another version of pyarrow."
    )


def read_values(
    data: Array,
    index: Mapping[str, Array],
    rows: Array,
    *,
    num_rows: int,
    column: str = "geometry",
) -> Array:
    """Read the values of some rows.

    Args:
        data: The Parquet file's bytes, mapped.
        index: Contains the arrays of `index_pages`.
        rows: Row numbers, any order, shape (m,).
        num_rows: Number of rows in the file.
        column: The column.

    Returns:
        WKB or UTF-8 as bytes, None for a missing value, shape (m,).

    Raises:
        ValueError: If a page does not match the index.
        OSError: If a page cannot be decompressed.
    """
    rows = np.asarray(rows, np.int64)
    found = np.empty(len(rows), object)
    names = [f"{_prefix(column)}page_{name}" for name in ("rows", "places", "sizes")]
    starts, places, sizes = (index[name] for name in names)
    pages = np.searchsorted(starts, rows, "right") - 1
    if not len(rows):
        return found
    order = np.argsort(pages, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(pages[order])) + 1):
        page = int(pages[mine[0]])
        first = int(starts[page])
        last = int(starts[page + 1]) if page + 1 < len(starts) else num_rows
        place, (packed, unpacked) = int(places[page]), sizes[page].tolist()
        body = pa.decompress(data[place : place + packed], unpacked, codec="zstd", asbytes=True)
        found[mine] = _values(body, rows[mine] - first, count=last - first)
    return found


def _values(body: bytes, wanted: Array, *, count: int) -> Array:
    """Return some values of a page: first come levels that mark nulls, then the other values."""
    start = 4 + int.from_bytes(body[:4], "little")
    there = _levels(body[4:start], count)
    num_there = count if there is None else int(there.sum())
    taken = np.empty(len(wanted), object)
    places, numbers = list(range(len(wanted))), wanted.tolist()
    if there is not None:
        places = np.flatnonzero(there[wanted]).tolist()
        numbers = (np.cumsum(there) - 1)[wanted[places]].tolist()
    if len(body) - start == num_there * QUAD.itemsize:
        quads = np.frombuffer(body, QUAD, offset=start)
        if (quads["size"] == QUAD_BYTES).all():
            for place, number in zip(places, numbers, strict=True):
                first = start + number * QUAD.itemsize + 4
                taken[place] = body[first : first + QUAD_BYTES]
            return taken
    ends = _ends(body, start, num_there)
    for place, number in zip(places, numbers, strict=True):
        taken[place] = body[ends[number] + 4 : ends[number + 1]]
    return taken


def _ends(body: bytes, place: int, count: int) -> list[int]:
    """Return where each of the length-prefixed values of a page ends, after where the first starts.

    Raises:
        ValueError: If the values do not fill the page exactly.
    """
    ends = [place]
    try:
        for _ in range(count):
            place += 4 + LENGTH.unpack_from(body, place)[0]
            ends.append(place)
    except struct.error:
        place = len(body) + 1
    if place != len(body):
        msg = f"a page of {len(body)} bytes does not end where the last of its {count} values does"
        raise ValueError(msg)
    return ends


def _levels(levels: bytes, count: int) -> npt.NDArray[np.bool_] | None:
    """Decode which values of a page are not null, from runs and bit-packed groups.

    Returns:
        Bool, shape (count,), or None if no value is null.

    Raises:
        ValueError: If there are fewer levels than values.
    """
    pieces: list[Array] = []
    place = total = 0
    while place < len(levels) and total < count:
        header, place = _read_varint(levels, place)
        size = header >> 1
        if header & 1:
            needed = min(size, -(-(count - total) // 8))  # there may be megabytes of others
            packed = np.frombuffer(levels[place : place + needed], np.uint8)
            pieces.append(np.unpackbits(packed, bitorder="little").astype(bool))
            place, size = place + size, 8 * size
        else:
            if size == count and levels[place] == 1:
                return None
            pieces.append(np.full(min(size, count), levels[place] == 1))
            place += 1
        total += size
    if total < count:
        msg = f"a page has levels of {total} values instead of {count}"
        raise ValueError(msg)
    return np.concatenate([*pieces, np.empty(0, bool)])[:count]


def _read_varint(data: bytes | memoryview, place: int) -> tuple[int, int]:
    """Read a varint and return it with the offset after it.

    Raises:
        ValueError: If it has more than 64 bits.
    """
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            msg = "a number has more than 64 bits"
            raise ValueError(msg)
        if byte < 128:
            return number, place


def _read_struct(
    data: bytes | memoryview, place: int, *, depth: int = 0
) -> tuple[dict[int, Any], int]:
    """Read one struct of Thrift's compact protocol, as far as page headers use it.

    Returns:
        Its fields by number, and the offset after it.

    Raises:
        ValueError: If it has a field of a type that page headers do not use.

    References:
        https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
    """
    fields: dict[int, Any] = {}
    number = 0
    while head := data[place]:
        place += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            coded, place = _read_varint(data, place)
            number = (coded >> 1) ^ -(coded & 1)
        value: Any = kind == 1
        if kind in (4, 5, 6):  # integers of 16, 32, 64 bits
            coded, place = _read_varint(data, place)
            value = (coded >> 1) ^ -(coded & 1)
        elif kind == 8:  # bytes
            size, place = _read_varint(data, place)
            value, place = bytes(data[place : place + size]), place + size
        elif kind == 12 and depth < MOST_DEPTH:
            value, place = _read_struct(data, place, depth=depth + 1)
        elif kind not in (1, 2):  # neither true nor false
            msg = f"a page header has a field of type {kind}"
            raise ValueError(msg)
        fields[number] = value
    return fields, place + 1
