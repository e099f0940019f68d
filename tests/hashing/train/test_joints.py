"""Own losses, miners, samplers and backbones are trained with; wrong ones are named."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from geohash_rs.errors import GeoHashRSWarning, HasherError, TrainingError
from geohash_rs.hashing.data.class_folder_module import ClassFolderDataModule
from geohash_rs.hashing.network.pretrained import load_backbone
from geohash_rs.hashing.shipped import load_hasher
from geohash_rs.hashing.train.mining import Triplets
from geohash_rs.hashing.train.sampling import ClassBalancedSampler
from geohash_rs.hashing.train.task import HashingTask
from tests.hashing.lightning_runs import SMALL, TRAINING_WARNINGS, trainer

pytestmark = TRAINING_WARNINGS


class Contrastive(nn.Module):
    """Counts its calls; pulls tiles of a class together."""

    calls = 0

    def forward(self, activations, labels):
        self.calls += 1
        alike = (labels[:, None] == labels[None, :]).float()
        apart = torch.cdist(activations, activations)
        return {"loss": (alike * apart - (1 - alike) * apart).mean(), "apart": apart.mean()}


class Net(nn.Module):
    """A small network that pools at its end."""

    def __init__(self, *, pool=True):
        super().__init__()
        end = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if pool else []
        self.layers = nn.Sequential(nn.Conv2d(3, 12, 5, stride=2), nn.ReLU(), *end)

    def forward(self, images):
        return self.layers(images)


def fit(folder, tmp_path, **settings):
    torch.manual_seed(0)
    task = HashingTask(**SMALL | settings)
    run = trainer(tmp_path, max_epochs=2)
    run.fit(task, datamodule=ClassFolderDataModule(str(folder), size=40))
    return task, run


def test_an_own_loss_is_minimised_and_its_terms_are_logged(folder, tmp_path):
    loss = Contrastive()
    _, run = fit(folder, tmp_path, loss=loss)
    assert loss.calls == SMALL["iterations"]
    assert {"train_loss", "train_apart"} <= set(run.callback_metrics)
    with pytest.raises(TrainingError, match="margin, proxy belong to MiLaN's loss, which loss=Con"):
        HashingTask(**SMALL, loss=loss, margin=0.3, proxy=1.0)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (1.0, r"the loss Wrong returned float; return a scalar tensor, or a dictionary"),
        ({"triplet": torch.tensor(1.0)}, "the loss Wrong returned dict"),
        (torch.tensor([1.0, 2.0]), r"returned \[1.0, 2.0\] of shape \(2,\) as .loss"),
        (torch.tensor(torch.nan), r"the loss Wrong returned \[nan\]"),
    ],
)
def test_a_wrong_loss_is_named(folder, tmp_path, returned, said):
    class Wrong(nn.Module):
        def forward(self, activations, labels):
            return returned

    with pytest.raises(TrainingError, match=said):
        fit(folder, tmp_path, loss=Wrong())


def test_an_own_miner_chooses_the_triplets(folder, tmp_path):
    seen = []

    def first_of_each(distances, similarity, *, margin, generator):
        seen.append(similarity.shape)
        anchors = torch.arange(len(distances))
        return Triplets(anchors, similarity.float().argmax(1), similarity.float().argmin(1))

    fit(folder, tmp_path, mining=first_of_each)
    assert len(seen) == SMALL["iterations"]
    with pytest.raises(TrainingError, match=r"the miner <lambda> returned list; return Triplets"):
        fit(folder, tmp_path, mining=lambda *_, **__: [1])
    with pytest.raises(
        TrainingError, match="'hardest' is not one of class_pairs, .* hashing.Miner"
    ):
        HashingTask(**SMALL, mining="hardest")


def test_an_own_sampler_draws_the_batches(folder, tmp_path):
    drawn = []

    def sampler(labels):
        drawn.append(len(labels))
        return ClassBalancedSampler(labels, classes_per_batch=2, samples_per_class=3, num_batches=7)

    _, run = fit(folder, tmp_path, sampler=sampler)
    assert (drawn[0], run.global_step) == (18, 14)
    with pytest.raises(TrainingError, match="the sampler returned generator, which has no length"):
        fit(folder, tmp_path, sampler=lambda labels: (row for row in labels))
    with pytest.raises(TrainingError, match=r"the sampler list drew the batch \[0, 99\]; .* 18"):
        fit(folder, tmp_path, sampler=lambda labels: [[0, 99]])


def test_an_own_module_is_trained_on_and_saved(folder, tmp_path):
    from timm.models import register_model

    task, _ = fit(folder, tmp_path, model=Net(), weights=True, input_size=40)
    hasher = task.hasher()
    assert (hasher.backbone.model_name, hasher.backbone.num_features) == ("Net", 12)
    hasher.save(tmp_path / "own.safetensors")
    with pytest.raises(HasherError, match="timm has no model 'Net'.* timm.models.register_model"):
        load_hasher(tmp_path / "own.safetensors")

    def Net_(pretrained=False, **_):  # noqa: N802 - the name of a model
        return Net()

    Net_.__name__ = "Net"
    Net_.__module__ = __name__
    register_model(Net_)
    tiles = torch.rand(4, 3, 40, 40) * 255
    again = load_hasher(tmp_path / "own.safetensors")
    assert (again.codes(tiles) == hasher.codes(tiles)).all()


def test_wrong_backbones_are_named():
    with pytest.raises(HasherError, match=r"Net returned \(1, 12, 110, 110\) .* global pooling"):
        HashingTask(model=Net(pool=False))
    with pytest.raises(HasherError, match=r"use a timm name or a module, such as MyNet\(\)"):
        HashingTask(model=Net)
    with pytest.raises(HasherError, match="timm has no model 'mine.Net'"):
        HashingTask(model="mine.Net")
    with pytest.raises(HasherError, match="cannot take images of 128 px .*; use input_size=224"):
        HashingTask(model="vit_tiny_patch16_224", weights=False, input_size=128)


def test_an_own_measure_that_returns_nothing_is_named(folder, tmp_path):
    class Forgets(HashingTask):
        def measure(self, bits, labels):
            super().measure(bits, labels)

    data = ClassFolderDataModule(str(folder), size=40)
    with pytest.raises(
        TrainingError, match=r"measure\(\) of Forgets returned None; return the dict"
    ):
        trainer(tmp_path, max_epochs=1).fit(Forgets(**SMALL), datamodule=data)


def test_a_checkpoint_names_the_loss_that_it_was_trained_with(folder, tmp_path):
    for loss, name in ((Contrastive(), "own"), (None, "milan")):
        task, run = fit(folder, tmp_path, loss=loss, proxy=None if loss else 0.3)
        run.save_checkpoint(tmp_path / f"{name}.ckpt")
        again = HashingTask.load_from_checkpoint(tmp_path / f"{name}.ckpt", loss=loss)
        assert again.hasher().fingerprint == task.hasher().fingerprint
    words = r"trained with loss=Contrastive, whose class it does not hold; pass loss=Contrastive\("
    with pytest.raises(TrainingError, match=words):
        HashingTask.load_from_checkpoint(tmp_path / "own.ckpt")
    other, data = HashingTask(**SMALL, loss=Contrastive()), ClassFolderDataModule(str(folder))
    with pytest.raises(TrainingError, match="MiLaN's loss; leave out loss=Contrastive"):
        trainer(tmp_path).test(other, data, ckpt_path=tmp_path / "milan.ckpt", verbose=False)


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"weights": True}, True),
        ({"weights": True, "bands": ["blue", "green", "red", "nir"]}, False),
        ({"weights": False}, False),
    ],
    ids=str,
)
def test_weights_of_three_colours_warn_of_unnamed_bands(settings, warned):
    words = "in_channels=4 without bands: the weights for red, green and blue are repeated"
    expected = pytest.warns(GeoHashRSWarning, match=words) if warned else nullcontext()
    with expected:
        HashingTask(in_channels=4, **settings)


def test_a_file_of_weights_for_these_bands_does_not_warn(tmp_path):
    own = load_backbone(in_chans=4, weights=False).network.state_dict()
    torch.save(own, tmp_path / "four.pth")
    task = HashingTask(in_channels=4, weights=str(tmp_path / "four.pth"))
    assert torch.equal(task.backbone.network.conv_stem.weight, own["conv_stem.weight"])
