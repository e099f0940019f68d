"""Keep an archive in object storage: pull what is new, push what changed, the manifest last."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from geohash_rs.engines.cloud.store import Options, Store
from geohash_rs.errors import ArchiveCorruptError, EngineError
from geohash_rs.store.disk.durable import FileEntry, remove_tree, verify_file, writing
from geohash_rs.store.disk.locks import create_locks, write_lock
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.manifest_file import MANIFEST, commit_manifest, read_manifest

__all__ = ["pull", "push"]


def pull(
    url: str,
    folder: str | os.PathLike[str],
    *,
    options: Options | None = None,
    progress: bool = False,
) -> Path:
    """Bring a folder to the state of an archive in object storage.

    Files of an archive never change, so only those that the folder lacks are fetched, and compared
    with their checksums; so is what an interrupted pull left there.
    Then the folder is an archive like any other, to be opened with ``mode="r"``, or to be added to
    and pushed.

    Args:
        url: Such as "s3://bucket/archive"; any file system of fsspec.
        folder: A folder that is new, or that was pulled from there before.
        options: Arguments of the file system, such as ``endpoint_url``; keys are best left to the
            places where the provider's own tools look for them.
        progress: Show a bar if this is a terminal.

    Returns:
        The folder.

    Raises:
        ArchiveNotFoundError: If no archive is there.
        ArchiveCorruptError: If a file there is missing or changed.
        EngineError: If the folder holds something that was not pushed.
        EngineUnreachableError: If the storage does not answer or refuses.
        ArchiveWriteError: If the folder cannot be written.
    """
    store = Store(url, options)
    state = store.state()
    home = Path(folder)
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
        create_locks(home)
    with write_lock(home):
        listed: set[str] = set()
        if (home / MANIFEST).exists():
            old = read_manifest(home)
            _check_descends(state, old, newer=url, older=str(home))
            listed = {name for name, _ in old.files()}
        _remove_drafts(home)
        for name, entry in _with_bar(list(state.files()), "pull", progress=progress):
            if name not in listed:
                _remove_other(home / name, entry)
            store.fetch(name, home / name, entry)
        commit_manifest(home, state)
    return home


def push(
    folder: str | os.PathLike[str],
    url: str,
    *,
    options: Options | None = None,
    progress: bool = False,
) -> int:
    """Bring an archive in object storage to the state of a folder.

    What the storage lacks is sent first, then the manifest replaces the old one in a single put: a
    reader sees the old state or the new one. Object storage has no locks, so let one process push
    at a time. Files that no manifest names any more stay, for readers of older states.

    Args:
        folder: The archive.
        url: Such as "s3://bucket/archive"; any file system of fsspec.
        options: As in `pull`.
        progress: Show a bar if this is a terminal.

    Returns:
        How many files were sent, besides the manifest.

    Raises:
        ArchiveNotFoundError: If the folder is no archive.
        ArchiveCorruptError: If a file of it is damaged.
        EngineError: If the storage holds a state that the folder does not come from.
        EngineUnreachableError: If the storage does not answer or refuses.
    """
    home = Path(folder)
    store = Store(url, options)
    read_manifest(home)  # before a lock file is made in a folder that is no archive
    with write_lock(home):
        state = read_manifest(home)
        old = store.state_if_any()
        there: set[str] = set()
        if old is not None:
            _check_descends(state, old, newer=str(home), older=url)
            there = {name for name, _ in old.files()}
        new = [(name, entry) for name, entry in state.files() if name not in there]
        for name, entry in _with_bar(new, "push", progress=progress):
            verify_file(home / name, entry)
            store.send(name, home / name)
        store.send_state((home / MANIFEST).read_bytes())
    return len(new)


def _with_bar(
    files: Sequence[tuple[str, FileEntry]], what: str, *, progress: bool
) -> Iterator[tuple[str, FileEntry]]:
    """Give files one after the other, and show how many bytes of them are done."""
    size = sum(entry.size for _, entry in files)
    quiet = None if progress else True
    with tqdm(total=size, unit="B", unit_scale=True, desc=what, disable=quiet) as bar:
        for name, entry in files:
            yield name, entry
            bar.update(entry.size)


def _remove_drafts(home: Path) -> None:
    """Remove the drafts that a killed `pull` left; the write lock is held."""
    for draft in list(home.rglob("*.tmp")):
        remove_tree(draft)


def _remove_other(path: Path, entry: FileEntry) -> None:
    """Remove a file that the folder's manifest does not list, unless it is the one of the state."""
    try:
        verify_file(path, entry)
    except ArchiveCorruptError:
        with writing(path):
            path.unlink(missing_ok=True)


def _check_descends(new: Manifest, old: Manifest, *, newer: str, older: str) -> None:
    """Check that one state comes from another.

    The names of its commits decide. If the old state is older than the commits that the new one
    remembers, the new one must not be older, and no file may have one name in two forms.

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
            f"{newer} does not come from the state of {older}: another process wrote there "
            f"meanwhile (commit {old.generation} against {new.generation}). Pull into a new "
            "folder, add there, and push that."
        )
        raise EngineError(msg)
