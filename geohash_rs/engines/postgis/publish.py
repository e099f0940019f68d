"""Publish an archive into PostGIS: what is new is copied, what was removed is deleted."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
from psycopg import sql
from tqdm.auto import tqdm

from geohash_rs.archive import CodeArchive
from geohash_rs.archive.records import record_to_json
from geohash_rs.archive.segment import Segment
from geohash_rs.archive.writing import BLOCK
from geohash_rs.engines.postgis.approximate import Recall, create_code_index, find_pgvector
from geohash_rs.engines.postgis.archive import PostGISArchive
from geohash_rs.engines.postgis.connection import Connection, connect, server_errors, where
from geohash_rs.engines.postgis.rows import copy_rows
from geohash_rs.engines.postgis.schema import DEFAULT_SCHEMA, DEFAULT_TABLE, Published, Tables
from geohash_rs.errors import (
    CodeLengthError,
    EngineError,
    HasherMismatchError,
    QueryError,
)

__all__ = ["PublishReport", "publish"]

IDENTITY = "identity"  # attribute of an archive by which its table knows it again
BLOCKS = 16  # blocks whose rows are sent at a time: 65,536 rows
RENEWED = 0.1  # share of new or deleted rows from which the planner's statistics are renewed
AGAIN = "What was committed stays; publish again to complete it."


@dataclass(frozen=True, kw_only=True)
class PublishReport:
    """What publishing did.

    Attributes:
        num_added: Tiles that were copied.
        num_removed: Tiles that were deleted, because the archive holds them no more.
        num_transactions: Commits of tiles, one for each segment with something new.
        num_tiles: Tiles that the table now holds.
        recall: How much of the exact answers an approximate index finds, if one was asked for.
    """

    num_added: int
    num_removed: int
    num_transactions: int
    num_tiles: int
    recall: Recall | None = None


def publish(
    archive: CodeArchive,
    dsn: str,
    *,
    schema: str = DEFAULT_SCHEMA,
    table: str = DEFAULT_TABLE,
    approximate_index: bool = False,
    progress: bool = False,
) -> PublishReport:
    """Bring a table of PostGIS to the state of an archive.

    Tile ids are never used twice and a tile never changes, so what is new since the last time is
    what has a higher id, and the rest is found by counting. Each segment with new tiles is one
    transaction; a run that was interrupted is completed by the next.

    Args:
        archive: The archive. The first time it is opened with ``mode="a"``: it is given an
            identity, by which the table knows it again.
        dsn: Connection string or postgresql:// URI of a database with PostGIS.
        schema: Schema of the tables.
        table: Table of the tiles; `table_archive` and `table_scenes` stand beside it.
        approximate_index: Have pgvector index the codes as well, for
            ``PostGISArchive.open(..., approximate=True)``, and measure what it misses.
        progress: Show a bar if this is a terminal.

    Returns:
        What was changed.

    Raises:
        QueryError: If the archive has no hasher yet, and so no codes.
        EngineUnreachableError: If the server does not answer or the connection is lost.
        EngineError: If the server is too old, lacks PostGIS or a right, or the table holds another
            archive, or a newer state of this one, or pgvector is asked for and cannot index bits.
        CodeLengthError: If the table holds codes of another length.
        HasherMismatchError: If the table holds codes of another hasher.
        ArchiveReadOnlyError: If an archive without identity was opened for reading.
    """
    if archive.num_bits is None:
        msg = f"{archive.path} is empty and its hasher not fitted yet; add imagery, then publish."
        raise QueryError(msg)
    tables = Tables(schema, table)
    place = f"{where(dsn)}/{tables}"
    recall = None
    with (
        connect(dsn, read_only=False) as connection,
        server_errors(connection, place, hint=AGAIN),
        _alone(connection, tables, place),
    ):
        pgvector = find_pgvector(connection, where(dsn)) if approximate_index else None
        with connection.transaction():
            tables.create(connection, archive.num_bits)
            before = tables.read(connection)
            if before is None:
                before = _first(archive)
                tables.start(connection, before)
        _check_same(archive, before, place)
        job = _Job(archive, connection, tables, before)
        bar = tqdm(
            total=job.expected, unit=" tiles", desc="publish", disable=None if progress else True
        )
        with bar:
            for segment in archive.segments:
                bar.update(job.copy_segment(segment))
        job.remove_gone()
        job.finish()
        if pgvector is not None:
            create_code_index(connection, tables, pgvector)
    if approximate_index:
        with PostGISArchive(dsn, tables, approximate=True) as published:
            recall = published.recall()
    return PublishReport(
        num_added=job.added,
        num_removed=job.removed,
        num_transactions=job.transactions,
        num_tiles=archive.num_tiles,
        recall=recall,
    )


class _Job:
    """One run of publishing."""

    def __init__(
        self, archive: CodeArchive, connection: Connection, tables: Tables, before: Published
    ) -> None:
        self.archive, self.connection, self.tables, self.before = (
            archive,
            connection,
            tables,
            before,
        )
        self.added = self.removed = self.transactions = 0
        rows = connection.execute(
            tables.sql("SELECT tile_id FROM {tiles} WHERE tile_id >= %s"), [before.next_id]
        ).fetchall()
        self.known = np.array([row[0] for row in rows], np.int64)  # of a run that was cut short

    @property
    def expected(self) -> int:
        """Tiles to copy, at most."""
        return self.archive.manifest.next_id - self.before.next_id - len(self.known)

    def copy_segment(self, segment: Segment) -> int:
        """Copy the tiles of a segment that the table does not have, in one transaction."""
        if segment.entry.last_id < self.before.next_id:
            return 0
        rows = np.arange(len(segment))
        ids = segment.ids_of(rows)
        fresh = (ids >= self.before.next_id) & ~segment.removed_rows()
        if len(self.known):
            fresh &= ~np.isin(ids, self.known)
        count = int(fresh.sum())
        if not count:
            return 0
        statement = self.tables.sql("COPY {tiles} FROM STDIN (FORMAT csv)")
        with self.connection.transaction(), self.connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for text in _texts(segment, fresh):
                    copy.write(text)
            self._count(count)
        self.added += count
        self.transactions += 1
        return count

    def remove_gone(self) -> None:
        """Delete the tiles that the archive holds no more.

        All that the archive holds is in the table by now. So if both count the same, they are the
        same; else whatever lies in the gaps between the archive's ids goes.
        """
        surplus = self.before.num_tiles + self.added - self.archive.num_tiles
        if not surplus:
            return
        lows, highs = _gaps(self.archive)
        with self.connection.transaction():
            deleted = self.connection.execute(
                self.tables.sql(
                    "DELETE FROM {tiles} tile USING unnest(%s::bigint[], %s::bigint[]) "
                    "AS gap(low, high) WHERE tile.tile_id BETWEEN gap.low AND gap.high"
                ),
                [lows.tolist(), highs.tolist()],
            ).rowcount
            self._count(-deleted)
        self.removed = deleted

    def finish(self) -> None:
        """Write scenes and hasher, and index the footprints of a table that is new."""
        archive, tables, connection = self.archive, self.tables, self.connection
        hasher = archive.hasher_file
        fingerprint = archive.hasher_fingerprint
        with connection.transaction():
            self._write_scenes()
            connection.execute(
                tables.sql("UPDATE {archive} SET next_id = %s, fingerprint = %s"),
                [archive.manifest.next_id, fingerprint],
            )
            if hasher is not None and fingerprint != self.before.fingerprint:
                connection.execute(
                    tables.sql("UPDATE {archive} SET hasher = %s"), [hasher.read_bytes()]
                )
        if not _has_index(connection, tables):
            # an index over rows that are there is sorted at once, far faster than row by row
            connection.execute(
                tables.sql("CREATE INDEX IF NOT EXISTS {index} ON {tiles} USING gist (geometry)")
            )
        if self.added + self.removed > RENEWED * archive.num_tiles:
            connection.execute(tables.sql("ANALYZE {tiles}"))

    def _count(self, change: int) -> None:
        self.connection.execute(
            self.tables.sql("UPDATE {archive} SET num_tiles = num_tiles + %s"), [change]
        )

    def _write_scenes(self) -> None:
        old = {
            scene: (place, record)
            for scene, place, record in self.connection.execute(
                self.tables.sql("SELECT scene, place, record FROM {scenes}")
            )
        }
        new = {
            record.scene: (place, record_to_json(record))
            for place, record in enumerate(self.archive.scenes())
        }
        gone = [scene for scene in old if scene not in new]
        changed = [(scene, *new[scene]) for scene in new if old.get(scene) != new[scene]]
        with self.connection.cursor() as cursor:
            if gone:
                cursor.execute(
                    self.tables.sql("DELETE FROM {scenes} WHERE scene = ANY(%s)"), [gone]
                )
            cursor.executemany(
                self.tables.sql(
                    "INSERT INTO {scenes} (scene, place, record) VALUES (%s, %s, %s) ON CONFLICT "
                    "(scene) DO UPDATE SET place = excluded.place, record = excluded.record"
                ),
                changed,
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
    row = connection.execute(
        sql.SQL("SELECT pg_catalog.pg_try_advisory_lock({})").format(key)
    ).fetchone()
    if row is None or not row[0]:
        msg = f"another process is publishing into {place}; wait until it has finished."
        raise EngineError(msg)
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.Error):  # a session that was lost holds no locks
            connection.execute(sql.SQL("SELECT pg_catalog.pg_advisory_unlock({})").format(key))


def _first(archive: CodeArchive) -> Published:
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


def _check_same(archive: CodeArchive, published: Published, place: str) -> None:
    """Check that a table holds this archive, in this state or an earlier one.

    Raises:
        CodeLengthError: If its codes have another length.
        HasherMismatchError: If they are of another hasher.
        EngineError: If it holds another archive, or a newer state.
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
    if published.next_id > archive.manifest.next_id:
        msg = (
            f"{place} holds tiles up to id {published.next_id - 1}, but {archive.path} only up to "
            f"{archive.manifest.next_id - 1}: it is an older copy. Publish the newer one, or this "
            "one into another table."
        )
        raise EngineError(msg)


def _texts(segment: Segment, fresh: npt.NDArray[np.bool_]) -> Iterator[bytes]:
    """Give some rows of a segment as text, a few blocks at a time."""
    for first in range(0, segment.num_blocks, BLOCKS):
        last = min(first + BLOCKS, segment.num_blocks)
        wanted = fresh[first * BLOCK : last * BLOCK]
        if wanted.any():
            table = segment.read_blocks(first, last)
            codes = segment.codes[first * BLOCK : last * BLOCK]
            if not wanted.all():
                table, codes = table.filter(pa.array(wanted)), codes[wanted]
            yield copy_rows(codes, table)


def _gaps(archive: CodeArchive) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Find the runs of ids that no live tile has: first and last of each."""
    starts, ends = [], []
    for segment in archive.segments:
        entry = segment.entry
        if entry.sequential and not entry.num_removed:
            starts.append(np.array([entry.first_id]))
            ends.append(np.array([entry.last_id]))
            continue
        ids = np.sort(segment.ids_of(np.flatnonzero(~segment.removed_rows())))
        cuts = np.flatnonzero(np.diff(ids) != 1)
        starts.append(ids[np.concatenate([[0], cuts + 1])])
        ends.append(ids[np.concatenate([cuts, [len(ids) - 1]])])
    first = np.sort(np.concatenate([*starts, [archive.manifest.next_id]]))
    last = np.sort(np.concatenate([[-1], *ends]))
    empty = last + 1 == first
    return (last + 1)[~empty], (first - 1)[~empty]


def _has_index(connection: Connection, tables: Tables) -> bool:
    query = "SELECT FROM pg_catalog.pg_indexes WHERE schemaname = %s AND indexname = %s"
    found = connection.execute(query, [tables.schema, f"{tables.table}_geometry"])
    return found.fetchone() is not None
