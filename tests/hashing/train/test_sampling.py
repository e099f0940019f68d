"""Batches are balanced, so that every anchor has a positive and a negative."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.train.sampling import (
    ClassBalancedSampler,
    ClassPairSampler,
    SingleTileWarning,
    rows_by_class,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::geohash_rs.hashing.train.sampling.SingleTileWarning"
)
LABELS = [0] * 10 + [1] * 3 + [2] * 20 + [3]


@given(st.lists(st.integers(0, 5), min_size=8, max_size=60), st.integers(2, 4), st.integers(2, 5))
@settings(max_examples=50, deadline=None)
def test_every_anchor_of_a_batch_has_a_positive_and_a_negative(labels, classes, samples):
    if sum(count > 1 for count in Counter(labels).values()) < 2:
        return
    sampler = ClassBalancedSampler(labels, classes_per_batch=classes, samples_per_class=samples)
    for batch in sampler:
        assert len(set(batch)) == len(batch)
        counts = Counter(labels[i] for i in batch)
        assert len(counts) >= 2
        assert min(counts.values()) >= 2


def test_a_class_with_a_single_tile_is_left_out():
    sampler = ClassBalancedSampler(LABELS, classes_per_batch=9, samples_per_class=4)
    counts = Counter(LABELS[i] for i in next(iter(sampler)))
    assert counts == {0: 4, 1: 3, 2: 4}
    assert len(sampler) == len(list(sampler)) == 34 // 12


def test_a_class_that_is_left_out_is_reported():
    with pytest.warns(SingleTileWarning, match=r"1 classes .* are left out \(3\); .* add tiles"):
        ClassBalancedSampler(LABELS)
    with pytest.warns(SingleTileWarning, match=r"left out \(harbour\)"):
        ClassPairSampler(LABELS, names=("beach", "forest", "river", "harbour"))


def test_epochs_differ_and_seeds_repeat():
    def epochs(seed):
        sampler = ClassBalancedSampler(LABELS, samples_per_class=3, num_batches=2, seed=seed)
        return [list(sampler), list(sampler)]

    assert epochs(1) == epochs(1) != epochs(2)
    assert epochs(1)[0] != epochs(1)[1]


def test_two_thirds_of_a_pair_batch_are_of_one_class():
    sampler = ClassPairSampler([0] * 50 + [1] * 50, num_triplets=10, num_batches=3)
    for batch in sampler:
        assert sorted(Counter(i >= 50 for i in batch).values()) == [10, 20]


def test_batches_without_triplets_are_refused():
    with pytest.raises(TrainingError, match=r"all 5 training tiles are of one class"):
        rows_by_class([7] * 5)
    with pytest.raises(TrainingError, match=r"single tiles: classes \[0, 1, 2\]"):
        ClassBalancedSampler([0, 1, 2])
    with pytest.raises(TrainingError, match="15 classes x 1 tiles"):
        ClassBalancedSampler(LABELS, samples_per_class=1)
    with pytest.raises(TrainingError, match=r"shape \(2, 3\); balanced batches need one class"):
        ClassBalancedSampler(torch.ones(2, 3))
