"""The folder inside an archive in which an interrupted refit keeps what it has done."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from geohash_rs.errors import ArchiveCorruptError, ArchiveLockedError, ArchiveReadOnlyError
from geohash_rs.store.disk.durable import (
    FileEntry,
    make_folder,
    remove_tree,
    replacing,
    sync_folder,
    verify_file,
    write_file,
    writing,
)
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.locks import write_lock
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.plain import is_draft, plain_folder, plain_path, read_plain
from geohash_rs.store.orphans import unfinished

__all__ = ["RefitFolder", "remove_refits"]

HASHER = "hasher.safetensors"
ABOUT = "about.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefitFolder:
    """A new hasher for an archive, and the codes that it has made so far.

    Attributes:
        path: The folder, named by the hasher.
        fingerprint: Identifies the hasher.
        num_bits: Bits per code.
        asked: What was asked for: the name of a kind of hasher, or the fingerprint of one.
        fitted_on: Identifies the scenes and tiles on which the hasher was fitted; empty if it was
            not fitted here.
        file: The hasher's file.
    """

    path: Path
    fingerprint: str
    num_bits: int
    asked: str
    fitted_on: str
    file: FileEntry

    @classmethod
    def begin(cls, archive: Path, hasher: HasherFile, *, asked: str, fitted_on: str) -> Self:
        """Make the folder for a hasher, or continue one.

        Args:
            archive: The archive.
            hasher: The hasher.
            asked: As in the class.
            fitted_on: As in the class.

        Returns:
            The folder.

        Raises:
            ArchiveWriteError: If it cannot be written.
            ArchiveCorruptError: If a link or a file is in its place.
        """
        path = plain_folder(archive, f"refit-{hasher.fingerprint[:16]}")
        with writing(path):
            make_folder(path)
        with writing(path), replacing(plain_path(path, HASHER)) as draft:
            file = write_file(draft, [hasher.data])
        made = cls(
            path=path,
            fingerprint=hasher.fingerprint,
            num_bits=hasher.num_bits,
            asked=asked,
            fitted_on=fitted_on,
            file=file,
        )
        about = {k: v for k, v in dataclasses.asdict(made).items() if k != "path"}
        with writing(path), replacing(plain_path(path, ABOUT)) as draft:  # last: it is now complete
            write_file(draft, [json.dumps(about, indent=1).encode()])
        return made

    @classmethod
    def all_of(cls, archive: Path, manifest: Manifest) -> list[Self]:
        """List the folders of interrupted refits that can be resumed.

        Args:
            archive: The archive.
            manifest: Its state.

        Returns:
            The folders, without damaged ones.
        """
        found = [cls._read(path) for path in unfinished(archive, manifest)]
        return [folder for folder in found if folder is not None]

    @classmethod
    def _read(cls, path: Path) -> Self | None:
        """Read a folder's description; None if it is not complete."""
        try:
            about: dict[str, Any] = json.loads(read_plain(path / ABOUT, most=1 << 16))
            file = FileEntry(**{name: about["file"][name] for name in ("name", "size", "crc32")})
            texts = {name: str(about[name]) for name in ("fingerprint", "asked", "fitted_on")}
            found = cls(path=path, num_bits=int(about["num_bits"]), file=file, **texts)
            if path.name != f"refit-{found.fingerprint[:16]}" or file.name != HASHER:
                return None
            verify_file(plain_path(path, HASHER), file)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return found

    def hasher_bytes(self) -> bytes:
        """Return the content of the hasher's file.

        Raises:
            ArchiveCorruptError: If it is damaged.
        """
        path = plain_path(self.path, HASHER)
        verify_file(path, self.file)
        return read_plain(path)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from the same refit, and remove drafts that a killed one left.

        Yields:
            Nothing.

        Raises:
            ArchiveLockedError: If another process is refitting the archive.
        """
        with write_lock(self.path):
            for path in list(self.path.iterdir()):
                if is_draft(path):
                    remove_tree(path)
            yield


def remove_refits(archive: Path, folders: list[Path]) -> None:
    """Remove folders of refits, except those that another process works in.

    Args:
        archive: The archive.
        folders: The folders.
    """
    for path in folders:
        with (
            contextlib.suppress(ArchiveLockedError, ArchiveReadOnlyError, ArchiveCorruptError),
            write_lock(path),
        ):
            remove_tree(path)
    sync_folder(archive)
