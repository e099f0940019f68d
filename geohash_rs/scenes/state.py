"""Tell whether the file of a scene has changed: by size and time, or by a checksum."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import requests

from geohash_rs.errors import SceneError
from geohash_rs.scenes.remote import ask

__all__ = ["checksum_of", "state_of"]

# Answers to HEAD of servers that give the file to GET: a signed URL is signed for one method.
NO_HEAD = {403, 405, 501}


def state_of(files: Sequence[str]) -> tuple[int, int]:
    """Tell size and time of a scene's files, by which a change is seen without reading them.

    Args:
        files: Paths or URIs of the files that a scene is made of.

    Returns:
        Bytes of all, and time of the last change in nanoseconds; for several files a number made
        of the size and time of each. Zeros for what is not on this machine.
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
    # Of the times alone the latest would hide that an older file was replaced.
    digest = hashlib.blake2b(repr(states).encode(), digest_size=7).digest()
    return size, int.from_bytes(digest, "big")


def checksum_of(files: Sequence[str]) -> str | None:
    """Take a checksum of a scene's files, by which a change is seen for sure.

    Args:
        files: Paths or URIs of the files that a scene is made of.

    Returns:
        SHA-256 over the content of the files on this machine; for a scene behind HTTP its entity
        tag or date, as the server tells it, if it answers to HEAD. None where neither can be told.

    Raises:
        SceneError: If a file cannot be read, or a server does not answer.
    """
    if len(files) == 1 and files[0].startswith(("http://", "https://")):
        return _tag_of(files[0])
    digest = hashlib.sha256()
    count = 0
    for name in files:
        if not Path(name).is_file():
            continue
        try:
            with Path(name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            msg = f"{Path(name).name} cannot be read for its checksum: {error.strerror}"
            raise SceneError(msg) from error
        count += 1
    return f"sha256:{digest.hexdigest()}" if count else None


def _tag_of(url: str) -> str | None:
    try:
        answer = ask("HEAD", url, also=NO_HEAD)
    except requests.RequestException as error:
        name = url.partition("?")[0].rsplit("/", 1)[-1]
        msg = f"{name} cannot be asked for its entity tag: {error}"
        raise SceneError(msg) from error
    if answer.status_code in NO_HEAD:
        return None
    for name in ("ETag", "Last-Modified"):
        if name in answer.headers:
            return f"{name.lower()}:{answer.headers[name]}"
    return None
