"""Detect changes of a scene's files, by size and time or by checksum."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import requests

from geohash_rs.errors import SceneError
from geohash_rs.scenes.remote import ask
from geohash_rs.scenes.sources import is_seen

__all__ = ["checksum_of", "remember_version", "state_of", "version_of"]

# Answers to HEAD of servers that may still answer GET: a signed URL is valid for one method.
NO_HEAD = {403, 405, 501}
WEB = ("http://", "https://")


_versions: dict[str, str] = {}  # what catalogues say by which a change of a scene is seen


def remember_version(path: str, version: str) -> None:
    """Remember what a catalogue says of a scene that differs once its files are others.

    Args:
        path: Path or URI of the scene.
        version: Such as checksums of its files, or when they were updated.
    """
    _versions[path] = version


def version_of(path: str) -> str:
    """Return what a catalogue said of a scene, or an empty string.

    Args:
        path: Path or URI of the scene.
    """
    return _versions.get(path, "")


def state_of(files: Sequence[str]) -> tuple[int, int]:
    """Return size and time of a scene's files, which reveal a change without reading them.

    Args:
        files: Paths or URIs of the files that a scene is made of.

    Returns:
        Total bytes, and time of the last change in nanoseconds; for several files, a number derived
        from the size and time of each. Zeros for files that are not local.
    """
    states: list[tuple[int, int] | None] = []
    for name in files:
        try:
            state = Path(name).stat()
        except OSError:
            states.append(None)
        else:
            states.append((state.st_size, state.st_mtime_ns))
    found = [state for state in states if state is not None]
    size = sum(state[0] for state in found)
    if len(files) == 1 or not found:
        return size, found[0][1] if found else 0
    # The latest time alone would hide that an older file was replaced.
    digest = hashlib.blake2b(repr(states).encode(), digest_size=7).digest()
    return size, int.from_bytes(digest, "big")


def checksum_of(files: Sequence[str]) -> str | None:
    """Compute a checksum of a scene's files, which reveals every change.

    Args:
        files: Paths or URIs of the files that a scene is made of.

    Returns:
        SHA-256 of the content of local files, and of the entity tags or dates that servers state
        for files behind HTTP. For a scene of one file behind HTTP, the tag itself. None if a change
        of some file could not be detected.

    Raises:
        SceneError: If a file cannot be read, or a server does not answer.
    """
    if len(files) == 1 and files[0].startswith(WEB):
        return _tag_of(files[0])
    digest = hashlib.sha256()
    for name in files:
        if name.startswith(WEB):
            tag = _tag_of(name)
            mark = None if tag is None else tag.encode()
        else:
            mark = _digest_of(name)
        if mark is None:
            return None
        digest.update(mark)
    return f"sha256:{digest.hexdigest()}"


def _digest_of(name: str) -> bytes | None:
    """Compute the checksum of a file; None if it is not on this machine.

    Raises:
        SceneError: If it cannot be read.
    """
    if not is_seen(name):
        return None
    try:
        state = Path(name).stat()
        return _kept_digest(name, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    except OSError as error:
        msg = f"{Path(name).name} cannot be read for its checksum: {error.strerror}"
        raise SceneError(msg) from error


@lru_cache(64)  # a file that holds many scenes is read once
def _kept_digest(name: str, *_state: int) -> bytes:
    with Path(name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _tag_of(url: str) -> str | None:
    try:
        answer = ask("HEAD", url, also=NO_HEAD)
    except requests.RequestException as error:
        name = url.partition("?")[0].rsplit("/", 1)[-1]
        msg = f"the entity tag of {name} cannot be read: {error}"
        raise SceneError(msg) from error
    if answer.status_code in NO_HEAD:
        return None
    for name in ("ETag", "Last-Modified"):
        if name in answer.headers:
            return f"{name.lower()}:{answer.headers[name]}"
    return None
