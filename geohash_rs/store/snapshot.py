"""One opened state of an archive, and the way to the next."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import TileNotFoundError
from geohash_rs.store.disk.files import ArchiveFiles, FolderFiles
from geohash_rs.store.disk.locks import ReaderPin
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.records import SceneRecord, read_scene_logs
from geohash_rs.store.segment.bits import bits_at
from geohash_rs.store.segment.read import Segment

__all__ = ["Snapshot"]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A manifest and its segments; nothing in it changes.

    As long as anybody holds it, the files that it has not mapped yet are not deleted.

    Attributes:
        folder: The archive.
        manifest: The state.
        segments: The segments of the manifest, in its order.
        files: Where its files are found.
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
        """Open a state, keeping the mapped files of segments that did not change.

        Args:
            folder: The archive.
            manifest: The state.
            pin: Was there before the manifest was read, or is made under the write lock.
            known: Segments of an earlier snapshot.
            files: Where its files are found; in the folder if None.

        Returns:
            The snapshot; no file is opened.
        """
        old = {segment.entry: segment for segment in known}
        num_bits = manifest.num_bits or 0
        segments = tuple(
            old.get(entry) or Segment(folder, entry, num_bits=num_bits, files=files)
            for entry in manifest.segments
        )
        places = FolderFiles(folder) if files is None else files
        return cls(folder=folder, manifest=manifest, segments=segments, files=places, pin=pin)

    @functools.cached_property
    def records(self) -> dict[str, SceneRecord]:
        """The records of scenes by scene, in the order in which they were added; read once.

        Raises:
            ArchiveCorruptError: If a file of records is damaged.
        """
        logs = self.manifest.scene_logs
        paths = [self.files.find(f"scenes/{entry.name}", entry) for entry in logs]
        return read_scene_logs(self.folder / "scenes", logs, paths=paths)

    def locate(
        self, ids: npt.NDArray[np.int64], *, missing_ok: bool = False
    ) -> Iterator[tuple[Segment, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Find live tiles.

        Args:
            ids: Tile ids, shape (m,).
            missing_ok: Whether ids without a live tile are passed over.

        Yields:
            A segment, the places in `ids` of the tiles it holds, and their rows.

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
            unknown = np.unique(ids[~found]).tolist()
            some = ", ".join(map(str, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
            msg = (
                f"{self.folder} has no tile with id {some}; ids come from search() or from the "
                "column tile_id, and removed tiles lose theirs."
            )
            raise TileNotFoundError(msg)
