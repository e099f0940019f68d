"""A state of an archive: the files that make it up, and the states before it."""

import dataclasses
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from geohash_rs.footprints.bounds import total_bounds
from geohash_rs.store.disk.durable import FileEntry

__all__ = [
    "MOST_ANCESTORS",
    "FormerHasher",
    "HasherEntry",
    "KeepVectors",
    "Manifest",
    "SegmentEntry",
    "VectorsEntry",
    "new_commit",
]

KeepVectors = Literal["none", "float16", "int8"]

MOST_ANCESTORS = 1000  # commits that a state remembers: over five hours of `index`
MOST_FORMER = 100  # hashers before the present one


@dataclass(frozen=True, kw_only=True)
class HasherEntry:
    """The hasher that made the archive's codes.

    Attributes:
        file: Its safetensors file in the archive's folder, or None if only codes are stored.
        fingerprint: Identifies the hasher.
    """

    file: FileEntry | None
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class FormerHasher:
    """A hasher that made the archive's codes until the archive was refitted.

    Attributes:
        fingerprint: Identifies the hasher; empty if it was not known.
        generation: Generation of the commit that replaced it.
    """

    fingerprint: str
    generation: int


@dataclass(frozen=True, kw_only=True)
class VectorsEntry:
    """The form of the feature vectors that an archive keeps next to its codes.

    Attributes:
        kind: "float16", or "int8" with one float32 scale per vector.
        length: Numbers of a vector, or None until vectors were added.
        rotated: Whether vectors of int8 were rotated first, as in all new archives.
    """

    kind: Literal["float16", "int8"]
    length: int | None = None
    rotated: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes that a tile's vector takes; 0 while the length is unknown."""
        length = self.length or 0
        return 2 * length if self.kind == "float16" else length + 4 * bool(length)


@dataclass(frozen=True, kw_only=True)
class SegmentEntry:
    """One immutable set of tiles.

    Attributes:
        name: Its folder, under `segments`.
        num_tiles: Rows, including removed ones.
        num_removed: Removed rows.
        first_id: Smallest tile id.
        last_id: Largest tile id.
        sequential: Whether row r holds tile first_id + r; otherwise the index stores the ids.
        bounds: (xmin, ymin, xmax, ymax) around the footprints in degrees, xmax above 180 if one
            crosses the antimeridian; None without footprints.
        times: First and last time in microseconds since 1970 UTC; None without times.
        files: Codes, index and tiles, and the vectors if the archive keeps them.
        tombstones: The bitmap of removed rows, if any.
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
        """Rows that were not removed."""
        return self.num_tiles - self.num_removed


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The complete state of an archive.

    Attributes:
        generation: Counts the commits.
        commit: A random name for this commit, which distinguishes states of the same generation.
        ancestors: The names of the commits before it, one per generation, newest first; only the
            last `MOST_ANCESTORS` are kept.
        num_bits: Bits per code, or None until a hasher is known.
        hasher: The hasher, if one is known.
        pending_hasher: The kind of hasher still to be fitted, such as "general-64" or, with a
            chosen backbone, "general-64@resnet50".
        vectors: The form of the vectors that the archive keeps; None if it keeps none.
        next_id: The id of the next tile; ids are never reused.
        next_number: The number of the next file or folder.
        segments: The segments, ordered by smallest tile id.
        scene_logs: Files of scene records; a later record replaces an earlier one.
        attrs: The caller's own values, JSON.
        former: The hashers that were replaced by others, oldest first.
        tile_sizes: Whether tiles may have the column tile_size, which version 1 does not have.
        sources: Whether tiles may have the column source, which version 1 does not have.
    """

    generation: int = 0
    commit: str = ""
    ancestors: tuple[str, ...] = ()
    num_bits: int | None = None
    hasher: HasherEntry | None = None
    pending_hasher: str | None = None
    vectors: VectorsEntry | None = None
    next_id: int = 0
    next_number: int = 0
    segments: tuple[SegmentEntry, ...] = ()
    scene_logs: tuple[FileEntry, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    former: tuple[FormerHasher, ...] = ()
    tile_sizes: bool = False
    sources: bool = False

    @property
    def num_tiles(self) -> int:
        """Live tiles."""
        return sum(segment.num_live for segment in self.segments)

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """Box around all footprints, (xmin, ymin, xmax, ymax) in degrees.

        xmax is above 180 if the box crosses the antimeridian; None without footprints.
        """
        boxes = [segment.bounds for segment in self.segments if segment.bounds]
        return total_bounds(np.array(boxes, np.float64).reshape(-1, 4))

    @property
    def times(self) -> tuple[np.datetime64, np.datetime64] | None:
        """First and last time, UTC, in microseconds; None without times."""
        ranges = [segment.times for segment in self.segments if segment.times]
        if not ranges:
            return None
        firsts, lasts = zip(*ranges, strict=True)
        return np.datetime64(min(firsts), "us"), np.datetime64(max(lasts), "us")

    @property
    def is_first_format(self) -> bool:
        """Whether version 0.1.0 can read this state."""
        other_backbone = "@" in (self.pending_hasher or "")
        columns = self.tile_sizes or self.sources
        return self.vectors is None and not columns and not other_backbone

    def following(self) -> "Manifest":
        """Return a copy of this state for the next commit.

        Returns:
            The copy, with a new name and this commit as its newest ancestor.
        """
        ancestors = (self.commit, *self.ancestors)[:MOST_ANCESTORS]
        return dataclasses.replace(
            self, generation=self.generation + 1, commit=new_commit(), ancestors=ancestors
        )

    def refitted(self) -> "Manifest":
        """Return a copy of this state that remembers its hasher as a former one.

        Returns:
            The copy, for the commit that follows this state.
        """
        known = self.hasher.fingerprint if self.hasher else ""
        gone = FormerHasher(fingerprint=known, generation=self.generation + 1)
        return dataclasses.replace(self, former=(*self.former, gone)[-MOST_FORMER:])

    def comes_from(self, generation: int, commit: str) -> bool | None:
        """Return whether this state is the given commit or descends from it.

        Args:
            generation: The commit's generation.
            commit: Its name.

        Returns:
            Whether it is; None if the commit is older than the remembered ancestors.
        """
        age = self.generation - generation
        if age < 0:
            return False
        names = (self.commit, *self.ancestors)
        return None if age >= len(names) else names[age] == commit

    def files(self) -> Iterator[tuple[str, FileEntry]]:
        """List every file with its name inside the archive, such as "scenes/00000008"."""
        for segment in self.segments:
            yield from ((f"segments/{segment.name}/{file.name}", file) for file in segment.files)
            if segment.tombstones:
                yield f"removed/{segment.tombstones.name}", segment.tombstones
        yield from ((f"scenes/{file.name}", file) for file in self.scene_logs)
        if self.hasher and self.hasher.file:
            yield self.hasher.file.name, self.hasher.file


def new_commit() -> str:
    """Return a random name for a commit.

    Returns:
        16 hexadecimal digits.
    """
    return secrets.token_hex(8)
