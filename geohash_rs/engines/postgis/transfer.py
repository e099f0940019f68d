"""Transfer the tiles of an archive to its tables: copy new ones, delete removed ones."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.engines.postgis.connection import Connection
from geohash_rs.engines.postgis.rows import copy_rows
from geohash_rs.engines.postgis.schema import Published, Tables
from geohash_rs.errors import EngineError
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import record_to_json
from geohash_rs.store.segment.layout import BLOCK
from geohash_rs.store.segment.read import Segment

__all__ = ["Transfer"]

BLOCKS = 16  # blocks whose rows are sent at a time: 65,536 rows
RENEWED = 0.1  # share of new or deleted rows above which planner statistics are updated


class Transfer:
    """One run of publishing, to tables that are empty or hold an earlier state of the archive.

    Attributes:
        added: Tiles copied so far.
        removed: Tiles deleted so far.
        renamed: Tiles whose scene was relocated so far.
        transactions: Commits of copied tiles so far.

    Args:
        archive: The archive.
        connection: A session that may write.
        tables: The archive's tables.
        before: The description of the archive before this run.
        done: Names of the completely published segments.
    """

    def __init__(
        self,
        archive: CodeStore,
        connection: Connection,
        tables: Tables,
        before: Published,
        *,
        done: frozenset[str],
    ) -> None:
        self.archive, self.connection, self.tables = archive, connection, tables
        self.before, self.done = before, done
        self.added = self.removed = self.renamed = self.transactions = 0

    @property
    def segments(self) -> list[Segment]:
        """The segments that may hold tiles missing from the table."""
        return [item for item in self.archive.segments if item.entry.name not in self.done]

    def copy_segment(self, segment: Segment) -> None:
        """Copy a segment's missing tiles to the table, in one transaction.

        Low ids may be new, since reserved ids can be used after higher ones. Ids above the highest
        ever published must be new.

        Args:
            segment: One of `segments`.
        """
        ids = segment.ids_of(np.arange(len(segment)))
        fresh = ~segment.removed_rows()
        perhaps = ids[fresh & (ids < self.before.next_id)]
        if len(perhaps):
            there = np.isin(ids, self._there(perhaps))
            self._rename(segment, np.flatnonzero(fresh & there))
            fresh &= ~there
        count = int(fresh.sum())
        if not count:
            return
        statement = self.tables.sql("COPY {tiles} FROM STDIN (FORMAT csv)")
        with self.connection.transaction(), self.connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for text in _texts(segment, fresh):
                    copy.write(text)
            cursor.execute(
                self.tables.sql(
                    "UPDATE {archive} SET num_tiles = num_tiles + %s::bigint, "
                    "next_id = greatest(next_id, %s::bigint), "
                    "segments = pg_catalog.array_append(segments, %s::text)"
                ),
                [count, int(ids[fresh].max()) + 1, segment.entry.name],
            )
        self.added += count
        self.transactions += 1

    def remove_gone(self, place: str) -> None:
        """Delete the tiles that the archive no longer holds.

        All tiles of the archive are in the table by now. If the counts are equal, nothing was
        removed; otherwise the ids in the gaps between the archive's ids are deleted.

        Args:
            place: The server and table, for messages.

        Raises:
            EngineError: If the table counts fewer tiles than the archive.
        """
        surplus = self.before.num_tiles + self.added - self.archive.num_tiles
        if surplus < 0:
            msg = (
                f"{place} counts {self.before.num_tiles + self.added} tiles, but "
                f"{self.archive.path} holds {self.archive.num_tiles} and all of them were sent: "
                "something else changed the tables. Publish to another table."
            )
            raise EngineError(msg)
        if not surplus:
            return
        lows, highs = _gaps(self.archive)
        with self.connection.transaction():
            self.removed = self.connection.execute(
                self.tables.sql(
                    "DELETE FROM {tiles} tile USING unnest(%s::bigint[], %s::bigint[]) "
                    "AS gap(low, high) WHERE tile.tile_id BETWEEN gap.low AND gap.high"
                ),
                [lows.tolist(), highs.tolist()],
            ).rowcount
            self.connection.execute(
                self.tables.sql("UPDATE {archive} SET num_tiles = num_tiles - %s::bigint"),
                [self.removed],
            )

    def finish(self) -> None:
        """Write scenes and hasher, and index the footprints of a new table."""
        archive, tables, connection = self.archive, self.tables, self.connection
        hasher = archive.hasher_file
        fingerprint = archive.hasher_fingerprint
        with connection.transaction():
            self._write_scenes()
            connection.execute(
                tables.sql("UPDATE {archive} SET fingerprint = %s, segments = %s::text[]"),
                [fingerprint, [segment.entry.name for segment in archive.segments]],
            )
            if hasher is not None and fingerprint != self.before.fingerprint:
                connection.execute(
                    tables.sql("UPDATE {archive} SET hasher = %s"), [hasher.read_bytes()]
                )
        if not _has_index(connection, tables):
            # building the index after the rows is far faster than updating it row by row
            connection.execute(tables.sql("CREATE INDEX {index} ON {tiles} USING gist (geometry)"))
        if self.added + self.removed > RENEWED * archive.num_tiles:
            connection.execute(tables.sql("ANALYZE {tiles}"))

    def _there(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return those ids that the table holds, querying in batches."""
        query = self.tables.sql("SELECT tile_id FROM {tiles} WHERE tile_id = ANY(%s::bigint[])")
        ids, step = np.sort(ids), BLOCKS * BLOCK
        parts = [ids[start : start + step].tolist() for start in range(0, len(ids), step)]
        found = [row[0] for part in parts for row in self.connection.execute(query, [part])]
        return np.array(found, np.int64)

    def _rename(self, segment: Segment, rows: npt.NDArray[np.int64]) -> None:
        """Write the scenes of tiles that the table holds under another name of their scene."""
        names, step = segment.texts("scene"), BLOCKS * BLOCK
        statement = self.tables.sql(
            "UPDATE {tiles} tile SET scene = (%s::text[])[given.number] "
            "FROM unnest(%s::bigint[], %s::integer[]) AS given(id, number) "
            "WHERE tile.tile_id = given.id AND tile.scene <> (%s::text[])[given.number]"
        )
        with self.connection.transaction():
            for start in range(0, len(rows), step):
                some = rows[start : start + step]
                numbers = segment.numbers("scene", some).astype(np.int64) + 1  # SQL counts from 1
                values = [names, segment.ids_of(some).tolist(), numbers.tolist(), names]
                self.renamed += self.connection.execute(statement, values).rowcount

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


def _texts(segment: Segment, fresh: npt.NDArray[np.bool_]) -> Iterator[bytes]:
    """Yield some rows of a segment as CSV, a few blocks at a time."""
    for first in range(0, segment.num_blocks, BLOCKS):
        last = min(first + BLOCKS, segment.num_blocks)
        wanted = fresh[first * BLOCK : last * BLOCK]
        if wanted.any():
            table = segment.read_blocks(first, last)
            codes = segment.codes[first * BLOCK : last * BLOCK]
            if not wanted.all():
                table, codes = table.filter(pa.array(wanted)), codes[wanted]
            yield copy_rows(codes, table)


def _gaps(archive: CodeStore) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first and last id of each run of ids without a live tile."""
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
    query = (
        "SELECT FROM pg_catalog.pg_indexes "
        "WHERE schemaname = %s AND tablename = %s AND indexname = %s"
    )
    found = connection.execute(query, [tables.schema, tables.table, f"{tables.table}_geometry"])
    return found.fetchone() is not None
