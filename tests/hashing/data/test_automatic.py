"""A data module loads features that are computed once, and is itself again afterwards."""

import logging

import pytest
import torch
from lightning.pytorch import LightningDataModule

from geohash_rs.errors import GeoHashRSWarning, TrainingError
from geohash_rs.hashing.data.class_folder_module import ClassFolderDataModule
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.train.task import HashingTask
from tests.hashing.lightning_runs import SMALL, TRAINING_WARNINGS, trainer

pytestmark = TRAINING_WARNINGS


@pytest.fixture
def computed(monkeypatch):
    """Count the batches of which features are computed."""
    calls, features = [], Extractor.features
    monkeypatch.setattr(Extractor, "features", lambda *args: calls.append(1) or features(*args))
    return calls


def test_features_are_computed_once_for_all_tasks_of_a_data_module(folder, tmp_path, computed):
    data = ClassFolderDataModule(str(folder), size=40)
    own = {name: getattr(data, name) for name in ("train_dataloader", "on_after_batch_transfer")}
    run = trainer(tmp_path, max_epochs=3)
    run.fit(HashingTask(**SMALL), datamodule=data)
    assert run.global_step == 3 * 7  # 20 iterations over three epochs
    assert len(computed) == 8 + 1  # training views of one batch, the validation part once
    assert {name: getattr(data, name) for name in own} == own
    assert "image" in next(iter(data.train_dataloader()))
    trainer(tmp_path, max_epochs=1).fit(HashingTask(**SMALL | {"num_bits": 32}), datamodule=data)
    assert len(computed) == 9


def test_named_bands_cost_no_second_pass(shared_data, tmp_path, computed):
    from torchgeo.datamodules import EuroSAT100DataModule

    data = EuroSAT100DataModule(root=str(shared_data / "eurosat100"), batch_size=100)
    for _ in range(2):
        task = HashingTask(**SMALL, in_channels=13)
        trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    assert task.hasher().bands[0] == "B01"
    assert len(computed) == 9


def test_features_on_disk_serve_the_next_process(folder, tmp_path, computed):
    for _ in range(2):
        data = ClassFolderDataModule(str(folder), size=40)
        task = HashingTask(**SMALL, cache=str(tmp_path / "cache"))
        trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    assert len(computed) == 9


def test_features_can_be_computed_in_every_epoch(folder, tmp_path, computed):
    task = HashingTask(**SMALL, cache=False)
    run = trainer(tmp_path, max_epochs=2)
    run.fit(task, datamodule=ClassFolderDataModule(str(folder), size=40, samples_per_class=4))
    assert (computed, run.global_step) == ([], 2)
    assert task.weigh() is None


def test_the_hasher_tells_the_worth_of_the_training(folder, tmp_path, caplog):
    torch.manual_seed(0)
    task = HashingTask(**SMALL)
    data = ClassFolderDataModule(str(folder), size=40, fractions=(0.5, 0.4))
    with caplog.at_level(logging.INFO):
        trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    assert "mAP@20 of 12 validation tiles: trained" in caplog.text
    notes = task.hasher(notes={"licence": "mine"}).notes
    assert set(notes["figures"]["map@20"]) == {
        "trained",
        "float",
        "classifier",
    }  # 15 tiles, 16 bits
    assert (notes["data"], notes["licence"], notes["classes"][0]) == ("data", "mine", "c0")


class Several(LightningDataModule):
    """Tiles with several labels, some with none, normalised by the data set itself."""

    mean, std = torch.tensor(100.0), torch.tensor(50.0)

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.train_dataset = self.val_dataset = [
            {
                "image": (torch.rand(3, 32, 32, generator=generator) * 255 - 100) / 50,
                "label": torch.tensor([i % 5 > 0, i % 2 and i % 5 > 0, i % 5 == 1]).long(),
            }
            for i in range(30)
        ]

    def train_dataloader(self):
        raise AssertionError("its data sets are read instead")

    val_dataloader = train_dataloader


def test_tiles_without_a_label_are_left_out_and_a_normalisation_is_undone(tmp_path):
    task = HashingTask(**SMALL)
    with pytest.warns(GeoHashRSWarning, match="6 of 30 tiles of the .* part have no label"):
        trainer(tmp_path, max_epochs=1).fit(task, datamodule=Several())
    assert task.hasher().scaling.high == (255.0,) * 3
    assert task.hparams["num_classes"] == 3


def test_without_a_data_set_the_network_runs_for_every_batch(folder, tmp_path, computed, caplog):
    inner = ClassFolderDataModule(str(folder), size=40, samples_per_class=4)
    inner.setup("fit")
    with caplog.at_level(logging.INFO):
        trainer(tmp_path, max_epochs=1).fit(
            HashingTask(**SMALL, num_classes=3), inner.train_dataloader(), inner.val_dataloader()
        )
    assert computed == []
    assert "features of loaders again for every batch; pass a data module" in caplog.text


def test_a_data_module_is_itself_again_after_a_run_that_failed(folder, tmp_path):
    class Fails(HashingTask):
        def training_step(self, batch, batch_idx):
            raise RuntimeError("in the middle")

    data = ClassFolderDataModule(str(folder), size=40)
    with pytest.raises(RuntimeError, match="in the middle"):
        trainer(tmp_path, max_epochs=1).fit(Fails(**SMALL), datamodule=data)
    assert "image" in next(iter(data.train_dataloader()))
    trainer(tmp_path, max_epochs=1).fit(HashingTask(**SMALL), datamodule=data)


def test_the_card_of_a_checkpoint_has_the_figures_of_its_weights(folder, tmp_path):
    from lightning.pytorch.callbacks import ModelCheckpoint

    torch.manual_seed(0)
    data = ClassFolderDataModule(str(folder), size=40, fractions=(0.5, 0.4))
    seen = {}

    class Noted(HashingTask):
        def measure(self, bits, labels):
            values = super().measure(bits, labels)
            seen[self.current_epoch] = values["map"]
            return values

    kept = ModelCheckpoint(tmp_path / "kept", filename="{epoch}", save_top_k=-1)
    run = trainer(tmp_path, max_epochs=3, callbacks=[kept], enable_checkpointing=True)
    run.fit(Noted(**SMALL), datamodule=data)
    for epoch in range(3):
        path = tmp_path / "kept" / f"epoch={epoch}.ckpt"
        task = HashingTask.load_from_checkpoint(path, map_location="cpu")
        figures = task.hasher().notes["figures"]["map@20"]
        assert figures["trained"] == pytest.approx(seen[epoch], abs=1e-4)
        assert "float" in figures


def test_a_validation_before_the_fit_does_not_choose_the_range(tmp_path):
    class Darker(Several):
        def __init__(self):
            super().__init__()
            generator = torch.Generator().manual_seed(0)
            for name, high in (("train", 3000), ("val", 100)):
                tiles = [torch.rand(3, 32, 32, generator=generator) * high for _ in range(20)]
                tiles = [(tile - 100) / 50 for tile in tiles]
                samples = [
                    {"image": tile, "label": torch.tensor(i % 2)} for i, tile in enumerate(tiles)
                ]
                setattr(self, f"{name}_dataset", samples)

    task, data = HashingTask(**SMALL), Darker()
    trainer(tmp_path).validate(task, datamodule=data, verbose=False)
    assert task.extractor().scaling.high[0] == 255
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    assert task.hasher().scaling.high[0] > 2900


def test_batches_that_are_not_torchgeos_are_named(tmp_path):
    class Pairs(LightningDataModule):
        train_dataset = val_dataset = [(torch.zeros(3, 8, 8), 1)] * 4

        def train_dataloader(self):
            raise AssertionError("its data sets are read instead")

        val_dataloader = train_dataloader

    with pytest.raises(TrainingError, match="a batch of the data holds tuple; yield dictionaries"):
        trainer(tmp_path, max_epochs=1).fit(HashingTask(**SMALL), datamodule=Pairs())
    endless = trainer(tmp_path, max_epochs=-1)
    with pytest.raises(TrainingError, match="needs the number of steps; pass max_epochs"):
        endless.fit(HashingTask(**SMALL), datamodule=Several())


class Folds(LightningDataModule):
    """Tiles of two classes, of which another half trains each time; normalises on the device."""

    mean, std = torch.tensor(100.0), torch.tensor(50.0)

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.dataset = [
            {
                "image": torch.rand(3, 32, 32, generator=generator) * (90 + 160 * (i % 2)),
                "label": torch.tensor(i % 2),
            }
            for i in range(40)
        ]
        self.fold = 0

    def setup(self, stage):
        self.train_dataset = self.dataset[20 * self.fold :][:20]

    def train_dataloader(self):
        raise AssertionError("its data sets are read instead")

    def val_dataloader(self):
        return torch.utils.data.DataLoader(self.dataset[20:32], batch_size=6)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch | {"image": (batch["image"] - self.mean) / self.std}


def test_another_fold_is_another_part(tmp_path):
    data, seen = Folds(), []
    for fold in range(2):
        data.fold = fold
        task = HashingTask(**SMALL)
        trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
        seen.append(task.batches.features("train").features[:, 0])
        expected = task.hasher().features(torch.stack([t["image"] for t in data.train_dataset]))
        torch.testing.assert_close(seen[-1], expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(*seen)


def test_a_part_with_its_own_loader_alone_is_validated_as_the_module_loads_it(tmp_path):
    bits = []

    class Noted(HashingTask):
        def measure(self, codes, labels):
            bits.append(codes)
            return super().measure(codes, labels)

    task, data = Noted(**SMALL), Folds()
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    tiles = torch.stack([tile["image"] for tile in data.dataset[20:32]])
    assert torch.equal(bits[-1], task.hasher().activations(tiles) > 0.5)
    assert task.card == {}
