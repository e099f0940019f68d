"""Reach only plain files inside an archive, whoever made it: no links, pipes or devices.

An archive may come from a stranger. A link in it could lead a read, a write or a deletion to files
of the user, and opening a named pipe waits for ever.
"""

import os
import re
import stat
from pathlib import Path

from geohash_rs.errors import ArchiveCorruptError

__all__ = [
    "HASHER_NAME",
    "NUMBER_NAME",
    "REFIT_NAME",
    "is_draft",
    "is_plain_folder",
    "made_by_us",
    "open_plain",
    "plain_folder",
    "plain_path",
    "plain_size",
    "read_plain",
]

NUMBER_NAME = re.compile(r"[0-9]{8,18}")  # a segment's folder, a log, a file of tombstones
HASHER_NAME = re.compile(r"hasher-[0-9A-Za-z_-]{1,16}\.safetensors")
REFIT_NAME = re.compile(r"refit-[0-9A-Za-z_-]{1,16}")  # a folder of codes of the next hasher
DRAFT_NAME = re.compile(r".{1,40}\.[0-9a-f]{8}\.tmp")
# Windows has neither; there a file that is replaced by a link in this moment goes unnoticed
CAUTIOUS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def plain_path(folder: Path, name: str) -> Path:
    """Return the path of a file of an archive after a look at every part of it.

    Args:
        folder: The archive; it may itself be reached by a link, which the user named.
        name: The name inside the archive, such as "segments/00000000/codes.bin".

    Returns:
        The path; the file may be missing.

    Raises:
        ArchiveCorruptError: If a part is a link, or the file is not a regular one.
    """
    *parents, last = name.split("/")
    for parent in parents:
        folder = plain_folder(folder, parent)
    path = folder / last
    if _kind(path) not in (None, stat.S_IFREG):
        raise ArchiveCorruptError(_refusal(path, "file"))
    return path


def plain_folder(folder: Path, name: str) -> Path:
    """Return the path of a folder inside another; it may be missing.

    Raises:
        ArchiveCorruptError: If it is a link, or not a folder.
    """
    path = folder / name
    if _kind(path) not in (None, stat.S_IFDIR):
        raise ArchiveCorruptError(_refusal(path, "folder"))
    return path


def plain_size(path: Path) -> int:
    """Return the length of a regular file.

    Args:
        path: The file.

    Returns:
        Its length in bytes.

    Raises:
        ArchiveCorruptError: If it is a link or not a regular file.
        OSError: If it is missing or cannot be reached.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise ArchiveCorruptError(_refusal(path, "file"))
    return found.st_size


def open_plain(path: Path, flags: int) -> int:
    """Open a regular file without following a link and without waiting for a pipe.

    Args:
        path: The file.
        flags: As `os.open` takes them.

    Returns:
        The handle.

    Raises:
        ArchiveCorruptError: If it is a link or not a regular file.
        OSError: If it cannot be opened.
    """
    if _kind(path) not in (None, stat.S_IFREG):
        raise ArchiveCorruptError(_refusal(path, "file"))
    handle = os.open(path, flags | CAUTIOUS | BINARY, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ArchiveCorruptError(_refusal(path, "file"))
    return handle


def read_plain(path: Path, *, most: int = -1) -> bytes:
    """Read a regular file.

    Args:
        path: The file.
        most: The most bytes to read; -1 reads all.

    Returns:
        Its content.

    Raises:
        ArchiveCorruptError: If it is a link or not a regular file.
        OSError: If it is missing or cannot be read.
    """
    with open(open_plain(path, os.O_RDONLY), "rb") as file:  # noqa: PTH123 - a handle
        return file.read(most)


def is_plain_folder(path: Path) -> bool:
    """Return whether a path is a folder and not a link to one."""
    return _kind(path) == stat.S_IFDIR


def is_draft(path: Path) -> bool:
    """Return whether a path is the folder of a file that is being written, or was interrupted."""
    return bool(DRAFT_NAME.fullmatch(path.name)) and is_plain_folder(path)


def made_by_us(path: Path, *, place: str = "") -> bool:
    """Return whether a commit of this package gives an entry of an archive such a name and kind.

    Args:
        path: An entry.
        place: "segments", "removed" or "scenes" if it lies in this folder of the archive.

    Returns:
        Whether it is; only such entries are ever deleted.
    """
    if is_draft(path):
        return True
    kind = _kind(path)
    if place == "segments":
        return bool(NUMBER_NAME.fullmatch(path.name)) and kind == stat.S_IFDIR
    if place:
        return bool(NUMBER_NAME.fullmatch(path.name)) and kind == stat.S_IFREG
    if REFIT_NAME.fullmatch(path.name):
        return kind == stat.S_IFDIR
    return bool(HASHER_NAME.fullmatch(path.name)) and kind == stat.S_IFREG


def _kind(path: Path) -> int | None:
    """Return the kind of an entry as in `stat.S_IFMT`, of a link itself; None if it is missing."""
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _refusal(path: Path, kind: str) -> str:
    return (
        f"{path} is not a plain {kind} but a link, a pipe or a device, which an archive never "
        "holds. It is not opened, since it could lead to files outside the archive. Copy what it "
        "stands for to its place if you trust it, or delete it."
    )
