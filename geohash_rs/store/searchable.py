"""The contract of everything searchable: a folder, a cluster, a database."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.codes import check_codes
from geohash_rs.errors import QueryError
from geohash_rs.store.code_table import CodeTable, check_columns
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.search.asked import Asked
from geohash_rs.store.search.filters import RegionLike, SizeLike, TimeLike
from geohash_rs.store.search.nearest import Limits, SearchResult
from geohash_rs.store.search.scene_names import full_names
from geohash_rs.store.search.weights import BitWeights
from geohash_rs.store.search.where import Where

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["Codes", "Ids", "Searchable", "bits_of", "check_asked", "where_in"]

Codes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64] | Collection[int]


class Searchable(Protocol):
    """Codes and tiles that give the same answer to the same query, wherever they are stored.

    `CodeStore` keeps them in a folder, `RayArchive` spreads the search of that folder over a
    cluster, `PostGISArchive` keeps them in a database. Each implements `find`, `rows`, `tiles`,
    `codes`, `vectors`, `scenes`, `sample` and `one_state`; `search` and `to_table` are the same for
    all. All of them guarantee, and `tests/engines/test_conformance.py` checks:

    - **Exact.** The matches of a query are the first k of all tiles that pass every filter,
      ordered by (Hamming distance, tile id) or, if bits have weights, by (cost, tile id). Fewer
      than k are returned only if fewer exist.
    - **A radius is inclusive**: a tile at ``max_distance`` counts.
    - **A region** matches every footprint that touches it. With ``within``, a footprint must lie
      inside but may touch the border. Regions and footprints across the antimeridian are split
      there. A tile without a footprint is in no region.
    - **A time range** includes both ends and matches every tile whose own range overlaps it. A
      tile without a time is in no range.
    - **A tile id** is never reused. Removed tiles are never found, and their ids raise
      TileNotFoundError, whose `missing` names all of them.
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
            scenes: Only tiles of these scenes: their names, or the ends of their paths, such as a
                file name, if only one scene has it; an empty collection finds nothing.
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
                are both None, several scenes have a name, scenes or labels are a single string, or
                a tile size is not a whole number of pixels from 1 on.
            RegionError: If a region is empty, invalid or outside the globe.
            TimeRangeError: If the time range cannot be parsed or ends before it starts.
            ArchiveCorruptError: If a file is missing or cut short.
            EngineError: If a cluster or database cannot answer.
        """
        limits = Limits(k=k, max_distance=max_distance, num_threads=num_threads)
        where = where_in(
            self,
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

    def find(self, asked: Asked, *, limits: Limits, where: Where) -> SearchResult:
        """Run a `search` whose arguments were checked, or find the cheapest tiles by bit weights.

        Args:
            asked: Query codes, uint8, shape (queries, bits / 8), or the weights of one query.
            limits: How many matches, and how near.
            where: The filters.

        Returns:
            As `search`; costs instead of distances if bits have weights.

        Raises:
            CodeLengthError: If the weights are for another number of bits.
            QueryError: If weights are given and the archive has no codes yet.
        """

    def to_table(
        self,
        columns: Sequence[str] | None = None,
        *,
        region: RegionLike | None = None,
        time: TimeLike | None = None,
        scenes: Collection[str] | None = None,
        labels: Collection[str] | None = None,
        tile_size: SizeLike | None = None,
        within: bool = False,
        exclude_region: RegionLike | None = None,
        exclude_ids: Ids | None = None,
    ) -> CodeTable:
        """Return tiles and their codes as one Arrow table, which is read only when it is used.

        It can be larger than memory. In one line: `to_geopandas()` and `to_xarray()` of the result.
        Anything that takes an Arrow stream, such as DuckDB, polars or `pyarrow.table`, takes the
        result itself.

        Args:
            columns: Names of columns, in the order wanted; None means all of tile_id, scene, col,
                row, width, height, datetime, datetime_end, label, tile_size, source, code,
                geometry. A table without geometry is read faster.
            region: This and all further arguments choose the tiles, as in `search`.
            time: As in `search`.
            scenes: As in `search`.
            labels: As in `search`.
            tile_size: As in `search`.
            within: As in `search`.
            exclude_region: As in `search`.
            exclude_ids: As in `search`.

        Returns:
            The table, without removed tiles; one of an empty archive has no rows.

        Raises:
            QueryError: If a column is unknown, or scenes, labels or sizes are refused as in
                `search`.
            RegionError: If a region is empty, invalid or outside the globe.
            TimeRangeError: If the time range cannot be parsed or ends before it starts.
            EngineError: If a database cannot answer.
        """
        names = check_columns(columns)
        where = where_in(
            self,
            region=region,
            within=within,
            time=time,
            scenes=scenes,
            labels=labels,
            tile_size=tile_size,
            exclude_region=exclude_region,
            exclude_ids=exclude_ids,
        )
        with self.one_state() as still:
            return CodeTable.of(
                still.rows(where, columns=names),
                names,
                num_bits=planned_bits(still),
                fingerprint=still.hasher_fingerprint,
            )

    def rows(self, where: Where, *, columns: Collection[str]) -> Iterable[pa.Table]:
        """Return the tiles that pass filters, to be read a few at a time.

        Args:
            where: The filters.
            columns: Columns of `to_table`.

        Returns:
            Pieces of at most 65,536 tiles, with these columns in any order. Each iteration reads
            them again: those of the present state or, of a database, of the state in which the
            iteration began. A tile_size is the one by which a search can be limited.
        """

    def tiles(self, ids: Ids) -> "gpd.GeoDataFrame":
        """Return tiles as rows, reading only the parts of the tables that hold them.

        Args:
            ids: Tile ids, shape (n,); an id may repeat.

        Returns:
            n rows in the order of the ids: tile_id, scene, col, row, width, height, datetime,
            geometry, in EPSG:4326; datetime_end, label, tile_size and source may be missing if no
            tile has one of its own.

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
            each number; int8 rounds a rotated vector to 1/127 of its largest number.

        Raises:
            VectorError: If the archive keeps none; a database never does.
            TileNotFoundError: If an id has no tile.
            ArchiveCorruptError: If a file is damaged.
        """

    def sample(self, count: int) -> tuple[npt.NDArray[np.int64], Codes]:
        """Return tiles spread over the archive, and their codes; always the same ones.

        They are the live tiles with the smallest (id % 2147483647 * 742938285) % 2147483647, ties
        by id: a scattering of ids that every engine can compute.

        Args:
            count: Number of tiles; fewer are returned only if fewer exist.

        Returns:
            Tile ids, int64, shape (m,), ascending, and their packed codes, uint8, shape
            (m, bits / 8).

        Raises:
            QueryError: If `count` is less than 1.
            ArchiveCorruptError: If a file is damaged.
            EngineError: If a database cannot answer.
        """

    def scenes(self) -> list[SceneRecord]:
        """Return the scene records, in the order they were added.

        Returns:
            The records; scenes that were added without a record are missing.

        Raises:
            ArchiveCorruptError: If a file of records is damaged.
            EngineError: If a database cannot answer.
        """

    def scene_names(self) -> Collection[str]:
        """Return the names of all scenes that have tiles.

        Returns:
            The names, as in the tiles' column `scene`; a database may add scenes without tiles.

        Raises:
            ArchiveCorruptError: If a file of records is damaged.
            EngineError: If a database cannot answer.
        """
        return [record.scene for record in self.scenes()]

    def whole_names(self, names: Collection[str]) -> set[str]:
        """Return which names are the whole names of scenes; faster than `scene_names`.

        Args:
            names: Names that a user gave.

        Returns:
            Those among `scene_names`.

        Raises:
            ArchiveCorruptError: If a file of records is damaged.
            EngineError: If a database cannot answer.
        """
        return set(names).intersection(self.scene_names())

    def one_state(self) -> AbstractContextManager["Searchable"]:
        """Run several queries against one state, even if others write or refresh meanwhile.

        Returns:
            A context manager whose value answers from the current state.
        """


def where_in(archive: Searchable, **options: Any) -> Where:  # noqa: ANN401 - those of Where.parse
    """Parse the filters of a search of an archive, and find the scenes that they name.

    Args:
        archive: The archive.
        **options: As in `Where.parse`; scenes as in `Searchable.search`.

    Returns:
        The filters.

    Raises:
        RegionError: As in `Where.parse`.
        TimeRangeError: As in `Where.parse`.
        QueryError: As in `Where.parse`, and if several scenes have a name.
    """
    where = Where.parse(**options)
    if not where.scenes:
        return where
    whole = archive.whole_names(where.scenes)
    others = full_names(where.scenes - whole, archive.scene_names)
    return dataclasses.replace(where, scenes=frozenset({*whole, *others}))


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


def planned_bits(archive: Searchable) -> int:
    """Return the number of bits of the codes that an archive holds or will hold.

    Args:
        archive: The archive.

    Returns:
        Bits per code; those of the name of a hasher that is still to be fitted.

    Raises:
        QueryError: If it is empty and the name of its hasher says no number.
    """
    bits = (archive.pending_hasher or "").partition("@")[0].rpartition("-")[2]
    return int(bits) if archive.num_bits is None and bits.isdecimal() else bits_of(archive)


def check_asked(archive: Searchable, asked: Asked) -> Asked:
    """Check that weights are as long as an archive's codes; codes were checked by `search`.

    Args:
        archive: The archive.
        asked: Query codes, or weights.

    Returns:
        The same.

    Raises:
        CodeLengthError: If the weights are for another number of bits.
        QueryError: If weights are given and the archive has no codes yet.
    """
    if isinstance(asked, BitWeights):
        asked.check_bits(bits_of(archive), what=f"the codes of {archive.path}")
    return asked
