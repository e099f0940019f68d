"""Sync an archive with object storage: pull or push what is new, the manifest last."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from geohash_rs.engines.cloud.store import Options, Store
from geohash_rs.errors import (
    ArchiveCorruptError,
    ArchiveExistsError,
    ArchiveWriteError,
    EngineError,
)
from geohash_rs.store.disk.durable import (
    FileEntry,
    make_folder,
    sync_names,
    verify_file,
    writing,
)
from geohash_rs.store.disk.locks import READ_LOCK, WRITE_LOCK, create_locks, write_lock
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.manifest_file import MANIFEST, commit_manifest, read_manifest
from geohash_rs.store.disk.plain import made_by_us, plain_path
from geohash_rs.store.orphans import remove_drafts

__all__ = ["pull", "push"]


def pull(
    url: str,
    folder: str | os.PathLike[str],
    *,
    options: Options | None = None,
    progress: bool = False,
) -> Path:
    """Update a folder to the state of an archive in object storage.

    Files of an archive never change, so only missing ones are fetched. They are checked against
    their checksums, as are the files that an interrupted pull left. The folder is then an ordinary
    archive: open it with ``mode="r"``, or add to it and push.

    Args:
        url: Such as "s3://bucket/archive"; any file system of fsspec.
        folder: A new folder, or one pulled from this address before.
        options: Arguments of the file system, such as ``endpoint_url``; keep credentials where the
            provider's own tools look for them.
        progress: Show a progress bar if this is a terminal.

    Returns:
        The folder.

    Raises:
        ArchiveNotFoundError: If there is no archive at this address.
        ArchiveCorruptError: If a file in the storage is missing or changed.
        ArchiveExistsError: If the folder holds files of anything but this archive.
        EngineError: If the folder holds commits that were not pushed.
        EngineUnreachableError: If the storage does not answer or denies access.
        ArchiveWriteError: If the folder cannot be written.
    """
    store = Store(url, options)
    state = store.state()
    home = Path(folder)
    _check_place(home)
    with writing(home):
        make_folder(home)
        create_locks(home)
    with write_lock(home):
        listed: set[str] = set()
        if (home / MANIFEST).exists():
            old = read_manifest(home)
            _check_descends(state, old, newer=store.url, older=str(home))
            listed = {name for name, _ in old.files()}
        remove_drafts(home)
        _check_room(home, [entry for name, entry in state.files() if name not in listed])
        for name, entry in _with_bar(list(state.files()), "pull", progress=progress):
            path = plain_path(home, name)
            if name not in listed:
                _remove_other(path, entry)
            store.fetch(name, path, entry)
        sync_names(home, [name for name, _ in state.files() if name not in listed])
        commit_manifest(home, state)
    return home


def push(
    folder: str | os.PathLike[str],
    url: str,
    *,
    options: Options | None = None,
    progress: bool = False,
) -> int:
    """Update an archive in object storage to the state of a folder.

    Missing files are uploaded first, then the manifest is replaced in a single put, so a reader
    sees either the old state or the new one. Object storage has no locks: let only one process
    push at a time. Files that the new manifest no longer lists are kept for readers of older
    states.

    Args:
        folder: The archive.
        url: Such as "s3://bucket/archive"; any file system of fsspec.
        options: As in `pull`.
        progress: Show a progress bar if this is a terminal.

    Returns:
        The number of files uploaded, without the manifest.

    Raises:
        ArchiveNotFoundError: If the folder is not an archive.
        ArchiveCorruptError: If one of its files is damaged.
        EngineError: If the storage holds a state that the folder does not descend from.
        EngineUnreachableError: If the storage does not answer or denies access.
    """
    home = Path(folder)
    store = Store(url, options)
    read_manifest(home)  # fails before a lock file is made in a folder that is not an archive
    with write_lock(home):
        state = read_manifest(home)
        old = store.state_if_any()
        there: set[str] = set()
        if old is not None:
            _check_descends(state, old, newer=str(home), older=store.url)
            there = {name for name, _ in old.files()}
        new = [(name, entry) for name, entry in state.files() if name not in there]
        for name, entry in _with_bar(new, "push", progress=progress):
            path = plain_path(home, name)
            verify_file(path, entry)
            store.send(name, path)
        store.settle(name for name, _ in new)
        store.send_state((home / MANIFEST).read_bytes())
    return len(new)


def _with_bar(
    files: Sequence[tuple[str, FileEntry]], what: str, *, progress: bool
) -> Iterator[tuple[str, FileEntry]]:
    """Yield the files one by one, with a progress bar of their bytes."""
    size = sum(entry.size for _, entry in files)
    quiet = None if progress and files else True
    with tqdm(total=size, unit="B", unit_scale=True, desc=what, disable=quiet) as bar:
        for name, entry in files:
            yield name, entry
            bar.update(entry.size)


def _check_place(home: Path) -> None:
    """Check that a folder is new, an archive, or what an interrupted pull left of one.

    Raises:
        ArchiveExistsError: If it holds anything else.
    """
    if (home / MANIFEST).exists() or not home.exists():
        return
    known = {WRITE_LOCK, READ_LOCK, "segments", "removed", "scenes"}
    names = {path.name for path in home.iterdir() if not made_by_us(path)}
    if names and (WRITE_LOCK not in names or names - known):
        some = ", ".join(sorted(names - known or names)[:3])
        msg = f"{home} holds other files ({some}) and is not an archive; pull into a new folder."
        raise ArchiveExistsError(msg)


def _check_room(home: Path, files: Sequence[FileEntry]) -> None:
    """Check that the disk has room, before anything is fetched.

    Raises:
        ArchiveWriteError: If it has not.
    """
    size, free = sum(entry.size for entry in files), shutil.disk_usage(home).free
    if size > free:
        msg = f"cannot write {home}: the archive needs {size:,} bytes, the disk has {free:,} free."
        raise ArchiveWriteError(errno.ENOSPC, msg)


def _remove_other(path: Path, entry: FileEntry) -> None:
    """Remove an unlisted file unless it matches its entry in the new state."""
    try:
        verify_file(path, entry)
    except ArchiveCorruptError:
        with writing(path):
            path.unlink(missing_ok=True)


def _check_descends(new: Manifest, old: Manifest, *, newer: str, older: str) -> None:
    """Check that one state descends from another.

    The commit names decide. If the old state precedes all commits that the new one remembers, the
    new one must not be behind, and files of the same name must be identical.

    Raises:
        EngineError: If it does not.
    """
    known = new.comes_from(old.generation, old.commit)
    if known:
        return
    mine = dict(new.files())
    other = [name for name, entry in old.files() if mine.get(name, entry) != entry]
    behind = new.generation < old.generation or new.next_id < old.next_id
    same = new.generation == old.generation and new != old
    if known is False or other or behind or same:
        msg = (
            f"{newer} does not descend from the state of {older} (commit {new.generation} against "
            f"{old.generation}): another process has written to one of them. Pull into a new "
            "folder, add there, and push that."
        )
        raise EngineError(msg)
