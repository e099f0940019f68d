"""Losses equal plain loops over all triplets in float64; gradients equal finite differences."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.train.losses import (
    MiLaNLoss,
    balance_loss,
    keep_loss,
    pairwise_distances,
    push_loss,
    triplet_loss,
)
from geohash_rs.hashing.train.mining import MINERS, Triplets, label_similarity
from geohash_rs.hashing.train.settings import LossSettings


def draw(tiles=7, bits=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(tiles, bits, dtype=torch.float64, generator=generator)


LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 2])
MANY = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]])


def plain_distance(a, b, *, normalise):
    a, b = a.tolist(), b.tolist()
    if normalise:
        a, b = ([x / math.sqrt(sum(y * y for y in v)) for x in v] for v in (a, b))
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def plain_similarity(a, b):
    if a.ndim == 0:
        return float(a == b)
    a, b = set(a.nonzero().flatten().tolist()), set(b.nonzero().flatten().tolist())
    return len(a & b) / len(a | b)


def plain_triplets(s, labels, method, margin):
    """Return the set of mined triplets, by loops over all triplets."""
    n = range(len(s))

    def d(i, j):
        return plain_distance(s[i], s[j], normalise=True)

    def like(i, j):
        return plain_similarity(labels[i], labels[j])

    valid = [
        (a, p, m)
        for a, p, m in itertools.product(n, n, n)
        if p != a and m != a and like(a, p) > like(a, m)
    ]
    if method == "batch_all":
        return {t for t in valid if d(t[0], t[1]) - d(t[0], t[2]) + margin > 0}
    chosen = set()
    if method == "batch_hard":
        for a in n:
            own = [t for t in valid if t[0] == a]
            if own:
                chosen.add(max(own, key=lambda t: d(t[0], t[1]) - d(t[0], t[2])))
        return chosen
    for a, p in itertools.product(n, n):
        own = [t for t in valid if t[:2] == (a, p)]
        beyond = [t for t in own if d(a, t[2]) > d(a, p)]
        if beyond:
            chosen.add(min(beyond, key=lambda t: d(a, t[2])))
        elif own:
            chosen.add(max(own, key=lambda t: d(a, t[2])))
    return chosen


@pytest.mark.parametrize("labels", [LABELS, MANY], ids=["one class", "several labels"])
@pytest.mark.parametrize("method", ["batch_all", "batch_hard", "semi_hard"])
@pytest.mark.parametrize("seed", range(3))
def test_mined_triplets_and_their_loss_equal_plain_loops(method, labels, seed):
    s = draw(len(labels), seed=seed)
    wanted = plain_triplets(s, labels, method, 0.2)
    distances = pairwise_distances(s)
    triplets = MINERS[method](distances, label_similarity(labels), margin=0.2, generator=None)
    assert set(zip(*(t.tolist() for t in triplets), strict=True)) == wanted
    plain = [
        max(
            0.0,
            plain_distance(s[a], s[p], normalise=True)
            - plain_distance(s[a], s[n], normalise=True)
            + 0.2,
        )
        for a, p, n in wanted
    ]
    ours = float(triplet_loss(distances, triplets, margin=0.2))
    assert ours == pytest.approx(sum(plain) / len(plain), abs=1e-12)


def test_a_triplet_worked_by_hand():
    s = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.5]], dtype=torch.float64)
    triplets = Triplets(*(torch.tensor([i]) for i in (0, 1, 2)))
    # d(a, p) = 2 and d(a, n) = 0.25, so the loss is 2 - 0.25 + 0.2
    loss = triplet_loss(pairwise_distances(s, normalise=False), triplets, margin=0.2)
    assert float(loss) == pytest.approx(1.95)


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_push_and_balance_equal_plain_loops(tiles, bits, seed):
    s = draw(tiles, bits, seed)
    rows = s.tolist()
    push = -sum(sum((x - 0.5) ** 2 for x in row) / bits for row in rows) / tiles
    sample = sum((sum(row) / bits - 0.5) ** 2 for row in rows) / tiles
    bit = sum((sum(column) / tiles - 0.5) ** 2 for column in zip(*rows, strict=True)) / bits
    assert float(push_loss(s)) == pytest.approx(push)
    assert float(balance_loss(s, over="sample")) == pytest.approx(sample)
    assert float(balance_loss(s, over="bit")) == pytest.approx(bit)


@given(st.integers(2, 6), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_keep_equals_plain_loops(tiles, bits, seed):
    s = draw(tiles, bits, seed)
    z = torch.randn(tiles, 5, generator=torch.Generator().manual_seed(seed)).double()
    cosine = torch.nn.functional.cosine_similarity
    total = sum(
        float(cosine(2 * s[i] - 1, 2 * s[j] - 1, dim=0) - cosine(z[i], z[j], dim=0)) ** 2
        for i, j in itertools.permutations(range(tiles), 2)
    )
    assert float(keep_loss(s, z)) == pytest.approx(total / (tiles * (tiles - 1)))


@pytest.mark.parametrize("method", MINERS)
@pytest.mark.parametrize("over", ["sample", "bit"])
@pytest.mark.parametrize("normalise", [True, False])
def test_gradients_of_the_whole_loss_equal_finite_differences(method, over, normalise):
    # a margin that every triplet violates, and distances without ties, keep the loss smooth here
    settings = LossSettings(
        margin=9, normalise=normalise, mining=method, balance_over=over, proxy=0.3
    )
    loss = MiLaNLoss(settings, num_bits=8, num_classes=3).double()
    s = draw().requires_grad_()

    def total(activations):
        generator = torch.Generator().manual_seed(0)
        return loss(activations, LABELS, generator=generator)["loss"]

    assert torch.autograd.gradcheck(total, (s,))


def test_the_loss_is_the_weighted_sum_of_its_terms():
    settings = LossSettings(push=0.5, balance=2.0, proxy=0.3, keep=4.0)
    loss = MiLaNLoss(settings, num_bits=8, num_classes=3).double()
    terms = loss(draw(), LABELS, features=draw(seed=1))
    whole = terms["triplet"] + 0.5 * terms["push"] + 2 * terms["balance"] + 0.3 * terms["proxy"]
    whole = whole + 4 * terms["keep"]
    torch.testing.assert_close(terms["loss"], whole)


@pytest.mark.parametrize("method", MINERS)
@pytest.mark.parametrize("labels", [torch.zeros(4, dtype=torch.long), torch.arange(4)])
def test_a_batch_without_a_triplet_has_no_triplet_loss_but_a_gradient(method, labels):
    s = draw(4).requires_grad_()
    terms = MiLaNLoss(LossSettings(mining=method))(s, labels)
    assert float(terms["triplet"].detach()) == 0
    terms["triplet"].backward(retain_graph=True)
    assert torch.equal(s.grad, torch.zeros_like(s))


@pytest.mark.parametrize("method", MINERS)
def test_equal_codes_do_not_crash(method):
    s = torch.full((7, 8), 0.5, dtype=torch.float64, requires_grad=True)
    MiLaNLoss(LossSettings(mining=method))(s, LABELS)["loss"].backward()
    assert torch.isfinite(s.grad).all()


def test_class_pairs_use_one_positive_and_one_negative_class():
    labels = torch.tensor([3] * 60 + [5] * 30)
    generator = torch.Generator().manual_seed(0)
    triplets = MINERS["class_pairs"](
        torch.zeros(90, 90), label_similarity(labels), margin=0.2, generator=generator
    )
    assert set(labels[triplets.anchors].tolist()) == {3}
    assert set(labels[triplets.negatives].tolist()) == {5}
    used = torch.cat([triplets.anchors, triplets.positives])
    assert sorted(used.tolist()) == list(range(60))
    assert sorted(triplets.negatives.tolist()) == list(range(60, 90))


def test_wrong_settings_and_inputs_are_refused():
    with pytest.raises(TrainingError, match="mining 'easy' is not one of class_pairs"):
        LossSettings(mining="easy")
    with pytest.raises(TrainingError, match=r"margin is 0"):
        LossSettings(margin=0)
    with pytest.raises(TrainingError, match="pass num_bits and num_classes"):
        MiLaNLoss(LossSettings(proxy=1.0))
    with pytest.raises(TrainingError, match="pass features=, or keep=0"):
        MiLaNLoss(LossSettings(keep=1.0))(draw(), LABELS)
    with pytest.raises(TrainingError, match="balance over 'batch'"):
        balance_loss(draw(), over="batch")
    with pytest.raises(TrainingError, match="7 activations but 3 labels"):
        MiLaNLoss()(draw(), LABELS[:3])
    with pytest.raises(TrainingError, match="NaN or infinite"):
        MiLaNLoss()(draw() * torch.nan, LABELS)
    with pytest.raises(TrainingError, match=r"shape \(7,\) and type torch.float32"):
        MiLaNLoss()(draw(), LABELS.float())
    with pytest.raises(TrainingError, match="1 of 2 tiles of a batch have no label"):
        label_similarity(torch.tensor([[1, 0], [0, 0]]))
