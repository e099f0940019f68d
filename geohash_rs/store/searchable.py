"""The contract of everything that can be searched: a folder, a cluster, a database."""

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
from geohash_rs.store.search.filters import RegionLike, TimeLike
from geohash_rs.store.search.nearest import Limits, SearchResult
from geohash_rs.store.search.where import Where

__all__ = ["Codes", "Ids", "Searchable", "bits_of"]

Codes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64] | Collection[int]


class Searchable(Protocol):
    """Codes and tiles that answer the same question with the same answer, wherever they lie.

    `CodeStore` keeps them in a folder, `RayArchive` spreads the search of that folder over a
    cluster, `PostGISArchive` keeps them in a database. Each implements `find`, `tiles`, `codes`,
    `scenes` and `one_state`; `search` is the same for all. What holds for all of them, and what
    `tests/engines/test_conformance.py` holds them to:

    - **Exact.** The matches of a query are the first k of all tiles that pass every filter, in
      the order of (distance, tile id). Distances are Hamming distances, whole bits; of equal
      distances the lowest tile id comes first. Never fewer than k while k exist.
    - **A radius is inclusive**: a tile at ``max_distance`` counts.
    - **A region** is met by a footprint that touches it; with ``within`` a footprint must not
      leave it, though it may touch its border. Regions and footprints across the antimeridian are
      split there. A tile without a footprint is in no region.
    - **A range of time** includes both ends and counts a tile whose own range meets it. A tile
      without a time is in no range.
    - **A tile id** belongs to one tile for ever; removed tiles are never found, and an id that is
      gone is a TileNotFoundError.
    - **A state**: what an object sees changes by its own writing, by `refresh` and by reopening,
      not in between, and not at all inside `one_state`. A database alone shows each transaction as
      it is committed, though a search and a query of it see one state.
    - Bad input is refused with the errors named below, before anything is searched.
    """

    path: Path  # where it lies, for messages

    @property
    def num_bits(self) -> int | None:
        """Bits of a code, or None while the hasher is still to be fitted."""

    @property
    def hasher_fingerprint(self) -> str | None:
        """What identifies the hasher of the codes, or None if it is not known."""

    @property
    def pending_hasher(self) -> str | None:
        """The kind of hasher still to be fitted, or None."""

    def __len__(self) -> int:
        """Count the tiles that were added and not removed."""

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
        within: bool = False,
        exclude_region: RegionLike | None = None,
        exclude_ids: Ids | None = None,
        num_threads: int | None = None,
    ) -> SearchResult:
        """Find the tiles whose codes differ least from the query codes; exact, with every filter.

        Args:
            codes: Query codes, uint8, shape (queries, bits / 8).
            k: Matches for each query; fewer come back only if fewer exist. None for all within
                `max_distance`.
            max_distance: The largest Hamming distance that counts, inclusive.
            region: Only tiles whose footprint meets this shapely geometry in longitude and
                latitude, or box (minlon, minlat, maxlon, maxlat); minlon > maxlon crosses the
                antimeridian.
            time: Only tiles taken within (start, end), both included; None leaves an end open.
            scenes: Only tiles of these scenes; an empty collection finds nothing.
            labels: Only tiles with these labels.
            within: Whether footprints must lie inside the region rather than meet it.
            exclude_region: No tiles that share ground with this region; touching it is allowed.
            exclude_ids: No tiles with these ids; ids that no tile has are ignored.
            num_threads: Threads; None for one per processor where it pays, on a cluster one per
                actor. A database chooses by itself.

        Returns:
            Ids, int64, and distances, int32, of shape (queries, m), nearest first, ties by lowest
            tile id, where m is the number of matches of the query that has the most; -1 past a
            query's last match.

        Raises:
            CodeLengthError: If the codes have another number of bits, or are not packed codes.
            QueryError: If k, `max_distance` or `num_threads` has no meaning, k and `max_distance`
                are both None, or scenes or labels are one text.
            RegionError: If a region is empty, invalid or outside the globe.
            TimeRangeError: If the time range cannot be read or ends before it starts.
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
            exclude_region=exclude_region,
            exclude_ids=exclude_ids,
        )
        queries = check_codes(codes, num_bits=bits_of(self), what="query codes")
        return self.find(queries, limits=limits, where=where)

    def find(self, codes: Codes, *, limits: Limits, where: Where) -> SearchResult:
        """Answer a `search` whose arguments were checked.

        Args:
            codes: Query codes, uint8, shape (queries, bits / 8).
            limits: How many matches, and how near.
            where: What tiles are limited to.

        Returns:
            As `search`.
        """

    def tiles(self, ids: Ids) -> gpd.GeoDataFrame:
        """Return tiles as rows; only the parts of the tables that hold them are read.

        Args:
            ids: Tile ids, shape (n,); the same id may occur twice.

        Returns:
            n rows in the order of the ids: tile_id, scene, col, row, width, height, datetime,
            geometry, in EPSG:4326; datetime_end and label may be left out where none of the tiles
            has one.

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

    def scenes(self) -> list[SceneRecord]:
        """List the records of scenes, in the order in which they were added.

        Returns:
            The records; tiles that were added without a record have none.

        Raises:
            ArchiveCorruptError: If a file of records is damaged.
            EngineError: If a database cannot answer.
        """

    def one_state(self) -> AbstractContextManager["Searchable"]:
        """Ask several questions of one state, though others write or refresh meanwhile.

        Returns:
            A context whose value answers from the state of now.
        """


def bits_of(archive: Searchable) -> int:
    """Count the bits of an archive's codes.

    Args:
        archive: The archive.

    Returns:
        Bits of a code.

    Raises:
        QueryError: If it is empty and its hasher is still to be fitted.
    """
    if archive.num_bits is None:
        msg = (
            f"{archive.path} is empty: its hasher {archive.pending_hasher} is fitted on the first "
            "imagery that is added; add some, then search."
        )
        raise QueryError(msg)
    return archive.num_bits
