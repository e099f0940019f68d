"""CodeArchive: packed codes and their tiles in a folder, searched exactly."""

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.archive.commit import Writer, open_writer
from geohash_rs.archive.compaction import compact_segments, merge_small_segments
from geohash_rs.archive.filters import RegionLike, TimeLike, parse_region, parse_time
from geohash_rs.archive.locks import ReaderPin, create_locks
from geohash_rs.archive.manifest import HasherEntry, Manifest, commit_manifest, read_manifest
from geohash_rs.archive.records import SceneRecord, read_scene_logs
from geohash_rs.archive.search import SearchResult, search_segments
from geohash_rs.archive.selection import Filters, overlapping_rows
from geohash_rs.archive.snapshot import Snapshot
from geohash_rs.archive.storage import FileEntry, write_file, writing
from geohash_rs.archive.tiles import empty_tiles, tiles_from_frame, tiles_to_frame
from geohash_rs.archive.verification import VerifyReport, verify_archive
from geohash_rs.archive.writing import BLOCK
from geohash_rs.codes import check_num_bits
from geohash_rs.errors import (
    ArchiveExistsError,
    ArchiveReadOnlyError,
    CodeLengthError,
    HasherMismatchError,
    QueryError,
    TileTableError,
)

__all__ = ["CodeArchive", "HasherFile"]

Codes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64] | Sequence[int]


@dataclass(frozen=True, kw_only=True)
class HasherFile:
    """A hasher as an archive keeps it: bytes that it does not look into.

    Attributes:
        data: Content of the safetensors file.
        fingerprint: What identifies the hasher.
        num_bits: Bits of its codes.
    """

    data: bytes = dataclasses.field(repr=False)
    fingerprint: str
    num_bits: int


class CodeArchive:
    """Codes and tiles in a folder. Make one with `create` or `open`.

    A search sees the state that was opened or last written through this object; `refresh` moves
    on to what other processes wrote. Searching from several threads is safe.

    Args:
        path: The folder.
        manifest: The state to start from.
        mode: "r" to read, "a" to read and write.
        pin: Keeps the state's files from being deleted.
    """

    def __init__(
        self, path: Path, manifest: Manifest, *, mode: Literal["r", "a"], pin: ReaderPin
    ) -> None:
        self.path = path
        self.mode = mode
        self._pin = pin
        self._snapshot = Snapshot.of(path, manifest)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        num_bits: int | None = None,
        hasher: HasherFile | None = None,
        pending_hasher: str | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make an empty archive.

        Args:
            path: A folder that does not exist yet, or is empty.
            num_bits: Bits of a code; may be left out when a hasher is given or still to be fitted.
            hasher: The hasher whose codes it will hold.
            pending_hasher: The kind of hasher still to be fitted, such as "itq-64".
            attrs: Anything to be remembered that JSON can hold.

        Returns:
            The archive, open for writing.

        Raises:
            ArchiveExistsError: If something is there already.
            ArchiveWriteError: If the folder cannot be made.
            CodeLengthError: If `num_bits` cannot be packed or is not the hasher's.
            QueryError: If neither bits nor hasher are given.
        """
        if hasher is None and num_bits is None and pending_hasher is None:
            msg = "a new archive needs num_bits, hasher or pending_hasher; pass num_bits=64, say."
            raise QueryError(msg)
        if num_bits is not None:
            check_num_bits(num_bits)
        folder = Path(path)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            msg = f"{folder} exists and is not empty; open it with Archive.open or choose another."
            raise ArchiveExistsError(msg)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            create_locks(folder)
        manifest = Manifest(
            num_bits=num_bits, pending_hasher=pending_hasher, attrs=dict(attrs or {})
        )
        if hasher is not None:
            manifest = _with_hasher(folder, manifest, hasher)
        commit_manifest(folder, manifest)
        return cls.open(folder)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, mode: Literal["r", "a"] = "a") -> Self:
        """Open an archive; files are mapped when first needed.

        Args:
            path: The folder.
            mode: "r" refuses to write; "a" takes the write lock only while it writes.

        Returns:
            The archive.

        Raises:
            ArchiveNotFoundError: If the folder is no archive.
            ArchiveFormatError: If a newer version of this package wrote it.
            ArchiveCorruptError: If its manifest is damaged.
            QueryError: If the mode is unknown.
        """
        if mode not in ("r", "a"):
            msg = f"mode is {mode!r}, but it must be 'r' (read) or 'a' (read and write)."
            raise QueryError(msg)
        folder = Path(path)
        pin = ReaderPin(folder)
        return cls(folder, read_manifest(folder), mode=mode, pin=pin)

    def close(self) -> None:
        """Let go of the opened state, so that files it alone needs may be deleted."""
        self._pin.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {self.num_bits} bits, {len(self)} tiles)"

    def __len__(self) -> int:
        return self.num_tiles

    def refresh(self) -> None:
        """Move on to the newest state, with what other processes wrote.

        Raises:
            ArchiveCorruptError: If the manifest is damaged.
        """
        pin = ReaderPin(self.path)
        self._move_to(read_manifest(self.path), pin)

    def _move_to(self, manifest: Manifest, pin: ReaderPin) -> None:
        old = self._pin
        self._snapshot = Snapshot.of(self.path, manifest, known=self._snapshot.segments)
        self._pin = pin
        old.release()

    @property
    def manifest(self) -> Manifest:
        """The state that this object sees."""
        return self._snapshot.manifest

    @property
    def num_bits(self) -> int | None:
        """Bits of a code, or None while the hasher is still to be fitted."""
        return self.manifest.num_bits

    @property
    def num_tiles(self) -> int:
        """Tiles that were added and not removed."""
        return self.manifest.num_tiles

    @property
    def attrs(self) -> dict[str, Any]:
        """A copy of what was remembered at creation and by `update_attrs`."""
        return dict(self.manifest.attrs)

    @property
    def hasher_file(self) -> Path | None:
        """The hasher's safetensors file, or None if the archive has none."""
        hasher = self.manifest.hasher
        return self.path / hasher.file.name if hasher and hasher.file else None

    @property
    def hasher_fingerprint(self) -> str | None:
        """What identifies the hasher of the codes, or None if it is not known."""
        return self.manifest.hasher.fingerprint if self.manifest.hasher else None

    @property
    def pending_hasher(self) -> str | None:
        """The kind of hasher still to be fitted, or None."""
        return self.manifest.pending_hasher

    def set_hasher(self, data: bytes, *, fingerprint: str, num_bits: int) -> None:
        """Keep the hasher that makes this archive's codes.

        Args:
            data: Content of its safetensors file.
            fingerprint: What identifies it.
            num_bits: Bits of its codes.

        Raises:
            HasherMismatchError: If the archive holds codes of another hasher.
            CodeLengthError: If the archive holds codes of another length.
            ArchiveReadOnlyError: If the archive was opened for reading.
            ArchiveLockedError: If another process is writing.
            ArchiveWriteError: If it cannot be written.
        """
        with self._writer() as writer:
            new = HasherFile(data=data, fingerprint=fingerprint, num_bits=num_bits)
            state = writer.manifest
            if state.num_tiles and state.hasher and state.hasher.fingerprint != fingerprint:
                raise HasherMismatchError(
                    _mismatch(self.path, state.hasher.fingerprint, fingerprint)
                )
            writer.manifest = _with_hasher(self.path, state, new)
            writer.commit()

    def update_attrs(self, values: Mapping[str, Any]) -> None:
        """Remember more values, JSON, in the manifest.

        Args:
            values: Names and values; the same names are replaced.

        Raises:
            ArchiveReadOnlyError: If the archive was opened for reading.
            ArchiveLockedError: If another process is writing.
            ArchiveWriteError: If it cannot be written.
        """
        with self._writer() as writer:
            writer.update(attrs={**writer.manifest.attrs, **values})
            writer.commit()

    def add_codes(
        self,
        codes: Codes,
        tiles: gpd.GeoDataFrame,
        *,
        scenes: Sequence[SceneRecord] = (),
        replace_scenes: Collection[str] = (),
        fingerprint: str | None = None,
    ) -> npt.NDArray[np.int64]:
        """Add codes and their tiles in one commit: all of it or, after a crash, none.

        Args:
            codes: Packed codes, uint8, shape (n, bits / 8).
            tiles: n rows: scene (text), geometry (any CRS) and, where known, col, row, width,
                height (px), datetime, datetime_end (no zone means UTC), label (text).
            scenes: Records of the scenes the tiles come from.
            replace_scenes: Scenes whose present tiles are removed in the same commit.
            fingerprint: The hasher that made the codes.

        Returns:
            Ids of the tiles, int64, shape (n,), in the order given.

        Raises:
            CodeLengthError: If the codes have another number of bits than the archive.
            TileTableError: If codes and tiles differ in number, or a column is wrong.
            HasherMismatchError: If another hasher made the archive's codes.
            ArchiveReadOnlyError: If the archive was opened for reading.
            ArchiveLockedError: If another process is writing.
            ArchiveWriteError: If it cannot be written; the archive is then as before.
        """
        codes = self._check_codes(codes)
        if len(codes) != len(tiles):
            msg = f"there are {len(codes)} codes but {len(tiles)} tiles; give one code a tile."
            raise TileTableError(msg)
        table = tiles_from_frame(tiles)
        with self._writer() as writer:
            known = writer.manifest.hasher
            if fingerprint is not None and known is not None and known.fingerprint != fingerprint:
                raise HasherMismatchError(_mismatch(self.path, known.fingerprint, fingerprint))
            if fingerprint is not None and known is None:
                writer.update(hasher=HasherEntry(file=None, fingerprint=fingerprint))
            if replace_scenes:
                writer.remove_scenes(replace_scenes)
            ids = writer.add(codes, table)
            renewed = {record.scene for record in scenes}
            writer.log_scenes(scenes, removed=[s for s in replace_scenes if s not in renewed])
            writer.commit()
            merge_small_segments(writer)
        return ids

    def scenes(self) -> list[SceneRecord]:
        """List the records of scenes, in the order in which they were added.

        Returns:
            The records; tiles that were added without a record have none.

        Raises:
            ArchiveCorruptError: If a file of records is damaged.
        """
        return list(read_scene_logs(self.path / "scenes", self.manifest.scene_logs).values())

    def remove_scenes(self, scenes: Collection[str]) -> int:
        """Remove every tile of some scenes, and their records.

        Args:
            scenes: Paths or URIs as in the tiles' column `scene`.

        Returns:
            How many tiles were removed; 0 when the archive has no such scene.

        Raises:
            ArchiveReadOnlyError: If the archive was opened for reading.
            ArchiveLockedError: If another process is writing.
            ArchiveWriteError: If it cannot be written.
        """
        with self._writer() as writer:
            count = writer.remove_scenes(scenes)
            known = {record.scene for record in self._records(writer)}
            writer.log_scenes((), removed=[scene for scene in scenes if scene in known])
            writer.commit()
        return count

    def remove_tiles(self, ids: Ids) -> int:
        """Remove tiles.

        Args:
            ids: Tile ids; the same id may occur twice.

        Returns:
            How many tiles were removed.

        Raises:
            TileNotFoundError: If an id has no tile; nothing is removed then.
            ArchiveReadOnlyError: If the archive was opened for reading.
            ArchiveLockedError: If another process is writing.
            ArchiveWriteError: If it cannot be written.
        """
        wanted = np.unique(np.asarray(ids, dtype=np.int64))
        with self._writer() as writer:
            found = list(writer.snapshot.locate(wanted))
            count = sum(writer.remove_rows(segment, rows) for segment, _, rows in found)
            writer.commit()
        return count

    def search(
        self,
        codes: Codes,
        *,
        k: int | None = 20,
        max_distance: int | None = None,
        region: RegionLike | None = None,
        time: TimeLike | None = None,
        scenes: Collection[str] | None = None,
        labels: Collection[str] | None = None,
        within: bool = False,
        exclude_region: RegionLike | None = None,
        exclude_ids: Ids | None = None,
        num_threads: int | None = None,
    ) -> SearchResult:
        """Find the tiles whose codes differ least from the query codes; exact, with every filter.

        Args:
            codes: Query codes, uint8, shape (queries, bits / 8).
            k: Matches for each query; fewer come back only if fewer exist. None for all within
                `max_distance`.
            max_distance: The largest Hamming distance that counts, inclusive.
            region: Only tiles whose footprint meets this shapely geometry in longitude and
                latitude, or box (minlon, minlat, maxlon, maxlat); minlon > maxlon crosses the
                antimeridian.
            time: Only tiles taken within (start, end), both included; None leaves an end open.
                Tiles without a time do not count.
            scenes: Only tiles of these scenes.
            labels: Only tiles with these labels.
            within: Whether footprints must lie inside of the region rather than meet it.
            exclude_region: No tiles that share ground with this region; to touch is allowed.
            exclude_ids: No tiles with these ids.
            num_threads: Threads; None for one for each processor where it pays.

        Returns:
            Ids and distances, nearest first, ties by lowest tile id; -1 past a query's last match.
            As many columns as the query with the most matches has.

        Raises:
            CodeLengthError: If the codes have another number of bits than the archive.
            QueryError: If k, `max_distance` or `num_threads` has no meaning.
            RegionError: If a region is empty, invalid or outside the globe.
            TimeRangeError: If the time range cannot be read or is turned round.
            ArchiveCorruptError: If a file is missing or cut short.
        """
        _check_limits(k, max_distance, num_threads)
        queries = self._check_codes(codes, what="query codes")
        snapshot = self._snapshot
        filters = Filters(
            region=None if region is None else parse_region(region),
            within=within,
            time=None if time is None else parse_time(time),
            scenes=None if scenes is None else frozenset(scenes),
            labels=None if labels is None else frozenset(labels),
        )
        dropped: dict[str, npt.NDArray[np.int64]] = {}
        if exclude_region is not None:
            dropped = overlapping_rows(snapshot.segments, parse_region(exclude_region))
        if exclude_ids is not None:
            left_out = np.unique(np.asarray(exclude_ids, dtype=np.int64))
            for segment, _, rows in snapshot.locate(left_out, missing_ok=True):
                old = dropped.get(segment.entry.name, np.empty(0, np.int64))
                dropped[segment.entry.name] = np.concatenate([old, rows])
        return search_segments(
            snapshot.segments,
            queries,
            k=k,
            max_distance=max_distance,
            filters=dataclasses.replace(filters, dropped=dropped),
            num_threads=num_threads,
        )

    def tiles(self, ids: Ids) -> gpd.GeoDataFrame:
        """Give tiles as rows; only the parts of the tables that hold them are read.

        Args:
            ids: Tile ids, shape (n,).

        Returns:
            n rows in the order of the ids: tile_id, scene, col, row, width, height, datetime,
            [datetime_end], [label], geometry, in EPSG:4326.

        Raises:
            TileNotFoundError: If an id has no tile.
            ArchiveCorruptError: If a file is damaged.
        """
        wanted = np.asarray(ids, dtype=np.int64).reshape(-1)
        tables, places = [], []
        for segment, where, rows in self._snapshot.locate(wanted):
            tables.append(segment.read_rows(rows))
            places.append(where)
        if not tables:
            return empty_tiles()
        table = pa.concat_tables(tables, promote_options="default")
        return tiles_to_frame(table.take(pa.array(np.argsort(np.concatenate(places)))))

    def codes(self, ids: Ids) -> Codes:
        """Give the codes of tiles.

        Args:
            ids: Tile ids, shape (n,).

        Returns:
            Packed codes, uint8, shape (n, bits / 8).

        Raises:
            TileNotFoundError: If an id has no tile.
            ArchiveCorruptError: If a file is damaged.
        """
        wanted = np.asarray(ids, dtype=np.int64).reshape(-1)
        codes = np.empty((len(wanted), (self.num_bits or 0) // 8), np.uint8)
        for segment, where, rows in self._snapshot.locate(wanted):
            codes[where] = segment.codes[rows]
        return codes

    def iter_tiles(self, *, batch_size: int = 65_536) -> Iterator[gpd.GeoDataFrame]:
        """Give every tile, a batch at a time, so that memory stays bounded.

        Args:
            batch_size: Rows read at a time, at least; removed ones are left out of the batch.

        Yields:
            Tiles with the columns of `tiles`.

        Raises:
            ArchiveCorruptError: If a file is damaged.
        """
        step = max(1, batch_size // BLOCK)
        for segment in self._snapshot.segments:
            removed = segment.removed_rows()
            for block in range(0, segment.num_blocks, step):
                last = min(block + step, segment.num_blocks)
                live = ~removed[block * BLOCK : last * BLOCK]
                if live.any():
                    yield tiles_to_frame(segment.read_blocks(block, last).filter(pa.array(live)))

    def compact(self) -> None:
        """Merge small segments, drop removed rows for good and delete what is left over.

        Tile ids stay as they are. A process that has the archive open keeps its state; the files
        of that state are deleted by a later `compact`.

        Raises:
            ArchiveReadOnlyError: If the archive was opened for reading.
            ArchiveLockedError: If another process is writing.
            ArchiveWriteError: If it cannot be written; nothing is lost.
        """
        with self._writer() as writer:
            compact_segments(writer)

    def verify(self) -> VerifyReport:
        """Read every file, compare checksums and counts, and look for files that do not belong.

        Returns:
            What is damaged and what is still good.
        """
        return verify_archive(self.path)

    def _records(self, writer: Writer) -> list[SceneRecord]:
        logs = writer.manifest.scene_logs
        return list(read_scene_logs(self.path / "scenes", logs).values())

    def _writer(self) -> "_Writing":
        if self.mode == "r":
            msg = f"{self.path} was opened with mode='r'; open it with mode='a' to write."
            raise ArchiveReadOnlyError(msg)
        return _Writing(self)

    def _check_codes(self, codes: Codes, *, what: str = "codes") -> Codes:
        if self.num_bits is None:
            msg = (
                f"{self.path} has no hasher yet ({self.pending_hasher} is to be fitted when scenes "
                "are added), so it takes no codes; call set_hasher first."
            )
            raise QueryError(msg)
        array = np.asarray(codes)
        if array.dtype != np.uint8 or array.ndim != 2:
            msg = (
                f"{what} have dtype {array.dtype} and shape {array.shape}, but must be uint8 with "
                f"shape (n, {self.num_bits // 8}); pack_codes makes them."
            )
            raise CodeLengthError(msg)
        if array.shape[1] * 8 != self.num_bits:
            msg = (
                f"{what} have {array.shape[1] * 8} bits but the archive was made with "
                f"{self.num_bits}; use the hasher stored in the archive."
            )
            raise CodeLengthError(msg)
        return np.ascontiguousarray(array)


class _Writing:
    """Open a writer for an archive object, and let the object see what was committed."""

    def __init__(self, archive: CodeArchive) -> None:
        self.archive = archive

    def __enter__(self) -> Writer:
        self._context = open_writer(self.archive.path, known=self.archive._snapshot.segments)
        self._writer = self._context.__enter__()
        # only the holder of the write lock deletes files, so its own pin would but stand in its way
        self.archive._pin.release()
        return self._writer

    def __exit__(self, *details: Any) -> None:  # noqa: ANN401 - handed on as they are
        archive, writer = self.archive, self._writer
        try:
            archive._move_to(writer.snapshot.manifest, ReaderPin(archive.path))
        finally:
            self._context.__exit__(*details)


def _with_hasher(folder: Path, manifest: Manifest, hasher: HasherFile) -> Manifest:
    """Write a hasher's file and put it into a state.

    Raises:
        CodeLengthError: If the archive was made for codes of another length.
    """
    check_num_bits(hasher.num_bits)
    if manifest.num_bits not in (None, hasher.num_bits):
        msg = (
            f"the hasher makes codes of {hasher.num_bits} bits but the archive was made with "
            f"{manifest.num_bits}; use a hasher with as many bits."
        )
        raise CodeLengthError(msg)
    name = f"hasher-{hasher.fingerprint[:16]}.safetensors"
    file: FileEntry = write_file(folder / name, [hasher.data])
    return dataclasses.replace(
        manifest,
        num_bits=hasher.num_bits,
        pending_hasher=None,
        hasher=HasherEntry(file=file, fingerprint=hasher.fingerprint),
    )


def _mismatch(folder: Path, known: str, given: str) -> str:
    return (
        f"the codes were made by hasher {given[:16]} but {folder} holds codes of hasher "
        f"{known[:16]}; use the hasher stored in the archive, or make a new archive."
    )


def _check_limits(k: int | None, max_distance: int | None, num_threads: int | None) -> None:
    if k is None and max_distance is None:
        msg = "k is None and so is max_distance; pass one of them, or both."
        raise QueryError(msg)
    for name, value, least in (("k", k, 1), ("max_distance", max_distance, 0)):
        if value is not None and value < least:
            msg = f"{name} is {value}, but it must be at least {least}."
            raise QueryError(msg)
    if num_threads is not None and num_threads < 1:
        msg = f"num_threads is {num_threads}, but it must be at least 1; None chooses."
        raise QueryError(msg)
