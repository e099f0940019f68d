"""A table of vectors that was looked at, and is read batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from geohash_rs.embeddings.faults import Faults
from geohash_rs.embeddings.repeats import Repeats
from geohash_rs.embeddings.rows import RowReader
from geohash_rs.embeddings.source import Flaw, VectorBatch, Vectors
from geohash_rs.embeddings.table_rows import TableRows, Unreadable
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["TableSource"]

BATCH_BYTES = 8 << 20  # of the vectors of a batch
MOST_ROWS = 16_384  # of a batch
SPOTS = 64  # parts of a table that a sample is taken from
PLENTY = 10  # rows decoded for each of a sample


@dataclass(frozen=True, kw_only=True, eq=False)
class TableSource:
    """A table of vectors; a `VectorSource`."""

    key: str
    name: str
    embedding: Embedding
    record: SceneRecord
    files: Sequence[str]
    notes: Sequence[str]
    rows: TableRows = field(repr=False)
    reader: RowReader = field(repr=False)

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return self.rows.num_rows

    def sample(self, size: int, *, seed: int = 0) -> Vectors:
        """Read vectors from up to 64 row groups, from each as many; see `VectorSource`."""
        del seed  # rows at even distances
        spots = self.rows.spots
        chosen = [spots[n] for n in np.unique(np.linspace(0, len(spots) - 1, SPOTS).astype(int))]
        names = [name for name in (self.reader.columns.vector, self.reader.columns.scale) if name]
        found, due = [np.empty((0, self.reader.length), np.float32)], float(size)
        for done, (start, count) in enumerate(chosen):
            share = due / (len(chosen) - done)
            most = min(count, max(1, int(PLENTY * share)))
            parts = []
            for row, batch in self.rows.read(names, start=start, size=min(most, self._size)):
                if isinstance(batch, pa.RecordBatch):
                    batch = batch.slice(0, start + most - row)
                    faults = Faults(batch.num_rows, self.rows.place)
                    parts.append(self.reader.vectors(batch, faults)[~faults.bad])
                if row + (batch.num_rows if isinstance(batch, pa.RecordBatch) else batch.count) >= (
                    start + most
                ):
                    break
            whole = np.concatenate(parts) if parts else found[0]
            few = np.unique(np.linspace(0, len(whole) - 1, max(1, int(share))).astype(int))
            found.append(whole[few] if len(whole) else whole)
            due -= len(found[-1])
        return np.concatenate(found)[:size]

    def batches(self, start: int = 0) -> Iterator[VectorBatch]:
        """Read all rows from one on; those before it are looked at only to find repeats."""
        seen = Repeats()
        names = self.reader.columns.names
        for row, part in self.rows.read(names, start=0, size=self._size):
            if isinstance(part, Unreadable):
                if row >= start:
                    yield self._lost(row, part)
                continue
            if row < start < row + part.num_rows:
                self.reader.read(
                    part.slice(0, start - row), start=row, place=self.rows.place, seen=seen
                )
                row, part = start, part.slice(start - row)
            batch = self.reader.read(part, start=row, place=self.rows.place, seen=seen)
            if row >= start:
                yield batch

    @property
    def _size(self) -> int:
        return max(1, min(MOST_ROWS, BATCH_BYTES // (4 * self.reader.length)))

    def _lost(self, row: int, part: Unreadable) -> VectorBatch:
        """Return a batch of rows that cannot be read."""
        columns = [pa.nulls(0, self.rows.schema.field(n).type) for n in self.reader.columns.names]
        none = pa.RecordBatch.from_arrays(columns, names=self.reader.columns.names)
        empty = self.reader.read(none, start=row, place=self.rows.place, seen=Repeats())
        flaw = Flaw(reason=part.reason, count=part.count, first=self.rows.place(row))
        return VectorBatch(
            vectors=empty.vectors, tiles=empty.tiles, stop=row + part.count, left_out=[flaw]
        )
