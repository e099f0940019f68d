"""Read and write the manifest, a small file that lists all other files of the archive."""

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

from geohash_rs.errors import (
    ArchiveCorruptError,
    ArchiveFormatError,
    ArchiveNotFoundError,
    one_line,
)
from geohash_rs.store.disk.durable import reading, replacing, writing
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.manifest_body import manifest_from_json
from geohash_rs.store.disk.plain import read_plain

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "MOST_BYTES",
    "commit_manifest",
    "parse_manifest",
    "read_manifest",
]

MANIFEST = "manifest.json"
FORMAT = "geohash_rs archive"
FORMAT_VERSION = 2  # the newest that is read; see `Manifest.is_first_format`
MOST_BYTES = 32 << 20  # enough for 50,000 segments; more would take a gigabyte to parse
MOST_PARTS = 1_000_000  # objects and lists, of which a segment has six


def read_manifest(folder: Path) -> Manifest:
    """Read and check an archive's manifest.

    Args:
        folder: The archive.

    Returns:
        The manifest.

    Raises:
        ArchiveNotFoundError: If the folder has no manifest.
        ArchiveFormatError: If a newer version of this package wrote it.
        ArchiveCorruptError: If it cannot be read, is cut short or was changed.
    """
    path = folder / MANIFEST
    try:
        with reading(path):
            content = read_plain(path, most=MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = (
            f"{folder} is not an archive: it has no {MANIFEST}. Make one with Archive.create or "
            "'geohash-rs index'."
        )
        raise ArchiveNotFoundError(msg) from error
    return parse_manifest(content, path)


def parse_manifest(content: bytes, path: Path | str) -> Manifest:
    """Check the content of a manifest and read it.

    Args:
        content: The file's bytes.
        path: Where it lies, for messages.

    Returns:
        The manifest.

    Raises:
        ArchiveNotFoundError: If it is not a manifest of an archive.
        ArchiveFormatError: If a newer version of this package wrote it.
        ArchiveCorruptError: If it is cut short, was changed, or names files outside the archive.
    """
    if len(content) > MOST_BYTES:
        raise ArchiveCorruptError(_damage(path, f"has more than {MOST_BYTES:,} bytes"))
    if content.count(b"{") + content.count(b"[") > MOST_PARTS:
        raise ArchiveCorruptError(_damage(path, f"has more than {MOST_PARTS:,} objects and lists"))
    try:
        outer = json.loads(content)
        kind, version = outer["format"], int(outer["version"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArchiveCorruptError(_damage(path, "is not complete JSON")) from error
    if kind != FORMAT:
        msg = f"{path} has format {kind!r}, not {FORMAT!r}; this folder is not an archive."
        raise ArchiveNotFoundError(msg)
    if version > FORMAT_VERSION:
        msg = (
            f"{path} has format version {version}, but this geohash_rs reads up to "
            f"{FORMAT_VERSION}; upgrade with 'pip install -U geohash-rs'."
        )
        raise ArchiveFormatError(msg)
    try:
        body, crc = outer["body"], int(outer["crc32"])
        if zlib.crc32(_canonical(body)) != crc:
            raise ArchiveCorruptError(_damage(path, "does not match its checksum"))
        return manifest_from_json(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"has a missing or wrong field ({one_line(error)[:300]})"
        raise ArchiveCorruptError(_damage(path, what)) from error


def commit_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a manifest the archive's state, atomically and durably.

    Args:
        folder: The archive; its write lock is held and every file named is durable.
        manifest: The new state.

    Raises:
        ArchiveWriteError: If it cannot be written; the old state then stands. Also if the new
            state is in place but cannot be made durable; the message then says so.
        ArchiveCorruptError: If the new state could not be read back, since a number of the old one
            is at its limit; the old state then stands.
    """
    body = dataclasses.asdict(manifest)
    if manifest.vectors is None:
        del body["vectors"]  # as in version 1, which has none
    elif not manifest.vectors.rotated:
        del body["vectors"]["rotated"]
    for name in ("tile_sizes", "sources"):
        if not body[name]:
            del body[name]
    path = folder / MANIFEST
    try:
        manifest_from_json(body)
    except ValueError as error:
        what = f"leaves no room for another commit ({one_line(error)[:300]})"
        raise ArchiveCorruptError(_damage(path, what)) from error
    outer = {
        "format": FORMAT,
        "version": 1 if manifest.is_first_format else FORMAT_VERSION,
        "crc32": zlib.crc32(_canonical(body)),
        "body": body,
    }
    with writing(path), replacing(path) as draft:
        draft.write_bytes(json.dumps(outer, indent=1).encode())


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _damage(path: Path | str, what: str) -> str:
    return (
        f"{path} {what}; restore it from a copy. Other programs may still read the tiles from "
        "each segment's tiles.parquet."
    )
