"""PostGISArchive: an archive published to PostGIS and searched exactly with SQL."""

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, LiteralString, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt
from psycopg import sql

from geohash_rs.concepts.teaching import Teaching
from geohash_rs.engines.postgis.conditions import Conditions
from geohash_rs.engines.postgis.connection import Connection, server_of
from geohash_rs.engines.postgis.question import questions_of
from geohash_rs.engines.postgis.rows import CODES, TILES, codes_of, result_of, tiles_of
from geohash_rs.engines.postgis.schema import DEFAULT_SCHEMA, DEFAULT_TABLE, Published, Tables
from geohash_rs.engines.postgis.session import Session
from geohash_rs.engines.postgis.stream import PublishedRows
from geohash_rs.errors import (
    EngineError,
    HasherError,
    QueryError,
    TileNotFoundError,
    VectorError,
)
from geohash_rs.store.disk.records import SceneRecord, record_from_json
from geohash_rs.store.search.asked import Asked, worst_distance
from geohash_rs.store.search.nearest import Limits, SearchResult
from geohash_rs.store.search.sampling import FACTOR, MODULUS, check_count
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Codes, Ids, check_asked

if TYPE_CHECKING:
    from geohash_rs.hashing.hasher import Hasher

__all__ = ["PostGISArchive"]

MOST = 2**62  # a LIMIT above any number of tiles

# One statement finds, filters and orders; every value is a parameter. Functions are qualified with
# pg_catalog and arguments cast to their exact types: the schema of PostGIS, which may be `public`,
# could define a better match, which would be called instead.
SEARCH = """
SELECT tile_id, {distance} AS distance
FROM {tiles}
WHERE {conditions}
ORDER BY distance, tile_id
LIMIT %(k)s"""
SAMPLE = """
SELECT tile_id, tile_id, code::text
FROM {tiles}
ORDER BY tile_id %% {modulus}::bigint * {factor}::bigint %% {modulus}::bigint, tile_id
LIMIT %(count)s"""


class PostGISArchive(Teaching):
    """An archive in a database; make one with `open`. Implements `Searchable`.

    The session is read-only. Several threads may share one object, which runs one statement at a
    time and reconnects if the connection was lost. Each search and each `query` sees one state of
    the tables, even if another process publishes meanwhile.

    >>> archive = PostGISArchive.open("postgresql://reader@db.example.org/geo")  # doctest: +SKIP
    >>> archive.query("patch.tif", k=20).to_file("matches.geojson")  # doctest: +SKIP

    Args:
        dsn: Connection string or postgresql:// URI.
        tables: The archive's tables.
    """

    def __init__(self, dsn: str, tables: Tables) -> None:
        self._dsn, self._tables = dsn, tables
        self.path = Path(f"{server_of(dsn)}/{tables}")
        self._hasher: Hasher | None = None
        self._names: tuple[str, frozenset[str]] = ("", frozenset())  # of a version of the tables
        self._session = Session(dsn, place=str(self.path), prepare=self._prepare)

    @classmethod
    def open(cls, dsn: str, *, schema: str = DEFAULT_SCHEMA, table: str = DEFAULT_TABLE) -> Self:
        """Open an archive that `publish` wrote to a database.

        Args:
            dsn: Connection string or postgresql:// URI.
            schema: Schema of the tables.
            table: Table of the tiles.

        Returns:
            The archive.

        Raises:
            EngineUnreachableError: If the server does not answer or rejects the user.
            EngineError: If it is too old, lacks PostGIS or a privilege, or nothing was published
                to this table.
        """
        return cls(dsn, Tables(schema, table))

    def close(self) -> None:
        """End the session."""
        self._session.close()

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
        return int(self._session.ask(self._tables.sql("SELECT num_tiles FROM {archive}"))[0][0])

    @property
    def num_bits(self) -> int:
        """Bits per code."""
        return self._published.num_bits

    @property
    def hasher_fingerprint(self) -> str | None:
        """The fingerprint of the hasher that made the codes, or None if unknown."""
        return self._published.fingerprint

    @property
    def pending_hasher(self) -> None:
        """Always None: an archive without codes cannot be published."""

    def hasher(self, *, device: str = "cpu") -> "Hasher":
        """Return the hasher that makes the codes; it was published with them.

        Args:
            device: The device it runs on.

        Returns:
            The hasher.

        Raises:
            HasherError: If the codes were made elsewhere.
        """
        if self._hasher is None or str(self._hasher.device) != device:
            data = self._session.ask(self._tables.sql("SELECT hasher FROM {archive}"))[0][0]
            if data is None:
                msg = (
                    f"{self.path} holds codes made elsewhere and no hasher; search it with "
                    "archive.search(codes), by tile id or by point."
                )
                raise HasherError(msg)
            from geohash_rs.hashing.hasher import Hasher  # slow to import

            self._hasher = Hasher.from_bytes(bytes(data), device=device)
        return self._hasher

    def find(self, asked: Asked, *, limits: Limits, where: Where) -> SearchResult:
        """Run a search whose arguments were checked; see `Searchable.find`.

        Raises:
            CodeLengthError: If weights are for another number of bits.
            QueryError: If `num_threads` is given; the server decides.
        """
        if limits.num_threads is not None:
            msg = f"num_threads is {limits.num_threads}, but the database decides; leave it out."
            raise QueryError(msg)
        k = None if limits.k is None else min(limits.k, MOST)
        found = []
        with self.one_state():
            for question in questions_of(check_asked(self, asked)):
                conditions = Conditions.of(where)
                if limits.max_distance is not None:
                    most = min(limits.max_distance, worst_distance(asked))
                    conditions.near(question.distance, most)
                statement = self._tables.sql(
                    SEARCH, distance=question.distance, conditions=conditions.joined()
                )
                values = {**conditions.values, **question.values, "k": k}
                found.append(self._session.ask(statement, values))
        return result_of(found)

    def sample(self, count: int) -> tuple[npt.NDArray[np.int64], Codes]:
        """Return tiles spread over the archive; see `Searchable.sample`."""
        statement = self._tables.sql(
            SAMPLE, modulus=sql.Literal(MODULUS), factor=sql.Literal(FACTOR)
        )
        rows = self._session.ask(statement, {"count": min(check_count(count), MOST)})
        rows.sort()
        codes = codes_of(rows, num_bits=self.num_bits)
        return np.array([row[0] for row in rows], np.int64), codes

    def rows(self, where: Where, *, columns: Collection[str]) -> PublishedRows:
        """Return the tiles that pass filters; see `Searchable.rows`."""
        return PublishedRows(
            dsn=self._dsn,
            tables=self._tables,
            place=str(self.path),
            published=self._published,
            where=where,
            columns=tuple(columns),
        )

    def tiles(self, ids: Ids) -> gpd.GeoDataFrame:
        """Return tiles as rows; see `Searchable.tiles`."""
        return tiles_of(self._by_id(TILES, ids))

    def codes(self, ids: Ids) -> Codes:
        """Return the codes of tiles; see `Searchable.codes`."""
        return codes_of(self._by_id(CODES, ids), num_bits=self.num_bits)

    def vectors(self, ids: Ids) -> npt.NDArray[np.float32]:
        """Refuse: `publish` copies no feature vectors; see `Searchable.vectors`.

        Raises:
            VectorError: Always.
        """
        msg = (
            f"{self.path} holds no vectors: publishing copies codes and footprints only; read the "
            "vectors from the archive's folder."
        )
        raise VectorError(msg)

    def scenes(self) -> list[SceneRecord]:
        """Return the scene records; see `Searchable.scenes`."""
        rows = self._session.ask(self._tables.sql("SELECT record FROM {scenes} ORDER BY place"))
        return [record_from_json(row[0]) for row in rows]

    def scene_names(self) -> Collection[str]:
        """Return the names of all scenes; see `Searchable.scene_names`."""
        # each commit ends with a new version of this row
        state = self._session.ask(self._tables.sql("SELECT xmin::text FROM {archive}"))[0][0]
        known, names = self._names
        if known != state:
            found = self._session.ask(self._tables.sql("SELECT DISTINCT scene FROM {tiles}"))
            names = frozenset(row[0] for row in found)
            self._names = state, names
        return names

    def whole_names(self, names: Collection[str]) -> set[str]:
        """Return which names are the whole names of scenes; see `Searchable.whole_names`."""
        wanted = {name for name in names if "\0" not in name}  # no row can hold it
        text = "SELECT scene FROM {scenes} WHERE scene = ANY(%(names)s::text[])"
        rows = self._session.ask(self._tables.sql(text), {"names": sorted(wanted)})
        found = {row[0] for row in rows}
        # some may have come without a record
        return found if found == wanted else wanted.intersection({*found, *self.scene_names()})

    @contextlib.contextmanager
    def one_state(self) -> Iterator[Self]:
        """Run several queries against one state, while other threads wait; see `Searchable`.

        Yields:
            This archive.
        """
        with self._session.one_state():
            yield self

    def _by_id(self, text: LiteralString, ids: Ids) -> list[tuple[Any, ...]]:
        """Return the rows of ids, in the order of the ids.

        Raises:
            TileNotFoundError: If an id has no tile.
        """
        wanted = np.asarray(ids, dtype=np.int64).reshape(-1)
        rows = self._session.ask(self._tables.sql(text), {"ids": wanted.tolist()})
        if len(rows) < len(wanted):
            unknown = np.setdiff1d(wanted, [row[1] for row in rows]).tolist()
            some = ", ".join(map(str, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
            msg = (
                f"{self.path} has no tile with id {some}; ids are in the column tile_id, "
                "and removed tiles lose theirs."
            )
            raise TileNotFoundError(msg, missing=unknown)
        return rows

    def _prepare(self, connection: Connection) -> None:
        """Read which archive the tables hold, for a new connection.

        Raises:
            EngineError: If they hold none.
        """
        published = self._tables.read(connection) if self._tables.exist(connection) else None
        if published is None:
            msg = f"{self.path} does not hold an archive; publish one with 'geohash-rs publish'."
            raise EngineError(msg)
        self._published: Published = published
