"""Write the next state of an archive: add, remove, merge; each ends in one atomic commit."""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.errors import ArchiveCorruptError, GeoHashRSError, VectorError
from geohash_rs.store.disk.durable import FileEntry, remove_tree, sync_folder, write_file, writing
from geohash_rs.store.disk.locks import ReaderPin, write_lock
from geohash_rs.store.disk.manifest import Manifest, VectorsEntry
from geohash_rs.store.disk.manifest_file import commit_manifest, read_manifest
from geohash_rs.store.disk.plain import NUMBER_NAME, plain_folder
from geohash_rs.store.disk.records import (
    SceneRecord,
    read_scene_logs,
    removed_scenes,
    write_scene_log,
)
from geohash_rs.store.orphans import orphans
from geohash_rs.store.segment.bits import pack_rows
from geohash_rs.store.segment.columns import SOURCE, TileTable
from geohash_rs.store.segment.layout import ID_BITS, MAX_ROWS
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.segment.vectors import check_vectors, encoded
from geohash_rs.store.segment.windows import TILE_SIZE
from geohash_rs.store.segment.write import SegmentData, curve_order, write_segment
from geohash_rs.store.snapshot import Snapshot

__all__ = ["Writer", "open_writer"]

MOST_IDS = 1 << ID_BITS
LOG_FANOUT = 16  # number of scene logs at which they are joined


class Writer:
    """Collects the changes of one commit; `open_writer` makes it under the write lock.

    Args:
        folder: The archive.
        base: The state that the changes start from.
        known: Segments that are already mapped.
        follow: Called with the base state and each committed one. It releases the state before,
            so that unused files can be deleted unless another process reads them.
    """

    def __init__(
        self,
        folder: Path,
        base: Manifest,
        *,
        known: Sequence[Segment] = (),
        follow: Callable[[Snapshot], None],
    ) -> None:
        self.folder = folder
        self.manifest = dataclasses.replace(base, next_number=_next_number(folder, base))
        self._follow = follow
        self._fresh: list[Path] = []
        self._move_to(base, known)

    def _move_to(self, manifest: Manifest, known: Sequence[Segment]) -> None:
        pin = ReaderPin(self.folder)
        self.snapshot = Snapshot.of(self.folder, manifest, pin=pin, known=known)
        self._follow(self.snapshot)

    def next_name(self, prefix: str = "") -> str:
        """Take the next number for a new file or folder.

        Args:
            prefix: Text before the number.

        Returns:
            A name that no file of the archive has or had.
        """
        number = self.manifest.next_number
        self.update(next_number=number + 1)
        return f"{prefix}{number:08d}"

    def update(self, **changes: object) -> None:
        """Change fields of the state to be committed."""
        self.manifest = dataclasses.replace(self.manifest, **changes)  # type: ignore[arg-type]

    def fresh(self, path: Path) -> Path:
        """Note a new file or folder, which is removed if the commit fails."""
        self._fresh.append(path)
        return path

    def add(
        self,
        codes: npt.NDArray[np.uint8],
        tiles: TileTable,
        *,
        vectors: npt.NDArray[np.floating] | None = None,
    ) -> npt.NDArray[np.int64]:
        """Write tiles as new segments.

        Args:
            codes: Packed codes, shape (n, bits / 8).
            tiles: The tiles, n rows.
            vectors: Their feature vectors, shape (n, length).

        Returns:
            Their ids, int64, shape (n,), in the order given.

        Raises:
            ArchiveCorruptError: If there are no ids left.
            VectorError: If the vectors do not fit those that the archive keeps.
        """
        form = self._form_of(vectors, count=len(tiles))
        order = curve_order(tiles.bounds)
        ids = np.empty(len(order), np.int64)
        first = self.take_ids(len(order))
        ids[order] = np.arange(first, first + len(order))
        for start in range(0, len(order), MAX_ROWS):
            rows = order[start : start + MAX_ROWS]
            data = SegmentData(
                codes=codes[rows],
                tiles=TileTable(table=tiles.table.take(pa.array(rows)), bounds=tiles.bounds[rows]),
                vectors=encoded(vectors, rows, form=form) if form and vectors is not None else None,
            )
            self.write(data, first_id=first + start)
        return ids

    def take_ids(self, count: int) -> int:
        """Take the next ids; no other tile will have them.

        Args:
            count: Number of ids.

        Returns:
            The first of them.

        Raises:
            ArchiveCorruptError: If there are not as many left.
        """
        first = self.manifest.next_id
        if first + count >= MOST_IDS:
            msg = (
                f"{self.folder} leaves no room for another commit: its next tile has the id "
                f"{first}, near the limit of {MOST_IDS}; make a new archive."
            )
            raise ArchiveCorruptError(msg)
        self.update(next_id=first + count)
        return first

    def _form_of(
        self, vectors: npt.NDArray[np.floating] | None, *, count: int
    ) -> VectorsEntry | None:
        """Return the form in which vectors are to be kept; None if none are.

        Raises:
            VectorError: If they do not fit those that the archive keeps.
        """
        form = self.manifest.vectors
        if vectors is None:
            if form is None or not count:
                return None
            msg = (
                f"{self.folder} keeps {form.kind} vectors, but none came with {count} tiles; pass "
                "vectors=, or add the tiles to an archive that keeps none."
            )
            raise VectorError(msg)
        if form is None:
            msg = (
                f"{self.folder} keeps no vectors; leave out vectors=, or make an archive with "
                'keep_vectors="float16" or "int8".'
            )
            raise VectorError(msg)
        if not self.manifest.segments:  # an empty archive takes vectors of any length
            form = dataclasses.replace(form, length=None)
        check_vectors(vectors, form, count=count)
        if not count:
            return None
        form = dataclasses.replace(form, length=vectors.shape[1])
        self.update(vectors=form)
        return form

    def write(self, data: SegmentData, *, first_id: int = 0) -> None:
        """Write one segment and add it to the state."""
        self._folder("segments")
        folder = self.fresh(self.folder / "segments" / self.next_name())
        entry = write_segment(folder, data, first_id=first_id)
        segments = sorted((*self.manifest.segments, entry), key=lambda item: item.first_id)
        self.update(segments=tuple(segments))
        if TILE_SIZE in data.tiles.table.column_names:
            self.update(tile_sizes=True)
        if SOURCE in data.tiles.table.column_names:
            self.update(sources=True)

    def remove_rows(self, segment: Segment, rows: npt.NDArray[np.int64]) -> int:
        """Mark rows of a segment of the base state as removed.

        Args:
            segment: The segment.
            rows: Row numbers; may include rows that are already removed.

        Returns:
            The number of rows that were live.
        """
        removed = segment.removed_rows()
        before = int(removed.sum())
        removed[rows] = True
        count = int(removed.sum()) - before
        if not count:
            return 0
        entry = segment.entry
        if before + count == entry.num_tiles:
            kept = [item for item in self.manifest.segments if item.name != entry.name]
            self.update(segments=tuple(kept))
            return count
        path = self.fresh(self.folder / "removed" / self.next_name())
        self._folder("removed")
        bitmap = write_file(path, [pack_rows(removed).tobytes()])
        changed = dataclasses.replace(entry, num_removed=before + count, tombstones=bitmap)
        self.update(
            segments=tuple(
                changed if item.name == entry.name else item for item in self.manifest.segments
            )
        )
        return count

    def remove_scenes(self, scenes: Collection[str]) -> int:
        """Mark every tile of the given scenes as removed.

        Args:
            scenes: The scenes.

        Returns:
            The number of tiles that were live.
        """
        wanted = set(scenes)
        count = 0
        for segment in self.snapshot.segments:
            table = np.array([text in wanted for text in segment.texts("scene")])
            if table.any():
                numbers = segment.numbers("scene", np.arange(len(segment)))
                count += self.remove_rows(segment, np.flatnonzero(table[numbers]))
        return count

    def log_scenes(self, records: Sequence[SceneRecord], *, removed: Collection[str] = ()) -> None:
        """Write scene records as a new log; join the logs if there are many."""
        logs = self.manifest.scene_logs
        if records or (removed and logs):
            logs = (*logs, self._scene_log(records, removed=removed))
        while len(logs) >= LOG_FANOUT:
            tail = _tail(logs)
            joined = read_scene_logs(self.folder / "scenes", tail)
            # scenes of earlier logs that the tail removed must stay removed
            gone = self._removed_in(tail) - set(joined) if len(tail) < len(logs) else set()
            entry = self._scene_log(list(joined.values()), removed=gone)
            logs = (*logs[: len(logs) - len(tail)], entry)
        self.update(scene_logs=logs)

    def _scene_log(self, records: Sequence[SceneRecord], *, removed: Collection[str]) -> FileEntry:
        self._folder("scenes")
        path = self.fresh(self.folder / "scenes" / self.next_name())
        return write_scene_log(path, records, removed=removed)

    def _removed_in(self, logs: Sequence[FileEntry]) -> set[str]:
        return removed_scenes(self.folder / "scenes", logs)

    def _folder(self, name: str) -> None:
        path = plain_folder(self.folder, name)
        if not path.exists():
            with writing(path):
                path.mkdir(exist_ok=True)
                sync_folder(self.folder)

    def commit(self) -> None:
        """Commit the changes as the archive's new state.

        Raises:
            ArchiveWriteError: If the manifest cannot be written; the old state then stands. Also
                if the folder cannot be made durable; the new state then already stands.
        """
        for name in ("scenes", "removed", "segments", ""):  # deepest first
            if plain_folder(self.folder, name).exists():
                with writing(self.folder / name):
                    sync_folder(self.folder / name)
        self.manifest = self.manifest.following()
        commit_manifest(self.folder, self.manifest)
        self._fresh.clear()
        self._move_to(self.manifest, self.snapshot.segments)

    def discard(self) -> None:
        """Remove files that were written but not committed.

        A commit may fail after its manifest replaced the old one (an interrupt, a folder that
        cannot be made durable), so files listed by the manifest on disk are kept.
        """
        if not self._fresh:
            return
        try:
            left_over = orphans(self.folder, read_manifest(self.folder))
        except (GeoHashRSError, OSError):
            return  # without a manifest nothing shows which files belong to the archive
        for path in set(self._fresh).intersection(left_over):
            remove_tree(path)


@contextlib.contextmanager
def open_writer(
    folder: Path, *, known: Sequence[Segment] = (), follow: Callable[[Snapshot], None]
) -> Iterator[Writer]:
    """Take the write lock and start from the newest state.

    Args:
        folder: The archive.
        known: Segments that are already mapped.
        follow: Called with each state, see `Writer`.

    Yields:
        The writer; files that it did not commit are removed at the end.

    Raises:
        ArchiveLockedError: If another writer holds the lock.
        ArchiveReadOnlyError: If the folder cannot be written.
    """
    with write_lock(folder):
        writer = Writer(folder, read_manifest(folder), known=known, follow=follow)
        try:
            yield writer
        finally:
            writer.discard()


def _next_number(folder: Path, manifest: Manifest) -> int:
    """Return the next free number, past those that a killed writer left behind."""
    places = [plain_folder(folder, name) for name in ("segments", "removed", "scenes")]
    names = [path.name for place in places if place.exists() for path in place.iterdir()]
    names = [name for name in names if NUMBER_NAME.fullmatch(name)]
    return max([manifest.next_number, *(int(name) + 1 for name in names)])


def _tail(logs: Sequence[FileEntry]) -> Sequence[FileEntry]:
    """Return the newest logs, stopping before one more than twice their total size."""
    size, start = 0, len(logs)
    while start > 0 and (len(logs) - start < 2 or logs[start - 1].size <= 2 * size):
        start -= 1
        size += logs[start].size
    return logs[start:]
