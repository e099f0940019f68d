"""Collect encoded tiles and scene records, and commit many of them at once."""

import time
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from geohash_rs.errors import ArchiveLockedError
from geohash_rs.indexing.encode import EncodedTiles
from geohash_rs.indexing.samples import located_frame
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["ArchiveWriter", "when_free"]

# Scenes are committed together, because each commit costs a few file syncs and makes a segment.
COMMIT_TILES = 200_000
COMMIT_BYTES = 128 << 20  # of feature vectors
COMMIT_SECONDS = 20.0
WAIT_SECONDS = 10.0  # for another process that is making or changing the same archive

T = TypeVar("T")


def when_free(write: Callable[[], T]) -> T:
    """Write to an archive, once another process that is writing has finished its commit.

    Args:
        write: A function that takes the archive's write lock.

    Returns:
        Its result.

    Raises:
        ArchiveLockedError: If the other process does not finish.
    """
    last = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return write()
        except ArchiveLockedError:
            if time.monotonic() > last:
                raise
            time.sleep(0.05)


class ArchiveWriter:
    """Encoded tiles that have not been committed yet."""

    def __init__(self, archive: CodeStore, fingerprint: str) -> None:
        """Start without tiles.

        Args:
            archive: Archive to add the tiles to.
            fingerprint: Fingerprint of the hasher that makes the codes.
        """
        self.archive = archive
        self.fingerprint = fingerprint
        self.waiting: list[EncodedTiles] = []
        self.num_waiting = self.num_bytes = 0
        self.records: dict[str, SceneRecord] = {}
        self.replaced: set[str] = set()
        self.last = time.monotonic()

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Commit the rest, even if the run is interrupted."""
        self.commit()

    def take(self, encoded: EncodedTiles) -> None:
        """Accept tiles, and commit if there are many or the last commit was long ago.

        Args:
            encoded: Codes, tiles and records.
        """
        size = 0 if encoded.vectors is None else encoded.vectors.nbytes
        if self.num_bytes and self.num_bytes + size >= COMMIT_BYTES:
            self.commit()  # without these: a scene with many vectors is committed on its own
        if len(encoded.codes):
            self.waiting.append(encoded)
            self.num_waiting += len(encoded.codes)
            self.num_bytes += size
        renewed = {record.scene: record for record in encoded.records}
        self.records |= renewed
        if not encoded.continues:
            self.replaced |= renewed.keys()
        many = self.num_waiting >= COMMIT_TILES or self.num_bytes >= COMMIT_BYTES
        if many or time.monotonic() - self.last >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Add all uncommitted tiles to the archive at once.

        They replace all tiles that the archive has of these scenes, since another process may have
        indexed the same scenes, except of one that is added in several parts. If another process
        keeps writing, the tiles are kept for the next commit. After any other error they are
        dropped, because they may already be in the archive and must not be added twice.

        Raises:
            ArchiveLockedError: If another process keeps writing.
        """
        taken = self.waiting, self.records, self.replaced, self.num_waiting, self.num_bytes
        waiting, records, replaced, *_ = taken
        self.waiting, self.records, self.replaced = [], {}, set()
        self.num_waiting = self.num_bytes = 0
        if waiting or records:
            none = np.empty((0, (self.archive.num_bits or 0) // 8), dtype=np.uint8)
            codes = [part.codes for part in waiting] or [none]
            frames = [part.tiles for part in waiting] or [located_frame([])]
            vectors = [part.vectors for part in waiting if part.vectors is not None]
            try:
                when_free(
                    lambda: self.archive.add_codes(
                        np.concatenate(codes),
                        gpd.GeoDataFrame(pd.concat(frames, ignore_index=True)),
                        vectors=_joined(vectors),
                        scenes=list(records.values()),
                        replace_scenes=replaced,
                        fingerprint=self.fingerprint,
                    )
                )
            except ArchiveLockedError:
                self.waiting, self.records, self.replaced = taken[:3]
                self.num_waiting, self.num_bytes = taken[3:]
                raise
        self.last = time.monotonic()


def _joined(vectors: Sequence[npt.NDArray[np.floating]]) -> npt.NDArray[np.floating] | None:
    """Join arrays; a single one, which may be mapped, is not copied."""
    if len(vectors) == 1:
        return vectors[0]
    return np.concatenate(vectors) if vectors else None
