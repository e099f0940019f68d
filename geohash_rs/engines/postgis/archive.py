"""PostGISArchive: an archive that was published into PostGIS, asked by exact SQL."""

from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any, LiteralString, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
from psycopg import sql

from geohash_rs.archive import SceneRecord, SearchResult
from geohash_rs.archive.filters import (
    RegionLike,
    TimeLike,
    parse_names,
    parse_region,
    parse_time,
)
from geohash_rs.archive.records import record_from_json
from geohash_rs.archive.search import check_limits
from geohash_rs.archive.tiles import empty_tiles, tiles_to_frame
from geohash_rs.codes import check_codes
from geohash_rs.engines.postgis.approximate import (
    CANDIDATES,
    NEAREST,
    Recall,
    check_candidates,
    find_pgvector,
    has_code_index,
    measure,
    use_index,
)
from geohash_rs.engines.postgis.conditions import Conditions
from geohash_rs.engines.postgis.connection import connect, server_errors, where
from geohash_rs.engines.postgis.schema import DEFAULT_SCHEMA, DEFAULT_TABLE, Published, Tables
from geohash_rs.errors import EngineError, HasherError, QueryError, TileNotFoundError
from geohash_rs.hashing import Hasher
from geohash_rs.queries import ImageQueries

__all__ = ["PostGISArchive"]

Ids = npt.NDArray[np.int64] | Collection[int]

MOST = 2**62  # a LIMIT above any number of tiles
STAMP = pa.timestamp("us", tz="UTC")
TYPES = {
    "tile_id": pa.int64(),
    "scene": pa.string(),
    "col": pa.int32(),
    "row": pa.int32(),
    "width": pa.int32(),
    "height": pa.int32(),
    "datetime": STAMP,
    "datetime_end": STAMP,
    "label": pa.string(),
    "geometry": pa.binary(),
}

# One statement finds, filters and orders; every value is a parameter. Functions and operators are
# those of pg_catalog for exactly these types: of a better match in the schema of PostGIS, which may
# be `public`, that one would be called.
SEARCH = """
SELECT tile_id, pg_catalog.bit_count(code # %(query)s::bit({num_bits})) AS distance
FROM {tiles}
WHERE {conditions}
ORDER BY distance, tile_id
LIMIT %(k)s"""
ROWS = """
SELECT wanted.place, tile_id, scene, col, "row", width, height,
       (extract(epoch FROM datetime) * 1000000::numeric)::bigint,
       (extract(epoch FROM datetime_end) * 1000000::numeric)::bigint,
       label, ST_AsBinary(geometry, 'NDR')
FROM pg_catalog.unnest(%(ids)s::bigint[]) WITH ORDINALITY AS wanted(id, place)
JOIN {tiles} ON tile_id = wanted.id
ORDER BY wanted.place"""
CODES = """
SELECT wanted.place, tile_id, code::text
FROM pg_catalog.unnest(%(ids)s::bigint[]) WITH ORDINALITY AS wanted(id, place)
JOIN {tiles} ON tile_id = wanted.id
ORDER BY wanted.place"""
# tiles strewn over the table, the same ones for the same seed
SAMPLE = """
SELECT tile_id FROM {tiles}
ORDER BY pg_catalog.hashint8extended(tile_id, %(seed)s::bigint), tile_id
LIMIT %(count)s"""


class PostGISArchive(ImageQueries):
    """An archive in a database; make one with `open`. Satisfies `geohash_rs.searchable.Searchable`.

    The session is read-only. Several threads may share one object, which asks one question at a
    time; a session that was lost is opened again once for the next question.

    With ``approximate`` a search for the k nearest of all tiles asks pgvector's index, which may
    miss some of them: `recall` measures how many. Distances, their order and a radius stay true.
    What the index cannot answer is answered exactly: a search with a region, a time or another
    filter, without k, or with a k above ``candidates``.

    >>> archive = PostGISArchive.open("postgresql://reader@db.example.org/geo")  # doctest: +SKIP
    >>> archive.query("patch.tif", k=20).to_file("matches.geojson")  # doctest: +SKIP

    Args:
        dsn: Connection string or postgresql:// URI.
        tables: The archive's tables.
        approximate: Whether pgvector's index is asked where it can answer.
        candidates: Tiles that the index gives for a query, of which the k nearest are kept.
    """

    def __init__(
        self, dsn: str, tables: Tables, *, approximate: bool = False, candidates: int = CANDIDATES
    ) -> None:
        check_candidates(candidates)
        self._dsn = dsn
        self._tables = tables
        self.path = Path(f"{where(dsn)}/{tables}")
        self._candidates = candidates
        self._pgvector: str | None = None  # its schema, where its index is to be asked
        self._connection = connect(dsn, read_only=True)
        self._hasher: Hasher | None = None
        try:
            self._published = self._read_published()
            if approximate:
                self._pgvector = self._find_index()
                use_index(self._connection, candidates)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(
        cls,
        dsn: str,
        *,
        schema: str = DEFAULT_SCHEMA,
        table: str = DEFAULT_TABLE,
        approximate: bool = False,
        candidates: int = CANDIDATES,
    ) -> Self:
        """Open an archive that `publish` brought into a database.

        Args:
            dsn: Connection string or postgresql:// URI.
            schema: Schema of the tables.
            table: Table of the tiles.
            approximate: Ask pgvector's index where it can answer: faster, but it may miss matches.
            candidates: Tiles that the index gives for a query, 1 to 1000; more are slower and miss
                less.

        Returns:
            The archive.

        Raises:
            EngineUnreachableError: If the server does not answer or refuses the user.
            EngineError: If it is too old, lacks PostGIS or a right, or nothing was published into
                this table; with ``approximate`` also if pgvector or its index is not there.
            QueryError: If pgvector cannot give so many candidates.
        """
        return cls(dsn, Tables(schema, table), approximate=approximate, candidates=candidates)

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {self.num_bits} bits)"

    def __len__(self) -> int:
        return int(self._ask(self._tables.sql("SELECT num_tiles FROM {archive}"))[0][0])

    @property
    def num_bits(self) -> int:
        """Bits of a code."""
        return self._published.num_bits

    @property
    def hasher_fingerprint(self) -> str | None:
        """What identifies the hasher of the codes, or None if it is not known."""
        return self._published.fingerprint

    @property
    def pending_hasher(self) -> None:
        """No hasher is pending: an archive without codes is not published."""

    def hasher(self, *, device: str = "cpu") -> Hasher:
        """Give the hasher that the codes are made with; it was published with them.

        Args:
            device: Where it runs.

        Returns:
            The hasher.

        Raises:
            HasherError: If the codes were made elsewhere.
        """
        if self._hasher is None or str(self._hasher.device) != device:
            data = self._ask(self._tables.sql("SELECT hasher FROM {archive}"))[0][0]
            if data is None:
                msg = (
                    f"{self.path} holds codes made elsewhere and no hasher; search it with "
                    "archive.search(codes), by tile id or by point."
                )
                raise HasherError(msg)
            self._hasher = Hasher.from_bytes(bytes(data), device=device)
        return self._hasher

    def search(
        self,
        codes: npt.NDArray[np.uint8],
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
        """Find the tiles whose codes differ least; see `geohash_rs.searchable.Searchable.search`.

        Raises:
            CodeLengthError: If the codes have another number of bits, or are no packed codes.
            QueryError: If k or `max_distance` has no meaning, both are None, or scenes or
                labels are one text.
            RegionError: If a region is empty, invalid or outside the globe.
            TimeRangeError: If the time range cannot be read or is turned round.
            EngineUnreachableError: If the server went away.
            EngineError: If the server cannot answer.
        """
        check_limits(k, max_distance)
        queries = check_codes(codes, num_bits=self.num_bits, what="query codes")
        conditions = Conditions()
        if max_distance is not None:
            conditions.near(min(max_distance, self.num_bits), num_bits=self.num_bits)
        if region is not None:
            conditions.place(parse_region(region), within=within)
        if time is not None:
            conditions.time(parse_time(time))
        if scenes is not None:
            conditions.one_of("scene", parse_names(scenes, what="scenes"))
        if labels is not None:
            conditions.one_of("label", parse_names(labels, what="labels"))
        if exclude_region is not None:
            conditions.not_over(parse_region(exclude_region))
        if exclude_ids is not None:
            conditions.not_among(exclude_ids)
        filters = (region, time, scenes, labels, exclude_region, exclude_ids)
        by_index = (
            self._pgvector is not None
            and k is not None
            and k <= self._candidates
            and all(item is None for item in filters)
        )
        bits = np.unpackbits(queries, axis=1) + np.uint8(ord("0"))
        found = []
        for row in bits:
            values = {**conditions.values, "query": row.tobytes().decode()}
            values["k"] = None if k is None else min(k, MOST)
            rows = self._nearest(conditions, values) if by_index else []
            if not by_index or (max_distance is None and len(rows) < values["k"]):
                rows = self._ask(self._statement(SEARCH, conditions), values)
            found.append(rows)
        return _result(found)

    def recall(
        self,
        codes: npt.NDArray[np.uint8] | None = None,
        *,
        k: int = 20,
        num_queries: int = 30,
        seed: int = 0,
    ) -> Recall:
        """Measure what pgvector's index misses: the same queries are asked exactly as well.

        Args:
            codes: Packed query codes, uint8, shape (queries, bits / 8); those of some of the
                archive's tiles if None.
            k: Matches for each query.
            num_queries: How many tiles are drawn where no codes are given.
            seed: Draws them.

        Returns:
            The share that was found, and how long both ways took.

        Raises:
            QueryError: If the archive was not opened with ``approximate``, or k has no meaning or
                is above ``candidates``.
            CodeLengthError: If the codes have another number of bits, or are no packed codes.
            EngineUnreachableError: If the server went away.
            EngineError: If the server cannot answer.
        """
        check_limits(k, None)
        if self._pgvector is None or k > self._candidates:
            msg = (
                f"there is no recall to measure: searches for {k} matches are exact; open the "
                f"archive with approximate=True and candidates of {k} or more."
            )
            raise QueryError(msg)
        if codes is None:
            rows = self._ask(self._tables.sql(SAMPLE), {"seed": seed, "count": num_queries})
            codes = self.codes([row[0] for row in rows])
        with type(self)(self._dsn, self._tables) as exact:
            return measure(exact, self, codes, k=k)

    def tiles(self, ids: Ids) -> gpd.GeoDataFrame:
        """Give tiles as rows; see `geohash_rs.searchable.Searchable.tiles`.

        Raises:
            TileNotFoundError: If an id has no tile.
            EngineUnreachableError: If the server went away.
            EngineError: If the server cannot answer.
        """
        rows = self._by_id(ROWS, ids)
        if not rows:
            return empty_tiles()
        columns = zip(*(row[1:] for row in rows), strict=True)
        arrays = {}
        for (name, kind), values in zip(TYPES.items(), columns, strict=True):
            array = (
                pa.array(values, pa.int64()).cast(kind) if kind == STAMP else pa.array(values, kind)
            )
            if name not in ("datetime_end", "label") or array.null_count < len(array):
                arrays[name] = array
        return tiles_to_frame(pa.table(arrays))

    def codes(self, ids: Ids) -> npt.NDArray[np.uint8]:
        """Give the codes of tiles; see `geohash_rs.searchable.Searchable.codes`.

        Raises:
            TileNotFoundError: If an id has no tile.
            EngineUnreachableError: If the server went away.
            EngineError: If the server cannot answer.
        """
        text = "".join(row[2] for row in self._by_id(CODES, ids))
        bits = np.frombuffer(text.encode(), np.uint8) - np.uint8(ord("0"))
        return np.packbits(bits.reshape(-1, self.num_bits), axis=1)

    def scenes(self) -> list[SceneRecord]:
        """List the records of scenes, in the order in which they were added.

        Raises:
            EngineUnreachableError: If the server went away.
            EngineError: If the server cannot answer.
        """
        rows = self._ask(self._tables.sql("SELECT record FROM {scenes} ORDER BY place"))
        return [record_from_json(row[0]) for row in rows]

    def _by_id(self, text: LiteralString, ids: Ids) -> list[tuple[Any, ...]]:
        """Ask for the rows of ids, in their order.

        Raises:
            TileNotFoundError: If an id has no tile.
        """
        wanted = np.asarray(ids, dtype=np.int64).reshape(-1)
        rows = self._ask(self._tables.sql(text), {"ids": wanted.tolist()})
        if len(rows) < len(wanted):
            unknown = np.setdiff1d(wanted, [row[1] for row in rows]).tolist()
            some = ", ".join(map(str, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
            msg = (
                f"{self.path} has no tile with id {some}; ids come from search() or from the "
                "column tile_id, and removed tiles lose theirs."
            )
            raise TileNotFoundError(msg)
        return rows

    def _statement(self, text: LiteralString, conditions: Conditions) -> sql.Composed:
        return self._tables.sql(
            text,
            num_bits=sql.Literal(self.num_bits),
            conditions=conditions.joined(),
            pgvector=sql.Identifier(self._pgvector or "public"),
        )

    def _nearest(self, conditions: Conditions, values: dict[str, Any]) -> list[Any]:
        statement = self._statement(NEAREST, conditions)
        return self._ask(statement, {**values, "candidates": self._candidates})

    def _find_index(self) -> str:
        """Give the schema of pgvector, whose index the table must have.

        Raises:
            EngineError: If it has none.
        """
        place = str(self.path)
        with server_errors(self._connection, place):
            pgvector = find_pgvector(self._connection, where(self._dsn))
            if has_code_index(self._connection, self._tables):
                return pgvector
        msg = (
            f"{place} has no index of codes; make it with 'geohash-rs publish "
            "--approximate-index', or search exactly."
        )
        raise EngineError(msg)

    def _read_published(self) -> Published:
        place = str(self.path)
        with server_errors(self._connection, place):
            published = (
                self._tables.read(self._connection)
                if self._tables.exist(self._connection)
                else None
            )
        if published is None:
            msg = f"{place} holds no archive; publish one with 'geohash-rs publish'."
            raise EngineError(msg)
        return published

    def _ask(self, statement: sql.Composed, values: dict[str, Any] | None = None) -> list[Any]:
        """Run a statement; open the session again if it was lost since the last one."""
        try:
            if not self._connection.closed:
                with server_errors(self._connection, str(self.path)):
                    return self._run(statement, values)
        except ConnectionError:
            self._connection.close()
        self._connection = connect(self._dsn, read_only=True)
        with server_errors(self._connection, str(self.path)):
            if self._pgvector is not None:
                use_index(self._connection, self._candidates)
            return self._run(statement, values)

    def _run(self, statement: sql.Composed, values: dict[str, Any] | None) -> list[Any]:
        # never prepared: the best plan depends on how much the region keeps
        cursor: psycopg.Cursor[Any] = self._connection.execute(statement, values, prepare=False)
        return cursor.fetchall()


def _result(found: list[list[Any]]) -> SearchResult:
    width = max((len(rows) for rows in found), default=0)
    ids = np.full((len(found), width), -1, np.int64)
    distances = np.full((len(found), width), -1, np.int32)
    for query, rows in enumerate(found):
        if rows:
            pairs = np.array(rows, np.int64)
            ids[query, : len(rows)] = pairs[:, 0]
            distances[query, : len(rows)] = pairs[:, 1]
    return SearchResult(ids=ids, distances=distances)
