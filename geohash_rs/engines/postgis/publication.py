"""Publish an archive to PostGIS: copy new tiles, delete removed ones."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql
from tqdm.auto import tqdm

from geohash_rs.engines.postgis.connection import Connection, connect, server_errors, server_of
from geohash_rs.engines.postgis.schema import (
    DEFAULT_SCHEMA,
    DEFAULT_TABLE,
    Progress,
    Published,
    Tables,
)
from geohash_rs.engines.postgis.transfer import Transfer
from geohash_rs.errors import CodeLengthError, EngineError, HasherMismatchError, QueryError
from geohash_rs.store.code_store import CodeStore

__all__ = ["PublishReport", "publish"]

IDENTITY = "identity"  # attr by which a table recognises its archive
PATIENCE = "5s"  # wait for another publisher; a lost one holds its lock until the server notices
AGAIN = "Committed tiles are kept; publish again to complete."


@dataclass(frozen=True, kw_only=True)
class PublishReport:
    """The result of publishing.

    Attributes:
        num_added: Tiles that were copied.
        num_removed: Tiles that were deleted because the archive no longer holds them.
        num_renamed: Tiles that the table held under the former name of a relocated scene.
        num_transactions: Commits of tiles, one per segment with new tiles.
        num_tiles: Tiles that the table now holds.
    """

    num_added: int
    num_removed: int
    num_renamed: int
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
    """Update a PostGIS table to the state of an archive.

    Segments never change and tiles keep their ids, so new tiles, and scenes with another name, are
    in segments that the table has not seen; removed tiles are found by counting. Each segment with
    new tiles is one transaction; the next run completes an interrupted one. Feature vectors that
    the archive keeps stay in its folder: the database holds none.

    Args:
        archive: The archive. Open it with ``mode="a"`` the first time: it then gets an identity by
            which the table recognises it.
        dsn: Connection string or postgresql:// URI of a database with PostGIS.
        schema: Schema of the tables.
        table: Table of the tiles; `table_archive` and `table_scenes` are created next to it.
        progress: Show a progress bar if this is a terminal.

    Returns:
        What was changed.

    Raises:
        QueryError: If the archive has no hasher yet, and so no codes.
        EngineUnreachableError: If the server does not answer or the connection is lost.
        EngineError: If the server is too old, lacks PostGIS or a privilege, or the table holds
            another archive, or a state that this one does not descend from.
        CodeLengthError: If the table holds codes of another length.
        HasherMismatchError: If the table holds codes of another hasher, perhaps since the archive
            was refitted.
        ArchiveReadOnlyError: If an archive without an identity was opened for reading.
    """
    if archive.num_bits is None:
        msg = f"{archive.path} is empty and its hasher is not fitted; add imagery, then publish."
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
            _check_not_refitted(archive, before, tables.progress(connection), place)
            _check_same(archive, before, place)
            done = _begin(archive, connection, tables, before, place)
        job = Transfer(archive, connection, tables, before, done=done)
        bar = tqdm(
            total=sum(segment.entry.num_live for segment in job.segments),
            unit=" tiles",
            desc="publish",
            disable=None if progress and job.segments else True,
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
        num_renamed=job.renamed,
        num_transactions=job.transactions,
        num_tiles=archive.num_tiles,
    )


@contextlib.contextmanager
def _alone(connection: Connection, tables: Tables, place: str) -> Iterator[None]:
    """Keep other publishers out of these tables.

    Raises:
        EngineError: If another process is publishing.
    """
    key = sql.SQL("pg_catalog.hashtextextended({}::text, 0::bigint)").format(
        sql.Literal(f"geohash_rs {tables.schema!r} {tables.table!r}")
    )
    try:
        with connection.transaction():
            connection.execute("SELECT pg_catalog.set_config('lock_timeout', %s, true)", [PATIENCE])
            connection.execute(sql.SQL("SELECT pg_catalog.pg_advisory_lock({})").format(key))
    except errors.LockNotAvailable as error:
        msg = f"another process is publishing to {place}; wait until it has finished."
        raise EngineError(msg) from error
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.Error):  # a lost session holds no locks
            connection.execute(sql.SQL("SELECT pg_catalog.pg_advisory_unlock({})").format(key))


def _first(archive: CodeStore) -> Published:
    """Describe an archive that was never published; add an identity to it if it has none."""
    if IDENTITY not in archive.attrs:
        archive.update_attrs({IDENTITY: uuid.uuid4().hex})
    return Published(
        identity=archive.attrs[IDENTITY],
        num_bits=archive.num_bits or 0,
        fingerprint=None,  # written when publishing is complete
        next_id=0,
        num_tiles=0,
    )


def _check_not_refitted(
    archive: CodeStore, published: Published, progress: Progress, place: str
) -> None:
    """Check that the archive has not been refitted since it was published, completely or in part.

    Its tiles have kept their ids, so codes of two hashers would stand side by side.

    Raises:
        HasherMismatchError: If it has been.
    """
    if published.identity != archive.attrs.get(IDENTITY) or progress.generation is None:
        return
    since = [one for one in archive.manifest.former if one.generation > progress.generation]
    if since:
        now = (archive.hasher_fingerprint or "none")[:16]
        then = since[0].fingerprint[:16] or "that nothing names"
        msg = (
            f"{place} was made with the hasher {then}, before {archive.path} "
            f"was refitted to {now}. Drop the tables of {place} and publish again, or publish to "
            "another table."
        )
        raise HasherMismatchError(msg)


def _check_same(archive: CodeStore, published: Published, place: str) -> None:
    """Check that a table holds this archive.

    Raises:
        CodeLengthError: If its codes have another length.
        HasherMismatchError: If another hasher made its codes.
        EngineError: If it holds another archive.
    """
    if published.num_bits != archive.num_bits:
        msg = (
            f"{place} holds codes of {published.num_bits} bits, but {archive.path} has "
            f"{archive.num_bits}; publish to another table."
        )
        raise CodeLengthError(msg)
    known = archive.hasher_fingerprint
    if published.fingerprint is not None and published.fingerprint != known:
        msg = (
            f"{place} holds codes of hasher {published.fingerprint[:16]}, but {archive.path} of "
            f"{(known or 'none')[:16]}; publish to another table."
        )
        raise HasherMismatchError(msg)
    if published.identity != archive.attrs.get(IDENTITY):
        msg = f"{place} holds a different archive, not {archive.path}; publish to another table."
        raise EngineError(msg)


def _begin(
    archive: CodeStore, connection: Connection, tables: Tables, published: Published, place: str
) -> frozenset[str]:
    """Record the state being published; return the names of the segments already complete.

    Raises:
        EngineError: If the archive does not descend from the state that the table holds.
    """
    state, progress = archive.manifest, tables.progress(connection)
    known = None
    if progress.generation is not None and progress.commit is not None:
        known = state.comes_from(progress.generation, progress.commit)
    if known is False or published.next_id > state.next_id:
        msg = (
            f"{place} holds a state of {archive.path} that this archive does not descend from "
            f"(commit {progress.generation}, tiles up to id {published.next_id - 1}, against "
            f"commit {state.generation}, up to {state.next_id - 1}): this is an older copy, or two "
            "copies were written to. Publish the copy that was published before, or publish this "
            "one to another table."
        )
        raise EngineError(msg)
    # a segment of another commit history may have the same name
    done = progress.segments if known else frozenset[str]()
    connection.execute(
        tables.sql(
            "UPDATE {archive} SET generation = %s::bigint, commit_id = %s::text, "
            "segments = %s::text[]"
        ),
        [state.generation, state.commit, sorted(done)],
    )
    return done
