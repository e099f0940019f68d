"""Ranking validation tiles some queries at a time equals ranking all at once."""

import pytest
import torch

from geohash_rs.hashing.train import validation
from geohash_rs.hashing.train.validation import ranking_values
from geohash_rs.metrics import measures as metrics


@pytest.fixture
def bits():
    return torch.rand(30, 16, generator=torch.Generator().manual_seed(0)) > 0.5


@pytest.mark.parametrize("several", [False, True])
def test_blocks_of_queries_equal_all_queries_at_once(bits, several, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(3, (30,), generator=generator)
    if several:
        labels = torch.nn.functional.one_hot(labels, 4)
        labels[::3, 3] = 1
    whole = ranking_values(bits, labels, k=5)
    seen = []
    ranked = metrics.average_precision
    monkeypatch.setattr(validation, "MOST_PAIRS", 7 * 30 + 5)
    monkeypatch.setattr(
        metrics, "average_precision", lambda d, r, **s: seen.append(d.shape) or ranked(d, r, **s)
    )
    assert ranking_values(bits, labels, k=5) == pytest.approx(whole, abs=1e-12)
    assert seen == [(7, 30)] * 4 + [(2, 30)]
    distances = (bits[:, None] != bits[None]).sum(2).double()
    distances.fill_diagonal_(torch.inf)
    alike = labels[:, None] == labels if labels.ndim == 1 else labels @ labels.T > 0
    assert whole["map"] == pytest.approx(
        metrics.mean_average_precision(distances.numpy(), alike.numpy(), k=5)
    )
