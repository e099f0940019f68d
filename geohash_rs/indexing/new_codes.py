"""Hash the tiles of an archive that have no new code yet, and keep what is done."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
import numpy.typing as npt

from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.settings import IndexSettings
from geohash_rs.indexing.tile_sources import TileSource
from geohash_rs.indexing.writer import COMMIT_SECONDS, COMMIT_TILES
from geohash_rs.store.recoding import CodeParts, tile_keys
from geohash_rs.store.segment.read import Segment

__all__ = ["count_missing", "hash_missing"]

Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


def count_missing(segments: Sequence[Segment], source: TileSource, parts: CodeParts) -> int:
    """Count the live tiles that have no new code yet.

    Args:
        segments: The segments of the archive.
        source: What to hash them from.
        parts: The new codes.

    Returns:
        The number of tiles.
    """
    return sum(len(rows) for _, rows, _ in _missing(segments, source, parts))


def hash_missing(
    segments: Sequence[Segment],
    source: TileSource,
    hasher: Hasher,
    parts: CodeParts,
    *,
    settings: IndexSettings,
) -> int:
    """Hash the live tiles that have no new code yet; what is done is kept if this is interrupted.

    Args:
        segments: The segments of the archive.
        source: What to hash them from.
        hasher: The new hasher.
        parts: Receives the new codes.
        settings: How to show progress.

    Returns:
        The number of tiles hashed.

    Raises:
        SceneError: If a scene can no longer be read.
        ArchiveWriteError: If codes cannot be written.
    """
    hashed = 0
    with settings.bar("refit", source.num_tiles) as bar:
        bar.update(source.num_tiles - count_missing(segments, source, parts))
        for segment, rows, keys in _missing(segments, source, parts):
            with (
                _Collected(parts, source, segment, rows, keys) as done,
                closing(source.hashed(segment, rows, hasher)) as batches,
            ):
                for places, codes in batches:
                    done.take(places, codes)
                    hashed += len(places)
                    bar.update(len(places))
    return hashed


def _missing(
    segments: Sequence[Segment], source: TileSource, parts: CodeParts
) -> Iterator[tuple[Segment, Rows, Keys]]:
    """Yield the live rows of each segment that have no new code, and the keys of their tiles."""
    digests = source.digests()
    for segment in segments:
        rows = np.flatnonzero(~segment.removed_rows())
        keys = tile_keys(segment, rows, digests)
        lacks = ~parts.find(segment.ids_of(rows), keys)[1]
        yield segment, rows[lacks], keys[lacks]


class _Collected:
    """Codes of a segment's tiles that are not written yet."""

    def __init__(
        self, parts: CodeParts, source: TileSource, segment: Segment, rows: Rows, keys: Keys
    ) -> None:
        self.parts, self.source, self.segment = parts, source, segment
        self.rows, self.keys = rows, keys
        self.places: list[Rows] = []
        self.codes: list[npt.NDArray[np.uint8]] = []
        self.count, self.last = 0, time.monotonic()

    def __enter__(self) -> "_Collected":
        return self

    def __exit__(self, *_: object) -> None:
        self.write()

    def take(self, places: Rows, codes: npt.NDArray[np.uint8]) -> None:
        """Take the codes of some of the rows."""
        self.places.append(places)
        self.codes.append(codes)
        self.count += len(places)
        if self.count >= COMMIT_TILES or time.monotonic() - self.last >= COMMIT_SECONDS:
            self.write()

    def write(self) -> None:
        """Make what was taken durable, unless a scene was changed while it was read."""
        if self.places:
            places, codes = np.concatenate(self.places), np.concatenate(self.codes)
            self.places, self.codes, self.count = [], [], 0
            rows = self.rows[places]
            self.source.check_unchanged(self.segment, rows)
            self.parts.add(self.segment.ids_of(rows), self.keys[places], codes)
        self.last = time.monotonic()
