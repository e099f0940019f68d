"""The tables that hold an archive in PostGIS, and the row that identifies the archive."""

from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql

from geohash_rs.engines.postgis.connection import Connection
from geohash_rs.errors import EngineError

__all__ = ["COLUMNS", "DEFAULT_SCHEMA", "DEFAULT_TABLE", "Progress", "Published", "Tables"]

DEFAULT_SCHEMA = "public"
DEFAULT_TABLE = "geohash_tiles"
COLUMNS = (
    "tile_id",
    "code",
    "scene",
    "col",
    "row",
    "width",
    "height",
    "datetime",
    "datetime_end",
    "label",
    "tile_size",
    "source",
    "geometry",
)
FORMAT = 2  # format 1, of version 0.1.0, had no tile_size and no source
LONGEST = 63  # PostgreSQL truncates longer names without an error
LONGEST_SUFFIX = len("_geometry")

TILES = """
CREATE TABLE {tiles} (
    tile_id bigint PRIMARY KEY,
    code bit({num_bits}) NOT NULL,
    scene text NOT NULL,
    col integer, "row" integer, width integer, height integer,
    datetime timestamptz, datetime_end timestamptz,
    label text,
    tile_size integer,
    source text,
    geometry geometry(Geometry, 4326)
)"""
ARCHIVE = """
CREATE TABLE {archive} (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    format integer NOT NULL,
    identity text NOT NULL,
    num_bits integer NOT NULL,
    fingerprint text,
    hasher bytea,
    next_id bigint NOT NULL,
    num_tiles bigint NOT NULL,
    generation bigint,
    commit_id text,
    segments text[] NOT NULL DEFAULT '{{}}'
)"""
SCENES = """
CREATE TABLE {scenes} (
    scene text PRIMARY KEY,
    place integer NOT NULL,
    record text NOT NULL
)"""


@dataclass(frozen=True, kw_only=True)
class Published:
    """The database's description of the archive that it holds.

    Attributes:
        identity: Identifies the archive, independent of its folder.
        num_bits: Bits per code.
        fingerprint: Identifies the hasher that made the codes, or None if unknown.
        next_id: Higher than the id of every tile that was ever published.
        num_tiles: Rows of the tile table.
    """

    identity: str
    num_bits: int
    fingerprint: str | None
    next_id: int
    num_tiles: int


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of publishing.

    Attributes:
        generation: Generation of the state published last, completely or in part; None before the
            first.
        commit: The name of that state; None before the first.
        segments: Names of the completely published segments.
    """

    generation: int | None
    commit: str | None
    segments: frozenset[str]


class Tables:
    """The quoted names of an archive's tables: tiles, `_archive` and `_scenes`.

    Args:
        schema: Schema, unquoted.
        table: Table of the tiles, unquoted.

    Raises:
        EngineError: If PostgreSQL does not allow a name.
    """

    def __init__(self, schema: str, table: str) -> None:
        for what, name, spare in (("schema", schema, 0), ("table", table, LONGEST_SUFFIX)):
            size = len(name.encode(errors="surrogatepass"))
            if not name or "\0" in name or size > LONGEST - spare:
                msg = (
                    f"the {what} {name!r} cannot be used: pass a name of 1 to {LONGEST - spare} "
                    "bytes without a zero byte."
                )
                raise EngineError(msg)
        self.schema, self.table = schema, table
        self.names = {
            "schema": sql.Identifier(schema),
            "tiles": sql.Identifier(schema, table),
            "archive": sql.Identifier(schema, f"{table}_archive"),
            "scenes": sql.Identifier(schema, f"{table}_scenes"),
            "index": sql.Identifier(f"{table}_geometry"),
        }

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"

    def sql(self, text: LiteralString, **parts: sql.Composable) -> sql.Composed:
        """Put the quoted names into a statement.

        Args:
            text: A statement with {tiles}, {archive}, {scenes}, {schema} or {index} in it.
            **parts: Values of further placeholders.

        Returns:
            The statement.
        """
        return sql.SQL(text).format(**self.names, **parts)

    def prepare(self, connection: Connection, num_bits: int) -> None:
        """Create the tables if they do not exist.

        A tile table without the others, perhaps restored from a backup, is not adopted: nothing
        shows which archive its tiles belong to.

        Args:
            connection: A session that may create tables, if they do not exist.
            num_bits: Bits per code.
        """
        if not self.exist(connection):
            connection.execute(self.sql(TILES, num_bits=sql.Literal(num_bits)))
            connection.execute(self.sql(SCENES))
            connection.execute(self.sql(ARCHIVE))

    def exist(self, connection: Connection) -> bool:
        """Return whether the table that identifies the archive exists."""
        query = "SELECT FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = %s"
        found = connection.execute(query, [self.schema, f"{self.table}_archive"])
        return found.fetchone() is not None

    def read(self, connection: Connection) -> Published | None:
        """Read which archive the tables hold.

        Args:
            connection: A session.

        Returns:
            The archive, or None if nothing was published yet.

        Raises:
            EngineError: If a version of this package with another format published it.
        """
        row: Any = connection.execute(
            self.sql(
                "SELECT format, identity, num_bits, fingerprint, next_id, num_tiles FROM {archive}"
            )
        ).fetchone()
        if row is None:
            return None
        if row[0] > FORMAT:
            msg = (
                f"the table {self} has format {row[0]}, but this geohash_rs reads up to {FORMAT}; "
                "upgrade with 'pip install -U geohash-rs'."
            )
            raise EngineError(msg)
        if row[0] < FORMAT:
            msg = (
                f"the table {self} has format {row[0]}, which an earlier geohash_rs made, but this "
                f"one reads format {FORMAT}; publish the archive to another table."
            )
            raise EngineError(msg)
        return Published(
            identity=row[1],
            num_bits=row[2],
            fingerprint=row[3],
            next_id=row[4],
            num_tiles=row[5],
        )

    def progress(self, connection: Connection) -> Progress:
        """Read the progress of publishing.

        Args:
            connection: A session, after `prepare`.

        Returns:
            The progress.
        """
        row: Any = connection.execute(
            self.sql("SELECT generation, commit_id, segments FROM {archive}")
        ).fetchone()
        return Progress(generation=row[0], commit=row[1], segments=frozenset(row[2]))

    def start(self, connection: Connection, published: Published) -> None:
        """Record which archive the tables will hold.

        Args:
            connection: A session that may insert.
            published: The archive.
        """
        connection.execute(
            self.sql(
                "INSERT INTO {archive} "
                "(format, identity, num_bits, fingerprint, next_id, num_tiles) "
                "VALUES (%s, %s, %s, %s, %s, %s)"
            ),
            [
                FORMAT,
                published.identity,
                published.num_bits,
                published.fingerprint,
                published.next_id,
                published.num_tiles,
            ],
        )
