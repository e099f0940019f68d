"""One opened state of an archive: what it holds, and the way to a newer one."""

import copy
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from geohash_rs.errors import QueryError
from geohash_rs.store.disk.files import ArchiveFiles, FolderFiles
from geohash_rs.store.disk.locks import ReaderPin
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.snapshot import Snapshot
from geohash_rs.store.verification import VerifyReport, verify_archive

__all__ = ["OpenedArchive"]


class OpenedArchive:
    """An archive in the state that was opened or last written through this object.

    Args:
        path: The folder.
        manifest: The state to start from.
        mode: "r" to read, "a" to read and write.
        pin: Keeps the state's files from being deleted.
        files: Where its files are found; in the folder if None.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        *,
        mode: Literal["r", "a"],
        pin: ReaderPin,
        files: ArchiveFiles | None = None,
    ) -> None:
        self.path = path
        self.mode = mode
        self._files = FolderFiles(path) if files is None else files
        self._snapshot = Snapshot.of(path, manifest, pin=pin, files=self._files)
        self._moving = threading.Lock()

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
        return cls.over(FolderFiles(Path(path)), mode=mode)

    @classmethod
    def over(cls, files: ArchiveFiles, *, mode: Literal["r", "a"] = "r") -> Self:
        """Open an archive whose files may lie elsewhere than in its folder.

        Args:
            files: Its files.
            mode: As in `open`; "a" only where they are in the folder.

        Returns:
            The archive.

        Raises:
            ArchiveNotFoundError: If there is no archive.
            ArchiveFormatError: If a newer version of this package wrote it.
            ArchiveCorruptError: If its manifest is damaged.
        """
        pin = ReaderPin(files.folder)
        return cls(files.folder, files.read_manifest(), mode=mode, pin=pin, files=files)

    def close(self) -> None:
        """Let go of the opened state, so that files it alone needs may be deleted."""
        self._snapshot.pin.release()

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
        with self._moving:  # what another thread commits after the reading comes after it
            pin = ReaderPin(self.path)
            manifest = self._files.read_manifest()
            known = self._snapshot.segments
            self._snapshot = Snapshot.of(
                self.path, manifest, pin=pin, known=known, files=self._files
            )

    def _follow(self, snapshot: Snapshot) -> None:
        """Move on to a state that this object has written; the write lock is held."""
        with self._moving:
            self._snapshot = snapshot

    def snapshot(self) -> Self:
        """Give an archive that stays in the state that this one is in now.

        So that several questions, such as a search and the rows of what it found, are asked of one
        state while other threads refresh this object or write with it.

        Returns:
            An archive that shares the opened files with this one; only to be read.
        """
        return copy.copy(self)

    @property
    def manifest(self) -> Manifest:
        """The state that this object sees."""
        return self._snapshot.manifest

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of the state that this object sees, in the order of their tile ids."""
        return self._snapshot.segments

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
        """The hasher's safetensors file, or None if the archive has none.

        Raises:
            ArchiveCorruptError: If it is missing or has another length.
        """
        hasher = self.manifest.hasher
        return self._files.find(hasher.file.name, hasher.file) if hasher and hasher.file else None

    @property
    def hasher_fingerprint(self) -> str | None:
        """What identifies the hasher of the codes, or None if it is not known."""
        return self.manifest.hasher.fingerprint if self.manifest.hasher else None

    @property
    def pending_hasher(self) -> str | None:
        """The kind of hasher still to be fitted, or None."""
        return self.manifest.pending_hasher

    def scenes(self) -> list[SceneRecord]:
        """List the records of scenes, in the order in which they were added.

        Returns:
            The records; tiles that were added without a record have none.

        Raises:
            ArchiveCorruptError: If a file of records is damaged.
        """
        return list(self._snapshot.records.values())

    def verify(self) -> VerifyReport:
        """Read every file, compare checksums and counts, and look for files that do not belong.

        Returns:
            What is damaged and what is still good.
        """
        return verify_archive(self.path)
