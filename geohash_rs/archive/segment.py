"""Read a segment: mapped codes, mapped index, rows of the tile table."""

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from geohash_rs.archive.arrays import map_arrays, map_bytes
from geohash_rs.archive.manifest import SegmentEntry
from geohash_rs.archive.storage import check_size
from geohash_rs.archive.writing import BLOCK, CODES, INDEX, ROW_GROUP, TILES
from geohash_rs.errors import ArchiveCorruptError

__all__ = ["Segment"]

Array = npt.NDArray[Any]
FEW = 256  # rows that are cut out one by one
NO_BYTES = np.empty(0, np.uint8)


class Segment:
    """One segment of an opened snapshot; its files are mapped when first used.

    Args:
        archive: The archive's folder.
        entry: What the manifest says of the segment.
        num_bits: Bits of a code.
    """

    def __init__(self, archive: Path, entry: SegmentEntry, *, num_bits: int) -> None:
        self.entry = entry
        self.folder = archive / "segments" / entry.name
        self.num_bits = num_bits
        self._removed_path = archive / "removed"
        self._texts: dict[str, list[str]] = {}
        self._lock = threading.RLock()  # a Parquet reader serves one thread at a time

    def __len__(self) -> int:
        return self.entry.num_tiles

    @property
    def num_blocks(self) -> int:
        """Blocks of rows, the last one perhaps shorter."""
        return -(-len(self) // BLOCK)

    def _file(self, name: str) -> Path:
        path = self.folder / name
        for entry in self.entry.files:
            if entry.name == name:
                check_size(path, entry)
        return path

    @functools.cached_property
    def codes(self) -> npt.NDArray[np.uint8]:
        """The packed codes, uint8, shape (n, bits / 8), mapped."""
        return map_bytes(self._file(CODES)).reshape(len(self), self.num_bits // 8)

    @functools.cached_property
    def index(self) -> dict[str, Array]:
        """The index's arrays by name, mapped; `docs/format.md` describes each.

        Raises:
            ArchiveCorruptError: If the file is damaged or does not go with the manifest.
        """
        path = self._file(INDEX)
        index = map_arrays(path)
        if len(index["boxes"]) != len(self):
            msg = f"{path} describes {len(index['boxes'])} rows, but the manifest says {len(self)}."
            raise ArchiveCorruptError(msg)
        return index

    @functools.cached_property
    def crosses_antimeridian(self) -> bool:
        """Whether a tile's box reaches beyond a longitude of 180 degrees."""
        return bool(self.index["block_boxes"][:, 2].max() > 180)

    @functools.cached_property
    def removed(self) -> npt.NDArray[np.uint8] | None:
        """One bit a row, most significant first, set where the row was removed; None if none."""
        entry = self.entry.tombstones
        if entry is None:
            return None
        path = self._removed_path / entry.name
        check_size(path, entry)
        return map_bytes(path)

    def removed_rows(self) -> npt.NDArray[np.bool_]:
        """Tell for every row whether it was removed."""
        if self.removed is None:
            return np.zeros(len(self), bool)
        return np.unpackbits(self.removed, count=len(self)).view(bool)

    def texts(self, name: str) -> list[str]:
        """List the distinct values of a text column, in the order of their numbers.

        Args:
            name: "scene" or "label".

        Returns:
            The texts; empty when the segment has no such column or no value in it.
        """
        if name not in self._texts:
            packed = self.index.get(f"{name}_texts", NO_BYTES)
            known = f"{name}_texts" in self.index and (name == "scene" or packed.size > 0)
            self._texts[name] = packed.tobytes().decode().split("\0") if known else []
        return self._texts[name]

    def numbers(self, name: str, rows: Array) -> Array:
        """Give the numbers of a column's values, for some rows.

        Args:
            name: "start", "end", "scene" or "label".
            rows: Row numbers, shape (m,).

        Returns:
            Unsigned integers, shape (m,).
        """
        stored: Array | None = self.index.get(f"{name}_rows")
        if stored is not None:
            return stored[rows]
        return np.full(len(rows), self.index[f"{name}_ranges"][0, 0])

    def ids_of(self, rows: Array) -> npt.NDArray[np.int64]:
        """Give the tile ids of rows.

        Args:
            rows: Row numbers, shape (m,).

        Returns:
            Tile ids, int64, shape (m,).
        """
        if self.entry.sequential:
            return rows.astype(np.int64) + self.entry.first_id
        return self.index["ids"][rows].astype(np.int64) + self.entry.first_id

    def rows_of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Find the rows of tile ids, removed ones included.

        Args:
            ids: Tile ids, int64, shape (m,).

        Returns:
            Row numbers, int64, shape (m,); -1 where the segment has no such tile.
        """
        offsets = ids - self.entry.first_id
        inside = (offsets >= 0) & (ids <= self.entry.last_id)
        if self.entry.sequential:
            return np.where(inside, offsets, -1)
        rows = np.full(len(ids), -1, np.int64)
        stored, order = self.index["ids"], self.index["id_order"]
        for place in np.flatnonzero(inside):
            rows[place] = _find(stored, order, int(offsets[place]))
        return rows

    @functools.cached_property
    def _parquet(self) -> pq.ParquetFile:
        path = self._file(TILES)
        try:
            return pq.ParquetFile(path, memory_map=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise ArchiveCorruptError(_damage(path, error)) from error

    @property
    def num_parquet_rows(self) -> int:
        """Rows of the Parquet file."""
        return int(self._parquet.metadata.num_rows)

    def tile_rows(self, rows: Array) -> pa.Table:
        """Give some rows of the tile table: from the index what it holds, else from Parquet.

        Args:
            rows: Row numbers, any order, shape (m,).

        Returns:
            The rows in the order asked for, all columns.

        Raises:
            ArchiveCorruptError: If a file is damaged.
        """
        names = self._parquet.schema_arrow.names
        known: dict[str, Any] = {"tile_id": pa.array(self.ids_of(rows))}
        for name in ("scene", "label"):
            if name in names:
                texts = [*self.texts(name), None]
                numbers = self.numbers(name, rows).tolist()
                known[name] = pa.array([texts[number] for number in numbers], pa.string())
        moments, numbers = self.index["start_values"], self.numbers("start", rows)
        micros, missing = np.append(moments, 0)[numbers], numbers == len(moments)
        known["datetime"] = pa.array(micros, pa.timestamp("us", tz="UTC"), mask=missing)
        rest = self.read_rows(rows, columns=[name for name in names if name not in known])
        return pa.table(
            {name: known[name] if name in known else rest.column(name) for name in names}
        )

    def read_rows(self, rows: Array, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Read some rows of the tile table; only the row groups that hold them are decoded.

        Args:
            rows: Row numbers, any order, shape (m,).
            columns: Names, or None for all.

        Returns:
            The rows in the order asked for.

        Raises:
            ArchiveCorruptError: If the Parquet file is damaged.
        """
        groups, place = np.unique(np.asarray(rows) // ROW_GROUP, return_inverse=True)
        try:
            with self._lock:
                table = self._parquet.read_row_groups(
                    groups.tolist(), columns=columns, use_threads=False
                )
        except (pa.ArrowInvalid, OSError) as error:
            raise ArchiveCorruptError(_damage(self.folder / TILES, error)) from error
        places = place * ROW_GROUP + np.asarray(rows) % ROW_GROUP
        if len(places) > FEW:
            return table.take(pa.array(places))
        # take() would first join the chunks of all row groups
        return pa.concat_tables([table.slice(place, 1) for place in places.tolist()])

    def footprints(self, rows: Array) -> npt.NDArray[np.object_]:
        """Read the exact footprints of rows.

        Args:
            rows: Row numbers, shape (m,).

        Returns:
            Shapely geometries, shape (m,).

        Raises:
            ArchiveCorruptError: If the Parquet file is damaged.
        """
        if not len(rows):
            return np.empty(0, object)
        column = self.read_rows(rows, columns=["geometry"]).column("geometry")
        return np.asarray(shapely.from_wkb(np.array(column.to_pylist(), dtype=object)))

    def read_blocks(self, first: int, last: int) -> pa.Table:
        """Read the tile table of consecutive blocks.

        Args:
            first: The first block.
            last: One past the last block.

        Returns:
            All their rows, removed ones included.

        Raises:
            ArchiveCorruptError: If the Parquet file is damaged.
        """
        try:
            with self._lock:
                groups = range(
                    first * (BLOCK // ROW_GROUP),
                    min(last * (BLOCK // ROW_GROUP), self._parquet.num_row_groups),
                )
                return self._parquet.read_row_groups(list(groups), use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise ArchiveCorruptError(_damage(self.folder / TILES, error)) from error


def _find(stored: Array, order: Array, offset: int) -> int:
    """Bisect the ids, which are sorted only through `order`."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if int(stored[order[middle]]) < offset:
            low = middle + 1
        else:
            high = middle
    if low < len(order) and int(stored[order[low]]) == offset:
        return int(order[low])
    return -1


def _damage(path: Path, error: Exception) -> str:
    return (
        f"{path} cannot be decoded ({error}); run 'geohash-rs verify' and restore it from a copy."
    )
