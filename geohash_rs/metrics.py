"""How good a ranking is: average precision and its kin, with tied distances taken as they are.

Hamming distances are small integers, so many tiles stand at the same distance. Which of them
comes first is chance, and chance moves mean average precision by a point or two. Every measure
here is the exact expectation over all orders of tied tiles.

References:
    McSherry and Najork, Computing information retrieval performance measures efficiently in the
    presence of tied scores, ECIR 2008, https://doi.org/10.1007/978-3-540-78646-7_38
    He, Cakir, Bargal and Sclaroff, Hashing as Tie-Aware Learning to Rank, CVPR 2018,
    https://arxiv.org/abs/1705.08562
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "Denominator",
    "average_cumulative_gain",
    "average_precision",
    "bit_entropy",
    "mean_average_precision",
    "ndcg",
    "precision_at",
    "precision_within",
    "recall_within",
    "weighted_average_precision",
]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Denominator = Literal["found", "possible", "k"]


def average_precision(
    distances: Array,
    relevant: Array,
    *,
    k: int | None = 20,
    denominator: Denominator = "found",
) -> Floats:
    """Compute the expected average precision of the k nearest tiles.

    AP@k adds the precision at the rank of every relevant tile among the first k and divides by a
    denominator of which four are in use; name the one you report:

    - "found": relevant tiles found in the first k, as in MiLaN and torchmetrics; 0 if none.
    - "possible": relevant tiles that could be among the first k, min(relevant, k).
    - "k": always k.

    Args:
        distances: Distance of each tile from each query, shape (queries, tiles), nearest first.
            A tile at infinity is no candidate, such as the query itself.
        relevant: Whether each tile is relevant to each query, shape (queries, tiles).
        k: Ranks looked at, or None for all.
        denominator: What the sum is divided by.

    Returns:
        Expected AP of every query, shape (queries,).

    Raises:
        ValueError: If the shapes differ, k is not positive or the denominator is unknown.
    """
    gains = np.asarray(relevant, dtype=bool)
    return weighted_average_precision(distances, gains, k=k, denominator=denominator)


def mean_average_precision(
    distances: Array,
    relevant: Array,
    *,
    k: int | None = 20,
    denominator: Denominator = "found",
) -> float:
    """Compute mAP@k: the mean of `average_precision` over all queries, those at zero included.

    Args:
        distances: As in `average_precision`.
        relevant: As in `average_precision`.
        k: Ranks looked at, or None for all.
        denominator: As in `average_precision`.

    Returns:
        Mean average precision in [0, 1].

    Raises:
        ValueError: If the shapes differ, k is not positive or the denominator is unknown.
    """
    return float(average_precision(distances, relevant, k=k, denominator=denominator).mean())


def weighted_average_precision(
    distances: Array,
    gains: Array,
    *,
    k: int | None = 20,
    denominator: Denominator = "found",
) -> Floats:
    """Compute the expected average precision for graded relevance, such as shared labels.

    At the rank of each tile with any gain, the mean gain of all tiles up to that rank is taken;
    their sum is divided as in `average_precision`, which this equals where gains are 0 and 1.

    Args:
        distances: As in `average_precision`.
        gains: Relevance of each tile to each query, not negative, shape (queries, tiles).
        k: Ranks looked at, or None for all.
        denominator: As in `average_precision`.

    Returns:
        Expected weighted AP of every query, shape (queries,).

    Raises:
        ValueError: If the shapes differ, k is not positive or the denominator is unknown.

    References:
        Zhao, Huang, Wang and Tan, Deep Semantic Ranking Based Hashing, CVPR 2015,
        https://arxiv.org/abs/1501.06272, equation 9
    """
    if denominator not in {"found", "possible", "k"}:
        msg = f'denominator is {denominator!r}; use "found", "possible" or "k".'
        raise ValueError(msg)
    return np.array(
        [_expected_sum(groups, denominator) for groups in _ties(distances, gains, k)],
        dtype=np.float64,
    )


def precision_at(distances: Array, relevant: Array, *, k: int = 20) -> Floats:
    """Compute the expected share of relevant tiles among the k nearest.

    Args:
        distances: As in `average_precision`.
        relevant: As in `average_precision`.
        k: Ranks looked at; where there are fewer candidates, all of them.

    Returns:
        Expected precision of every query, shape (queries,).

    Raises:
        ValueError: If the shapes differ or k is not positive.
    """
    return average_cumulative_gain(distances, np.asarray(relevant, dtype=bool), k=k)


def average_cumulative_gain(distances: Array, gains: Array, *, k: int = 20) -> Floats:
    """Compute ACG@k: the expected mean gain of the k nearest tiles.

    Args:
        distances: As in `average_precision`.
        gains: Relevance of each tile to each query, not negative, shape (queries, tiles).
        k: Ranks looked at; where there are fewer candidates, all of them.

    Returns:
        Expected ACG of every query, shape (queries,).

    Raises:
        ValueError: If the shapes differ or k is not positive.
    """
    return np.array(
        [
            float((groups.gain * groups.slots / groups.size).sum() / max(1, groups.slots.sum()))
            for groups in _ties(distances, gains, k)
        ]
    )


def ndcg(distances: Array, gains: Array, *, k: int = 20) -> Floats:
    """Compute the expected normalised discounted cumulative gain of the k nearest tiles.

    The gain of a tile at rank p counts ``(2 ** gain - 1) / log2(1 + p)``; the sum is divided by
    that of the best possible order, and is 0 where no tile has any gain.

    Args:
        distances: As in `average_precision`.
        gains: Relevance of each tile to each query, not negative, shape (queries, tiles).
        k: Ranks looked at.

    Returns:
        Expected NDCG of every query, shape (queries,).

    Raises:
        ValueError: If the shapes differ or k is not positive.

    References:
        Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002,
        https://doi.org/10.1145/582415.582418
    """
    exponential = np.exp2(np.asarray(gains, dtype=np.float64)) - 1
    actual = [_discounted(groups) for groups in _ties(distances, exponential, k)]
    ideal = [_discounted(groups) for groups in _ties(_best_order(distances, gains), exponential, k)]
    pairs = zip(actual, ideal, strict=True)
    return np.array([a / i if i > 0 else 0.0 for a, i in pairs], dtype=np.float64)


def precision_within(distances: Array, relevant: Array, *, radius: float = 2) -> Floats:
    """Compute the share of relevant tiles among all within a radius, 0 where there is none.

    Args:
        distances: As in `average_precision`.
        relevant: As in `average_precision`.
        radius: Largest distance that counts, inclusive.

    Returns:
        Precision of every query, shape (queries,).

    Raises:
        ValueError: If the shapes differ.
    """
    _check(distances, relevant, None)
    inside = np.asarray(distances) <= radius
    hits = (inside & np.asarray(relevant, dtype=bool)).sum(1)
    precision: Floats = hits / np.maximum(1, inside.sum(1))
    return precision


def recall_within(distances: Array, relevant: Array, *, radius: float = 2) -> Floats:
    """Compute the share of all relevant tiles that lie within a radius, 0 where there is none.

    Args:
        distances: As in `average_precision`.
        relevant: As in `average_precision`.
        radius: Largest distance that counts, inclusive.

    Returns:
        Recall of every query, shape (queries,).

    Raises:
        ValueError: If the shapes differ.
    """
    _check(distances, relevant, None)
    wanted = np.asarray(relevant, dtype=bool) & np.isfinite(distances)
    inside = np.asarray(distances) <= radius
    recall: Floats = (inside & wanted).sum(1) / np.maximum(1, wanted.sum(1))
    return recall


def bit_entropy(bits: Array) -> Floats:
    """Compute the entropy of every bit over a set of codes.

    Args:
        bits: Zeros and ones, shape (tiles, bits).

    Returns:
        Entropies in [0, 1]: 1 where a bit splits the tiles in halves, 0 where it never changes.

    >>> bit_entropy(np.array([[0, 1], [1, 1]])).tolist()
    [1.0, 0.0]
    """
    share = np.asarray(bits, dtype=np.float64).mean(0)
    entropy: Floats = np.zeros_like(share)
    for part in (share, 1 - share):
        mask = part > 0
        entropy[mask] -= part[mask] * np.log2(part[mask])
    return entropy


@dataclass(frozen=True, kw_only=True)
class _Ties:
    """Tiles of one query in groups of equal distance, nearest first, as far as rank k.

    Attributes:
        size: Tiles of each group.
        slots: Ranks up to k that each group fills; less than its size in the last group only.
        hits: Tiles of each group with any gain.
        gain: Total gain of each group.
        possible: Tiles with any gain in all groups, also beyond k, at most k.
        k: Ranks looked at.
    """

    size: Floats
    slots: Floats
    hits: Floats
    gain: Floats
    possible: int
    k: int


def _ties(distances: Array, gains: Array, k: int | None) -> list[_Ties]:
    distances, gains = np.asarray(distances), np.asarray(gains)
    _check(distances, gains, k)
    return [_group(d, g, k) for d, g in zip(distances, gains, strict=True)]


def _group(distances: Array, gains: Array, k: int | None) -> _Ties:
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
    return _Ties(size=size, slots=slots, hits=hits, gain=total, possible=possible, k=k)


def _expected_sum(ties: _Ties, denominator: Denominator) -> float:
    """Average precision, expected over the orders within each group.

    Only the last group can be cut by rank k. How many of its hits fall within is hypergeometric,
    and given that number every arrangement is equally likely.
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
    """Sum over a group's slots of P(hit) times the expected mean gain up to that slot.

    With t the slot from 1, the expected gain of the other t - 1 tiles, given a hit at t, is
    ``(t - 1) (hits - 1) / (slots - 1)`` times the mean gain, so that the sum over t has a closed
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
    """Give every possible number of hits in the slots, and its probability."""
    low, high = max(0, slots - (size - hits)), min(hits, slots)
    found = np.arange(low, high + 1)
    log = _log_choose(hits, found) + _log_choose(size - hits, slots - found)
    chance = np.exp(log - log.max())
    return found.astype(np.float64), chance / chance.sum()


def _log_choose(n: int, k: npt.NDArray[np.int64]) -> Floats:
    table = np.r_[0.0, np.cumsum(np.log(np.arange(1, n + 1)))]
    result: Floats = table[n] - table[k] - table[n - k]
    return result


def _discounted(ties: _Ties) -> float:
    discounts = np.r_[0.0, np.cumsum(1 / np.log2(np.arange(2, ties.k + 2)))]
    ends = np.cumsum(ties.slots).astype(np.int64)
    shares = discounts[ends] - discounts[ends - ties.slots.astype(np.int64)]
    return float((ties.gain / ties.size * shares).sum())


def _best_order(distances: Array, gains: Array) -> Floats:
    best = -np.asarray(gains, dtype=np.float64)
    best[~np.isfinite(distances)] = np.inf
    return best


def _check(distances: Array, gains: Array, k: int | None) -> None:
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
