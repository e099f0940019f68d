"""Decide which blocks of a segment a filtered search must look at, and which rows of them count."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.archive.filters import Region, TimeRange
from geohash_rs.archive.placement import (
    IN,
    MAYBE,
    OUT,
    overlapping,
    place_blocks,
    place_rows,
)
from geohash_rs.archive.segment import Segment
from geohash_rs.archive.writing import BLOCK

__all__ = ["Filters", "Selection", "overlapping_rows", "runs", "select"]

Array = npt.NDArray[Any]
PIECE = 128  # blocks that are masked at a time: half a million rows


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a search is limited to; all of it must hold.

    Attributes:
        region: Where tiles must be.
        within: Whether a tile must be inside of the region rather than meet it.
        time: When tiles must have been taken.
        scenes: Scenes that tiles must come from.
        labels: Labels that tiles must have.
        dropped: For each segment's name, rows that do not count.
    """

    region: Region | None = None
    within: bool = False
    time: TimeRange | None = None
    scenes: frozenset[str] | None = None
    labels: frozenset[str] | None = None
    dropped: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows of a segment that a search must look at.

    Attributes:
        segment: The segment.
        blocks: Blocks to look at, ascending, int64, shape (m,).
        masked: Whether a listed block has rows that do not count, bool, shape (m,).
        rules: Masks to build: column name and the numbers that count.
        placed: Region status of rows, uint8, shape (p, BLOCK): OUT, IN or MAYBE.
        slots: For each listed block its row of `placed`, -1 if all of it is in; int64, shape (m,).
        bitmap: Removed and dropped rows, one bit a row, or None.
    """

    segment: Segment
    blocks: npt.NDArray[np.int64]
    masked: npt.NDArray[np.bool_]
    rules: tuple["Rule", ...]
    placed: npt.NDArray[np.uint8]
    slots: npt.NDArray[np.int64]
    bitmap: npt.NDArray[np.uint8] | None

    def pieces(
        self, first: int, last: int
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8] | None]]:
        """Give listed blocks in pieces, each with the mask of its rows.

        Args:
            first: The first place in `blocks`.
            last: One past the last place.

        Yields:
            Blocks, shape (m,), and None or a mask, uint8, shape (m, BLOCK), 255 where a row does
            not count and 0 elsewhere.
        """
        if not self.masked[first:last].any():
            yield self.blocks[first:last], None
            return
        for start in range(first, last, PIECE):
            piece = slice(start, min(start + PIECE, last))
            blocks = self.blocks[piece]
            yield blocks, (self._mask(piece) if self.masked[piece].any() else None)

    def _mask(self, piece: slice) -> npt.NDArray[np.uint8]:
        blocks = self.blocks[piece]
        out = np.zeros((len(blocks), BLOCK), bool)
        flat = out.reshape(-1)
        size = len(self.segment)
        for rule in self.rules:
            for place, begin, end in runs(blocks):
                rows = slice(begin * BLOCK, min(end * BLOCK, size))
                target = flat[place * BLOCK : place * BLOCK + rows.stop - rows.start]
                target |= ~rule.test(self.segment.numbers(rule.column, rows))
        if self.bitmap is not None:
            bits = self.bitmap.reshape(-1, BLOCK // 8)[blocks]
            out |= np.unpackbits(bits, axis=1).view(bool)
        slots = self.slots[piece]
        partial = np.flatnonzero(slots >= 0)
        out[partial] |= self.placed[slots[partial]] == OUT
        return np.negative(out.view(np.uint8))  # 1 becomes 255

    def uncertain(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Tell which rows need their exact footprint to be compared with the region.

        Args:
            rows: Row numbers in listed blocks, shape (m,).

        Returns:
            Bool, shape (m,).
        """
        if not len(self.placed):
            return np.zeros(len(rows), bool)
        slots = self.slots[np.searchsorted(self.blocks, rows // BLOCK)]
        return np.asarray((slots >= 0) & (self.placed[slots, rows % BLOCK] == MAYBE))

    def all_uncertain(self) -> npt.NDArray[np.int64]:
        """List every row that needs its exact footprint, ascending."""
        slots, columns = np.nonzero(self.placed == MAYBE)
        return np.sort(self.blocks[self.slots >= 0][slots] * BLOCK + columns)

    def all_certain(self) -> npt.NDArray[np.int64]:
        """List every row of the listed blocks that surely is in the region."""
        whole = self.blocks[self.slots < 0]
        rows = (whole[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
        slots, columns = np.nonzero(self.placed == IN)
        inside = self.blocks[self.slots >= 0][slots] * BLOCK + columns
        return np.concatenate([rows[rows < len(self.segment)], inside])


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Numbers of a column that count: a range, or a set.

    Attributes:
        column: "start", "end", "scene" or "label".
        low: First number of the range.
        high: One past its last number.
        wanted: A table of booleans for a set, one for each number; None for a range.
    """

    column: str
    low: int
    high: int
    wanted: npt.NDArray[np.bool_] | None = None

    def test(self, numbers: Array) -> npt.NDArray[np.bool_]:
        """Tell which rows count by their numbers."""
        if self.wanted is not None:
            return self.wanted[numbers]
        kind = numbers.dtype.type
        return np.asarray((numbers - kind(self.low)) < kind(self.high - self.low))

    def blocks(self, ranges: Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Tell which blocks may hold rows that count, and which hold nothing else."""
        lows, highs = ranges[:, 0].astype(np.int64), ranges[:, 1].astype(np.int64)
        if self.wanted is None:
            some = (lows < self.high) & (highs >= self.low)
            return some, (lows >= self.low) & (highs < self.high)
        before = np.concatenate([[0], np.cumsum(self.wanted)])
        count = before[highs + 1] - before[lows]
        return count > 0, count == highs + 1 - lows


def select(segment: Segment, filters: Filters) -> Selection | None:
    """Find the blocks of a segment that a search must look at.

    Args:
        segment: The segment.
        filters: What the search is limited to.

    Returns:
        The selection, or None if no row can count.
    """
    entry = segment.entry
    if not entry.num_live or not _may_match(segment, filters):
        return None
    keep = np.ones(segment.num_blocks, bool)
    full = np.ones(segment.num_blocks, bool)
    rules = _rules(segment, filters)
    if rules is None:
        return None
    for rule in rules:
        some, whole = rule.blocks(segment.index[f"{rule.column}_ranges"])
        keep &= some
        full &= whole
    blocks = np.flatnonzero(keep)
    placed, slots = np.empty((0, BLOCK), np.uint8), np.full(len(blocks), -1)
    if filters.region is not None and len(blocks):
        status = place_blocks(
            filters.region, segment.index["block_boxes"][blocks], within=filters.within
        )
        blocks, status = blocks[status != OUT], status[status != OUT]
        slots = np.where(status == IN, -1, np.cumsum(status != IN) - 1)
        placed = place_rows(filters.region, segment, blocks[status != IN], within=filters.within)
    if not len(blocks):
        return None
    bitmap = _bitmap(segment, filters.dropped.get(entry.name))
    masked = ~full[blocks] | (slots >= 0)
    if bitmap is not None:
        masked |= bitmap.reshape(-1, BLOCK // 8)[blocks].any(axis=1)
    return Selection(
        segment=segment,
        blocks=blocks,
        masked=masked,
        rules=rules,
        placed=placed,
        slots=slots,
        bitmap=bitmap,
    )


def overlapping_rows(
    segments: Sequence[Segment], region: Region
) -> dict[str, npt.NDArray[np.int64]]:
    """Find the rows whose footprints share ground with a region.

    Args:
        segments: The snapshot.
        region: The region.

    Returns:
        Row numbers by segment name.
    """
    found = {}
    for segment in segments:
        selection = select(segment, Filters(region=region, within=True))
        if selection is None:
            continue
        doubtful = selection.all_uncertain()
        shared = doubtful[overlapping(region, segment.footprints(doubtful))]
        rows = np.concatenate([selection.all_certain(), shared])
        if len(rows):
            found[segment.entry.name] = rows
    return found


def _may_match(segment: Segment, filters: Filters) -> bool:
    """Compare the manifest's box and times of a segment, before any of its files is opened."""
    entry = segment.entry
    if filters.time is not None:
        if entry.times is None:
            return False
        start, end = filters.time.start, filters.time.end
        if (start is not None and entry.times[1] < start) or (
            end is not None and entry.times[0] > end
        ):
            return False
    if filters.region is None:
        return True
    if entry.bounds is None:
        return False
    xmin, ymin, xmax, ymax = filters.region.bounds
    west, south, east, north = entry.bounds
    turned = east > 180 and xmin + 360 <= east
    return ymin <= north and ymax >= south and ((xmin <= east and xmax >= west) or turned)


def _rules(segment: Segment, filters: Filters) -> tuple[Rule, ...] | None:
    """Turn time, scenes and labels into numbers of this segment; None if nothing can match."""
    rules: list[Rule] = []
    if filters.time is not None:
        rules += _time_rules(segment, filters.time)
    for name, wanted in (("scene", filters.scenes), ("label", filters.labels)):
        if wanted is None:
            continue
        texts = segment.texts(name)
        table = np.array([text in wanted for text in texts] + [False])
        if not table.any():
            return None
        rules.append(Rule(column=name, low=0, high=len(texts), wanted=table))
    if any(rule.high <= rule.low for rule in rules):
        return None
    return tuple(rules)


def _time_rules(segment: Segment, time: TimeRange) -> list[Rule]:
    starts = segment.index["start_values"]
    ends = segment.index.get("end_values")
    last = len(starts) if time.end is None else int(np.searchsorted(starts, time.end, "right"))
    if ends is None:
        first = 0 if time.start is None else int(np.searchsorted(starts, time.start, "left"))
        return [Rule(column="start", low=first, high=last)]
    first = 0 if time.start is None else int(np.searchsorted(ends, time.start, "left"))
    return [
        Rule(column="start", low=0, high=last),
        Rule(column="end", low=first, high=len(ends)),
    ]


def _bitmap(
    segment: Segment, dropped: npt.NDArray[np.int64] | None
) -> npt.NDArray[np.uint8] | None:
    """Join a segment's tombstones with rows that this search leaves out."""
    if dropped is None or not len(dropped):
        return segment.removed
    bitmap = np.zeros(segment.num_blocks * (BLOCK // 8), np.uint8)
    if segment.removed is not None:
        bitmap |= segment.removed
    np.bitwise_or.at(bitmap, dropped >> 3, (128 >> (dropped & 7)).astype(np.uint8))
    return bitmap


def runs(blocks: Collection[int] | Array) -> Iterator[tuple[int, int, int]]:
    """Find runs of consecutive blocks.

    Args:
        blocks: Block numbers, ascending.

    Yields:
        The run's place in the list, its first block and one past its last block.

    >>> list(runs([3, 4, 5, 9]))
    [(0, 3, 6), (3, 9, 10)]
    """
    numbers = np.asarray(blocks)
    cuts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
    for start, end in zip(cuts[:-1], cuts[1:], strict=True):
        yield start, int(numbers[start]), int(numbers[end - 1]) + 1
