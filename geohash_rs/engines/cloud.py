"""Keep an archive in object storage: pull what is new, push what changed, the manifest last."""

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from geohash_rs.archive.locks import create_locks, write_lock
from geohash_rs.archive.manifest import (
    MANIFEST,
    Manifest,
    commit_manifest,
    parse_manifest,
    read_manifest,
)
from geohash_rs.archive.storage import (
    FileEntry,
    check_size,
    sync_folder,
    verify_file,
    write_file,
    writing,
)
from geohash_rs.engines.extras import missing_extra
from geohash_rs.errors import (
    ArchiveCorruptError,
    ArchiveNotFoundError,
    EngineError,
    EngineUnreachableError,
    GeoHashRSError,
    one_line,
)

try:
    import fsspec
except ModuleNotFoundError as error:
    raise missing_extra(error, extra="cloud") from error

__all__ = ["pull", "push"]

Options = Mapping[str, Any]

CHUNK = 1 << 24  # bytes of an object that are asked for at once


def pull(url: str, folder: str | os.PathLike[str], *, options: Options | None = None) -> Path:
    """Bring a folder to the state of an archive in object storage.

    Files of an archive never change, so only those that the folder lacks are fetched; each is
    compared with its checksum. Then the folder is an archive like any other, to be opened with
    ``mode="r"``, or to be added to and pushed.

    Args:
        url: Such as "s3://bucket/archive"; any file system of fsspec.
        folder: A folder that is new, or that was pulled from there before.
        options: Arguments of the file system, such as ``endpoint_url``; keys are best left to the
            places where the provider's own tools look for them.

    Returns:
        The folder.

    Raises:
        ArchiveNotFoundError: If no archive is there.
        ArchiveCorruptError: If a file there is missing or changed.
        EngineError: If the folder holds something that was not pushed.
        EngineUnreachableError: If the storage does not answer or refuses.
        ArchiveWriteError: If the folder cannot be written.
    """
    files, root = _storage(url, options)
    state = _remote_manifest(files, root, url)
    if state is None:
        msg = f"{url} is no archive: it has no {MANIFEST}. Push one there first."
        raise ArchiveNotFoundError(msg)
    home = Path(folder)
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
        create_locks(home)
    with write_lock(home):
        if (home / MANIFEST).exists():
            _check_descends(state, read_manifest(home), newer=url, older=str(home))
        for name, entry in _files(state):
            _fetch(files, f"{root}/{name}", home / name, entry)
        commit_manifest(home, state)
    return home


def push(folder: str | os.PathLike[str], url: str, *, options: Options | None = None) -> int:
    """Bring an archive in object storage to the state of a folder.

    What the storage lacks is sent first, then the manifest replaces the old one in a single put: a
    reader sees the old state or the new one. Object storage has no locks, so let one process push
    at a time. Files that no manifest names any more stay, for readers of older states.

    Args:
        folder: The archive.
        url: Such as "s3://bucket/archive"; any file system of fsspec.
        options: As in `pull`.

    Returns:
        How many files were sent, besides the manifest.

    Raises:
        ArchiveNotFoundError: If the folder is no archive.
        ArchiveCorruptError: If a file of it is damaged.
        EngineError: If the storage holds a state that the folder does not come from.
        EngineUnreachableError: If the storage does not answer or refuses.
    """
    home = Path(folder)
    files, root = _storage(url, options)
    with write_lock(home):
        state = read_manifest(home)
        old = _remote_manifest(files, root, url)
        there: set[str] = set()
        if old is not None:
            _check_descends(state, old, newer=str(home), older=url)
            there = {name for name, _ in _files(old)}
        sent = 0
        with _asking(url):
            for name, entry in _files(state):
                if name not in there:
                    verify_file(home / name, entry)
                    files.put_file(str(home / name), f"{root}/{name}")
                    sent += 1
            files.pipe_file(f"{root}/{MANIFEST}", (home / MANIFEST).read_bytes())
    return sent


def _storage(url: str, options: Options | None) -> tuple[Any, str]:
    try:
        files, root = fsspec.core.url_to_fs(url, **(options or {}))
    except ImportError as error:
        msg = f"{url} needs a package that is not installed: {one_line(error)}."
        raise EngineError(msg) from error
    except ValueError as error:
        msg = f"{url} cannot be used: {one_line(error)}; write it like s3://bucket/archive."
        raise EngineError(msg) from error
    return files, root.rstrip("/")


def _remote_manifest(files: Any, root: str, url: str) -> Manifest | None:  # noqa: ANN401 - fsspec's
    with _asking(url):
        files.invalidate_cache()
        try:
            content = files.cat_file(f"{root}/{MANIFEST}")
        except FileNotFoundError:
            return None
    return parse_manifest(content, f"{url}/{MANIFEST}")


def _fetch(files: Any, source: str, target: Path, entry: FileEntry) -> None:  # noqa: ANN401 - as above
    """Fetch a file, unless it is there already.

    Raises:
        ArchiveCorruptError: If it is missing there, or was changed.
    """
    if target.exists():
        check_size(target, entry)
        return
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")  # others may fetch it too
    try:
        write_file(draft, _chunks(files, source, entry.size))
        verify_file(draft, entry)
        with writing(target):
            draft.replace(target)
            sync_folder(target.parent)
    finally:
        draft.unlink(missing_ok=True)


def _chunks(files: Any, source: str, size: int) -> Iterator[bytes]:  # noqa: ANN401 - as above
    """Read an object in pieces; fewer bytes than `size` come if it is shorter.

    Raises:
        ArchiveCorruptError: If it is missing.
    """
    for start in range(0, size, CHUNK):
        with _asking(source):
            try:
                chunk = files.cat_file(source, start=start, end=min(start + CHUNK, size))
            except FileNotFoundError as error:
                msg = f"{source} is missing, though the manifest lists it; push the archive again."
                raise ArchiveCorruptError(msg) from error
        yield chunk
        if len(chunk) < min(CHUNK, size - start):
            return


def _files(state: Manifest) -> Iterator[tuple[str, FileEntry]]:
    """List the files of a state, by their names inside of the archive."""
    for segment in state.segments:
        yield from ((f"segments/{segment.name}/{file.name}", file) for file in segment.files)
        if segment.tombstones:
            yield f"removed/{segment.tombstones.name}", segment.tombstones
    yield from ((f"scenes/{file.name}", file) for file in state.scene_logs)
    if state.hasher and state.hasher.file:
        yield state.hasher.file.name, state.hasher.file


def _check_descends(new: Manifest, old: Manifest, *, newer: str, older: str) -> None:
    """Check that one state comes from another.

    By the names of its commits; where they do not tell, as in archives of earlier versions, it
    must not be older, and no file may have one name in two forms.

    Raises:
        EngineError: If it does not.
    """
    known = new.comes_from(old.generation, old.commit)
    if known:
        return
    mine = dict(_files(new))
    other = [name for name, entry in _files(old) if mine.get(name, entry) != entry]
    behind = new.generation < old.generation or new.next_id < old.next_id
    same = new.generation == old.generation and new != old
    if known is False or other or behind or same:
        msg = (
            f"{newer} does not come from the state of {older}: another process wrote there "
            f"meanwhile (commit {old.generation} against {new.generation}). Pull into a new "
            "folder, add there, and push that."
        )
        raise EngineError(msg)


@contextlib.contextmanager
def _asking(url: str) -> Iterator[None]:
    """Name the place in whatever a file system raises; each has its own errors.

    Raises:
        GeoHashRSError: As it is.
        EngineUnreachableError: If the storage does not answer or refuses.
    """
    try:
        yield
    except GeoHashRSError:
        raise
    except Exception as error:
        msg = (
            f"{url} cannot be used: {type(error).__name__}: {one_line(error)}. Check address, "
            "bucket and keys."
        )
        raise EngineUnreachableError(msg) from error
