"""Translate the filters of a search into numbers of a segment's columns."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.store.search.filters import TimeRange
from geohash_rs.store.search.where import Where
from geohash_rs.store.segment.read import Segment

__all__ = ["Rule", "rules_of"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The numbers of a column that count: a range or a set.

    Attributes:
        column: "start", "end", "size", "scene" or "label".
        low: First number of the range.
        high: One past its last number.
        wanted: For a set, a boolean for each number; None for a range.
    """

    column: str
    low: int
    high: int
    wanted: npt.NDArray[np.bool_] | None = None

    def test(self, numbers: Array) -> npt.NDArray[np.bool_]:
        """Return which rows have a number that counts."""
        if self.wanted is not None:
            return self.wanted[numbers]
        kind = numbers.dtype.type
        return np.asarray((numbers - kind(self.low)) < kind(self.high - self.low))

    def blocks(self, ranges: Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return which blocks may hold rows that count, and which hold only such rows."""
        lows, highs = ranges[:, 0].astype(np.int64), ranges[:, 1].astype(np.int64)
        if self.wanted is None:
            some = (lows < self.high) & (highs >= self.low)
            return some, (lows >= self.low) & (highs < self.high)
        before = np.concatenate([[0], np.cumsum(self.wanted)])
        count = before[highs + 1] - before[lows]
        return count > 0, count == highs + 1 - lows


def rules_of(segment: Segment, where: Where) -> tuple[Rule, ...] | None:
    """Translate time, scenes, labels and tile sizes into numbers of a segment.

    Args:
        segment: The segment.
        where: The filters.

    Returns:
        The rules, or None if no row can meet them.
    """
    rules: list[Rule] = []
    if where.time is not None:
        rules += _time_rules(segment, where.time)
    for name, wanted in (
        ("scene", where.scenes),
        ("label", where.labels),
        ("size", where.tile_sizes),
    ):
        if wanted is None:
            continue
        values = segment.index["size_values"].tolist() if name == "size" else segment.texts(name)
        table = np.array([value in wanted for value in values] + [False])
        if not table.any():
            return None
        rules.append(Rule(column=name, low=0, high=len(values), wanted=table))
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
