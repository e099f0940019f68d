"""Promise how many of the nearest tiles are right, from labels that lie in blocks of ground.

What is guaranteed: for each precision on its own, the tiles up to ``Promise.limit(precision)`` are
right less often than that in at most a share ``delta`` of all calibrations, for places like those
that were labelled, in the same mixture, pooled over all queries. Thresholds are tested from the
nearest to the farthest, and the first that fails ends the test (fixed-sequence testing), so that
many thresholds cost nothing. Where even right tiles alone would not show a precision, it is not
tested: distances and blocks say where that is, not what is right. What is approximate: each single
test is a survey statistician's bound for blocks of unequal size, not one for finite samples; those
find nothing where blocks differ in size. `tests/benchmarks/promises.py` measures how often promises
are broken.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geohash_rs.errors import CalibrationError
from geohash_rs.trust.bounds import Floats, Ints, Moments, share_bounds
from geohash_rs.trust.sequence import FEWEST_BLOCKS, PRECISIONS, needed_blocks, passed
from geohash_rs.trust.total_ratio import TotalRatio

__all__ = ["MOST_THRESHOLDS", "Promise", "promise_of", "promise_of_counts"]

MOST_THRESHOLDS = 200
FEWEST_TILES = 10  # nearest tiles from which on there are thresholds
MOST_SAVED = 100_000  # thresholds of a file
COLUMNS = ("values", "tiles", "right", "blocks", "share", "low", "high", "tested")
WHOLE = COLUMNS[:4]
KINDS = ("paired", "drawn")


@dataclass(frozen=True, kw_only=True, eq=False)
class Promise:
    """How often tiles are right up to each threshold; all arrays have shape (thresholds,).

    Attributes:
        values: Thresholds, ascending, int64: tiles at this distance (or cost) or nearer.
        tiles: Labelled tiles (or pairs of a query and a tile) up to the threshold, int64.
        right: Those of them that are right, int64.
        blocks: Blocks of ground in which they lie, int64; of pairs, those of the queries; of a
            random draw, the tiles themselves.
        share: Share that is right, float64.
        low: Lower end of an interval for it that fails with rate delta, float64.
        high: Upper end of that interval, float64.
        tested: Highest precision, in whole percent, that was tested at this threshold and can be
            promised for the tiles up to it, float64; 0 if none.
        delta: Failure rate.
        paired: Whether tiles are pairs, in which a block says a quarter as much.
        drawn: Whether tiles were drawn at random, each by itself, instead of labelled by place.
        totals: How much is right in all; None unless labels tell what lies beyond the thresholds.

    References:
        Angelopoulos et al., Learn then test: calibrating predictive algorithms to achieve risk
        control, https://arxiv.org/abs/2110.01052; bounds as in
        `geohash_rs.trust.bounds.share_bounds`
    """

    values: Ints
    tiles: Ints
    right: Ints
    blocks: Ints
    share: Floats
    low: Floats
    high: Floats
    tested: Floats
    delta: float
    paired: bool = False
    drawn: bool = False
    totals: TotalRatio | None = None

    def __len__(self) -> int:
        return len(self.values)

    @functools.cached_property
    def promised(self) -> Floats:
        """Highest precision whose limit lies at a threshold or beyond, never rising; 0 if none."""
        return np.maximum.accumulate(self.tested[::-1])[::-1]

    def precision_of(self, values: npt.ArrayLike) -> Floats:
        """Return the precision of the best set that holds a tile and for which one is promised.

        A set is all tiles up to a threshold. The promise is about the set as a whole, so it says
        nothing about the nearest part of it alone.

        Args:
            values: Distances or costs, shape (n,).

        Returns:
            Highest precision promised for a set that reaches so far, shape (n,); NaN if none does.
        """
        rows = np.searchsorted(self.values, np.asarray(values))
        known = np.append(np.where(self.promised > 0, self.promised, np.nan), np.nan)
        found: Floats = known[rows]
        return found

    def limit(self, precision: float) -> int:
        """Return the largest distance or cost up to which a precision can be promised.

        Args:
            precision: Share of tiles that must be right, above 0 and below 1.

        Returns:
            The threshold, inclusive.

        Raises:
            CalibrationError: If the precision is out of range, or cannot be promised; the message
                says how many labels are missing, or that more labels do not help.
        """
        check_precision(precision)
        good = np.flatnonzero(self.promised >= precision - 1e-9)
        if not len(good):
            raise CalibrationError(self._missing(precision))
        return int(self.values[good[-1]])

    def _missing(self, precision: float) -> str:
        """Explain why a precision cannot be promised, and what would help."""
        what = f"a precision of {precision:g} cannot be promised with failure rate {self.delta:g}"
        best = float(self.promised.max(initial=0))
        instead = f"ask for {best:g}, or " if best > 0 else ""
        needed = needed_blocks(precision, self.delta, paired=self.paired)
        most = int(self.blocks.max(initial=0))
        if most < needed:
            have = (
                f"{most} tiles were drawn and judged"
                if self.drawn
                else f"labelled tiles lie in {most} blocks of ground"
            )
            more = "judge a larger draw" if self.drawn else "label more places"
            return (
                f"{what}: {have}, and at least {needed} are needed, {needed - most} more; "
                f"{instead}{more}."
            )
        above = np.flatnonzero(self.share > precision)
        first = "nearest" if self.paired else "best"
        kind = "tiles drawn" if self.drawn else "labelled tiles"
        if not len(above):
            highest = self.share.max(initial=0)
            better = "judging more" if self.drawn else "more labels"
            return (
                f"{what}: of the {first} {kind}, at most {highest:.0%} are right, so {better} "
                f"would not help; {instead}use another hasher, or a concept with more marks."
            )
        share, low = self.share[above], self.low[above]
        times = np.maximum(((share - low) / (share - precision)) ** 2, needed / self.blocks[above])
        row = above[np.argmin(times)]
        missing = math.ceil(most * max(float(times.min()) - 1, 0.1))
        right = f"{self.share[row]:.0%} of the {first} {self.tiles[row]} {kind} are right"
        if self.drawn:
            return (
                f"{what}: {right}, which shows only {self.low[row]:.0%} for all; {instead}judge a "
                f"draw of about {missing} tiles more."
            )
        draw = "" if self.paired else ", or judge a random draw of the archive"
        return (
            f"{what}: {right}, but they lie in {self.blocks[row]} blocks of ground, which show "
            f"only {self.low[row]:.0%}; {instead}label about {missing} blocks more{draw}."
        )

    def table(self) -> pd.DataFrame:
        """Return what is known at each threshold, for people.

        Returns:
            The columns value, tiles, blocks, share, low, high and promised: for all tiles up to
            this threshold, NaN where nothing was tested or nothing can be.
        """
        return pd.DataFrame(
            {
                "value": self.values,
                "tiles": self.tiles,
                "blocks": self.blocks,
                "share": self.share.round(3),
                "low": self.low.round(3),
                "high": self.high.round(3),
                "promised": np.where(self.tested > 0, self.tested, np.nan),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a dict of lists and numbers."""
        lists = {name: getattr(self, name).tolist() for name in COLUMNS}
        known = {} if self.totals is None else {"totals": self.totals.to_json()}
        kinds = {"paired": self.paired, "drawn": self.drawn}
        return {**lists, "delta": self.delta, **kinds, **known}

    @classmethod
    def from_json(cls, given: object) -> "Promise":
        """Build it from what `to_json` returned.

        Args:
            given: What was read from a file, whoever wrote it.

        Returns:
            The promise.

        Raises:
            CalibrationError: If something is missing, or cannot be.
        """
        needed = {*COLUMNS, "delta", *KINDS}
        if not isinstance(given, dict) or set(given) - {"totals"} != needed:
            msg = (
                f"a promise has the entries {', '.join([*COLUMNS, 'delta', *KINDS])}, perhaps "
                "totals, and no others."
            )
            raise CalibrationError(msg)
        arrays = {name: _column(given[name], name) for name in COLUMNS}
        if len({len(array) for array in arrays.values()}) != 1:
            msg = "the columns of a promise differ in length."
            raise CalibrationError(msg)
        if isinstance(given["delta"], bool) or not isinstance(given["delta"], int | float):
            msg = f"delta is {str(given['delta'])[:40]!r} instead of a number."
            raise CalibrationError(msg)
        for name in KINDS:
            if not isinstance(given[name], bool):
                msg = f"{name} is {str(given[name])[:40]!r} instead of true or false."
                raise CalibrationError(msg)
        delta = check_delta(float(given["delta"]))
        totals = TotalRatio.from_json(given["totals"]) if "totals" in given else None
        promise = cls(
            **arrays, delta=delta, paired=given["paired"], drawn=given["drawn"], totals=totals
        )
        if not promise._is_sound():
            msg = "the figures of a promise contradict each other."
            raise CalibrationError(msg)
        return promise

    def _is_sound(self) -> bool:
        """Return whether the figures can belong together."""
        counts = (self.tiles, self.right, self.blocks)
        share, tested = self.share, self.tested[self.tested > 0]
        needed = [needed_blocks(p, self.delta, paired=self.paired) for p in tested.tolist()]
        return bool(
            (np.diff(self.values) > 0).all()
            and all((np.diff(count) >= 0).all() for count in counts)
            and (self.tiles > 0).all()
            and (self.right <= self.tiles).all()
            and (self.blocks <= self.tiles).all()
            and (np.abs(share - self.right / self.tiles) <= 1e-6).all()
            and ((self.low <= share + 1e-6) & (share <= self.high + 1e-6)).all()
            and (self.tested <= share + 1e-6).all()
            and (self.blocks[self.tested > 0] >= np.array(needed) - 1e-6).all()
        )


def promise_of(
    values: npt.ArrayLike,
    right: npt.ArrayLike,
    blocks: npt.ArrayLike,
    *,
    delta: float = 0.1,
    most: int = MOST_THRESHOLDS,
    drawn: bool = False,
) -> Promise:
    """Find out from labelled tiles how often tiles are right up to each distance or cost.

    Args:
        values: Distance or cost of each labelled tile, whole numbers, shape (tiles,).
        right: Whether it is right, shape (tiles,).
        blocks: Number of its block of ground, shape (tiles,).
        delta: Failure rate of a promise, from 0.001 to below 0.5.
        most: Largest number of thresholds, which are chosen by the values alone.
        drawn: Whether tiles were drawn at random, each in a block of its own.

    Returns:
        The promise.

    Raises:
        CalibrationError: If there are too few tiles or blocks, the arrays differ in length, or
            delta is out of range.
    """
    check_delta(delta)
    costs, good, places = np.asarray(values), np.asarray(right, dtype=bool), np.asarray(blocks)
    if not costs.shape == good.shape == places.shape or costs.ndim != 1:
        msg = (
            f"values, right and blocks have the shapes {costs.shape}, {good.shape} and "
            f"{places.shape}; pass one of each for every labelled tile."
        )
        raise CalibrationError(msg)
    _, numbers = np.unique(places, return_inverse=True)
    _check_blocks(int(numbers.max(initial=-1)) + 1, drawn=drawn)
    grid = thresholds(costs, most=most)
    steps = np.searchsorted(grid, costs)
    moments = Moments.count(steps, good, numbers.reshape(-1), num_steps=len(grid))
    return _promise(grid, moments, delta=delta, paired=False, drawn=drawn)


def promise_of_counts(values: npt.ArrayLike, tiles: Ints, right: Ints, *, delta: float) -> Promise:
    """Find out from counted pairs of a query and a tile how often tiles are right.

    Args:
        values: Distances, ascending, shape (distances,).
        tiles: Pairs at each distance whose query lies in each block, int64, shape (blocks,
            distances). Each pair counts both ways round.
        right: Those of them whose tiles have the same class, same shape.
        delta: Failure rate of a promise, from 0.001 to below 0.5.

    Returns:
        The promise.

    Raises:
        CalibrationError: If there are too few blocks, or delta is out of range.
    """
    check_delta(delta)
    _check_blocks(int((tiles.sum(axis=1) > 0).sum()))
    moments = Moments.of_counts(tiles, right)
    return _promise(np.asarray(values, dtype=np.int64), moments, delta=delta, paired=True)


def check_precision(precision: float) -> float:
    """Check that a precision can be asked for.

    Args:
        precision: The precision.

    Returns:
        The same.

    Raises:
        CalibrationError: If it is not above 0 and below 1.
    """
    if not 0 < precision < 1:
        sure = " No number of labels can show that every tile is right." if precision == 1 else ""
        msg = f"precision is {precision}; use a share above 0 and below 1, such as 0.9.{sure}"
        raise CalibrationError(msg)
    if precision > PRECISIONS[-1]:
        msg = f"precision is {precision}; at most {PRECISIONS[-1]} is tested."
        raise CalibrationError(msg)
    return precision


def check_delta(delta: float) -> float:
    """Check a failure rate.

    Args:
        delta: The rate.

    Returns:
        The same.

    Raises:
        CalibrationError: If it is not between 0.001 and below 0.5.
    """
    if not 0.001 <= delta < 0.5:
        msg = f"delta is {delta}; it is a failure rate from 0.001 to below 0.5, such as 0.1."
        raise CalibrationError(msg)
    return delta


def thresholds(values: npt.NDArray[Any], *, most: int) -> Ints:
    """Choose thresholds by how many tiles lie below, in equal ratios, whatever is right.

    Args:
        values: Whole numbers, shape (tiles,).
        most: Largest number of thresholds.

    Returns:
        Distinct values, ascending, int64; the last is the largest.
    """
    ordered = np.sort(values)
    first = min(FEWEST_TILES, len(ordered))
    ranks = np.unique(np.geomspace(first, len(ordered), most).round().astype(np.int64))
    return np.unique(ordered[ranks - 1]).astype(np.int64)


def _promise(
    values: Ints, moments: Moments, *, delta: float, paired: bool, drawn: bool = False
) -> Promise:
    held = moments.tiles > 0
    values = values[held]
    moments = Moments(**{name: getattr(moments, name)[held] for name in Moments.__annotations__})
    bound, _ = share_bounds(moments, paired=paired, level=delta)
    low, high = share_bounds(moments, paired=paired, level=delta / 2)
    best, _ = share_bounds(moments.all_right(), paired=paired, level=delta)
    best[moments.blocks < FEWEST_BLOCKS] = 0
    return Promise(
        values=values,
        tiles=moments.tiles.astype(np.int64),
        right=moments.right.astype(np.int64),
        blocks=moments.blocks,
        share=moments.right / moments.tiles,
        low=low,
        high=high,
        tested=passed(bound, best, paired=paired),
        delta=delta,
        paired=paired,
        drawn=drawn,
    )


def _check_blocks(count: int, *, drawn: bool = False) -> None:
    if count >= FEWEST_BLOCKS:
        return
    if drawn:
        msg = (
            f"{count} tiles were drawn and judged, and at least {FEWEST_BLOCKS} are needed, "
            f"{FEWEST_BLOCKS - count} more; draw more, or from lower scores."
        )
        raise CalibrationError(msg)
    msg = (
        f"labelled tiles lie in {count} blocks of ground, and at least {FEWEST_BLOCKS} are "
        f"needed, {FEWEST_BLOCKS - count} more; label more places, or use a smaller block_km "
        "if places that far apart are not alike."
    )
    raise CalibrationError(msg)


def _column(given: object, name: str) -> npt.NDArray[Any]:
    """Check a column of a file.

    Raises:
        CalibrationError: If it is not a list of numbers in range.
    """
    whole = name in WHOLE
    kinds = int if whole else int | float
    top = 2**53 if whole else 1
    items = given if isinstance(given, list) and len(given) <= MOST_SAVED else [None]
    if not all(isinstance(n, kinds) and not isinstance(n, bool) and 0 <= n <= top for n in items):
        msg = f"{name} is not a list of {'whole numbers' if whole else 'shares'}."
        raise CalibrationError(msg)
    return np.array(items, dtype=np.int64 if whole else np.float64)
