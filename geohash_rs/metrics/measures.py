"""Measures of ranking quality, such as average precision, that treat ties exactly.

Hamming distances are small integers, so many tiles have the same distance. Their order is
arbitrary, and can shift mean average precision by a point or two. Every measure here is the exact
expectation over all orders of tied tiles.

References:
    McSherry and Najork, Computing information retrieval performance measures efficiently in the
    presence of tied scores, ECIR 2008, https://doi.org/10.1007/978-3-540-78646-7_38
    He, Cakir, Bargal and Sclaroff, Hashing as Tie-Aware Learning to Rank, CVPR 2018,
    https://arxiv.org/abs/1705.08562
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.metrics.ties import (
    Denominator,
    check_ranking,
    discounted_gain,
    expected_precision,
    group_ties,
)

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


def average_precision(
    distances: Array,
    relevant: Array,
    *,
    k: int | None = 20,
    denominator: Denominator = "found",
) -> Floats:
    """Compute the expected average precision of the k nearest tiles.

    AP@k sums the precision at the rank of every relevant tile among the first k and divides by a
    denominator. Three are in use; state which one you report:

    - "found": relevant tiles found in the first k, as in MiLaN and torchmetrics; AP is 0 if none.
    - "possible": relevant tiles that could be among the first k, min(relevant, k).
    - "k": always k.

    Args:
        distances: Distance of each tile from each query, shape (queries, tiles), in any order.
            An infinite distance excludes a tile, such as the query itself.
        relevant: Whether each tile is relevant to each query, shape (queries, tiles).
        k: Number of ranks to evaluate, or None for all.
        denominator: The divisor of the sum.

    Returns:
        Expected AP of each query, shape (queries,).

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
    """Compute mAP@k: the mean of `average_precision` over all queries, including zeros.

    Args:
        distances: As in `average_precision`.
        relevant: As in `average_precision`.
        k: Number of ranks to evaluate, or None for all.
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

    Sums the mean gain of all tiles up to the rank of each tile with a positive gain, and divides as
    in `average_precision`. Gains of 0 and 1 give the same result as `average_precision`.

    Args:
        distances: As in `average_precision`.
        gains: Relevance of each tile to each query, not negative, shape (queries, tiles).
        k: Number of ranks to evaluate, or None for all.
        denominator: As in `average_precision`.

    Returns:
        Expected weighted AP of each query, shape (queries,).

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
        [expected_precision(groups, denominator) for groups in group_ties(distances, gains, k)],
        dtype=np.float64,
    )


def precision_at(distances: Array, relevant: Array, *, k: int = 20) -> Floats:
    """Compute the expected share of relevant tiles among the k nearest.

    Args:
        distances: As in `average_precision`.
        relevant: As in `average_precision`.
        k: Number of ranks to evaluate; all candidates if there are fewer.

    Returns:
        Expected precision of each query, shape (queries,).

    Raises:
        ValueError: If the shapes differ or k is not positive.
    """
    return average_cumulative_gain(distances, np.asarray(relevant, dtype=bool), k=k)


def average_cumulative_gain(distances: Array, gains: Array, *, k: int = 20) -> Floats:
    """Compute ACG@k: the expected mean gain of the k nearest tiles.

    Args:
        distances: As in `average_precision`.
        gains: Relevance of each tile to each query, not negative, shape (queries, tiles).
        k: Number of ranks to evaluate; all candidates if there are fewer.

    Returns:
        Expected ACG of each query, shape (queries,).

    Raises:
        ValueError: If the shapes differ or k is not positive.
    """
    return np.array(
        [
            float((groups.gain * groups.slots / groups.size).sum() / max(1, groups.slots.sum()))
            for groups in group_ties(distances, gains, k)
        ]
    )


def ndcg(distances: Array, gains: Array, *, k: int = 20) -> Floats:
    """Compute the expected normalised discounted cumulative gain of the k nearest tiles.

    A tile at rank p contributes ``(2 ** gain - 1) / log2(1 + p)``; the sum is divided by that of
    the best possible order. The result is 0 if no tile has a positive gain.

    Args:
        distances: As in `average_precision`.
        gains: Relevance of each tile to each query, not negative, shape (queries, tiles).
        k: Number of ranks to evaluate.

    Returns:
        Expected NDCG of each query, shape (queries,).

    Raises:
        ValueError: If the shapes differ or k is not positive.

    References:
        Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002,
        https://doi.org/10.1145/582415.582418
    """
    exponential = np.exp2(np.asarray(gains, dtype=np.float64)) - 1
    actual = [discounted_gain(groups) for groups in group_ties(distances, exponential, k)]
    ideal = [
        discounted_gain(groups)
        for groups in group_ties(_best_order(distances, gains), exponential, k)
    ]
    pairs = zip(actual, ideal, strict=True)
    return np.array([a / i if i > 0 else 0.0 for a, i in pairs], dtype=np.float64)


def precision_within(distances: Array, relevant: Array, *, radius: float = 2) -> Floats:
    """Compute the share of relevant tiles among all tiles within a radius, 0 if there are none.

    Args:
        distances: As in `average_precision`.
        relevant: As in `average_precision`.
        radius: Largest distance that counts, inclusive.

    Returns:
        Precision of each query, shape (queries,).

    Raises:
        ValueError: If the shapes differ.
    """
    check_ranking(distances, relevant, None)
    inside = np.asarray(distances) <= radius
    hits = (inside & np.asarray(relevant, dtype=bool)).sum(1)
    precision: Floats = hits / np.maximum(1, inside.sum(1))
    return precision


def recall_within(distances: Array, relevant: Array, *, radius: float = 2) -> Floats:
    """Compute the share of relevant tiles that lie within a radius, 0 if there are none.

    Args:
        distances: As in `average_precision`.
        relevant: As in `average_precision`.
        radius: Largest distance that counts, inclusive.

    Returns:
        Recall of each query, shape (queries,).

    Raises:
        ValueError: If the shapes differ.
    """
    check_ranking(distances, relevant, None)
    wanted = np.asarray(relevant, dtype=bool) & np.isfinite(distances)
    inside = np.asarray(distances) <= radius
    recall: Floats = (inside & wanted).sum(1) / np.maximum(1, wanted.sum(1))
    return recall


def bit_entropy(bits: Array) -> Floats:
    """Compute the entropy of each bit over a set of codes.

    Args:
        bits: Zeros and ones, shape (tiles, bits).

    Returns:
        Entropies in [0, 1]: 1 if a bit splits the tiles in half, 0 if it never changes.

    >>> bit_entropy(np.array([[0, 1], [1, 1]])).tolist()
    [1.0, 0.0]
    """
    share = np.asarray(bits, dtype=np.float64).mean(0)
    entropy: Floats = np.zeros_like(share)
    for part in (share, 1 - share):
        mask = part > 0
        entropy[mask] -= part[mask] * np.log2(part[mask])
    return entropy


def _best_order(distances: Array, gains: Array) -> Floats:
    best = -np.asarray(gains, dtype=np.float64)
    best[~np.isfinite(distances)] = np.inf
    return best
