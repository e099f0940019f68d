"""Read a segment: mapped codes, mapped index, rows of the tile table."""

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from geohash_rs.errors import ArchiveCorruptError
from geohash_rs.store.disk.durable import FileEntry
from geohash_rs.store.disk.files import ArchiveFiles, FolderFiles
from geohash_rs.store.disk.manifest import SegmentEntry, VectorsEntry
from geohash_rs.store.segment.arrays import map_arrays, map_bytes
from geohash_rs.store.segment.bits import bits_at
from geohash_rs.store.segment.columns import SOURCE, SOURCES, STAMP
from geohash_rs.store.segment.index_arrays import IndexArrays
from geohash_rs.store.segment.layout import BLOCK, CODES, INDEX, MOST_SOURCE, TILES, VECTORS
from geohash_rs.store.segment.pages import read_values
from geohash_rs.store.segment.parquet import TileTableFile, undecodable
from geohash_rs.store.segment.vectors import StoredVectors
from geohash_rs.store.segment.windows import TILE_SIZE, WINDOW, window_numbers
from geohash_rs.store.segment.wkb import check_wkb

__all__ = ["Segment"]

Array = npt.NDArray[Any]
NO_BYTES = np.empty(0, np.uint8)


class Segment:
    """One segment of an opened snapshot; its files are mapped on first use.

    Args:
        archive: The archive's folder.
        entry: The segment's entry in the manifest.
        num_bits: Bits per code.
        files: Finds the archive's files; None looks in the folder.
    """

    def __init__(
        self,
        archive: Path,
        entry: SegmentEntry,
        *,
        num_bits: int,
        files: ArchiveFiles | None = None,
    ) -> None:
        self.entry = entry
        self.folder = archive / "segments" / entry.name
        self.num_bits = num_bits
        self._files = FolderFiles(archive) if files is None else files
        self._texts: dict[str, list[str]] = {}
        self._vectors: StoredVectors | None = None

    def __len__(self) -> int:
        return self.entry.num_tiles

    @property
    def num_blocks(self) -> int:
        """Number of blocks of rows; the last block may be shorter."""
        return -(-len(self) // BLOCK)

    def _file(self, name: str) -> Path:
        return self._files.find(f"segments/{self.entry.name}/{name}", self._entry(name))

    def _entry(self, name: str) -> FileEntry:
        return next(entry for entry in self.entry.files if entry.name == name)

    @functools.cached_property
    def codes(self) -> npt.NDArray[np.uint8]:
        """The packed codes, uint8, shape (n, bits / 8), mapped.

        Raises:
            ArchiveCorruptError: If the length of the file does not fit the number of rows.
        """
        path = self._file(CODES)
        return self._of_size(map_bytes(path), len(self) * self.num_bits // 8, path).reshape(
            len(self), self.num_bits // 8
        )

    def vectors(self, form: VectorsEntry) -> StoredVectors:
        """Return the feature vectors of the rows, mapped.

        Args:
            form: The form in which the archive keeps them.

        Returns:
            The vectors.

        Raises:
            ArchiveCorruptError: If the length of the file does not fit the number of rows.
        """
        if self._vectors is None:
            path = self._file(VECTORS)
            data = self._of_size(map_bytes(path), len(self) * form.row_bytes, path)
            self._vectors = StoredVectors.of(data, form, path=path)
        return self._vectors

    def _of_size(self, data: Array, size: int, path: Path) -> Array:
        """Return mapped bytes, if they are as many as the rows need; compiled loops rely on it.

        Raises:
            ArchiveCorruptError: If they are not.
        """
        if len(data) != size:
            msg = (
                f"{path} has {len(data)} bytes, but {len(self)} rows need {size}; it was not "
                "written by geohash_rs or was changed. Restore it from a copy."
            )
            raise ArchiveCorruptError(msg)
        return data

    @functools.cached_property
    def index(self) -> IndexArrays:
        """The index's arrays by name, mapped; each is checked when it is first used.

        Raises:
            ArchiveCorruptError: If the file is damaged or does not match the manifest.
        """
        path = self._file(INDEX)
        size = self._entry(TILES).size
        return IndexArrays(path, map_arrays(path), num_rows=len(self), table_size=size)

    @functools.cached_property
    def crosses_antimeridian(self) -> bool:
        """Whether a tile's box reaches beyond a longitude of 180 degrees."""
        return bool(self.index["block_boxes"][:, 2].max() > 180)

    @functools.cached_property
    def removed(self) -> npt.NDArray[np.uint8] | None:
        """One bit per row, most significant first, set if the row was removed; None if none was.

        Raises:
            ArchiveCorruptError: If the length of the file does not fit the number of rows.
        """
        entry = self.entry.tombstones
        if entry is None:
            return None
        path = self._files.find(f"removed/{entry.name}", entry)
        return self._of_size(map_bytes(path), self.num_blocks * (BLOCK // 8), path)

    def removed_rows(self) -> npt.NDArray[np.bool_]:
        """Return whether each row was removed, bool, shape (n,)."""
        if self.removed is None:
            return np.zeros(len(self), bool)
        return np.unpackbits(self.removed, count=len(self)).view(bool)

    def texts(self, name: str) -> list[str]:
        """Return the distinct values of a text column, ordered by their numbers.

        Args:
            name: "scene" or "label".

        Returns:
            The texts; empty if the segment has no such column or the column has no values.
        """
        if name not in self._texts:
            packed = self.index.get(f"{name}_texts", NO_BYTES)
            known = f"{name}_texts" in self.index and (name == "scene" or packed.size > 0)
            self._texts[name] = packed.tobytes().decode().split("\0") if known else []
        return self._texts[name]

    def numbers(self, name: str, rows: Array) -> Array:
        """Return the numbers of a column's values for some rows.

        Args:
            name: "start", "end", "size", "scene" or "label".
            rows: Row numbers, shape (m,).

        Returns:
            Unsigned integers, shape (m,).
        """
        stored: Array | None = self.index.get(f"{name}_rows")
        if stored is not None:
            return stored[rows]
        return np.full(len(rows), self.index[f"{name}_ranges"][0, 0])

    def ids_of(self, rows: Array) -> npt.NDArray[np.int64]:
        """Return the tile ids of rows.

        Args:
            rows: Row numbers, shape (m,).

        Returns:
            Tile ids, int64, shape (m,).
        """
        if self.entry.sequential:
            return rows.astype(np.int64) + self.entry.first_id
        return self.index["ids"][rows].astype(np.int64) + self.entry.first_id

    def rows_of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Find the rows of tile ids, including removed ones.

        Args:
            ids: Tile ids, int64, shape (m,).

        Returns:
            Row numbers, int64, shape (m,); -1 if the segment has no such tile.
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
    def _table(self) -> TileTableFile:
        return TileTableFile(self._file(TILES), num_rows=len(self))

    @property
    def num_parquet_rows(self) -> int:
        """Number of rows in the Parquet file."""
        return self._table.num_rows

    def tile_rows(self, rows: Array, columns: Collection[str] | None = None) -> pa.Table:
        """Read some rows of the tile table, from the index and single pages.

        Args:
            rows: Row numbers, any order, shape (m,).
            columns: Columns to read; those that the segment lacks are left out. None reads all.

        Returns:
            The columns of the rows, in the given order of rows.

        Raises:
            ArchiveCorruptError: If a file is damaged.
        """
        readers: dict[str, Callable[[], pa.Array]] = {
            "tile_id": lambda: pa.array(self.ids_of(rows)),
            "scene": lambda: self._text_column("scene", rows),
            **{name: partial(self._window, name, rows) for name in WINDOW},
            "datetime": lambda: self._moments("start", rows),
        }
        if "end_ranges" in self.index:
            readers["datetime_end"] = lambda: self._moments("end", rows)
        if "label_ranges" in self.index:
            readers["label"] = lambda: self._text_column("label", rows)
        if f"{TILE_SIZE}_least" in self.index:
            readers[TILE_SIZE] = lambda: self._window(TILE_SIZE, rows)
        if f"{SOURCE}_page_rows" in self.index:
            readers[SOURCE] = lambda: self._sources(rows)
        readers["geometry"] = lambda: pa.array(self._wkb(rows), pa.binary())
        return pa.table(
            {name: read() for name, read in readers.items() if columns is None or name in columns}
        )

    def tile_sizes(self, rows: Array) -> pa.Array:
        """Return the tile sizes by which a search can be limited.

        Args:
            rows: Row numbers, shape (m,).

        Returns:
            The sizes, px, int32, null where unknown, shape (m,).
        """
        values, numbers = self.index["size_values"], self.numbers("size", rows)
        sizes = np.append(values, 0)[numbers].astype(np.int32)
        return pa.array(sizes, mask=numbers == len(values))

    def _window(self, name: str, rows: Array) -> pa.Array:
        return window_numbers(self.index, name, rows, block=BLOCK)

    def _text_column(self, name: str, rows: Array) -> pa.Array:
        texts = [*self.texts(name), None]
        return pa.array([texts[number] for number in self.numbers(name, rows)], pa.string())

    def _moments(self, name: str, rows: Array) -> pa.Array:
        values, numbers = self.index[f"{name}_values"], self.numbers(name, rows)
        missing = numbers == len(values)
        given = self.index.get("end_given") if name == "end" else None
        if given is not None:
            missing |= ~bits_at(given, rows)
        return pa.array(np.append(values, 0)[numbers], STAMP, mask=missing)

    def _wkb(self, rows: Array) -> Array:
        """Read footprints as WKB, None for a missing footprint.

        Raises:
            ArchiveCorruptError: If the Parquet file is damaged.
        """
        with self._decoding():
            shapes = read_values(self._table.content, self.index, rows, num_rows=len(self))
            check_wkb(shapes)
        return shapes

    def _sources(self, rows: Array) -> pa.Array:
        """Read sources, null where missing.

        Raises:
            ArchiveCorruptError: If the Parquet file is damaged.
        """
        data, count = self._table.content, len(self)
        with self._decoding():
            found = read_values(data, self.index, rows, num_rows=count, column=SOURCE)
            return _source_texts(found)

    @contextlib.contextmanager
    def _decoding(self) -> Iterator[None]:
        """Name the Parquet file in errors of decoding it.

        Raises:
            ArchiveCorruptError: If it is damaged.
        """
        try:
            yield
        except ArchiveCorruptError:  # of the index, which has another file
            raise
        except (ValueError, IndexError, OSError) as error:
            raise ArchiveCorruptError(undecodable(self.folder / TILES, error)) from error

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
        try:
            return np.asarray(shapely.from_wkb(self._wkb(rows)))
        except shapely.errors.GEOSException as error:
            raise ArchiveCorruptError(undecodable(self.folder / TILES, error)) from error

    def read_blocks(self, first: int, last: int) -> pa.Table:
        """Read the tile table of consecutive blocks.

        Args:
            first: The first block.
            last: One past the last block.

        Returns:
            All their rows, including removed ones.

        Raises:
            ArchiveCorruptError: If the Parquet file is damaged.
        """
        return self._table.blocks(first, last)


def _source_texts(values: Array) -> pa.Array:
    """Decode sources from UTF-8.

    Raises:
        ValueError: If one is too long or is not UTF-8.
    """
    longest = max((len(value) for value in values if value is not None), default=0)
    if longest > MOST_SOURCE:
        msg = f"a source has {longest:,} bytes, over {MOST_SOURCE:,}"
        raise ValueError(msg)
    return pa.array(values, pa.large_binary()).cast(SOURCES)


def _find(stored: Array, order: Array, offset: int) -> int:
    """Find an id's row by bisection; `order` sorts the ids. Return -1 if it is missing."""
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
