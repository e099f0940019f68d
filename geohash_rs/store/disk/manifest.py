"""A state of an archive: which files make it up, and which states it comes from."""

import dataclasses
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from geohash_rs.footprints.bounds import total_bounds
from geohash_rs.store.disk.durable import FileEntry

__all__ = ["MOST_ANCESTORS", "HasherEntry", "Manifest", "SegmentEntry", "new_commit"]

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

    def files(self) -> Iterator[tuple[str, FileEntry]]:
        """List every file, with its name inside of the archive, such as "scenes/00000008"."""
        for segment in self.segments:
            yield from ((f"segments/{segment.name}/{file.name}", file) for file in segment.files)
            if segment.tombstones:
                yield f"removed/{segment.tombstones.name}", segment.tombstones
        yield from ((f"scenes/{file.name}", file) for file in self.scene_logs)
        if self.hasher and self.hasher.file:
            yield self.hasher.file.name, self.hasher.file


def new_commit() -> str:
    """Draw a name for a commit.

    Returns:
        16 hexadecimal digits.
    """
    return secrets.token_hex(8)
