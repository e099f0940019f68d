"""Count the distinct codes of an archive, to see whether its tiles differ, and its tile sizes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geohash_rs.store.segment.bits import bits_at
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.snapshot import Answers

__all__ = ["CodeCounts", "count_codes", "count_sizes", "live_rows"]

MOST_TILES = 1_000_000  # looked at: a second; of larger archives runs of rows all over them
RUNS = 64  # runs of rows in each segment


@dataclass(frozen=True, kw_only=True)
class CodeCounts:
    """How many codes differ.

    Attributes:
        num_tiles: Tiles looked at.
        num_codes: Distinct codes among them.
        num_alike: Tiles that share the most frequent code.
    """

    num_tiles: int
    num_codes: int
    num_alike: int


def count_codes(archive: Answers, *, first_id: int = 0, most: int = MOST_TILES) -> CodeCounts:
    """Count the distinct codes of an archive; of a large one, of a part of its tiles.

    Args:
        archive: The archive.
        first_id: Only tiles with this id or a later one.
        most: Tiles that are looked at, about.

    Returns:
        The counts.
    """
    parts = [s.codes[rows] for s, rows in live_rows(archive, first_id=first_id, most=most)]
    codes = np.concatenate(parts) if parts else np.empty((0, 1), np.uint8)
    if not len(codes):
        return CodeCounts(num_tiles=0, num_codes=0, num_alike=0)
    words = np.zeros((len(codes), -(-codes.shape[1] // 8) * 8), np.uint8)
    words[:, : codes.shape[1]] = codes
    numbers = words.view(np.uint64)  # are sorted four times faster than bytes
    whole = numbers.shape[1] == 1
    ordered = np.sort(numbers, axis=None)[:, None] if whole else numbers[np.lexsort(numbers.T)]
    first = np.flatnonzero((ordered[1:] != ordered[:-1]).any(axis=1)) + 1
    counts = np.diff(first, prepend=0, append=len(ordered))
    return CodeCounts(num_tiles=len(codes), num_codes=len(counts), num_alike=int(counts.max()))


def count_sizes(archive: Answers) -> dict[int, int]:
    """Count the live tiles of each tile size.

    Args:
        archive: The archive.

    Returns:
        The counts by size, px, ascending; tiles of unknown size are left out.
    """
    counts: dict[int, int] = {}
    for segment in archive.snapshot().segments:
        values = segment.index["size_values"].tolist()
        if "size_rows" in segment.index:
            found = segment.index["size_rows"][~segment.removed_rows()]
            numbers = np.bincount(found, minlength=len(values))
        else:  # all rows have the same
            numbers = np.full(1, segment.entry.num_live)
        for size, count in zip(values, numbers.tolist(), strict=False):
            if count:
                counts[size] = counts.get(size, 0) + count
    return dict(sorted(counts.items()))


def live_rows(
    archive: Answers, *, first_id: int = 0, most: int = MOST_TILES
) -> Iterator[tuple[Segment, npt.NDArray[np.int64]]]:
    """Go through the tiles of an archive; through a part of them, evenly spread, of a large one.

    Args:
        archive: The archive.
        first_id: Only tiles with this id or a later one.
        most: Tiles to go through, about.

    Yields:
        Segments and some rows of each that were not removed, int64, shape (rows,).
    """
    segments = [s for s in archive.snapshot().segments if s.entry.last_id >= first_id]
    share = min(1.0, most / max(1, sum(segment.entry.num_tiles for segment in segments)))
    for segment in segments:
        for rows in _runs(segment.entry.num_tiles, share):
            kept = np.ones(len(rows), bool)
            if segment.removed is not None:
                kept = ~bits_at(segment.removed, rows)
            if segment.entry.first_id < first_id:
                kept &= segment.ids_of(rows) >= first_id
            yield segment, rows[kept]


def _runs(num_rows: int, share: float) -> Iterator[npt.NDArray[np.int64]]:
    """Lay runs of rows evenly over a segment that are a share of it."""
    step = -(-num_rows // RUNS) if share < 1 else num_rows
    for start in range(0, num_rows, max(1, step)):
        stop = min(start + max(1, int(step * share)), num_rows)
        yield np.arange(start, stop, dtype=np.int64)
