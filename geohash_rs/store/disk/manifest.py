"""The manifest: one small file that says which other files make up the archive."""

import dataclasses
import json
import secrets
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geohash_rs.errors import ArchiveCorruptError, ArchiveFormatError, ArchiveNotFoundError
from geohash_rs.footprints.bounds import total_bounds
from geohash_rs.store.disk.durable import FileEntry, plain_name, reading, replacing, writing

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "HasherEntry",
    "Manifest",
    "SegmentEntry",
    "commit_manifest",
    "parse_manifest",
    "read_manifest",
]

MANIFEST = "manifest.json"
FORMAT = "geohash_rs archive"
FORMAT_VERSION = 1
MOST_ANCESTORS = 1000  # commits that a state remembers: over five hours of a run of `index`


@dataclass(frozen=True, kw_only=True)
class HasherEntry:
    """The hasher that made the archive's codes.

    Attributes:
        file: Its safetensors file in the archive's folder, or None when only codes are kept.
        fingerprint: What identifies it.
    """

    file: FileEntry | None
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class SegmentEntry:
    """One immutable set of tiles.

    Attributes:
        name: Its folder, under `segments`.
        num_tiles: Rows, removed ones included.
        num_removed: Rows that a tombstone covers.
        first_id: Smallest tile id.
        last_id: Largest tile id.
        sequential: Whether row r holds tile first_id + r; else the ids are stored.
        bounds: (xmin, ymin, xmax, ymax) around the footprints in degrees, xmax above 180 where
            one crosses the antimeridian; None without footprints.
        times: First and last moment in microseconds since 1970 UTC; None without times.
        files: Codes, index and tiles.
        tombstones: The bitmap of removed rows, if any were.
    """

    name: str
    num_tiles: int
    num_removed: int
    first_id: int
    last_id: int
    sequential: bool
    bounds: tuple[float, float, float, float] | None
    times: tuple[int, int] | None
    files: tuple[FileEntry, ...]
    tombstones: FileEntry | None = None

    @property
    def num_live(self) -> int:
        """Rows that no tombstone covers."""
        return self.num_tiles - self.num_removed


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A whole state of an archive.

    Attributes:
        generation: Counts the commits.
        commit: A random name of this commit, by which two states of one generation are told
            apart.
        ancestors: The names of the commits before it, the newest first, each of one generation
            less; older ones are forgotten.
        num_bits: Bits of a code, or None until a hasher is known.
        hasher: The hasher, if one is known.
        pending_hasher: The kind of hasher still to be fitted, such as "general-64".
        next_id: The id that the next tile gets; ids are never used twice.
        next_number: The number that the next file or folder gets.
        segments: In the order of their smallest tile id.
        scene_logs: Files of scene records; a later record replaces an earlier one.
        attrs: What the caller wants remembered, JSON.
    """

    generation: int = 0
    commit: str = ""
    ancestors: tuple[str, ...] = ()
    num_bits: int | None = None
    hasher: HasherEntry | None = None
    pending_hasher: str | None = None
    next_id: int = 0
    next_number: int = 0
    segments: tuple[SegmentEntry, ...] = ()
    scene_logs: tuple[FileEntry, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def num_tiles(self) -> int:
        """Live tiles."""
        return sum(segment.num_live for segment in self.segments)

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """Box around all footprints, (xmin, ymin, xmax, ymax) in degrees.

        xmax is above 180 where the box crosses the antimeridian; None without footprints.
        """
        boxes = [segment.bounds for segment in self.segments if segment.bounds]
        return total_bounds(np.array(boxes, np.float64).reshape(-1, 4))

    @property
    def times(self) -> tuple[np.datetime64, np.datetime64] | None:
        """First and last moment, UTC, in microseconds; None without times."""
        ranges = [segment.times for segment in self.segments if segment.times]
        if not ranges:
            return None
        firsts, lasts = zip(*ranges, strict=True)
        return np.datetime64(min(firsts), "us"), np.datetime64(max(lasts), "us")

    def following(self) -> "Manifest":
        """Give this state as the commit after it: what a writer changes next.

        Returns:
            The state, with a name of its own and this commit as its newest ancestor.
        """
        ancestors = (self.commit, *self.ancestors)[:MOST_ANCESTORS]
        return dataclasses.replace(
            self, generation=self.generation + 1, commit=new_commit(), ancestors=ancestors
        )

    def comes_from(self, generation: int, commit: str) -> bool | None:
        """Return whether this state is a commit, or was made from it.

        Args:
            generation: The commit's generation.
            commit: Its name.

        Returns:
            Whether it is; None if the commit is older than the ancestors that are remembered.
        """
        age = self.generation - generation
        if age < 0:
            return False
        names = (self.commit, *self.ancestors)
        return None if age >= len(names) else names[age] == commit

    def file_names(self) -> set[str]:
        """List every file and segment folder that the manifest refers to."""
        names = {f"scenes/{entry.name}" for entry in self.scene_logs}
        for segment in self.segments:
            names.add(f"segments/{segment.name}")
            if segment.tombstones:
                names.add(f"removed/{segment.tombstones.name}")
        if self.hasher and self.hasher.file:
            names.add(self.hasher.file.name)
        return names


def new_commit() -> str:
    """Draw a name for a commit.

    Returns:
        16 hexadecimal digits.
    """
    return secrets.token_hex(8)


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
            f"{folder} is no archive: it has no {MANIFEST}. Make one with Archive.create or "
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
        ArchiveNotFoundError: If it is something else.
        ArchiveFormatError: If a newer version of this package wrote it.
        ArchiveCorruptError: If it is cut short, was changed, or names files elsewhere.
    """
    try:
        outer = json.loads(content)
        kind, version = outer["format"], int(outer["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveCorruptError(_damage(path, "is not complete JSON")) from error
    if kind != FORMAT:
        msg = f"{path} is of format {kind!r}, not {FORMAT!r}; this folder is no archive."
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
        what = f"lacks or mistakes a field ({error!r})"
        raise ArchiveCorruptError(_damage(path, what)) from error


def commit_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a manifest the archive's state, all at once and durably.

    Args:
        folder: The archive; its write lock is held and every file named is durable.
        manifest: The new state.

    Raises:
        ArchiveWriteError: If it cannot be written; the old state then stands.
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
        f"{path} {what}; restore it from a copy. Tiles may still be read with other programs, from "
        "the tiles.parquet of each segment."
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
