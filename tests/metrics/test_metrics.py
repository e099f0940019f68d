"""Metrics are compared with brute force over every order of ties, and with torchmetrics."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score
from torchmetrics.functional.retrieval import retrieval_average_precision

from geohash_rs.metrics import measures as metrics


def orders_of(distances):
    """Every order of the tiles that sorts the distances."""
    tiles = range(len(distances))
    return [p for p in permutations(tiles) if all(np.diff(np.asarray(distances)[list(p)]) >= 0)]


def plain_ap(gains, k, denominator):
    found, total, hits = 0.0, 0.0, 0
    for rank, gain in enumerate(gains[:k], start=1):
        total += gain
        if gain > 0:
            hits += 1
            found += total / rank
    possible = min(k, sum(g > 0 for g in gains))
    divisor = {"found": hits, "possible": possible, "k": k}[denominator]
    return found / divisor if divisor else 0.0


def plain_dcg(gains, k):
    return sum((2**g - 1) / np.log2(1 + p) for p, g in enumerate(gains[:k], start=1))


rankings = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    ranking=rankings,
    k=st.integers(1, 7),
    denominator=st.sampled_from(["found", "possible", "k"]),
)
def test_ap_is_the_mean_over_every_order_of_the_ties(ranking, k, denominator):
    distances, gains = (np.array(column) for column in zip(*ranking, strict=True))
    orders = orders_of(distances)
    binary = np.mean([plain_ap([int(gains[t] > 0) for t in o], k, denominator) for o in orders])
    graded = np.mean([plain_ap([gains[t] for t in o], k, denominator) for o in orders])
    ours = metrics.average_precision(distances[None], gains[None] > 0, k=k, denominator=denominator)
    weighted = metrics.weighted_average_precision(
        distances[None], gains[None], k=k, denominator=denominator
    )
    assert ours[0] == pytest.approx(binary, abs=1e-12)
    assert weighted[0] == pytest.approx(graded, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(ranking=rankings, k=st.integers(1, 7))
def test_other_measures_are_the_mean_over_every_order_of_the_ties(ranking, k):
    distances, gains = (np.array(column) for column in zip(*ranking, strict=True))
    orders = [[gains[t] for t in order] for order in orders_of(distances)]
    seen = min(k, len(gains))
    acg = np.mean([sum(o[:k]) / seen for o in orders])
    precision = np.mean([sum(g > 0 for g in o[:k]) / seen for o in orders])
    ideal = plain_dcg(sorted(gains, reverse=True), k)
    ndcg = np.mean([plain_dcg(o, k) for o in orders]) / ideal if ideal else 0
    row = distances[None], gains[None]
    assert metrics.average_cumulative_gain(*row, k=k)[0] == pytest.approx(acg)
    assert metrics.precision_at(distances[None], gains[None] > 0, k=k)[0] == pytest.approx(
        precision
    )
    assert metrics.ndcg(*row, k=k)[0] == pytest.approx(ndcg)


def test_ap_without_ties_equals_torchmetrics():
    rng = np.random.default_rng(0)
    distances = rng.permuted(np.tile(np.arange(200.0), (10, 1)), axis=1)
    relevant = rng.random((10, 200)) < 0.2
    ours = metrics.average_precision(distances, relevant, k=20)
    for row in range(10):
        # torchmetrics expects scores and ignores tiles whose scores are not positive
        scores = torch.tensor(1 / (1 + distances[row]))
        other = retrieval_average_precision(scores, torch.tensor(relevant[row]), top_k=20)
        assert ours[row] == pytest.approx(float(other), abs=1e-6)


def test_ndcg_with_ties_equals_scikit_learn():
    rng = np.random.default_rng(1)
    distances, gains = rng.integers(0, 9, (5, 100)), rng.integers(0, 4, (5, 100))
    other = [
        ndcg_score([2.0 ** gains[i] - 1], [-distances[i].astype(float)], k=10) for i in range(5)
    ]
    np.testing.assert_allclose(metrics.ndcg(distances, gains, k=10), other)


def test_ap_with_large_tied_groups_equals_many_random_orders():
    rng = np.random.default_rng(2)
    distances, relevant = rng.integers(0, 3, (1, 300)), rng.random((1, 300)) < 0.1
    sampled = []
    for _ in range(3000):
        order = np.lexsort((rng.random(300), distances[0]))
        sampled.append(plain_ap(relevant[0, order].astype(int), 20, "found"))
    error = np.std(sampled) / np.sqrt(len(sampled))
    ours = metrics.average_precision(distances, relevant, k=20)[0]
    assert abs(ours - np.mean(sampled)) < 4 * error


def test_a_tile_at_infinite_distance_is_left_out():
    distances = np.array([[np.inf, 1.0, 2.0]])
    relevant = np.array([[True, False, True]])
    assert metrics.average_precision(distances, relevant, k=3)[0] == pytest.approx(0.5)
    assert metrics.average_precision(distances[:, :1], relevant[:, :1])[0] == 0


def test_precision_and_recall_within_a_radius_include_the_radius():
    distances = np.array([[0, 2, 3], [3, 3, 3]])
    relevant = np.array([[True, False, True], [True, True, True]])
    assert metrics.precision_within(distances, relevant, radius=2).tolist() == [0.5, 0]
    assert metrics.recall_within(distances, relevant, radius=2).tolist() == [0.5, 0]


def test_bad_shapes_and_k_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) and relevance has \(2, 4\)"):
        metrics.average_precision(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="k is 0"):
        metrics.average_precision(np.zeros((2, 3)), np.zeros((2, 3)), k=0)
    with pytest.raises(ValueError, match="denominator is 'all'"):
        metrics.average_precision(np.zeros((2, 3)), np.zeros((2, 3)), denominator="all")
