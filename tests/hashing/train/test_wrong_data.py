"""Tiles and labels that cannot train a hasher are named, with what to do about them."""

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from geohash_rs.errors import BandMismatchError, TrainingError
from geohash_rs.hashing.train.task import HashingTask
from tests.hashing.lightning_runs import SMALL, TRAINING_WARNINGS, trainer

pytestmark = TRAINING_WARNINGS


class Samples(LightningDataModule):
    """Tiles of two classes, one or several labels each, changed before they are loaded."""

    def __init__(self, change=None, *, several=False, part="train"):
        super().__init__()
        self.change, self.several, self.part = change, several, part

    def setup(self, stage):
        for part in ("train", "val"):
            samples = []
            for number in range(12):
                image = 100 * (number % 2) + 50 * torch.rand(3, 32, 32)
                label = torch.tensor(number % 2)
                if self.several:
                    label = torch.nn.functional.one_hot(label, 2)
                samples.append({"image": image, "label": label})
            if part == self.part and self.change:
                self.change(samples)
            setattr(self, f"{part}_dataset", samples)

    def train_dataloader(self):
        return DataLoader(self.train_dataset, batch_size=6)

    def val_dataloader(self):
        return DataLoader(self.val_dataset, batch_size=6)


def fit(tmp_path, data, **settings):
    task = HashingTask(**SMALL | settings)
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    return task


def without_labels(samples):
    for sample in samples:
        sample["label"] = torch.zeros_like(sample["label"])


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_part_without_any_label_is_named(tmp_path, part):
    data = Samples(without_labels, several=True, part=part)
    words = f"none of the 12 tiles of the {part} part has a label: every row of labels, for 2"
    with pytest.raises(TrainingError, match=words):
        fit(tmp_path, data)


@pytest.mark.parametrize("settings", [{}, {"cache": False}], ids=str)
def test_labels_other_than_zeros_and_ones_are_refused(tmp_path, settings):
    def doubled(samples):
        samples[3]["label"] = 2 * samples[3]["label"]

    data = Samples(doubled, several=True)
    with pytest.raises(TrainingError, match=r"1 tiles have other values, such as 2; pass .* > 0"):
        fit(tmp_path, data, num_classes=2, **settings)


def test_tiles_of_different_sizes_are_named(tmp_path):
    def larger(samples):
        samples[5]["image"] = torch.rand(3, 40, 36)

    words = "train part have different shapes, such as 3 x 32 x 32 and 3 x 40 x 36 .*; resize or"
    with pytest.raises(TrainingError, match=words):
        fit(tmp_path, Samples(larger))


def test_an_error_of_another_kind_in_a_batch_stays_what_it_is(tmp_path):
    def labelled_twice(samples):
        samples[5]["label"] = torch.tensor([0, 1])

    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        fit(tmp_path, Samples(labelled_twice))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_tiles_with_pixels_that_are_no_numbers_are_named_by_their_place(tmp_path, value):
    def broken(samples):
        for row in (7, 9):
            samples[row]["image"][0, 1, 2] = value

    with pytest.raises(TrainingError, match="tiles 7, 9 of the val part, counted from 0, have"):
        fit(tmp_path, Samples(broken, part="val"))


@pytest.mark.parametrize("settings", [{}, {"cache": False}], ids=str)
def test_images_with_their_bands_last_are_named(tmp_path, settings):
    def turned(samples):
        for sample in samples:
            sample["image"] = sample["image"].permute(1, 2, 0)

    words = r"shape \(\d+, 32, 32, 3\), with their 3 bands last; .* images.permute\(0, 3, 1, 2\)"
    with pytest.raises(BandMismatchError, match=words):
        fit(tmp_path, Samples(turned, part="train"), num_classes=2, **settings)
