"""Read all tiles of a published archive that pass filters, a few at a time."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
from psycopg import sql

from geohash_rs.engines.postgis.conditions import Conditions
from geohash_rs.engines.postgis.connection import connect, server_errors
from geohash_rs.engines.postgis.rows import SELECTED, table_of
from geohash_rs.engines.postgis.schema import Published, Tables
from geohash_rs.engines.postgis.session import ONE_STATE
from geohash_rs.errors import EngineError
from geohash_rs.store.search.where import Where

__all__ = ["PublishedRows"]

AT_ONCE = 16_384  # rows; their Python objects take about 30 MB
ROWS = "SELECT {columns} FROM {tiles} WHERE {conditions} ORDER BY tile_id"


@dataclass(frozen=True, kw_only=True)
class PublishedRows:
    """The tiles of a published archive that pass filters; each iteration reads them again.

    An iteration has its own session, so that searches need not wait for it, and reads the state of
    the tables as of its begin.

    Attributes:
        dsn: Connection string or postgresql:// URI.
        tables: The archive's tables.
        place: The server and table, for messages.
        published: What the tables held when the rows were asked for.
        where: The filters.
        columns: Columns to read.
    """

    dsn: str = field(repr=False)
    tables: Tables
    place: str
    published: Published
    where: Where
    columns: tuple[str, ...]

    def __iter__(self) -> Iterator[pa.Table]:
        """Read the tiles, ordered by id.

        Yields:
            As `Searchable.rows`.

        Raises:
            EngineUnreachableError: If the server does not answer or the connection is lost.
            EngineError: If the tables now hold another archive, or the server reports an error.
        """
        num_bits = self.published.num_bits
        conditions = Conditions.of(self.where)
        columns = sql.SQL(", ").join(sql.SQL(SELECTED[name]) for name in self.columns)
        statement = self.tables.sql(ROWS, columns=columns, conditions=conditions.joined())
        connection = connect(self.dsn, read_only=True)
        with contextlib.closing(connection), server_errors(connection, self.place):
            connection.execute(ONE_STATE)
            self._check(self.tables.read(connection))
            with connection.cursor(name="geohash_rs_rows") as cursor:
                cursor.execute(statement, conditions.values)
                while rows := cursor.fetchmany(AT_ONCE):
                    yield table_of(rows, self.columns, num_bits=num_bits)

    def _check(self, now: Published | None) -> None:
        """Check that the tables still hold codes of the same hasher.

        Raises:
            EngineError: If they do not.
        """
        before = self.published
        if now is None or (now.identity, now.num_bits, now.fingerprint) != (
            before.identity,
            before.num_bits,
            before.fingerprint,
        ):
            msg = (
                f"{self.place} holds another archive, or codes of another hasher, than when the "
                "table of its tiles was asked for; open it again."
            )
            raise EngineError(msg)
