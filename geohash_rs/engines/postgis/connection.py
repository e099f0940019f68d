"""Connect to a PostGIS server, with clear errors if it cannot be reached or used."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import conninfo, errors, sql

from geohash_rs.errors import EngineError, EngineUnreachableError, one_line

__all__ = ["Connection", "check_version", "connect", "server_errors", "server_of"]

Connection = psycopg.Connection[tuple[Any, ...]]

OLDEST = 140_000  # PostgreSQL 14 introduced bit_count(bit)
CONNECT_SECONDS = 10


def server_of(dsn: str) -> str:
    """Name a server without its password.

    Args:
        dsn: A connection string or postgresql:// URI.

    Returns:
        Such as "db.example.org:5432/geo".

    Raises:
        EngineError: If `dsn` is neither.
    """
    try:
        parts = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # libpq's message may contain a password, so hide it and its traceback
        msg = "the DSN is not a connection string; write postgresql://USER@HOST:5432/DATABASE."
        raise EngineError(msg) from None
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or parts.get('user') or ''}"


def connect(dsn: str, *, read_only: bool) -> Connection:
    """Open a session with only PostGIS on the search path.

    Args:
        dsn: A connection string or postgresql:// URI.
        read_only: Whether the server should reject every change.

    Returns:
        The session, in autocommit mode.

    Raises:
        EngineUnreachableError: If the server does not answer or rejects the user.
        EngineError: If it is too old or has no PostGIS.
    """
    place = server_of(dsn)
    # exchange text as UTF-8, whatever the environment or the database says
    options: dict[str, Any] = {"application_name": "geohash_rs", "client_encoding": "utf8"}
    if "connect_timeout" not in conninfo.conninfo_to_dict(dsn):
        options["connect_timeout"] = CONNECT_SECONDS
    try:
        connection = psycopg.connect(dsn, autocommit=True, **options)
    except psycopg.OperationalError as error:
        msg = (
            f"{place} cannot be used: {one_line(error)}. Check the address, user and password "
            "(PGPASSWORD or ~/.pgpass), and that the server is running."
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
    """Check that a server supports bit_count(bit).

    Args:
        version: Its version number in libpq's form, such as 150003 for 15.3.
        place: The server, for messages.

    Raises:
        EngineError: If it is older than PostgreSQL 14.
    """
    if version < OLDEST:
        msg = (
            f"{place} runs PostgreSQL {version // 10_000}, but comparing codes needs bit_count(bit)"
            f" of PostgreSQL {OLDEST // 10_000}; upgrade the server."
        )
        raise EngineError(msg)


def _use_postgis(connection: Connection, place: str) -> None:
    """Set the search path to the schema of PostGIS alone, wherever it is installed.

    Raises:
        EngineError: If the database has no PostGIS.
    """
    row = connection.execute(
        "SELECT n.nspname FROM pg_catalog.pg_extension e "
        "JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'postgis'"
    ).fetchone()
    if row is None:
        msg = (
            f"the database {place} has no PostGIS; ask an administrator to run "
            "'CREATE EXTENSION postgis' in it (Debian: postgresql-15-postgis-3)."
        )
        raise EngineError(msg)
    connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(row[0])))


@contextlib.contextmanager
def server_errors(connection: Connection, place: str, *, hint: str = "") -> Iterator[None]:
    """Convert the server's errors to errors of this package.

    Args:
        connection: The session.
        place: The server and table, for messages.
        hint: What to do if the connection is lost.

    Yields:
        Nothing.

    Raises:
        EngineUnreachableError: If the connection was lost.
        EngineError: If a privilege is missing, a table is gone, a name is taken, or the server
            reports any other error.
    """
    try:
        yield
    except errors.InsufficientPrivilege as error:
        msg = (
            f"the user {connection.info.user} may not do this in {place}: {_said(error)}. "
            "docs/guides/postgis.md lists the privileges that publishing and searching need."
        )
        raise EngineError(msg) from error
    except errors.InvalidSchemaName as error:
        msg = f"{place}: {_said(error)}; ask the database's owner to run CREATE SCHEMA first."
        raise EngineError(msg) from error
    except (errors.DuplicateTable, errors.DuplicateObject) as error:
        msg = (
            f"{place} is taken: {_said(error)}, and it cannot be identified as an archive. "
            "Choose another table, or drop the existing one."
        )
        raise EngineError(msg) from error
    except (errors.UndefinedTable, errors.UndefinedColumn) as error:
        msg = (
            f"{place} is not a complete archive: {_said(error)}. Publish to it first with "
            "'geohash-rs publish', or choose another table."
        )
        raise EngineError(msg) from error
    except psycopg.Error as error:
        if connection.closed or connection.broken:
            msg = f"the connection to {place} was lost: {_said(error)}. {hint or 'Try again.'}"
            raise EngineUnreachableError(msg) from error
        msg = f"{place} reports an error: {_said(error)}."
        raise EngineError(msg) from error


def _said(error: psycopg.Error) -> str:
    """Return the server's message without the statement that caused it."""
    return error.diag.message_primary or one_line(error)
