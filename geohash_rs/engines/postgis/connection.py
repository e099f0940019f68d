"""Reach a PostGIS server, and say plainly why it cannot be reached or used."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import conninfo, errors, sql

from geohash_rs.errors import EngineError, EngineUnreachableError, one_line

__all__ = ["Connection", "check_version", "connect", "server_errors", "server_of"]

Connection = psycopg.Connection[tuple[Any, ...]]

OLDEST = 140_000  # bit_count(bit) came with PostgreSQL 14
CONNECT_SECONDS = 10


def server_of(dsn: str) -> str:
    """Name a server without its password.

    Args:
        dsn: A connection string or postgresql:// URI.

    Returns:
        Such as "db.example.org:5432/geo".

    Raises:
        EngineError: If it is neither.
    """
    try:
        parts = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # libpq's text may hold a password, so neither it nor its trace is shown
        msg = "the address is no connection string; write postgresql://USER@HOST:5432/DATABASE."
        raise EngineError(msg) from None
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or parts.get('user') or ''}"


def connect(dsn: str, *, read_only: bool) -> Connection:
    """Open a session in which only PostGIS is on the search path.

    Args:
        dsn: A connection string or postgresql:// URI.
        read_only: Whether the server shall refuse every change.

    Returns:
        The session, every statement of its own transaction unless one is opened.

    Raises:
        EngineUnreachableError: If the server does not answer or refuses the user.
        EngineError: If it is too old or has no PostGIS.
    """
    place = server_of(dsn)
    # whatever the environment or the database says, texts go and come as UTF-8
    options: dict[str, Any] = {"application_name": "geohash_rs", "client_encoding": "utf8"}
    if "connect_timeout" not in conninfo.conninfo_to_dict(dsn):
        options["connect_timeout"] = CONNECT_SECONDS
    try:
        connection = psycopg.connect(dsn, autocommit=True, **options)
    except psycopg.OperationalError as error:
        msg = (
            f"{place} cannot be used: {one_line(error)}. Check address, user and password "
            "(PGPASSWORD or ~/.pgpass) and that the server runs."
        )
        raise EngineUnreachableError(msg) from error
    try:
        check_version(connection.info.server_version, place)
        with server_errors(connection, place):
            _use_postgis(connection, place)
            if read_only:
                connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    except BaseException:
        connection.close()
        raise
    return connection


def check_version(version: int, place: str) -> None:
    """Check that a server can count bits.

    Args:
        version: Its version as libpq numbers it, 150003 for 15.3.
        place: Which server.

    Raises:
        EngineError: If it is older than PostgreSQL 14.
    """
    if version < OLDEST:
        msg = (
            f"{place} runs PostgreSQL {version // 10_000}, but bit_count(bit), by which codes are "
            f"compared, came with {OLDEST // 10_000}; upgrade the server."
        )
        raise EngineError(msg)


def _use_postgis(connection: Connection, place: str) -> None:
    """Put the schema of PostGIS, wherever it was installed, on the search path, and nothing else.

    Raises:
        EngineError: If the database has no PostGIS.
    """
    row = connection.execute(
        "SELECT n.nspname FROM pg_catalog.pg_extension e "
        "JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'postgis'"
    ).fetchone()
    if row is None:
        msg = (
            f"the database {place} has no PostGIS; let an administrator run "
            "'CREATE EXTENSION postgis' in it (Debian: postgresql-15-postgis-3)."
        )
        raise EngineError(msg)
    connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(row[0])))


@contextlib.contextmanager
def server_errors(connection: Connection, place: str, *, hint: str = "") -> Iterator[None]:
    """Turn what the server says into errors of this package.

    Args:
        connection: The session.
        place: Which server and table.
        hint: What to do if the connection is lost.

    Yields:
        Nothing.

    Raises:
        EngineUnreachableError: If the connection was lost.
        EngineError: If a right is missing, a table is gone, a name is taken or the server cannot
            go on.
    """
    try:
        yield
    except errors.InsufficientPrivilege as error:
        msg = (
            f"the user {connection.info.user} may not do this in {place}: {_said(error)}. "
            "docs/guides/postgis.md lists the rights that publishing and asking need."
        )
        raise EngineError(msg) from error
    except errors.InvalidSchemaName as error:
        msg = f"{place}: {_said(error)}; let its owner run CREATE SCHEMA first."
        raise EngineError(msg) from error
    except (errors.DuplicateTable, errors.DuplicateObject) as error:
        msg = (
            f"{place} is not free: {_said(error)}, and nothing tells which archive that is of. "
            "Choose another table, or drop what is there."
        )
        raise EngineError(msg) from error
    except (errors.UndefinedTable, errors.UndefinedColumn) as error:
        msg = (
            f"{place} lacks what an archive needs: {_said(error)}. Publish into it first with "
            "'geohash-rs publish', or choose another table."
        )
        raise EngineError(msg) from error
    except psycopg.Error as error:
        if connection.closed or connection.broken:
            msg = f"the connection to {place} was lost: {_said(error)}. {hint or 'Ask again.'}"
            raise EngineUnreachableError(msg) from error
        msg = f"{place} cannot go on: {_said(error)}."
        raise EngineError(msg) from error


def _said(error: psycopg.Error) -> str:
    """Give the server's own sentence, without the statement that it goes on about."""
    return error.diag.message_primary or one_line(error)
