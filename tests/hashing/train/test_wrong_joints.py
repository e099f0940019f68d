"""A loss, miner, sampler or network that cannot be used is named, with what to pass instead."""

import pytest
import torch
from torch import nn

from geohash_rs.errors import HasherError, TrainingError
from geohash_rs.hashing.data.class_folder_module import ClassFolderDataModule
from geohash_rs.hashing.train.mining import Triplets
from geohash_rs.hashing.train.sampling import ClassBalancedSampler
from geohash_rs.hashing.train.task import HashingTask
from tests.hashing.lightning_runs import SMALL, TRAINING_WARNINGS, trainer

pytestmark = TRAINING_WARNINGS


class Own(nn.Module):
    """A loss that returns what a function makes of activations and labels."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, activations, labels):
        return self.function(activations, labels)


def fit(folder, tmp_path, **settings):
    task = HashingTask(**SMALL, **settings)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(task, datamodule=ClassFolderDataModule(str(folder), size=40))
    return run.callback_metrics


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("triplet", "loss='triplet' is not a torch module; pass an object such as MyLoss"),
        (Own, "is not a torch module"),
        (nn.Identity(), "Identity cannot be called with activations and labels"),
    ],
)
def test_what_is_not_a_loss_is_refused_when_the_task_is_made(loss, words):
    with pytest.raises(TrainingError, match=words):
        HashingTask(**SMALL, loss=loss)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda a, _: a.sum(1), r"the loss Own returned .* as 'loss'; each term must be one"),
        (lambda a, _: {"loss": a.sum(), "x": a}, "as 'x'; each term must be one finite number"),
        (lambda a, _: a.sum() * torch.nan, r"returned \[nan\] of shape \(\) as 'loss'"),
        (lambda *_: 0.5, "returned float; return a scalar tensor"),
        (lambda a, _: a.detach().sum(), "does not depend on the activations; .* without detach"),
    ],
)
def test_what_a_loss_may_not_return_is_named(folder, tmp_path, loss, words):
    with pytest.raises(TrainingError, match=words):
        fit(folder, tmp_path, loss=Own(loss))


def test_a_miner_with_other_arguments_is_refused_when_the_task_is_made():
    with pytest.raises(TrainingError, match=r"mining=.* unexpected keyword argument 'margin'\)"):
        HashingTask(**SMALL, mining=lambda distances, similarity: None)


def test_triplets_beyond_the_batch_are_named(folder, tmp_path):
    def far(distances, similarity, *, margin, generator):
        return Triplets(*(torch.tensor([row]) for row in (0, 1, 999)))

    with pytest.raises(TrainingError, match="the miner far chose tiles 0 to 999 of a batch of"):
        fit(folder, tmp_path, mining=far)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            Triplets(torch.zeros(3), torch.arange(3), torch.arange(3)),
            r"Triplets with anchors float32 of shape \(3,\), positives int64 of shape \(3,\)",
        ),
        (
            Triplets(torch.arange(3), torch.arange(2), torch.arange(3)),
            r"anchors int64 of shape \(3,\), positives int64 of shape \(2,\), negatives",
        ),
        (
            (torch.arange(3), [1], torch.arange(3)),
            "tuple with anchors .* positives list, negatives",
        ),
        (torch.arange(3), "the miner wrong returned Tensor; return Triplets"),
    ],
)
def test_wrong_fields_of_triplets_are_named(folder, tmp_path, found, words):
    def wrong(distances, similarity, *, margin, generator):
        return found

    with pytest.raises(TrainingError, match=words):
        fit(folder, tmp_path, mining=wrong)


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ("random", "sampler='random' is not a function of the labels"),
        (ClassBalancedSampler([0, 0, 1, 1]), "object at .* is not a function of the labels"),
        (lambda labels: iter([[0, 1]]), "returned list_iterator, which has no length"),
        (lambda labels: [], "returned list of length 0"),
        (lambda labels: [0, 1], "the sampler list drew the batch 0; a batch lists rows of the"),
        (lambda labels: [["a"]], r"drew the batch \['a'\]; a batch lists rows"),
        (lambda labels: [[0, 1], [0, 900]], r"drew the batch \[0, 900\]; .* from 0 to"),
    ],
)
def test_what_is_not_a_sampler_is_named(folder, tmp_path, sampler, words):
    with pytest.raises(TrainingError, match=words):
        fit(folder, tmp_path, sampler=sampler)


def test_a_network_for_other_bands_is_named():
    settings = SMALL | {"model": nn.Conv2d(4, 8, 3)}
    with pytest.raises(HasherError, match=r"Conv2d cannot take one image of 3 x 224 x 224 \("):
        HashingTask(**settings)
