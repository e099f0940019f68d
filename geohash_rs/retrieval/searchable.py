"""The contract of everything that can be searched: a folder, a cluster, a database."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.search.filters import RegionLike, TimeLike
from geohash_rs.store.search.nearest import SearchResult

__all__ = ["Searchable"]

Codes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64] | Sequence[int]


class Searchable(Protocol):
    """Codes and tiles that answer the same question with the same answer, wherever they lie.

    `CodeStore` keeps them in a folder, `RayArchive` spreads the search of that folder over a
    cluster, `PostGISArchive` keeps them in a database. What holds for all of them, and what
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
      not in between; a `snapshot` of it stays as it is. A database alone shows each transaction as
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

    def snapshot(self) -> Self:
        """Give an archive that stays in the present state, where there are states."""
        return self

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
    ) -> SearchResult:
        """Find the tiles whose codes differ least from the query codes.

        Args:
            codes: Query codes, uint8, shape (queries, bits / 8).
            k: Matches for each query; None for all within `max_distance`.
            max_distance: The largest Hamming distance that counts, inclusive.
            region: A shapely geometry in longitude and latitude, or (minlon, minlat, maxlon,
                maxlat), where minlon > maxlon crosses the antimeridian.
            time: (start, end), both included; None leaves an end open.
            scenes: Only tiles of these scenes; an empty collection finds nothing.
            labels: Only tiles with these labels.
            within: Whether footprints must lie inside of the region rather than meet it.
            exclude_region: No tiles that share ground with this region; to touch is allowed.
            exclude_ids: No tiles with these ids; ids that no tile has are passed over.

        Returns:
            Ids, int64, and distances, int32, of shape (queries, m), nearest first, where m is the
            number of matches of the query that has the most; -1 past a query's last match.

        Raises:
            CodeLengthError: If the codes have another number of bits, or are no packed codes.
            QueryError: If k or `max_distance` has no meaning, both are None, or scenes or
                labels are one text.
            RegionError: If a region is empty, invalid or outside the globe.
            TimeRangeError: If the time range cannot be read or is turned round.
        """

    def tiles(self, ids: Ids) -> gpd.GeoDataFrame:
        """Give tiles as rows.

        Args:
            ids: Tile ids, shape (n,); the same id may occur twice.

        Returns:
            n rows in the order of the ids: tile_id, scene, col, row, width, height, datetime,
            geometry, in EPSG:4326; datetime_end and label may be left out where none of the tiles
            has one.

        Raises:
            TileNotFoundError: If an id has no tile.
        """

    def codes(self, ids: Ids) -> Codes:
        """Give the codes of tiles.

        Args:
            ids: Tile ids, shape (n,).

        Returns:
            Packed codes, uint8, shape (n, bits / 8).

        Raises:
            TileNotFoundError: If an id has no tile.
        """

    def scenes(self) -> list[SceneRecord]:
        """List the records of scenes, in the order in which they were added."""
