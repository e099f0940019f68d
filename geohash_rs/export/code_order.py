"""The tiles of an archive in one order along a Hilbert curve, with few of them in memory."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.errors import ExportError
from geohash_rs.store.code_table import CodeTable
from geohash_rs.store.segment.curve import box_keys
from geohash_rs.store.segment.shapes import stored_bounds

__all__ = ["curve_ranks", "in_curve_order", "in_pieces"]

BUCKET = 1 << 17  # tiles that are sorted at once
RANK = "_rank"


def curve_ranks(table: CodeTable) -> npt.NDArray[np.int64]:
    """Return the place of each tile along the curve.

    A segment of an archive is in this order; several, one after another, are not.

    Args:
        table: Tiles, with geometry.

    Returns:
        Ranks from 0, in the order in which the table is read, int64, shape (tiles,); tiles without
        a footprint come last.
    """
    keys = [
        box_keys(stored_bounds(pa.chunked_array([batch.column("geometry")])))
        for batch in table.reader()
    ]
    order = np.argsort(np.concatenate([np.empty(0, np.uint64), *keys]), kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def in_curve_order(
    table: CodeTable, ranks: npt.NDArray[np.int64], scratch: Path
) -> Iterator[pa.Table]:
    """Yield the tiles in the order of their ranks.

    Args:
        table: Tiles.
        ranks: As from `curve_ranks` of the same table.
        scratch: An empty folder, for tiles that are not in this order yet.

    Yields:
        Tables of at most 131,072 tiles.

    Raises:
        ExportError: If the number of tiles differs from when the ranks were made, as one of a
            database can.
    """
    numbered = _numbered(table, ranks)
    if (np.diff(ranks) > 0).all():
        for _, batch in numbered:
            yield batch
        return
    num_buckets = -(-len(ranks) // BUCKET)
    schema = table.schema.append(pa.field(RANK, pa.int64()))
    paths = [scratch / f"{number}.arrow" for number in range(num_buckets)]
    with ExitStack() as stack:
        files = [stack.enter_context(pa.ipc.new_file(str(path), schema)) for path in paths]
        for places, batch in numbered:
            ranked = batch.append_column(schema.field(RANK), pa.array(places))
            for number in np.unique(places // BUCKET):
                files[number].write_table(ranked.filter(pa.array(places // BUCKET == number)))
    for path in paths:
        with pa.memory_map(str(path)) as file:
            rows = pa.ipc.open_file(file).read_all()
            yield rows.take(np.argsort(rows.column(RANK).to_numpy())).drop_columns(RANK)
        path.unlink()


def in_pieces(tables: Iterator[pa.Table], size: int) -> Iterator[pa.Table]:
    """Cut tables again, so that each but the last has a given number of rows.

    Args:
        tables: Tables with the same columns, of at least one row each.
        size: Rows of a piece.

    Yields:
        The same rows in the same order.
    """
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while sum(map(len, waiting)) >= size:
            rows = pa.concat_tables(waiting)
            yield rows.slice(0, size)
            waiting = [rows.slice(size)]
    if sum(map(len, waiting)):
        yield pa.concat_tables(waiting)


def _numbered(
    table: CodeTable, ranks: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.int64], pa.Table]]:
    """Yield batches with their ranks.

    Raises:
        ExportError: If there are more or fewer tiles than ranks.
    """
    start = 0
    for batch in table.reader():
        places = ranks[start : start + len(batch)]
        start += len(batch)
        if len(places) == len(batch):
            yield places, pa.Table.from_batches([batch], table.schema)
    if start != len(ranks):
        msg = (
            f"the archive had {len(ranks)} tiles when the export began and {start} when they were "
            "read; nothing was changed. Export again while nobody writes."
        )
        raise ExportError(msg)
