"""Write segments: rows along a curve, an index of boxes and times, tiles as GeoParquet."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from geohash_rs.footprints.bounds import total_bounds
from geohash_rs.store.disk.durable import FileEntry, seal_file, sync_folder, write_file, writing
from geohash_rs.store.disk.manifest import SegmentEntry
from geohash_rs.store.segment.arrays import serialise_arrays
from geohash_rs.store.segment.columns import SOURCE, TileTable
from geohash_rs.store.segment.curve import box_keys
from geohash_rs.store.segment.layout import BLOCK, CODES, INDEX, MARGIN, STEPS, TILES, VECTORS
from geohash_rs.store.segment.numbered import numbered
from geohash_rs.store.segment.pages import PAGE_BYTES, PAGE_ROWS, index_pages
from geohash_rs.store.segment.shapes import geo_metadata
from geohash_rs.store.segment.sizes import index_sizes
from geohash_rs.store.segment.windows import index_window

__all__ = [
    "SegmentData",
    "curve_order",
    "index_texts",
    "write_segment",
    "write_tiles",
]

KINDS = {1: "Point", 2: "LineString", 3: "Polygon", 4: "MultiPoint", 5: "MultiLineString"}
KINDS |= {6: "MultiPolygon", 7: "GeometryCollection"}

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class SegmentData:
    """The contents of a new segment, rows in the order of `curve_order`.

    Attributes:
        codes: uint8, shape (n, bits / 8).
        tiles: The tiles, n rows.
        ids: Tile ids, int64, shape (n,), or None for consecutive ids.
        vectors: The content of the file of vectors, in pieces; None if none are kept.
    """

    codes: npt.NDArray[np.uint8]
    tiles: TileTable
    ids: npt.NDArray[np.int64] | None = None
    vectors: Iterable[memoryview] | None = None


def curve_order(bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Order tiles along the space-filling curve.

    Args:
        bounds: Boxes of the footprints in degrees, shape (n, 4).

    Returns:
        Row numbers, int64, shape (n,); tiles without a footprint come last.
    """
    return np.argsort(box_keys(bounds), kind="stable")


def write_segment(folder: Path, data: SegmentData, *, first_id: int = 0) -> SegmentEntry:
    """Write a segment durably.

    Args:
        folder: The segment's folder, which does not exist yet.
        data: The contents.
        first_id: Id of the first row if `ids` is None.

    Returns:
        The entry for the manifest.

    Raises:
        ArchiveWriteError: If it cannot be written; files already written are then orphans.
    """
    with writing(folder):
        folder.mkdir(parents=True)
    tiles = data.tiles
    ids = data.ids
    index: dict[str, Array] = {}
    index |= _box_index(tiles.bounds)
    index |= _time_index(tiles.table)
    index |= index_window(tiles.table, block=BLOCK)
    index |= index_sizes(index, num_rows=len(tiles))
    for name, key in (("scene", "scene"), ("label", "label")):
        if key in tiles.table.column_names:
            index |= index_texts(tiles.table.column(key), name)
    if ids is not None:
        index |= _id_index(ids)
        first_id, last_id = int(ids.min()), int(ids.max())
        tile_ids = ids
    else:
        last_id = first_id + len(tiles) - 1
        tile_ids = np.arange(first_id, last_id + 1)
    codes = write_file(folder / CODES, [np.ascontiguousarray(data.codes).data.cast("B")])
    bounds = total_bounds(tiles.bounds)
    table = tiles.table.add_column(0, "tile_id", pa.array(tile_ids))
    parquet, pages = write_tiles(folder, table, bounds)
    index |= pages
    arrays = write_file(folder / INDEX, serialise_arrays(index))
    files = [codes, arrays, parquet]
    if data.vectors is not None:
        files.append(write_file(folder / VECTORS, data.vectors))
    with writing(folder):
        sync_folder(folder)
        sync_folder(folder.parent)
    return SegmentEntry(
        name=folder.name,
        num_tiles=len(tiles),
        num_removed=0,
        first_id=first_id,
        last_id=last_id,
        sequential=ids is None,
        bounds=bounds,
        times=_total_times(index),
        files=tuple(files),
    )


def write_tiles(
    folder: Path, table: pa.Table, bounds: tuple[float, float, float, float] | None
) -> tuple[FileEntry, dict[str, Array]]:
    """Write the table of a segment's tiles durably.

    Args:
        folder: The segment's folder.
        table: The columns of a segment's Parquet file, tile ids first.
        bounds: (xmin, ymin, xmax, ymax) of all footprints, degrees; None without footprints.

    Returns:
        The entry of the file, and the arrays of the index that say where its pages are.

    Raises:
        ArchiveWriteError: If it cannot be written.
    """
    path = folder / TILES
    with writing(path):
        _write_parquet(path, table, bounds)
    entry = seal_file(path)
    pages = index_pages(path)
    if SOURCE in table.column_names:
        pages |= index_pages(path, SOURCE)
    return entry, pages


def _box_index(bounds: npt.NDArray[np.float64]) -> dict[str, Array]:
    """Return the boxes of blocks, and of rows in steps of their block's box, rounded outward.

    A row without a footprint gets a box with xmin above xmax; so does a block of such rows.
    """
    starts = np.arange(0, len(bounds), BLOCK)
    placed = ~np.isnan(bounds[:, :1])
    low = np.minimum.reduceat(np.where(placed, bounds[:, :2], np.inf), starts) - MARGIN
    high = np.maximum.reduceat(np.where(placed, bounds[:, 2:], -np.inf), starts) + MARGIN
    blocks = np.hstack([low, high])
    row_low, step = low.repeat(BLOCK, axis=0)[: len(bounds)], (high - low) / STEPS
    row_step = step.repeat(BLOCK, axis=0)[: len(bounds)]
    with np.errstate(invalid="ignore"):
        first = np.floor((bounds[:, :2] - row_low) / row_step)
        last = np.ceil((bounds[:, 2:] - row_low) / row_step)
        first -= row_low + first * row_step > bounds[:, :2]
        last += row_low + last * row_step < bounds[:, 2:]
    boxes = np.hstack([np.where(placed, first, STEPS), np.where(placed, last, 0)])
    return {
        "block_boxes": np.where(np.isfinite(blocks), blocks, [1e9, 1e9, -1e9, -1e9]),
        "boxes": np.clip(boxes, 0, STEPS).astype(np.uint16),
    }


def _time_index(table: pa.Table) -> dict[str, Array]:
    """Number the distinct times in order, so that a time range is a range of numbers.

    A missing time gets the number after the last.
    """
    index: dict[str, Array] = {}
    names = {"datetime": "start", "datetime_end": "end"}
    for column, name in names.items():
        if column not in table.column_names:
            continue
        stamps = table.column(column).cast(pa.int64())
        if column == "datetime_end":  # a tile without an end ends when it starts
            start = table.column("datetime").cast(pa.int64())
            given = ~np.asarray(stamps.is_null())
            if (~given & ~np.asarray(start.is_null())).any():
                index["end_given"] = np.packbits(given)
            stamps = pa.chunked_array([pa.array(_coalesce(stamps, start))])
        missing = np.asarray(stamps.is_null())
        values, numbers = np.unique(np.asarray(stamps.drop_null()), return_inverse=True)
        rows = np.full(len(missing), len(values), np.uint32)
        rows[~missing] = numbers
        index[f"{name}_values"] = values.astype(np.int64)
        index |= numbered(rows, name, len(values) + 1)
    return index


def _coalesce(first: pa.ChunkedArray, second: pa.ChunkedArray) -> pa.Array:
    import pyarrow.compute as pc  # noqa: PLC0415 - slow to import, seldom needed

    return pc.coalesce(first, second).combine_chunks()


def index_texts(column: pa.ChunkedArray, name: str) -> dict[str, Array]:
    """Number the distinct texts of a column; a missing one gets the number after the last.

    Args:
        column: The texts, n rows.
        name: "scene" or "label".

    Returns:
        The arrays of the index for this column.
    """
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    texts = encoded.dictionary.to_pylist()
    used = np.unique(np.asarray(encoded.indices.drop_null()))
    kept = [texts[int(number)] for number in used]
    if kept == [""]:
        kept.append("")  # an empty array would mean that there is no text at all
    new = np.full(len(texts) + 1, len(kept), np.uint32)
    new[used] = np.arange(len(used), dtype=np.uint32)
    rows = new[np.asarray(encoded.indices.fill_null(len(texts)))]
    packed = "\0".join(kept).encode()
    index = {f"{name}_texts": np.frombuffer(packed, np.uint8)}
    return index | numbered(rows, name, len(kept) + 1)


def _id_index(ids: npt.NDArray[np.int64]) -> dict[str, Array]:
    """Store ids that are not consecutive, and the rows in the order of their ids."""
    first = int(ids.min())
    offsets = ids - first
    width = np.uint32 if int(offsets.max()) < 1 << 32 else np.uint64
    return {"ids": offsets.astype(width), "id_order": np.argsort(ids).astype(np.uint32)}


def _total_times(index: dict[str, Array]) -> tuple[int, int] | None:
    starts = index["start_values"]
    if not len(starts):
        return None
    ends = index.get("end_values", starts)
    return (int(starts[0]), int(max(ends[-1], starts[-1])))


def _write_parquet(
    path: Path, table: pa.Table, bounds: tuple[float, float, float, float] | None
) -> None:
    geometry = table.column("geometry")
    table = table.replace_schema_metadata({b"geo": geo_metadata(bounds, _kinds(geometry.chunks))})
    paged = ("geometry", SOURCE)  # read by page, hence without a dictionary
    encoded = ["scene", "label", "datetime", "datetime_end", "width", "height", "tile_size"]
    pq.write_table(
        table,
        path,
        row_group_size=BLOCK,
        write_batch_size=PAGE_ROWS,
        data_page_size=PAGE_BYTES,
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=[name for name in encoded if name in table.column_names],
        column_encoding=dict.fromkeys(("tile_id", "col", "row"), "DELTA_BINARY_PACKED"),
        write_statistics=[name for name in table.column_names if name not in paged],
    )


def _kinds(chunks: Iterable[pa.Array]) -> list[str]:
    """Return the geometry types of little-endian WKB, read from each second byte."""
    found: set[int] = set()
    for chunk in chunks:
        filled = chunk.drop_null()
        _, offsets, data = filled.buffers()
        if len(filled):
            starts = np.frombuffer(offsets, np.int32)[filled.offset :][: len(filled)]
            found |= set(np.unique(np.frombuffer(data, np.uint8)[starts + 1]).tolist())
    return [KINDS[kind] for kind in sorted(found)]
