"""Select the blocks of a segment that a filtered search must scan, and the rows that count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.store.search.filters import Region
from geohash_rs.store.search.placement import (
    IN,
    MAYBE,
    OUT,
    exact,
    overlapping,
    place_blocks,
    place_rows,
)
from geohash_rs.store.search.rules import Rule, rules_of
from geohash_rs.store.search.where import Where
from geohash_rs.store.segment.bits import bits_at
from geohash_rs.store.segment.layout import BLOCK
from geohash_rs.store.segment.read import Segment

__all__ = ["Selection", "Task", "overlapping_rows", "select"]

Array = npt.NDArray[Any]
PIECE = 16  # blocks whose rows are listed at a time: 65,536 rows
NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows of a segment that a search must scan.

    Attributes:
        segment: The segment.
        where: The filters.
        blocks: Blocks to scan, ascending, int64, shape (m,).
        partial: Whether a listed block may have rows that do not count, bool, shape (m,).
        edge: Whether a listed block lies on the edge of the region, bool, shape (m,).
        rules: The rules that rows of partial blocks must be tested against.
        removed: Removed and dropped rows, one bit per row, or None.
    """

    segment: Segment
    where: Where
    blocks: npt.NDArray[np.int64]
    partial: npt.NDArray[np.bool_]
    edge: npt.NDArray[np.bool_]
    rules: tuple[Rule, ...]
    removed: npt.NDArray[np.uint8] | None

    def rows(self, first: int, last: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the rows that may count, a few blocks at a time.

        Args:
            first: The first index into `blocks`.
            last: One past the last index.

        Yields:
            Row numbers, ascending.
        """
        for start in range(first, last, PIECE):
            piece = slice(start, min(start + PIECE, last))
            rows = _rows_of(self.blocks[piece])
            keep = rows < len(self.segment)
            for rule in self.rules:
                numbers = self.segment.numbers(rule.column, rows[keep])
                keep[keep] = rule.test(numbers)
            if self.removed is not None:
                keep &= ~bits_at(self.removed, rows)
            tested = np.flatnonzero(self.edge[piece].repeat(BLOCK) & keep)
            keep[tested] = self._placed(rows[tested]) != OUT
            yield rows[keep]

    def _placed(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Classify rows against the region: OUT, IN or MAYBE."""
        region, within = self.where.region, self.where.within
        if region is None or not len(rows):
            return np.full(len(rows), IN, np.uint8)
        return place_rows(region, self.segment, rows, within=within)

    def uncertain(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the rows whose exact footprints must be compared with the region.

        Args:
            rows: Row numbers in listed blocks, shape (m,).

        Returns:
            Row numbers.
        """
        rows = rows[self.edge[np.searchsorted(self.blocks, rows // BLOCK)]]
        return np.asarray(rows[self._placed(rows) == MAYBE])

    def outside(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Compare exact footprints with the region.

        Args:
            rows: Uncertain row numbers, shape (m,).

        Returns:
            The rows that do not match the region.
        """
        if self.where.region is None or not len(rows):
            return NO_ROWS
        shapes = self.segment.footprints(rows)
        return rows[~exact(self.where.region, shapes, within=self.where.within)]

    def matching(self) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the rows that pass every filter, a few blocks at a time.

        Yields:
            Row numbers, ascending; never none.
        """
        for rows in self.rows(0, len(self.blocks)):
            found = np.setdiff1d(rows, self.outside(self.uncertain(rows)), assume_unique=True)
            if len(found):
                yield found

    def all_placed(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Split the rows of the listed blocks by how sure their placement is.

        Returns:
            The rows surely in the region, and those to be compared exactly, both ascending.
        """
        found: list[list[npt.NDArray[np.int64]]] = [[NO_ROWS], [NO_ROWS]]
        size = len(self.segment)
        for start in range(0, len(self.blocks), PIECE):
            piece = slice(start, start + PIECE)
            rows = _rows_of(self.blocks[piece])
            status = np.full(len(rows), IN, np.uint8)
            edge = self.edge[piece].repeat(BLOCK)
            inside = rows < size
            status[edge & inside] = self._placed(rows[edge & inside])
            for wanted, pieces in zip((IN, MAYBE), found, strict=True):
                pieces.append(rows[inside & (status == wanted)])
        return np.concatenate(found[0]), np.concatenate(found[1])


@dataclass(frozen=True, kw_only=True)
class Task:
    """Some of the selected blocks of a segment.

    Attributes:
        selection: Which rows of the segment count.
        first: The first index into the selection's blocks.
        last: One past the last index.
    """

    selection: Selection
    first: int
    last: int


def select(
    segment: Segment, where: Where, *, dropped: npt.NDArray[np.int64] | None = None
) -> Selection | None:
    """Select the blocks of a segment that a search must scan.

    Args:
        segment: The segment.
        where: The filters.
        dropped: Rows that do not count, if any.

    Returns:
        The selection, or None if no row can count.
    """
    entry = segment.entry
    if not entry.num_live or not _may_match(segment, where):
        return None
    rules = rules_of(segment, where)
    if rules is None:
        return None
    if where.region is None:
        status = np.full(segment.num_blocks, IN, np.uint8)
    else:
        status = _place_blocks(where.region, segment)
    full = np.ones(segment.num_blocks, bool)
    for rule in rules:
        some, whole = rule.blocks(segment.index[f"{rule.column}_ranges"])
        status[~some] = OUT
        full &= whole
    blocks = np.flatnonzero(status)  # OUT is 0
    if not len(blocks):
        return None
    edge = status[blocks] == MAYBE
    partial = ~full[blocks] | edge if rules else edge
    removed = _removed(segment, dropped)
    if removed is not None:
        partial = partial | removed.reshape(-1, BLOCK // 8)[blocks].any(axis=1)
    return Selection(
        segment=segment,
        where=where,
        blocks=blocks,
        partial=partial,
        edge=edge,
        rules=tuple(rule for rule in rules if f"{rule.column}_rows" in segment.index),
        removed=removed,
    )


def overlapping_rows(
    segments: Sequence[Segment], region: Region
) -> dict[str, npt.NDArray[np.int64]]:
    """Find the rows whose footprints overlap a region.

    Args:
        segments: The snapshot.
        region: The region.

    Returns:
        Row numbers by segment name.
    """
    found = {}
    for segment in segments:
        selection = select(segment, Where(region=region, within=True))
        if selection is None:
            continue
        certain, doubtful = selection.all_placed()
        shared = doubtful[overlapping(region, segment.footprints(doubtful))]
        rows = np.concatenate([certain, shared])
        if len(rows):
            found[segment.entry.name] = rows
    return found


def _place_blocks(region: Region, segment: Segment) -> npt.NDArray[np.uint8]:
    """Classify blocks; one inside the region is IN only if all its rows have a footprint.

    A block's box ignores rows without a footprint, which are the last rows of a segment.
    """
    status = place_blocks(region, segment)
    inside = np.flatnonzero(status == IN)
    last = np.minimum((inside + 1) * BLOCK, len(segment)) - 1
    boxes = segment.index["boxes"][last]
    status[inside[boxes[:, 0] > boxes[:, 2]]] = MAYBE
    return status


def _may_match(segment: Segment, where: Where) -> bool:
    """Compare a segment's box and times in the manifest, before opening any of its files."""
    entry = segment.entry
    if where.time is not None:
        if entry.times is None:
            return False
        start, end = where.time.start, where.time.end
        if (start is not None and entry.times[1] < start) or (
            end is not None and entry.times[0] > end
        ):
            return False
    if where.region is None:
        return True
    if entry.bounds is None:
        return False
    xmin, ymin, xmax, ymax = where.region.bounds
    west, south, east, north = entry.bounds
    turned = east > 180 and xmin + 360 <= east
    return ymin <= north and ymax >= south and ((xmin <= east and xmax >= west) or turned)


def _removed(
    segment: Segment, dropped: npt.NDArray[np.int64] | None
) -> npt.NDArray[np.uint8] | None:
    """Combine a segment's tombstones with the rows that this search drops."""
    if dropped is None or not len(dropped):
        return segment.removed
    bitmap = np.zeros(segment.num_blocks * (BLOCK // 8), np.uint8)
    if segment.removed is not None:
        bitmap |= segment.removed
    np.bitwise_or.at(bitmap, dropped >> 3, (128 >> (dropped & 7)).astype(np.uint8))
    return bitmap


def _rows_of(blocks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """List all rows of blocks, including those past the segment's end."""
    rows: npt.NDArray[np.int64] = blocks[:, None] * BLOCK + np.arange(BLOCK)
    return rows.reshape(-1)
