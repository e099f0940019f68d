"""The contract of everything searchable: a folder, a cluster, a database."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geohash_rs.codes import check_codes
from geohash_rs.errors import QueryError
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.search.filters import RegionLike, SizeLike, TimeLike
from geohash_rs.store.search.nearest import Limits, SearchResult
from geohash_rs.store.search.where import Where

__all__ = ["Codes", "Ids", "Searchable", "bits_of"]

Codes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64] | Collection[int]


class Searchable(Protocol):
    """Codes and tiles that give the same answer to the same query, wherever they are stored.

    `CodeStore` keeps them in a folder, `RayArchive` spreads the search of that folder over a
    cluster, `PostGISArchive` keeps them in a database. Each implements `find`, `tiles`, `codes`,
    `vectors`, `scenes` and `one_state`; `search` is the same for all. All of them guarantee, and
    `tests/engines/test_conformance.py` checks:

    - **Exact.** The matches of a query are the first k of all tiles that pass every filter,
      ordered by (Hamming distance, tile id). Fewer than k are returned only if fewer exist.
    - **A radius is inclusive**: a tile at ``max_distance`` counts.
    - **A region** matches every footprint that touches it. With ``within``, a footprint must lie
      inside but may touch the border. Regions and footprints across the antimeridian are split
      there. A tile without a footprint is in no region.
    - **A time range** includes both ends and matches every tile whose own range overlaps it. A
      tile without a time is in no range.
    - **A tile id** is never reused. Removed tiles are never found, and their ids raise
      TileNotFoundError.
    - **A state**: what an object sees changes only when it writes, when `refresh` is called, or
      when it is reopened, and never inside `one_state`. Only a database shows each transaction as
      soon as it is committed, but each search and each query still sees one state.
    - Bad input raises the errors named below, before anything is searched.
    """

    path: Path  # the location, for messages

    @property
    def num_bits(self) -> int | None:
        """Bits per code, or None while the hasher is still to be fitted."""

    @property
    def hasher_fingerprint(self) -> str | None:
        """The fingerprint of the hasher that made the codes, or None if unknown."""

    @property
    def pending_hasher(self) -> str | None:
        """The kind of hasher still to be fitted, or None."""

    def __len__(self) -> int:
        """Return the number of live tiles."""

    def search(
        self,
        codes: Codes,
        *,
        k: int | None = 20,
        max_distance: int | None = None,
        region: RegionLike | None = None,
        time: TimeLike | None = None,
        scenes: Collection[str] | None = None,
        labels: Collection[str] | None = None,
        tile_size: SizeLike | None = None,
        within: bool = False,
        exclude_region: RegionLike | None = None,
        exclude_ids: Ids | None = None,
        num_threads: int | None = None,
    ) -> SearchResult:
        """Find the tiles whose codes are nearest to the query codes; exact with every filter.

        Args:
            codes: Query codes, uint8, shape (queries, bits / 8).
            k: Matches per query; fewer are returned only if fewer exist. None returns all within
                `max_distance`.
            max_distance: The largest Hamming distance that counts, inclusive.
            region: Only tiles whose footprint meets this shapely geometry in longitude and
                latitude, or box (minlon, minlat, maxlon, maxlat); a box with minlon > maxlon
                crosses the antimeridian.
            time: Only tiles taken within (start, end), both included; None leaves an end open.
            scenes: Only tiles of these scenes; an empty collection finds nothing.
            labels: Only tiles with these labels.
            tile_size: Only tiles of this size or these sizes, px: the side that a tile was
                resampled to, or the longer side of its window if it was not resampled.
            within: Whether footprints must lie inside the region rather than meet it.
            exclude_region: No tiles that overlap this region; touching it is allowed.
            exclude_ids: No tiles with these ids; unknown ids are ignored.
            num_threads: Number of threads; None uses up to one per processor, or one per actor on
                a cluster. A database accepts only None.

        Returns:
            Ids, int64, and distances, int32, of shape (queries, m), nearest first, ties by lowest
            tile id, where m is the most matches of any query; -1 after a query's last match.

        Raises:
            CodeLengthError: If the codes have another number of bits, or are not packed codes.
            QueryError: If k, `max_distance` or `num_threads` is out of range, k and `max_distance`
                are both None, scenes or labels are a single string, or a tile size is not a whole
                number of pixels from 1 on.
            RegionError: If a region is empty, invalid or outside the globe.
            TimeRangeError: If the time range cannot be parsed or ends before it starts.
            ArchiveCorruptError: If a file is missing or cut short.
            EngineError: If a cluster or database cannot answer.
        """
        limits = Limits(k=k, max_distance=max_distance, num_threads=num_threads)
        where = Where.parse(
            region=region,
            within=within,
            time=time,
            scenes=scenes,
            labels=labels,
            tile_size=tile_size,
            exclude_region=exclude_region,
            exclude_ids=exclude_ids,
        )
        queries = check_codes(codes, num_bits=bits_of(self), what="query codes")
        return self.find(queries, limits=limits, where=where)

    def find(self, codes: Codes, *, limits: Limits, where: Where) -> SearchResult:
        """Run a `search` whose arguments were checked.

        Args:
            codes: Query codes, uint8, shape (queries, bits / 8).
            limits: How many matches, and how near.
            where: The filters.

        Returns:
            As `search`.
        """

    def tiles(self, ids: Ids) -> gpd.GeoDataFrame:
        """Return tiles as rows, reading only the parts of the tables that hold them.

        Args:
            ids: Tile ids, shape (n,); an id may repeat.

        Returns:
            n rows in the order of the ids: tile_id, scene, col, row, width, height, datetime,
            geometry, in EPSG:4326; datetime_end, label and tile_size may be missing if no tile has
            one of its own.

        Raises:
            TileNotFoundError: If an id has no tile.
            ArchiveCorruptError: If a file is damaged.
            EngineError: If a database cannot answer.
        """

    def codes(self, ids: Ids) -> Codes:
        """Return the codes of tiles.

        Args:
            ids: Tile ids, shape (n,).

        Returns:
            Packed codes, uint8, shape (n, bits / 8).

        Raises:
            TileNotFoundError: If an id has no tile.
            ArchiveCorruptError: If a file is damaged.
            EngineError: If a database cannot answer.
        """

    def vectors(self, ids: Ids) -> npt.NDArray[np.float32]:
        """Return the feature vectors from which the codes of tiles were made.

        Args:
            ids: Tile ids, shape (n,); an id may repeat.

        Returns:
            Vectors, float32, shape (n, length), as exact as the archive keeps them: float16 rounds
            each number, int8 to 1/127 of the largest of its vector.

        Raises:
            VectorError: If the archive keeps none; a database never does.
            TileNotFoundError: If an id has no tile.
            ArchiveCorruptError: If a file is damaged.
        """

    def scenes(self) -> list[SceneRecord]:
        """Return the scene records, in the order they were added.

        Returns:
            The records; scenes that were added without a record are missing.

        Raises:
            ArchiveCorruptError: If a file of records is damaged.
            EngineError: If a database cannot answer.
        """

    def one_state(self) -> AbstractContextManager["Searchable"]:
        """Run several queries against one state, even if others write or refresh meanwhile.

        Returns:
            A context manager whose value answers from the current state.
        """


def bits_of(archive: Searchable) -> int:
    """Return the number of bits of an archive's codes.

    Args:
        archive: The archive.

    Returns:
        Bits per code.

    Raises:
        QueryError: If it is empty and its hasher is still to be fitted.
    """
    if archive.num_bits is None:
        msg = (
            f"{archive.path} is empty: its hasher {archive.pending_hasher} will be fitted on the "
            "first imagery added; add some, then search."
        )
        raise QueryError(msg)
    return archive.num_bits
