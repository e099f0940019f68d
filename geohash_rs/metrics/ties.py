"""Group the tiles of a ranking by distance and compute expectations over tied orders."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "Denominator",
    "Ties",
    "check_ranking",
    "discounted_gain",
    "expected_precision",
    "group_ties",
]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Denominator = Literal["found", "possible", "k"]


@dataclass(frozen=True, kw_only=True)
class Ties:
    """The tiles of one query up to rank k, in groups of equal distance, nearest first.

    Attributes:
        size: Tiles of each group.
        slots: Ranks up to k that each group fills; only in the last group fewer than its size.
        hits: Tiles of each group with a positive gain.
        gain: Total gain of each group.
        possible: All tiles with a positive gain, also beyond rank k, capped at k.
        k: Number of ranks to evaluate.
    """

    size: Floats
    slots: Floats
    hits: Floats
    gain: Floats
    possible: int
    k: int


def group_ties(distances: Array, gains: Array, k: int | None) -> list[Ties]:
    """Group the tiles of each query by distance.

    Args:
        distances: Shape (queries, tiles); an infinite distance excludes a tile.
        gains: Relevance of each tile to each query, same shape.
        k: Number of ranks to evaluate, or None for all.

    Returns:
        The groups of each query.

    Raises:
        ValueError: If the shapes differ or k is not positive.
    """
    distances, gains = np.asarray(distances), np.asarray(gains)
    check_ranking(distances, gains, k)
    return [_group(d, g, k) for d, g in zip(distances, gains, strict=True)]


def _group(distances: Array, gains: Array, k: int | None) -> Ties:
    keep = np.isfinite(distances)
    if not keep.all():
        distances, gains = distances[keep], gains[keep]
    k = len(distances) if k is None else k
    possible = min(int(np.count_nonzero(gains)), k)
    if k < len(distances):
        near = distances <= np.partition(distances, k - 1)[k - 1]
        distances, gains = distances[near], gains[near]
    order = np.argsort(distances, kind="stable")
    distances, gains = distances[order], gains[order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, distances[1:] != distances[:-1]][: len(distances)])
    size = np.diff(np.r_[starts, len(distances)]).astype(np.float64)
    slots = np.minimum(size, k - np.r_[0, np.cumsum(size)[:-1]][: len(size)])
    hits = np.add.reduceat((gains > 0).astype(np.float64), starts) if len(starts) else size
    total = np.add.reduceat(gains, starts) if len(starts) else size
    return Ties(size=size, slots=slots, hits=hits, gain=total, possible=possible, k=k)


def expected_precision(ties: Ties, denominator: Denominator) -> float:
    """Compute the average precision, expected over the orders within each group.

    Rank k can cut only the last group. The number of its hits within rank k is hypergeometric, and
    given that number, every arrangement is equally likely.

    Args:
        ties: The groups of one query.
        denominator: As in `metrics.average_precision`.

    Returns:
        Expected average precision.
    """
    if not len(ties.size):
        return 0.0
    divisor = {"found": 0.0, "possible": float(ties.possible), "k": float(ties.k)}[denominator]
    offset = np.r_[0, np.cumsum(ties.size)[:-1]]
    before_hits = np.r_[0, np.cumsum(ties.hits)[:-1]]
    before_gain = np.r_[0, np.cumsum(ties.gain)[:-1]]
    mean_gain = ties.gain / np.maximum(1, ties.hits)
    whole = _within(offset, ties.size, ties.hits, before_gain, mean_gain)[:-1].sum()
    last = {"offset": offset[-1], "before": before_gain[-1], "mean_gain": mean_gain[-1]}
    found, chance = _hypergeometric(int(ties.size[-1]), int(ties.hits[-1]), int(ties.slots[-1]))
    tail = _within(last["offset"], ties.slots[-1], found, last["before"], last["mean_gain"])
    count = before_hits[-1] + found if denominator == "found" else np.full_like(found, divisor)
    return float((chance * (whole + tail) / np.maximum(1, count)).sum())


def _within(offset: Array, slots: Array, hits: Array, before: Array, mean_gain: Array) -> Floats:
    """Sum over a group's slots P(hit) times the expected mean gain up to that slot.

    For slot t, counted from 1, the expected gain of the other t - 1 tiles, given a hit at t, is
    ``(t - 1) (hits - 1) / (slots - 1)`` times the mean gain. The sum over t therefore has a closed
    form in harmonic numbers.
    """
    harmonic = _harmonic(offset + slots) - _harmonic(offset)
    others = (hits - 1) / np.maximum(1, slots - 1)
    ramp = slots - (offset + 1) * harmonic
    result: Floats = hits / slots * ((before + mean_gain) * harmonic + others * mean_gain * ramp)
    return result


def _harmonic(n: Array) -> Floats:
    n = np.asarray(n, dtype=np.int64)
    table = np.r_[0.0, np.cumsum(1.0 / np.arange(1, int(n.max()) + 1))]
    result: Floats = table[n]
    return result


def _hypergeometric(size: int, hits: int, slots: int) -> tuple[Floats, Floats]:
    """Return every possible number of hits in the slots, and its probability."""
    low, high = max(0, slots - (size - hits)), min(hits, slots)
    found = np.arange(low, high + 1)
    log = _log_choose(hits, found) + _log_choose(size - hits, slots - found)
    chance = np.exp(log - log.max())
    return found.astype(np.float64), chance / chance.sum()


def _log_choose(n: int, k: npt.NDArray[np.int64]) -> Floats:
    table = np.r_[0.0, np.cumsum(np.log(np.arange(1, n + 1)))]
    result: Floats = table[n] - table[k] - table[n - k]
    return result


def discounted_gain(ties: Ties) -> float:
    """Sum gain / ``log2(rank + 1)``, expected over the orders within each group.

    Args:
        ties: The groups of one query.

    Returns:
        Discounted cumulative gain.
    """
    discounts = np.r_[0.0, np.cumsum(1 / np.log2(np.arange(2, ties.k + 2)))]
    ends = np.cumsum(ties.slots).astype(np.int64)
    shares = discounts[ends] - discounts[ends - ties.slots.astype(np.int64)]
    return float((ties.gain / ties.size * shares).sum())


def check_ranking(distances: Array, gains: Array, k: int | None) -> None:
    """Check that distances and gains have the same 2D shape and that k is valid.

    Args:
        distances: Shape (queries, tiles).
        gains: Must have the same shape.
        k: Number of ranks to evaluate, or None for all.

    Raises:
        ValueError: If the shapes differ or k is not positive.
    """
    distances, gains = np.asarray(distances), np.asarray(gains)
    if distances.ndim != 2 or distances.shape != gains.shape:
        msg = (
            f"distances have shape {distances.shape} and relevance has {gains.shape}; "
            "both must be (queries, tiles)."
        )
        raise ValueError(msg)
    if k is not None and k < 1:
        msg = f"k is {k}; use at least 1."
        raise ValueError(msg)
