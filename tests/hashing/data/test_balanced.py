"""Batches are balanced and features computed once, for any data module of both TorchGeos."""

from collections import Counter

import numpy as np
import pytest
import rasterio
import torch
from lightning.pytorch import LightningDataModule
from rasterio.transform import from_origin

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.data.balanced import BalancedBatches
from geohash_rs.hashing.data.class_folder_module import ClassFolderDataModule
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.train.task import HashingTask
from tests.hashing.lightning_runs import SMALL, TRAINING_WARNINGS, keep_some, trainer

pytestmark = TRAINING_WARNINGS


def folders(folder, **settings):
    return BalancedBatches(
        ClassFolderDataModule(str(folder), size=40), samples_per_class=4, **settings
    )


def test_a_head_trains_on_features_that_are_computed_once(folder, tmp_path, monkeypatch):
    task = HashingTask(
        **SMALL, lr=1e-2, train_views=("identity", "rot90"), views=("identity", "hflip"),
        components=8, schedule="cosine",
    )  # fmt: skip
    module = folders(folder, cache=str(tmp_path / "cache"), num_batches=5)
    run = trainer(tmp_path, max_epochs=6)
    run.fit(task, datamodule=module)
    assert run.callback_metrics["val_map"] > 0.5  # chance is 0.33
    assert run.global_step == 30
    images = next(iter(module.data.test_dataloader()))["image"]
    expected = task.eval()(images).detach()
    hasher = task.hasher()
    torch.testing.assert_close(hasher.activations(images), expected, rtol=1e-3, atol=1e-4)
    assert (hasher.tile_size, hasher.views) == (40, ("identity", "hflip"))
    tested = run.test(task, datamodule=module, verbose=False)[0]["test_map"]
    # a second run reads all features
    monkeypatch.setattr("geohash_rs.hashing.extractor.Extractor.features", None)
    again = folders(folder, cache=str(tmp_path / "cache"))
    assert trainer(tmp_path).test(task, datamodule=again, verbose=False)[0]["test_map"] == tested


class TwoKinds(LightningDataModule):
    """Tiles of 16 bits, three batches of a dark class before three of a bright one."""

    batch_size = 8

    def setup(self, stage):
        generator = torch.Generator().manual_seed(0)
        self.train_dataset = self.val_dataset = [
            {
                "image": torch.rand(3, 40, 40, generator=generator) * (100 if i < 24 else 3000),
                "label": torch.tensor(i // 24),
            }
            for i in range(48)
        ]


def test_the_range_of_pixels_is_that_of_all_classes(tmp_path):
    task = HashingTask(**SMALL)
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=BalancedBatches(TwoKinds()))
    assert all(2800 < high < 3000 for high in task.hasher().scaling.high)


def test_a_second_task_has_its_own_range_size_and_features(tmp_path, monkeypatch):
    module = BalancedBatches(TwoKinds(), num_batches=2)
    calls = []
    features = Extractor.features
    monkeypatch.setattr(Extractor, "features", lambda *args: calls.append(1) or features(*args))
    made = []
    for settings in (SMALL, SMALL | {"num_bits": 32}, SMALL | {"input_size": 48}):
        calls.clear()
        task = HashingTask(**settings)
        trainer(tmp_path, max_epochs=1).fit(task, datamodule=module)
        made.append((task.hasher(), len(calls)))
        expected = task.hasher().features(
            torch.stack([t["image"] for t in module.data.val_dataset])
        )
        shown = torch.cat([batch["features"][:, 0] for batch in module.val_dataloader()])
        torch.testing.assert_close(shown, expected, rtol=1e-4, atol=1e-4)
    first, second, third = (hasher for hasher, _ in made)
    assert first.scaling == second.scaling == third.scaling
    assert first.tile_size == second.tile_size == third.tile_size == 40
    assert [count > 0 for _, count in made] == [
        True,
        False,
        True,
    ]  # reused


def test_a_resumed_run_computes_features_by_the_weights_of_its_checkpoint(tmp_path):
    task = HashingTask(**SMALL)
    with torch.no_grad():
        next(task.backbone.parameters()).mul_(1.5)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(task, datamodule=BalancedBatches(TwoKinds()))
    run.save_checkpoint(tmp_path / "task.ckpt")
    module, again = BalancedBatches(TwoKinds()), HashingTask(**SMALL)
    resumed = trainer(tmp_path, max_epochs=2)
    resumed.fit(again, datamodule=module, ckpt_path=tmp_path / "task.ckpt")
    images = torch.stack([tile["image"] for tile in module.data.train_dataset])
    expected = task.hasher().features(images)
    torch.testing.assert_close(module.features("train").features[:, 0], expected)
    torch.testing.assert_close(module.features("val").features[:, 0], expected)
    assert again.hasher().scaling == task.hasher().scaling


def test_batches_of_images_are_balanced_where_the_backbone_learns(folder, tmp_path):
    task = HashingTask(**SMALL, freeze_backbone=False, unfreeze=["layer4"])
    module = folders(folder)
    frozen = task.backbone.network.layer1[0].conv1.weight.clone()
    learns = task.backbone.network.layer4[0].conv1.weight.clone()
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=module)
    assert torch.equal(task.backbone.network.layer1[0].conv1.weight, frozen)
    assert not torch.equal(task.backbone.network.layer4[0].conv1.weight, learns)
    batch = next(iter(module.train_dataloader()))
    assert Counter(batch["label"].tolist()) == {0: 4, 1: 4, 2: 4}
    assert float(batch["image"].max()) > 1.5  # raw pixels


@pytest.mark.parametrize("name", ["UCMercedDataModule", "EuroSAT100DataModule"])
def test_torchgeos_data_modules_yield_features_of_raw_pixels(shared_data, tmp_path, name):
    from torchgeo import datamodules

    root = shared_data / ("ucmerced" if name.startswith("UC") else "eurosat100")
    bands = 3 if name.startswith("UC") else 13
    inner = getattr(datamodules, name)(root=str(root), batch_size=16)
    module = BalancedBatches(inner, cache=str(tmp_path), num_batches=3)
    if bands == 3:  # every 20th of 1,260 tiles, to save time
        setup = inner.setup
        inner.setup = lambda stage: (setup(stage), keep_some(inner, ("train", "val")))
    task = HashingTask(**SMALL, in_channels=bands)
    run = trainer(tmp_path, max_epochs=2)
    run.fit(task, datamodule=module)
    scaling = task.hasher().scaling
    if bands == 3:
        assert scaling.high == (255.0,) * 3
    else:
        assert 500 < scaling.high[0] < 10_000
    assert torch.isfinite(run.callback_metrics["val_map"])
    assert len(task.hasher().bands) == bands


@pytest.fixture
def geo_module(tmp_path):
    """Make a geo data module of a scene and its mask of two classes, for both TorchGeos."""
    from torchgeo.datamodules import GeoDataModule
    from torchgeo.datasets import RasterDataset
    from torchgeo.samplers import GridGeoSampler, RandomBatchGeoSampler

    rng = np.random.default_rng(0)
    mask = np.zeros((128, 128), np.uint8)
    mask[:, 64:] = 1
    scene = (100 + 80 * mask + rng.normal(0, 10 + 30 * mask, (3, 128, 128))).clip(0, 255)
    grid = {"driver": "GTiff", "height": 128, "width": 128, "crs": "EPSG:32632"}
    grid |= {"transform": from_origin(600_000, 5_000_000, 10, 10), "dtype": "uint8"}
    for name, values in {"scene_20230101.tif": scene, "mask_20230101.tif": mask[None]}.items():
        (tmp_path / "geo").mkdir(exist_ok=True)
        with rasterio.open(tmp_path / "geo" / name, "w", count=len(values), **grid) as file:
            file.write(values.astype(np.uint8))

    class Scenes(RasterDataset):
        filename_glob = "scene_*.tif"
        filename_regex = r"scene_(?P<date>\d{8})"

    class Masks(RasterDataset):
        filename_glob = "mask_*.tif"
        filename_regex = r"mask_(?P<date>\d{8})"
        is_image = False

    class Landscapes(GeoDataModule):
        mean, std = torch.tensor(0.0), torch.tensor(255.0)

        def setup(self, stage):
            self.dataset = Scenes(tmp_path / "geo") & Masks(tmp_path / "geo")
            self.train_dataset = self.val_dataset = self.test_dataset = self.dataset
            self.train_batch_sampler = RandomBatchGeoSampler(self.dataset, 32, 8, 24)
            self.val_sampler = self.test_sampler = GridGeoSampler(self.dataset, 32, 32)

    return Landscapes(Scenes, batch_size=8, patch_size=32, length=24)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_geo_data_module_trains_on_its_masks(geo_module, tmp_path, frozen):
    task = HashingTask(**SMALL, freeze_backbone=frozen, lr=1e-2 if frozen else 1e-3, num_classes=2)
    module = BalancedBatches(geo_module, cache=str(tmp_path / "cache"), num_batches=20)
    run = trainer(tmp_path, max_epochs=3)
    run.fit(task, datamodule=module)
    assert run.callback_metrics["val_map"] > 0.6  # chance is 0.5
    assert task.hasher().scaling.high == (255.0,) * 3


def test_a_plain_geo_data_module_works_without_it(geo_module, tmp_path):
    task = HashingTask(**SMALL, lr=1e-2)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(task, datamodule=geo_module)
    assert run.callback_metrics["val_map"] > 0.5
    assert task.hasher().scaling.high == (255.0,) * 3


def test_tiles_with_several_labels_train_on_random_batches(tmp_path):
    generator = torch.Generator().manual_seed(0)
    samples = [
        {
            "image": torch.rand(3, 32, 32, generator=generator) * 255,
            "label": torch.tensor([1, i % 2, i % 3 == 0]).long(),
        }
        for i in range(30)
    ]

    class Module(LightningDataModule):
        train_dataset = val_dataset = samples

    run = trainer(tmp_path, max_epochs=2)
    run.fit(HashingTask(**SMALL), datamodule=BalancedBatches(Module()))
    assert {"val_ndcg", "val_acg", "val_weighted_map"} <= set(run.callback_metrics)


def test_a_data_module_without_its_parts_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="LightningDataModule has no train_dataset"):
        trainer(tmp_path, max_epochs=1).fit(
            HashingTask(**SMALL), datamodule=BalancedBatches(LightningDataModule())
        )
