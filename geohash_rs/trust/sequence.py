"""Test which precisions can be promised, from the nearest threshold to the farthest."""

import math

import numpy as np

from geohash_rs.trust.bounds import PAIR_BLOCKS, Floats, Moments, share_bounds

__all__ = ["FEWEST_BLOCKS", "PRECISIONS", "best_needed", "needed_blocks", "passed"]

FEWEST_BLOCKS = 10  # from which on anything is said
# Where tests are made, times the blocks that do if all are right: chosen on the sets of the
# benchmark. A later start survives a few wrong tiles, an earlier one needs fewer labels.
SLACK, SLACK_PAIRS = 1.1, 1.0
STRICT = 0.8  # lower precisions are tested where this one is
PRECISIONS = np.arange(1, 100) / 100  # that are tested
MANY = 1000  # tiles of a block, of which more say no more


def best_needed(precision: float, *, paired: bool) -> float:
    """Return what the bound would have to be, were all tiles right, for a precision to be tested.

    If all tiles are right in n blocks of equal size, the bound is about ``delta^(1/n)``.

    Args:
        precision: The precision.
        paired: As in `passed`.

    Returns:
        The bound.
    """
    return float(max(precision, STRICT) ** (1 / (SLACK_PAIRS if paired else SLACK)))


def needed_blocks(precision: float, delta: float, *, paired: bool) -> int:
    """Return the blocks of equal size from which on a precision is tested.

    Args:
        precision: The precision, at most 0.99.
        delta: Failure rate.
        paired: As in `passed`.

    Returns:
        The number.
    """
    per_block = PAIR_BLOCKS if paired else 1
    most = 2 * per_block * math.ceil(SLACK * math.log(delta) / math.log(max(precision, STRICT)))
    count = np.arange(FEWEST_BLOCKS, FEWEST_BLOCKS + most)
    many = count.astype(float) * MANY
    squared = many * MANY
    moments = Moments(
        tiles=many,
        right=many,
        blocks=count,
        tiles_squared=squared,
        right_squared=squared,
        product=squared,
    )
    bound, _ = share_bounds(moments, paired=paired, level=delta)
    return int(count[np.searchsorted(bound, best_needed(precision, paired=paired))])


def passed(bound: Floats, best: Floats, *, paired: bool) -> Floats:
    """Test each precision from the nearest threshold to the farthest.

    Thresholds are left out at which even right tiles alone would hardly pass: a test that must fail
    would end the sequence. Since blocks differ in size, these are not only the nearest.

    Args:
        bound: Lower bounds of the precision at level 1 - delta, shape (thresholds,).
        best: What they would be if all tiles were right, same shape.
        paired: Whether tiles are pairs, of which there are many even below the first threshold.

    Returns:
        Highest precision that was tested at each threshold and can be promised there, as can all
        lower ones; 0 if none, shape (thresholds,).
    """
    found = np.zeros(len(bound))
    reached = len(bound) - 1
    for precision in PRECISIONS.tolist():
        tested = np.flatnonzero(best >= best_needed(precision, paired=paired))
        failed = np.flatnonzero(bound[tested] < precision)
        good = tested[: failed[0]] if len(failed) else tested
        if not (good <= reached).any():
            break
        reached = min(reached, int(good[-1]))
        found[good[good <= reached]] = precision
    return found
