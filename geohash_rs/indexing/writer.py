"""Gather encoded tiles and scene records until they are worth a commit to the archive."""

import time
from typing import Self

import geopandas as gpd
import numpy as np
import pandas as pd

from geohash_rs.errors import ArchiveLockedError
from geohash_rs.indexing.encode import EncodedTiles
from geohash_rs.indexing.samples import located_frame
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["ArchiveWriter"]

# Finished scenes are committed together: a commit costs a few file syncs and makes a segment.
COMMIT_TILES = 200_000
COMMIT_SECONDS = 20.0


class ArchiveWriter:
    """Encoded tiles that wait for the next commit."""

    def __init__(self, archive: CodeStore, fingerprint: str) -> None:
        """Start with nothing.

        Args:
            archive: Where the tiles go.
            fingerprint: Fingerprint of the hasher that makes the codes.
        """
        self.archive = archive
        self.fingerprint = fingerprint
        self.waiting: list[EncodedTiles] = []
        self.num_waiting = 0
        self.records: list[SceneRecord] = []
        self.last = time.monotonic()

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Commit what waits, also when the run is interrupted."""
        self.commit()

    def take(self, encoded: EncodedTiles) -> None:
        """Take tiles, and commit if many wait or the last commit is long ago.

        Args:
            encoded: Codes, tiles and records.
        """
        if len(encoded.codes):
            self.waiting.append(encoded)
            self.num_waiting += len(encoded.codes)
        self.records += encoded.records
        many = self.num_waiting >= COMMIT_TILES
        if many or time.monotonic() - self.last >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Add all that waits to the archive, at once.

        Tiles that a scene has in the archive by then are replaced, whoever added them: another
        process may index the same scenes. What cannot be added waits on only if another process
        is writing: else it may stand already, and is not to stand twice.

        Raises:
            ArchiveLockedError: If another process is writing.
        """
        waiting, records, number = self.waiting, self.records, self.num_waiting
        self.waiting, self.records, self.num_waiting = [], [], 0
        if waiting or records:
            none = np.empty((0, (self.archive.num_bits or 0) // 8), dtype=np.uint8)
            codes = [part.codes for part in waiting] or [none]
            frames = [part.tiles for part in waiting] or [located_frame([])]
            try:
                self.archive.add_codes(
                    np.concatenate(codes),
                    gpd.GeoDataFrame(pd.concat(frames, ignore_index=True)),
                    scenes=records,
                    replace_scenes={record.scene for record in records},
                    fingerprint=self.fingerprint,
                )
            except ArchiveLockedError:
                self.waiting, self.records, self.num_waiting = waiting, records, number
                raise
        self.last = time.monotonic()
