"""Publish an archive into PostGIS: what is new is copied, what was removed is deleted."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql
from tqdm.auto import tqdm

from geohash_rs.engines.postgis.connection import Connection, connect, server_errors, server_of
from geohash_rs.engines.postgis.schema import DEFAULT_SCHEMA, DEFAULT_TABLE, Published, Tables
from geohash_rs.engines.postgis.transfer import Transfer
from geohash_rs.errors import CodeLengthError, EngineError, HasherMismatchError, QueryError
from geohash_rs.store.code_store import CodeStore

__all__ = ["PublishReport", "publish"]

IDENTITY = "identity"  # attribute of an archive by which its table knows it again
PATIENCE = "5s"  # of a publisher that finds another; a lost one is one until the server notices
AGAIN = "What was committed stays; publish again to complete it."


@dataclass(frozen=True, kw_only=True)
class PublishReport:
    """What publishing did.

    Attributes:
        num_added: Tiles that were copied.
        num_removed: Tiles that were deleted, because the archive holds them no more.
        num_transactions: Commits of tiles, one for each segment with something new.
        num_tiles: Tiles that the table now holds.
    """

    num_added: int
    num_removed: int
    num_transactions: int
    num_tiles: int


def publish(
    archive: CodeStore,
    dsn: str,
    *,
    schema: str = DEFAULT_SCHEMA,
    table: str = DEFAULT_TABLE,
    progress: bool = False,
) -> PublishReport:
    """Bring a table of PostGIS to the state of an archive.

    A segment never changes and a tile keeps its id, so what is new since the last time is in
    segments that were not there; what is gone is found by counting. Each segment with new tiles is
    one transaction; a run that was interrupted is completed by the next.

    Args:
        archive: The archive. The first time it is opened with ``mode="a"``: it is given an
            identity, by which the table knows it again.
        dsn: Connection string or postgresql:// URI of a database with PostGIS.
        schema: Schema of the tables.
        table: Table of the tiles; `table_archive` and `table_scenes` stand beside it.
        progress: Show a bar if this is a terminal.

    Returns:
        What was changed.

    Raises:
        QueryError: If the archive has no hasher yet, and so no codes.
        EngineUnreachableError: If the server does not answer or the connection is lost.
        EngineError: If the server is too old, lacks PostGIS or a right, or the table holds another
            archive, or a state that this one does not come from.
        CodeLengthError: If the table holds codes of another length.
        HasherMismatchError: If the table holds codes of another hasher.
        ArchiveReadOnlyError: If an archive without identity was opened for reading.
    """
    if archive.num_bits is None:
        msg = f"{archive.path} is empty and its hasher not fitted yet; add imagery, then publish."
        raise QueryError(msg)
    tables = Tables(schema, table)
    place = f"{server_of(dsn)}/{tables}"
    with (
        connect(dsn, read_only=False) as connection,
        server_errors(connection, place, hint=AGAIN),
        _alone(connection, tables, place),
    ):
        with connection.transaction():
            tables.prepare(connection, archive.num_bits)
            before = tables.read(connection)
            if before is None:
                before = _first(archive)
                tables.start(connection, before)
            _check_same(archive, before, place)
            done = _begin(archive, connection, tables, before, place)
        job = Transfer(archive, connection, tables, before, done=done)
        bar = tqdm(
            total=sum(segment.entry.num_live for segment in job.segments),
            unit=" tiles",
            desc="publish",
            disable=None if progress else True,
        )
        with bar:
            for segment in job.segments:
                job.copy_segment(segment)
                bar.update(segment.entry.num_live)
        job.remove_gone(place)
        job.finish()
    return PublishReport(
        num_added=job.added,
        num_removed=job.removed,
        num_transactions=job.transactions,
        num_tiles=archive.num_tiles,
    )


@contextlib.contextmanager
def _alone(connection: Connection, tables: Tables, place: str) -> Iterator[None]:
    """Keep other publishers out of these tables of this database.

    Raises:
        EngineError: If one is at work.
    """
    key = sql.SQL("pg_catalog.hashtextextended({}::text, 0::bigint)").format(
        sql.Literal(f"geohash_rs {tables.schema!r} {tables.table!r}")
    )
    try:
        with connection.transaction():
            connection.execute("SELECT pg_catalog.set_config('lock_timeout', %s, true)", [PATIENCE])
            connection.execute(sql.SQL("SELECT pg_catalog.pg_advisory_lock({})").format(key))
    except errors.LockNotAvailable as error:
        msg = f"another process is publishing into {place}; wait until it has finished."
        raise EngineError(msg) from error
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.Error):  # a session that was lost holds no locks
            connection.execute(sql.SQL("SELECT pg_catalog.pg_advisory_unlock({})").format(key))


def _first(archive: CodeStore) -> Published:
    """Describe an archive whose tiles are not there yet, giving it an identity if it has none."""
    if IDENTITY not in archive.attrs:
        archive.update_attrs({IDENTITY: uuid.uuid4().hex})
    return Published(
        identity=archive.attrs[IDENTITY],
        num_bits=archive.num_bits or 0,
        fingerprint=None,  # written when publishing is complete
        next_id=0,
        num_tiles=0,
    )


def _check_same(archive: CodeStore, published: Published, place: str) -> None:
    """Check that a table holds this archive.

    Raises:
        CodeLengthError: If its codes have another length.
        HasherMismatchError: If they are of another hasher.
        EngineError: If it holds another archive.
    """
    if published.num_bits != archive.num_bits:
        msg = (
            f"{place} holds codes of {published.num_bits} bits, but {archive.path} has "
            f"{archive.num_bits}; publish into another table."
        )
        raise CodeLengthError(msg)
    known = archive.hasher_fingerprint
    if published.fingerprint is not None and published.fingerprint != known:
        msg = (
            f"{place} holds codes of hasher {published.fingerprint[:16]}, but {archive.path} of "
            f"{(known or 'none')[:16]}; publish into another table."
        )
        raise HasherMismatchError(msg)
    if published.identity != archive.attrs.get(IDENTITY):
        msg = f"{place} holds another archive than {archive.path}; publish into another table."
        raise EngineError(msg)


def _begin(
    archive: CodeStore, connection: Connection, tables: Tables, published: Published, place: str
) -> frozenset[str]:
    """Write down which state is on its way; give the names of the segments that are there.

    Raises:
        EngineError: If the archive does not come from the state that the table holds.
    """
    state, progress = archive.manifest, tables.progress(connection)
    known = None
    if progress.generation is not None and progress.commit is not None:
        known = state.comes_from(progress.generation, progress.commit)
    if known is False or published.next_id > state.next_id:
        msg = (
            f"{place} holds a state of {archive.path} that this one does not come from (commit "
            f"{progress.generation}, tiles up to id {published.next_id - 1}, against commit "
            f"{state.generation}, up to {state.next_id - 1}): it is an older copy, or two copies "
            "were written to. Publish the one that was published before, or this one into another "
            "table."
        )
        raise EngineError(msg)
    # a segment of another line of commits may have one of these names
    done = progress.segments if known else frozenset[str]()
    connection.execute(
        tables.sql(
            "UPDATE {archive} SET generation = %s::bigint, commit_id = %s::text, "
            "segments = %s::text[]"
        ),
        [state.generation, state.commit, sorted(done)],
    )
    return done
