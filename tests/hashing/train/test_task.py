"""The task trains with Lightning on TorchGeo's data modules and makes a matching hasher."""

import inspect
import shutil
from dataclasses import fields

import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import EMAWeightAveraging
from torchgeo.datasets import EuroSAT100

from geohash_rs.errors import BandMismatchError, GeoHashRSWarning, TrainingError
from geohash_rs.hashing.data.balanced import BalancedBatches
from geohash_rs.hashing.data.class_folder_module import ClassFolderDataModule
from geohash_rs.hashing.train.recipes import RECIPES
from geohash_rs.hashing.train.sampling import SingleTileWarning, labels_of
from geohash_rs.hashing.train.settings import (
    FeatureSettings,
    HeadSettings,
    LearningSettings,
    LossSettings,
    SamplingSettings,
)
from geohash_rs.hashing.train.task import CodeCollapseWarning, HashingTask
from tests.hashing.lightning_runs import SMALL, TRAINING_WARNINGS, keep_some, trainer

pytestmark = TRAINING_WARNINGS


def test_a_head_learns_and_its_hasher_makes_the_same_codes(folder, tmp_path):
    module = ClassFolderDataModule(str(folder), size=40, samples_per_class=4)
    task = HashingTask(**SMALL, lr=1e-2)
    before = [p.clone() for p in task.backbone.parameters()]
    run = trainer(tmp_path, max_epochs=8)
    run.fit(task, datamodule=module)
    assert run.callback_metrics["val_map"] > 0.5  # chance is 0.33
    assert {"val_precision_radius2", "val_bit_entropy", "train_push"} <= set(run.callback_metrics)
    for old, new in zip(before, task.backbone.parameters(), strict=True):
        assert torch.equal(old, new)
    batch = next(iter(module.test_dataloader()))
    task.eval()
    with torch.inference_mode():
        expected = task(batch["image"])
    hasher = task.hasher(name="mine")
    torch.testing.assert_close(hasher.activations(batch["image"]), expected, rtol=1e-3, atol=1e-4)
    assert (hasher.tile_size, hasher.num_bits) == (40, 16)


@pytest.mark.parametrize("wrapped", [False, True])
def test_fine_tuning_changes_the_backbone(folder, tmp_path, wrapped):
    module = ClassFolderDataModule(str(folder), size=40, samples_per_class=4)
    module = BalancedBatches(module) if wrapped else module
    cut = []

    def left_half(batch):
        assert float(batch["image"].max()) > 1.5  # raw pixels
        cut.append(len(batch["label"]))
        return {**batch, "image": batch["image"][..., :20].repeat(1, 1, 1, 2)}

    module.train_aug = left_half
    task = HashingTask(**SMALL, freeze_backbone=False, num_classes=3)
    before = [p.clone() for p in task.backbone.parameters()]
    average = EMAWeightAveraging(decay=0.5)
    run = trainer(tmp_path, max_epochs=2, callbacks=[average])
    run.fit(task, datamodule=module)
    assert len(cut) == run.global_step  # none of validation
    pairs = zip(before, task.backbone.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)
    hasher = task.hasher()
    assert hasher.backbone.weights == "fine-tuned"
    images = next(iter(module.test_dataloader()))["image"]
    task.eval()
    with torch.inference_mode():
        expected = task(images)
    torch.testing.assert_close(hasher.activations(images), expected, rtol=1e-3, atol=1e-4)


def test_noise_and_kept_similarities_are_for_frozen_features():
    settings = {"model": "test_resnet", "weights": False}
    frozen, moving = (HashingTask(**settings, freeze_backbone=f) for f in (True, False))
    assert (frozen.head.noise, frozen.criterion.settings.keep) == (1.0, 4.0)
    assert (moving.head.noise, moving.criterion.settings.keep) == (0.0, 0.0)
    asked = HashingTask(**settings, freeze_backbone=False, noise=0.5, keep=2.0)
    assert (asked.head.noise, asked.criterion.settings.keep) == (0.5, 2.0)


@pytest.mark.parametrize("name", ["UCMercedDataModule", "EuroSAT100DataModule"])
def test_the_normalisation_of_torchgeos_data_modules_is_undone(shared_data, tmp_path, name):
    from torchgeo import datamodules

    root = shared_data / ("ucmerced" if name.startswith("UC") else "eurosat100")
    bands = 3 if name.startswith("UC") else 13
    torch.manual_seed(0)  # another order may begin without clouds, and warn of them later
    module = getattr(datamodules, name)(root=str(root), batch_size=8)
    if bands == 3:  # every 20th of 1,260 tiles, to save time
        setup = module.setup
        module.setup = lambda stage: (setup(stage), keep_some(module, ("train", "val")))
    task = HashingTask(**SMALL, in_channels=bands)
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=2)
    run.fit(task, datamodule=module)
    scaling = task.hasher().scaling
    if bands == 3:
        assert scaling.high == (255.0,) * 3
    else:
        assert 500 < scaling.high[0] < 10_000
    named = ("red", "green", "blue") if bands == 3 else EuroSAT100.all_band_names
    assert task.hasher().bands == named
    run.save_checkpoint(tmp_path / "task.ckpt")
    again = HashingTask.load_from_checkpoint(tmp_path / "task.ckpt")
    assert again.hasher().bands == named


def test_several_labels_are_ranked_by_the_labels_they_share(tmp_path, caplog):
    generator = torch.Generator().manual_seed(0)
    samples = [
        {
            "image": torch.rand(3, 32, 32, generator=generator) * 255,
            "label": torch.tensor([1, i % 2, i % 3 == 0]).long(),
        }
        for i in range(12)
    ]
    loader = torch.utils.data.DataLoader(samples, batch_size=6)
    run = trainer(tmp_path, max_epochs=2)
    with pytest.warns(GeoHashRSWarning, match="so the proxy term of the loss is left out; pass"):
        run.fit(HashingTask(**SMALL), loader, loader)
    said = [one.message for one in caplog.records if "may exceed 1" in one.message]
    assert len(said) == 1  # once, not after every epoch
    assert "val_acg and val_weighted_map count the labels" in said[0]
    assert "between 0 and 3, the most labels of a tile" in said[0]
    assert {"val_ndcg", "val_acg", "val_weighted_map"} <= set(run.callback_metrics)


def test_equal_codes_raise_a_warning(tmp_path):
    task = HashingTask(**SMALL)
    task.seen.add(torch.zeros(4, 16), torch.tensor([0, 0, 1, 1]))
    task.log = lambda *_, **__: None
    with pytest.warns(CodeCollapseWarning, match=r"mean bit entropy over 4 tiles is 0.000"):
        task.on_validation_epoch_end()


def test_settings_and_data_that_cannot_be_trained_are_refused(tmp_path):
    with pytest.raises(BandMismatchError, match="2 bands are named but in_channels is 3"):
        HashingTask(**SMALL, bands=("a", "b"))
    task = HashingTask(**SMALL)
    with pytest.raises(BandMismatchError, match="images have 4 bands .* pass in_channels=4"):
        task.training_step({"image": torch.zeros(1, 4, 8, 8), "label": torch.zeros(1)}, 0)
    with pytest.raises(TrainingError, match="neither label nor mask"):
        task.training_step({"image": torch.zeros(1, 3, 8, 8)}, 0)
    with pytest.raises(TrainingError, match=r"no modules \['roof'\] to unfreeze; it has conv1"):
        HashingTask(**SMALL, freeze_backbone=False, unfreeze=["roof"])
    with pytest.raises(TrainingError, match="label 7 but the proxy was made for 3 classes"):
        HashingTask(**SMALL, proxy=0.3, num_classes=3).criterion(
            torch.rand(2, 16), torch.tensor([0, 7])
        )
    with pytest.raises(BandMismatchError, match="need 13 bands"):
        HashingTask(weights="ResNet18_Weights.SENTINEL2_ALL_MOCO", in_channels=3)


def test_a_range_that_ends_at_zero_is_kept():
    decibels = {"kind": "range", "low": -25, "high": 0}
    task = HashingTask(**SMALL, scaling=decibels)
    with pytest.warns(GeoHashRSWarning, match="3000 to 3000, nearly all beyond the -25 to 0"):
        task.pixels.meet(torch.full((4, 3, 8, 8), 3000.0))
    assert task.extractor().scaling.high == (0.0,) * 3
    with pytest.raises(TrainingError, match="neither mean nor deviation .* run Trainer.fit, or"):
        task.hasher()
    assert task.extractor().scaling.low == (-25.0,) * 3
    task = HashingTask(**SMALL)
    raw = torch.linspace(-25, 0, 4 * 3 * 64).reshape(4, 3, 8, 8).clamp(max=-1)
    raw[:, :, :4] = 0
    task.pixels.meet(raw)
    with pytest.warns(GeoHashRSWarning, match="nearly all beyond"):
        task.pixels.meet(torch.full((4, 3, 8, 8), 3000.0))
    assert task.extractor().scaling.high == (0.0,) * 3


class Normalising(ClassFolderDataModule):
    """Normalises its images like TorchGeo's modules."""

    mean, std = torch.tensor([90.0, 100.0, 110.0]), torch.tensor([30.0, 40.0, 50.0])

    def on_after_batch_transfer(self, batch, dataloader_idx):
        mean, std = (v.reshape(1, 3, 1, 1) for v in (self.mean, self.std))
        return batch | {"image": (batch["image"] - mean) / std}


@pytest.mark.parametrize("bands", [3, 13])
def test_a_task_is_restored_from_its_checkpoint_alone(folder, tmp_path, moco, bands):
    if bands == 3:
        module = Normalising(str(folder), samples_per_class=4)
        task = HashingTask(**SMALL)
    else:  # the weights determine model, mean and deviation; TorchGeo does not save their name
        module = thirteen_bands()
        task = HashingTask(weights=moco, in_channels=13, num_bits=16, input_size=32, proxy=0)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(task, datamodule=module)
    run.save_checkpoint(tmp_path / "task.ckpt")
    images = torch.rand(4, bands, 40, 40, generator=torch.Generator().manual_seed(1))
    expected = task.eval()(images)
    read = HashingTask.load_from_checkpoint(tmp_path / "task.ckpt", map_location="cpu").eval()
    assert torch.equal(read(images), expected)
    assert read.hasher().fingerprint == task.hasher().fingerprint
    assert read.hasher().description == task.hasher().description
    assert read.hasher().backbone.weights == ("random" if bands == 3 else str(moco))


def thirteen_bands():
    generator = torch.Generator().manual_seed(0)
    samples = [
        {
            "image": torch.rand(13, 32, 32, generator=generator) * 4000,
            "label": torch.tensor(i % 2),
        }
        for i in range(8)
    ]

    class Module(LightningDataModule):
        mean, std = torch.tensor(0.0), torch.tensor(10_000.0)

        def train_dataloader(self):
            return torch.utils.data.DataLoader(samples, batch_size=8)

        val_dataloader = train_dataloader

    return Module()


def test_missing_pixels_stop_validation(folder, tmp_path):
    task = HashingTask(**SMALL)
    batch = {"image": torch.full((4, 3, 40, 40), 9.0), "label": torch.tensor([0, 0, 1, 1])}
    task.validation_step(batch, 0)
    batch["image"][2, 0, 5, 5] = torch.nan
    with pytest.raises(TrainingError, match="activations of 1 of 4 tiles are NaN .* fill"):
        task.validation_step(batch, 0)
    task.on_validation_epoch_start()  # the next one does not see tiles of the interrupted one
    batch["image"][2, 0, 5, 5] = 9.0
    task.validation_step(batch, 0)
    assert len(task.seen.take()[0]) == 4


def test_a_checkpoint_of_another_network_is_refused(folder, tmp_path):
    module = ClassFolderDataModule(str(folder), size=40, samples_per_class=4)
    run = trainer(tmp_path, max_epochs=1)
    task = HashingTask(**SMALL)
    run.fit(task, datamodule=module)
    run.save_checkpoint(tmp_path / "task.ckpt")
    same = HashingTask(**SMALL)
    trainer(tmp_path).test(same, module, ckpt_path=tmp_path / "task.ckpt", verbose=False)
    assert same.hasher().fingerprint == task.hasher().fingerprint
    other = HashingTask(**SMALL | {"num_bits": 32})
    with pytest.raises(TrainingError, match=r"another network: .* tensors differ.* num_bits=16"):
        trainer(tmp_path).test(other, module, ckpt_path=tmp_path / "task.ckpt", verbose=False)
    words = "made with model='test_resnet', num_bits=16, .* the task with num_bits=32; make the"
    with pytest.raises(TrainingError, match=words):
        HashingTask.load_from_checkpoint(tmp_path / "task.ckpt", num_bits=32)


def test_one_class_or_single_tiles_are_refused_and_a_class_of_one_tile_is_left_out(
    folder, tmp_path
):
    for path in sorted((folder / "c1").iterdir())[1:]:
        path.unlink()
    module = BalancedBatches(ClassFolderDataModule(str(folder), size=40))
    run = trainer(tmp_path, max_epochs=1)
    with pytest.warns(SingleTileWarning, match=r"1 classes .* are left out \(c1\)"):
        run.fit(HashingTask(**SMALL), datamodule=module)
    with pytest.warns(SingleTileWarning, match=r"1 classes .* are left out \(c1\)"):
        batches = module.train_dataloader()
    assert set(next(iter(batches))["label"].tolist()) == {0, 2}
    shutil.rmtree(folder / "c2")
    module = BalancedBatches(ClassFolderDataModule(str(folder), size=40))
    with pytest.raises(TrainingError, match="two classes with two tiles each, but of 2 classes"):
        trainer(tmp_path, max_epochs=1).fit(HashingTask(**SMALL), datamodule=module)


def test_the_label_of_a_mask_is_its_most_frequent_class():
    mask = torch.tensor([[[1, 1], [1, 0]], [[2, 0], [2, 2]]])
    assert labels_of({"mask": mask}).tolist() == [1, 2]


def test_the_task_has_every_setting_with_its_default_and_description():
    taken = inspect.signature(HashingTask).parameters
    kinds = (FeatureSettings, HeadSettings, LossSettings, LearningSettings, SamplingSettings)
    names = [field.name for kind in kinds for field in fields(kind)]
    assert [name for name in names if name != "weights" and taken[name].default is not None] == []
    words = HashingTask.__doc__.partition("Raises:")[0]
    assert all(f"\n    {name}: " in words for name in taken)
    best = RECIPES["milan"].to_dict()
    best.pop("weights")  # TorchGeo leaves them out
    made = HashingTask(weights=False).hparams
    assert {name: made[name] for name in best} == best
