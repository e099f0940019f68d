"""Read and write the manifest, a small file that lists all other files of the archive."""

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

from geohash_rs.errors import ArchiveCorruptError, ArchiveFormatError, ArchiveNotFoundError
from geohash_rs.store.disk.durable import FileEntry, plain_name, reading, replacing, writing
from geohash_rs.store.disk.manifest import HasherEntry, Manifest, SegmentEntry

__all__ = ["FORMAT_VERSION", "MANIFEST", "commit_manifest", "parse_manifest", "read_manifest"]

MANIFEST = "manifest.json"
FORMAT = "geohash_rs archive"
FORMAT_VERSION = 1


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
            content = path.read_bytes()
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
    try:
        outer = json.loads(content)
        kind, version = outer["format"], int(outer["version"])
    except (ValueError, KeyError, TypeError) as error:
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
        return _from_json(body)
    except (ValueError, KeyError, TypeError) as error:
        what = f"has a missing or wrong field ({error!r})"
        raise ArchiveCorruptError(_damage(path, what)) from error


def commit_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a manifest the archive's state, atomically and durably.

    Args:
        folder: The archive; its write lock is held and every file named is durable.
        manifest: The new state.

    Raises:
        ArchiveWriteError: If it cannot be written; the old state then stands. Also if the new
            state is in place but cannot be made durable; the message then says so.
    """
    body = dataclasses.asdict(manifest)
    outer = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "crc32": zlib.crc32(_canonical(body)),
        "body": body,
    }
    path = folder / MANIFEST
    with writing(path), replacing(path) as draft:
        draft.write_bytes(json.dumps(outer, indent=1).encode())


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _damage(path: Path | str, what: str) -> str:
    return (
        f"{path} {what}; restore it from a copy. Other programs may still read the tiles from "
        "each segment's tiles.parquet."
    )


def _from_json(body: dict[str, Any]) -> Manifest:
    hasher = body["hasher"]
    return Manifest(
        generation=int(body["generation"]),
        commit=str(body["commit"]),
        ancestors=tuple(map(str, body["ancestors"])),
        num_bits=body["num_bits"],
        hasher=hasher
        and HasherEntry(file=_file(hasher["file"]), fingerprint=str(hasher["fingerprint"])),
        pending_hasher=body["pending_hasher"],
        next_id=int(body["next_id"]),
        next_number=int(body["next_number"]),
        segments=tuple(_segment(entry) for entry in body["segments"]),
        scene_logs=tuple(FileEntry.from_json(entry) for entry in body["scene_logs"]),
        attrs=dict(body["attrs"]),
    )


def _file(data: dict[str, Any] | None) -> FileEntry | None:
    return FileEntry.from_json(data) if data else None


def _segment(data: dict[str, Any]) -> SegmentEntry:
    return SegmentEntry(
        name=plain_name(data["name"]),
        num_tiles=int(data["num_tiles"]),
        num_removed=int(data["num_removed"]),
        first_id=int(data["first_id"]),
        last_id=int(data["last_id"]),
        sequential=bool(data["sequential"]),
        bounds=data["bounds"] and tuple(data["bounds"]),
        times=data["times"] and tuple(data["times"]),
        files=tuple(FileEntry.from_json(entry) for entry in data["files"]),
        tombstones=_file(data["tombstones"]),
    )
