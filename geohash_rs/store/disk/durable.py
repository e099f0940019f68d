"""Write files so that they survive a crash, and detect changes to them."""

import contextlib
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from geohash_rs.errors import ArchiveCorruptError, ArchiveWriteError, GeoHashRSError
from geohash_rs.store.disk.plain import is_plain_folder, open_plain, plain_size

__all__ = [
    "FileEntry",
    "check_size",
    "make_folder",
    "reading",
    "remove_tree",
    "replacing",
    "seal_file",
    "sync_folder",
    "sync_names",
    "verify_file",
    "write_file",
    "writing",
]

CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """The manifest's entry for one immutable file.

    Attributes:
        name: File name inside the folder that owns it.
        size: Length in bytes.
        crc32: CRC-32 of the whole content.
    """

    name: str
    size: int
    crc32: int


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file in any system error raised while it is written.

    Args:
        path: The file or folder being written.

    Yields:
        Nothing.

    Raises:
        GeoHashRSError: Passed on unchanged.
        ArchiveWriteError: If the disk is full, a limit is hit or permission is missing.
    """
    try:
        yield
    except GeoHashRSError:  # already names its file
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        msg = (
            f"cannot write {path}: {reason}. Earlier commits are intact; "
            "make room or grant permission, then repeat the call."
        )
        raise ArchiveWriteError(error.errno or 0, msg) from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in any system error raised while it is read.

    Args:
        path: The file being read.

    Yields:
        Nothing.

    Raises:
        FileNotFoundError: Passed on unchanged.
        NotADirectoryError: Passed on unchanged.
        GeoHashRSError: Passed on unchanged.
        ArchiveCorruptError: If the disk fails or permission is missing.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, GeoHashRSError):
        raise
    except OSError as error:
        msg = (
            f"{path} cannot be read: {error.strerror or error}. Grant permission to read it, or "
            "restore it from a copy."
        )
        raise ArchiveCorruptError(msg) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (a no-op on Windows, where folders cannot be synced)."""
    try:
        _sync(folder)
    except PermissionError:  # a folder that may be written but not listed
        os.sync()


def _sync(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_names(folder: Path, names: Iterable[str]) -> None:
    """Make the names of files durable, and of the folders between them and theirs.

    Args:
        folder: The folder that the names start from.
        names: Names of durable files, such as "segments/00000000/codes.bin".

    Raises:
        ArchiveWriteError: If a folder cannot be made durable.
    """
    places = {folder / place for name in names for place in PurePosixPath(name).parents}
    for place in sorted(places, key=lambda place: len(place.parts), reverse=True):
        with writing(place):
            sync_folder(place)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, and make their names durable.

    Args:
        folder: A folder; it may exist, for example because a killed process has just made it.

    Raises:
        OSError: If one cannot be made, or the folder's own name cannot be made durable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sync_folder(folder.parent)
    for place in folder.absolute().parents[1:]:  # a killed process may have made any of them
        with contextlib.suppress(OSError):  # of folders that are not the user's
            _sync(place)


def write_file(path: Path, chunks: Iterable[bytes | memoryview]) -> FileEntry:
    """Write a new file, make its content durable and return its entry.

    Args:
        path: Where to write; the folder exists, the file does not.
        chunks: The content, in pieces.

    Returns:
        The entry for the manifest.

    Raises:
        ArchiveWriteError: If the content cannot be written in full.
    """
    size = crc = 0
    with writing(path), path.open("xb") as file:  # never through a link, never over a file
        for chunk in chunks:
            file.write(chunk)
            crc = zlib.crc32(chunk, crc)
            size += memoryview(chunk).nbytes
        file.flush()
        os.fsync(file.fileno())
    return FileEntry(name=path.name, size=size, crc32=crc)


def seal_file(path: Path) -> FileEntry:
    """Make a file that another library wrote durable, and return its entry.

    Args:
        path: A complete, closed file.

    Returns:
        The entry for the manifest.

    Raises:
        ArchiveWriteError: If the file cannot be made durable.
    """
    with writing(path), path.open("rb+") as file:
        os.fsync(file.fileno())
        size, crc = _measure(file)
    return FileEntry(name=path.name, size=size, crc32=crc)


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Provide a path to write to, and move the complete file over the target.

    A reader sees either the old file or the complete new one, even after a crash or when two
    processes write it at once.

    Args:
        target: The file to write or replace; its folder exists.

    Yields:
        A path of the same name in a new folder next to the target, since some formats write
        additional files. If the block fails, the target is untouched. A killed process leaves the
        folder behind; its name ends in ".tmp".

    Raises:
        OSError: As the system raised it; the target is then untouched.
        ArchiveWriteError: If the folder cannot be made durable; the new file is then in place.
    """
    folder = target.with_name(f"{target.name[:40]}.{secrets.token_hex(4)}.tmp")
    folder.mkdir()
    draft = folder / target.name
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(target)
        try:
            sync_folder(target.parent)
        except OSError as error:
            msg = (
                f"{target} was replaced, but its folder cannot be made durable "
                f"({error.strerror or error}): the change stands unless the power fails. Check "
                "the file before you repeat the call."
            )
            raise ArchiveWriteError(error.errno or 0, msg) from error
    finally:
        remove_tree(folder)


def check_size(path: Path, entry: FileEntry) -> None:
    """Check that a file exists and has the length in the manifest.

    Args:
        path: The file.
        entry: Its entry in the manifest.

    Raises:
        ArchiveCorruptError: If it is missing, a link, cannot be reached or has another length.
    """
    try:
        with reading(path):
            size = plain_size(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = (
            f"{path} is missing but the manifest lists it; run 'geohash-rs verify' to see what "
            "else is damaged, and restore the file from a copy."
        )
        raise ArchiveCorruptError(msg) from error
    if size != entry.size:
        msg = (
            f"{path} has {size} bytes but the manifest says {entry.size}; it was cut short or "
            "changed. Run 'geohash-rs verify' and restore the file from a copy."
        )
        raise ArchiveCorruptError(msg)


def verify_file(path: Path, entry: FileEntry) -> None:
    """Read a whole file and compare it with its checksum.

    Args:
        path: The file.
        entry: Its entry in the manifest.

    Raises:
        ArchiveCorruptError: If it is missing, cannot be read, or differs in length or content.
    """
    check_size(path, entry)
    with reading(path), open(open_plain(path, os.O_RDONLY), "rb") as file:  # noqa: PTH123 - a handle
        _, crc = _measure(file)
    if crc != entry.crc32:
        msg = (
            f"{path} has CRC-32 {crc:08x} but the manifest says {entry.crc32:08x}; its content "
            "was changed. Restore the file from a copy."
        )
        raise ArchiveCorruptError(msg)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder as far as the system allows.

    What cannot be removed (such as a mapped file on Windows) stays as an orphan until later.

    Args:
        path: A file or a folder.
    """
    with contextlib.suppress(OSError):
        if is_plain_folder(path):
            for inner in path.iterdir():
                remove_tree(inner)
            path.rmdir()
        else:  # of a link, the link itself
            path.unlink(missing_ok=True)


def _measure(file: Any) -> tuple[int, int]:  # noqa: ANN401 - any binary file object
    size = crc = 0
    while chunk := file.read(CHUNK):
        crc = zlib.crc32(chunk, crc)
        size += len(chunk)
    return size, crc
