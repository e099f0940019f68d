"""A head trains on batches of its recipe's size, and refuses contradicting settings."""

import pytest
import torch

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.train.losses import MiLaNLoss
from geohash_rs.hashing.train.on_features import train_head
from geohash_rs.hashing.train.recipes import RECIPES
from geohash_rs.hashing.train.task import HashingTask


@pytest.fixture
def features():
    return torch.rand(200, 1, 6, generator=torch.Generator().manual_seed(0))


def test_the_papers_batches_are_thirty_triplets_for_several_labels_too(features, monkeypatch):
    sizes = []
    plain = MiLaNLoss.forward

    def forward(loss, activations, labels, **more):
        sizes.append(len(activations))
        return plain(loss, activations, labels, **more)

    monkeypatch.setattr(MiLaNLoss, "forward", forward)
    several = torch.nn.functional.one_hot(torch.arange(200) % 3)
    recipe = RECIPES["paper"].with_(hidden=(4,), iterations=2)
    for labels in (several, several.argmax(1)):
        train_head(features, labels, num_bits=8, recipe=recipe)
    assert sizes == [90, 90, 90, 90]


def test_components_without_standardised_features_are_refused():
    with pytest.raises(TrainingError, match="components=4 needs standardise=True"):
        RECIPES["paper"].with_(components=4)
    with pytest.raises(TrainingError, match="components=4 needs standardise=True"):
        HashingTask(model="test_resnet", weights=False, components=4, standardise=False)


def test_a_whitening_that_could_not_work_is_refused():
    with pytest.raises(TrainingError, match=r"whitening=0.5 with components=0"):
        RECIPES["paper"].with_(whitening=0.5)
    with pytest.raises(TrainingError, match=r"whitening=2 with components=384"):
        RECIPES["milan"].with_(whitening=2)
