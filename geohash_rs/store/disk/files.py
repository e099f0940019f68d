"""Find the files of an opened archive: in its own folder, or wherever they are fetched to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from geohash_rs.store.disk.durable import FileEntry, check_size
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.manifest_file import read_manifest
from geohash_rs.store.disk.plain import plain_path

__all__ = ["ArchiveFiles", "FolderFiles"]


class ArchiveFiles(Protocol):
    """The files of an archive; those of a state never change. Safe to use from several threads."""

    @property
    def folder(self) -> Path:
        """The archive's folder on this machine, for messages and locks."""

    def read_manifest(self) -> Manifest:
        """Read the newest state.

        Raises:
            ArchiveNotFoundError: If no archive is there.
            ArchiveFormatError: If a newer version of this package wrote it.
            ArchiveCorruptError: If its manifest is damaged.
        """

    def find(self, name: str, entry: FileEntry) -> Path:
        """Return the local path of a file.

        Args:
            name: Its name inside the archive, such as "segments/00000000/codes.bin".
            entry: Its entry in the manifest.

        Raises:
            ArchiveCorruptError: If it is missing, reached by a link, or has another length.
        """


@dataclass(frozen=True)
class FolderFiles:
    """The files of an archive in a folder.

    Attributes:
        folder: The folder.
    """

    folder: Path

    def read_manifest(self) -> Manifest:
        """Read the newest state; see `ArchiveFiles`."""
        return read_manifest(self.folder)

    def find(self, name: str, entry: FileEntry) -> Path:
        """Return the path of a file in the folder; see `ArchiveFiles`."""
        path = plain_path(self.folder, name)
        check_size(path, entry)
        return path
