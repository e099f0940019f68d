"""Hash the tiles of an archive that have no new code yet, and keep what is done."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

import numpy as np
import numpy.typing as npt

from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.archived_scenes import ArchivedScenes, in_order
from geohash_rs.indexing.writer import COMMIT_SECONDS, COMMIT_TILES
from geohash_rs.store.recoding import CodeParts, tile_keys
from geohash_rs.store.segment.read import Segment

__all__ = ["count_missing", "hash_missing"]

Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


def count_missing(segments: Sequence[Segment], scenes: ArchivedScenes, parts: CodeParts) -> int:
    """Count the live tiles that have no new code yet.

    Args:
        segments: The segments of the archive.
        scenes: Their scenes.
        parts: The new codes.

    Returns:
        The number of tiles.
    """
    return sum(len(rows) for _, rows, _ in _missing(segments, scenes, parts))


def hash_missing(
    segments: Sequence[Segment], scenes: ArchivedScenes, hasher: Hasher, parts: CodeParts
) -> int:
    """Hash the live tiles that have no new code yet; what is done is kept if this is interrupted.

    Args:
        segments: The segments of the archive.
        scenes: Their scenes.
        hasher: The new hasher.
        parts: Receives the new codes.

    Returns:
        The number of tiles hashed.

    Raises:
        SceneError: If a scene can no longer be read.
        ArchiveWriteError: If codes cannot be written.
    """
    hashed = 0
    with scenes.settings.bar("refit", scenes.num_tiles) as bar:
        bar.update(scenes.num_tiles - count_missing(segments, scenes, parts))
        for segment, rows, keys in _missing(segments, scenes, parts):
            tiles = scenes.windows(segment, rows)
            order = in_order(tiles)
            ids = segment.ids_of(rows[order])
            with (
                _Collected(parts, scenes, ids, keys[order], tiles[order]) as done,
                closing(_codes_of_pixels(scenes, tiles[order], hasher)) as batches,
            ):
                for some, codes in batches:
                    done.take(some, codes)
                    hashed += len(some)
                    bar.update(len(some))
    return hashed


def _missing(
    segments: Sequence[Segment], scenes: ArchivedScenes, parts: CodeParts
) -> Iterator[tuple[Segment, Rows, Keys]]:
    """Yield the live rows of each segment that have no new code, and the keys of their tiles."""
    digests = scenes.digests()
    for segment in segments:
        rows = np.flatnonzero(~segment.removed_rows())
        keys = tile_keys(segment, rows, digests)
        lacks = ~parts.find(segment.ids_of(rows), keys)[1]
        yield segment, rows[lacks], keys[lacks]


def _codes_of_pixels(
    scenes: ArchivedScenes, tiles: Rows, hasher: Hasher
) -> Generator[tuple[Rows, npt.NDArray[np.uint8]], None, None]:
    """Hash tiles from the pixels of their scenes.

    Where vectors of tiles are kept, a function like this one would pass them to the head instead.

    Args:
        scenes: The scenes.
        tiles: int64 (scene, col, row, width, height), shape (n, 5), in order.
        hasher: The new hasher.

    Yields:
        Some of the tiles, and their codes. Tiles of a scene stay in order.
    """
    with closing(scenes.read(tiles, hasher.values)) as batches:
        for batch, read in batches:
            yield read, hasher.codes(batch.images)


class _Collected:
    """Codes of a segment's tiles that are not written yet."""

    def __init__(
        self,
        parts: CodeParts,
        scenes: ArchivedScenes,
        ids: Rows,
        keys: Keys,
        tiles: Rows,
    ) -> None:
        self.parts, self.scenes, self.ids, self.keys = parts, scenes, ids, keys
        self.tiles = tiles
        # the tiles of a scene come in order, but scenes may change places
        numbers, first = np.unique(tiles[:, 0], return_index=True)
        self.next = dict(zip(numbers.tolist(), first.tolist(), strict=True))
        self.places: list[Rows] = []
        self.codes: list[npt.NDArray[np.uint8]] = []
        self.count, self.last = 0, time.monotonic()

    def __enter__(self) -> "_Collected":
        return self

    def __exit__(self, *_: object) -> None:
        self.write()

    def take(self, tiles: Rows, codes: npt.NDArray[np.uint8]) -> None:
        """Take the codes of the next tiles of some scenes."""
        numbers, first, counts = np.unique(tiles[:, 0], return_index=True, return_counts=True)
        places = np.empty(len(tiles), np.int64)
        for number, start, count in zip(
            numbers.tolist(), first.tolist(), counts.tolist(), strict=True
        ):
            begin = self.next[number]
            places[start : start + count] = np.arange(begin, begin + count)
            self.next[number] += count
        self.places.append(places)
        self.codes.append(codes)
        self.count += len(tiles)
        if self.count >= COMMIT_TILES or time.monotonic() - self.last >= COMMIT_SECONDS:
            self.write()

    def write(self) -> None:
        """Make what was taken durable, unless a scene was changed while it was read."""
        if self.places:
            places, codes = np.concatenate(self.places), np.concatenate(self.codes)
            self.places, self.codes, self.count = [], [], 0
            self.scenes.check_unchanged(np.unique(self.tiles[places, 0]).tolist())
            self.parts.add(self.ids[places], self.keys[places], codes)
        self.last = time.monotonic()
