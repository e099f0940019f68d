"""A state of an archive: it never changes and answers all queries."""

import contextlib
import dataclasses
import functools
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.errors import TileNotFoundError, VectorError
from geohash_rs.store.code_table import KINDS, fixed_binary
from geohash_rs.store.disk.files import ArchiveFiles, FolderFiles
from geohash_rs.store.disk.locks import ReaderPin
from geohash_rs.store.disk.manifest import KeepVectors, Manifest
from geohash_rs.store.disk.records import SceneRecord, read_scene_logs
from geohash_rs.store.search.asked import Asked
from geohash_rs.store.search.nearest import Limits, SearchResult, search_segments
from geohash_rs.store.search.sampling import sample_segments
from geohash_rs.store.search.selection import overlapping_rows, select
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Codes, Ids, Searchable, check_asked
from geohash_rs.store.segment.bits import bits_at
from geohash_rs.store.segment.boxes import boxes_in_view
from geohash_rs.store.segment.layout import BLOCK
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.segment.vectors import parts_of
from geohash_rs.store.segment.windows import TILE_SIZE

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["Answers", "Snapshot"]


class Answers(Searchable):
    """The queries that an open archive and its snapshots share; a snapshot answers them."""

    @abstractmethod
    def snapshot(self) -> "Snapshot":
        """Return the current state, which never changes."""

    def one_state(self) -> contextlib.AbstractContextManager[Searchable]:
        """Run several queries against one state; see `Searchable.one_state`."""
        return contextlib.nullcontext(self.snapshot())

    def __len__(self) -> int:
        return self.num_tiles

    @property
    def num_bits(self) -> int | None:
        """Bits per code, or None while the hasher is still to be fitted."""
        return self.snapshot().manifest.num_bits

    @property
    def num_tiles(self) -> int:
        """Number of live tiles."""
        return self.snapshot().manifest.num_tiles

    @property
    def attrs(self) -> dict[str, Any]:
        """A copy of the values stored at creation and by `update_attrs`."""
        return dict(self.snapshot().manifest.attrs)

    @property
    def hasher_file(self) -> Path | None:
        """The hasher's safetensors file, or None if the archive has none.

        Raises:
            ArchiveCorruptError: If it is missing or has another length.
        """
        snapshot = self.snapshot()
        hasher = snapshot.manifest.hasher
        file = hasher.file if hasher else None
        return snapshot.files.find(file.name, file) if file else None

    @property
    def hasher_fingerprint(self) -> str | None:
        """The fingerprint of the hasher that made the codes, or None if unknown."""
        hasher = self.snapshot().manifest.hasher
        return hasher.fingerprint if hasher else None

    @property
    def pending_hasher(self) -> str | None:
        """The kind of hasher still to be fitted, or None."""
        return self.snapshot().manifest.pending_hasher

    @property
    def keep_vectors(self) -> KeepVectors:
        """How the feature vectors of the tiles are kept: "none", "float16" or "int8"."""
        form = self.snapshot().manifest.vectors
        return "none" if form is None else form.kind

    def scenes(self) -> list[SceneRecord]:
        """Return the scene records; see `Searchable.scenes`."""
        return list(self.snapshot().records.values())

    def scene_names(self) -> Collection[str]:
        """Return the names of all scenes; see `Searchable.scene_names`."""
        return self.snapshot().names

    def whole_names(self, names: Collection[str]) -> set[str]:
        """Return which names are the whole names of scenes; see `Searchable.whole_names`."""
        wanted, found = set(names), set()
        for segment in self.snapshot().segments:
            if segment.removed is None:  # then each of its scenes has a tile
                found |= wanted.intersection(segment.texts("scene"))
        return found if found == wanted else wanted.intersection(self.scene_names())

    def find(self, asked: Asked, *, limits: Limits, where: Where) -> SearchResult:
        """Run a search whose arguments were checked; see `Searchable.find`."""
        with self.one_state() as still:
            return still.find(asked, limits=limits, where=where)

    def sample(self, count: int) -> tuple[npt.NDArray[np.int64], Codes]:
        """Return tiles spread over the archive; see `Searchable.sample`."""
        snapshot = self.snapshot()  # kept, so that its files are
        return sample_segments(snapshot.segments, count, num_bits=snapshot.manifest.num_bits or 0)

    def rows(self, where: Where, *, columns: Collection[str]) -> "StoredRows":
        """Return the tiles that pass filters; see `Searchable.rows`."""
        snapshot = self.snapshot()
        # with a pin of its own: it may be read after the archive was closed
        state = dataclasses.replace(snapshot, pin=ReaderPin(snapshot.folder))
        return StoredRows(state=state, where=where, columns=frozenset(columns))

    def tiles(self, ids: Ids) -> "gpd.GeoDataFrame":
        """Return tiles as rows; see `Searchable.tiles`."""
        from geohash_rs.store.segment.tiles import empty_tiles, tiles_to_frame

        wanted = np.asarray(ids, dtype=np.int64).reshape(-1)
        tables, places = [], []
        for segment, where, rows in self.snapshot().locate(wanted):
            tables.append(segment.tile_rows(rows))
            places.append(where)
        if not tables:
            return empty_tiles()
        table = pa.concat_tables(tables, promote_options="default")
        return tiles_to_frame(table.take(pa.array(np.argsort(np.concatenate(places)))))

    def codes(self, ids: Ids) -> Codes:
        """Return the codes of tiles; see `Searchable.codes`."""
        snapshot = self.snapshot()
        wanted = np.asarray(ids, dtype=np.int64).reshape(-1)
        codes = np.empty((len(wanted), (snapshot.manifest.num_bits or 0) // 8), np.uint8)
        for segment, where, rows in snapshot.locate(wanted):
            codes[where] = segment.codes[rows]
        return codes

    def vectors(self, ids: Ids) -> npt.NDArray[np.float32]:
        """Return the feature vectors of tiles; see `Searchable.vectors`.

        Raises:
            VectorError: If the archive keeps none.
        """
        snapshot = self.snapshot()
        form = snapshot.manifest.vectors
        if form is None:
            msg = (
                f"{self.path} keeps no vectors; index the scenes into a new archive with "
                'keep_vectors="float16" or "int8".'
            )
            raise VectorError(msg)
        wanted = np.asarray(ids, dtype=np.int64).reshape(-1)
        # every file is found as long as its rows need before memory is taken for them
        found = [(one.vectors(form), places, rows) for one, places, rows in snapshot.locate(wanted)]
        length = form.length or 0
        vectors = np.empty((len(wanted), length), np.float32)
        for stored, places, rows in found:
            for part in parts_of(len(rows), length):
                vectors[places[part]] = stored.decoded(rows[part])
        return vectors

    def boxes(
        self, view: Sequence[float] = (-180.0, -90.0, 180.0, 90.0)
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        """Yield ids and boxes of the tiles in a view, one segment at a time, for drawing many.

        No footprint is read: boxes come from the mapped index and are larger than the footprints
        by up to 1/65535 of the extent of their block of rows. Tiles without a footprint are left
        out.

        Args:
            view: (minlon, minlat, maxlon, maxlat) in degrees, minlon <= maxlon; both may lie
                beyond 180, as on a map that wraps around the globe.

        Yields:
            Tile ids, int64, shape (m,), and (xmin, ymin, xmax, ymax) in degrees, float64, shape
            (m, 4), xmax above 180 where a tile crosses the antimeridian.

        Raises:
            ArchiveCorruptError: If a file is missing or cut short.
        """
        snapshot = self.snapshot()  # kept, so that its files are
        for segment in snapshot.segments:
            rows, boxes = boxes_in_view(segment, view)
            yield segment.ids_of(rows), boxes

    def iter_tiles(self, *, batch_size: int = 65_536) -> "Iterator[gpd.GeoDataFrame]":
        """Yield every tile, one batch at a time, so that memory stays bounded.

        Args:
            batch_size: Rows read at a time, rounded to whole blocks; removed rows are left out.

        Yields:
            Tiles with the columns of `tiles`.

        Raises:
            ArchiveCorruptError: If a file is damaged.
        """
        from geohash_rs.store.segment.tiles import tiles_to_frame

        step = max(1, batch_size // BLOCK)
        snapshot = self.snapshot()  # kept, so that its files are
        for segment in snapshot.segments:
            removed = segment.removed_rows()
            for block in range(0, segment.num_blocks, step):
                last = min(block + step, segment.num_blocks)
                live = ~removed[block * BLOCK : last * BLOCK]
                if live.any():
                    yield tiles_to_frame(segment.read_blocks(block, last).filter(pa.array(live)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot(Answers):
    """A manifest and its segments; immutable and safe to use from several threads.

    As long as a reference to it exists, files that it has not mapped yet are not deleted.

    Attributes:
        folder: The archive.
        manifest: The state.
        segments: The segments of the manifest, in its order.
        files: Finds its files.
        pin: Keeps its files from being deleted.
    """

    folder: Path
    manifest: Manifest
    segments: tuple[Segment, ...]
    files: ArchiveFiles
    pin: ReaderPin = field(repr=False)

    @classmethod
    def of(
        cls,
        folder: Path,
        manifest: Manifest,
        *,
        pin: ReaderPin,
        known: Sequence[Segment] = (),
        files: ArchiveFiles | None = None,
    ) -> "Snapshot":
        """Open a state, reusing the mapped files of unchanged segments.

        Args:
            folder: The archive.
            manifest: The state.
            pin: Taken before the manifest was read, or under the write lock.
            known: Segments of an earlier snapshot.
            files: Finds the archive's files; None looks in the folder.

        Returns:
            The snapshot; no file is opened yet.
        """
        old = {segment.entry: segment for segment in known}
        num_bits = manifest.num_bits or 0
        segments = tuple(
            old.get(entry) or Segment(folder, entry, num_bits=num_bits, files=files)
            for entry in manifest.segments
        )
        places = FolderFiles(folder) if files is None else files
        return cls(folder=folder, manifest=manifest, segments=segments, files=places, pin=pin)

    @property
    def path(self) -> Path:  # type: ignore[override]  # the contract has an attribute
        """The archive's folder."""
        return self.folder

    def snapshot(self) -> "Snapshot":
        """Return this snapshot."""
        return self

    @functools.cached_property
    def records(self) -> dict[str, SceneRecord]:
        """The scene records by scene, in the order they were added; read once.

        Raises:
            ArchiveCorruptError: If a file of records is damaged.
        """
        logs = self.manifest.scene_logs
        paths = [self.files.find(f"scenes/{entry.name}", entry) for entry in logs]
        return read_scene_logs(self.folder / "scenes", logs, paths=paths)

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """The names of all scenes that have tiles; found once."""
        names: set[str] = set()
        for segment in self.segments:
            texts = segment.texts("scene")
            if segment.removed is not None:  # scenes may have no tile left
                rows = np.flatnonzero(~segment.removed_rows())
                counts = np.bincount(segment.numbers("scene", rows), minlength=len(texts))
                texts = [texts[number] for number in np.flatnonzero(counts)]
            names.update(texts)
        return frozenset(names)

    def find(self, asked: Asked, *, limits: Limits, where: Where) -> SearchResult:
        """Run a search whose arguments were checked; see `Searchable.find`."""
        asked, dropped = check_asked(self, asked), self.dropped(where)
        return search_segments(self.segments, asked, limits=limits, where=where, dropped=dropped)

    def dropped(self, where: Where) -> dict[str, npt.NDArray[np.int64]]:
        """Find the rows that filters exclude by region or id.

        Args:
            where: The filters.

        Returns:
            Row numbers by segment name.
        """
        dropped: dict[str, npt.NDArray[np.int64]] = {}
        if where.exclude_region is not None:
            dropped = overlapping_rows(self.segments, where.exclude_region)
        if where.exclude_ids is not None:
            for segment, _, rows in self.locate(where.exclude_ids, missing_ok=True):
                old = dropped.get(segment.entry.name, np.empty(0, np.int64))
                dropped[segment.entry.name] = np.concatenate([old, rows])
        return dropped

    def locate(
        self, ids: npt.NDArray[np.int64], *, missing_ok: bool = False
    ) -> Iterator[tuple[Segment, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Find live tiles.

        Args:
            ids: Tile ids, shape (m,).
            missing_ok: Whether to skip ids without a live tile.

        Yields:
            A segment, the positions in `ids` of the tiles it holds, and their rows.

        Raises:
            TileNotFoundError: If an id has no live tile.
        """
        found = np.zeros(len(ids), bool)
        for segment in self.segments:
            entry = segment.entry
            places = np.flatnonzero((ids >= entry.first_id) & (ids <= entry.last_id) & ~found)
            if not len(places):
                continue
            rows = segment.rows_of(ids[places])
            places, rows = places[rows >= 0], rows[rows >= 0]
            if segment.removed is not None:
                live = ~bits_at(segment.removed, rows)
                places, rows = places[live], rows[live]
            if len(places):
                found[places] = True
                yield segment, places, rows
        if not (missing_ok or found.all()):
            if not self.manifest.num_tiles:
                msg = f"{self.folder} holds no tiles; add scenes with 'geohash-rs index'."
                raise TileNotFoundError(msg, missing=np.unique(ids).tolist())
            unknown = np.unique(ids[~found]).tolist()
            some = ", ".join(map(str, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
            msg = (
                f"{self.folder} has no tile with id {some}; take ids from search() or from the "
                "column tile_id; removed tiles lose theirs."
            )
            raise TileNotFoundError(msg, missing=unknown)


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredRows:
    """The tiles of a state that pass filters; each iteration reads them again.

    Attributes:
        state: The state; its pin keeps its files for as long as this object is used.
        where: The filters.
        columns: Columns to read.
    """

    state: Snapshot
    where: Where
    columns: frozenset[str]

    def __iter__(self) -> Iterator[pa.Table]:
        """Read the tiles, a few blocks at a time.

        Yields:
            As `Searchable.rows`.

        Raises:
            ArchiveCorruptError: If a file is damaged.
        """
        dropped = self.state.dropped(self.where)
        for segment in self.state.segments:
            selection = select(segment, self.where, dropped=dropped.get(segment.entry.name))
            for rows in selection.matching() if selection else ():
                yield self._read(segment, rows)

    def _read(self, segment: Segment, rows: npt.NDArray[np.int64]) -> pa.Table:
        columns = {name: pa.nulls(len(rows), KINDS[name]) for name in self.columns}
        stored = segment.tile_rows(rows, self.columns - {TILE_SIZE})
        columns |= zip(stored.column_names, stored.columns, strict=True)
        if TILE_SIZE in self.columns:
            columns[TILE_SIZE] = segment.tile_sizes(rows)
        if "code" in self.columns:
            columns["code"] = fixed_binary(segment.codes[rows])
        return pa.table(columns)
