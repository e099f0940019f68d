"""Choose tiles spread over an archive, always the same ones, from their ids alone."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import QueryError
from geohash_rs.store.segment.read import Segment

__all__ = ["FACTOR", "MODULUS", "check_count", "sample_segments"]

# One step of a generator of random numbers, which any database can compute from an id. Numbers next
# to each other come out far apart: a small factor would choose runs of neighbours instead.
FACTOR, MODULUS = 742_938_285, 2**31 - 1


def check_count(count: int) -> int:
    """Check the size of a sample.

    Raises:
        QueryError: If it is less than 1.
    """
    if count < 1:
        msg = f"count is {count}, but it must be at least 1 (it counts tiles)."
        raise QueryError(msg)
    return count


def sample_segments(
    segments: Sequence[Segment], count: int, *, num_bits: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return the live tiles whose scattered ids are smallest.

    Args:
        segments: The snapshot.
        count: Number of tiles.
        num_bits: Bits per code.

    Returns:
        As `geohash_rs.store.searchable.Searchable.sample`.

    Raises:
        QueryError: If `count` is less than 1.
    """
    check_count(count)
    ids = places = parts = rows = np.empty(0, np.int64)
    for number, segment in enumerate(segments):
        live = np.flatnonzero(~segment.removed_rows())
        fresh = segment.ids_of(live)
        scattered = fresh % MODULUS * FACTOR % MODULUS
        if len(places) == count:  # places are sorted
            near = scattered <= places[-1]
            live, fresh, scattered = live[near], fresh[near], scattered[near]
        ids, places = np.concatenate([ids, fresh]), np.concatenate([places, scattered])
        rows = np.concatenate([rows, live])
        parts = np.concatenate([parts, np.full(len(live), number)])
        kept = np.lexsort((ids, places))[:count]
        ids, places, parts, rows = ids[kept], places[kept], parts[kept], rows[kept]
    order = np.argsort(ids)
    ids, parts, rows = ids[order], parts[order], rows[order]
    codes = np.empty((len(ids), num_bits // 8), np.uint8)
    for number in np.unique(parts).tolist():
        codes[parts == number] = segments[number].codes[rows[parts == number]]
    return ids, codes
