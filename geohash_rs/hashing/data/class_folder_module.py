"""Data modules with fixed splits and balanced batches: the base class, and class folders."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.data.class_folders import ClassFolders, split_by_class
from geohash_rs.hashing.data.raw_module import RawDataModule
from geohash_rs.hashing.network.preparation import resize
from geohash_rs.hashing.train.sampling import ClassBalancedSampler
from geohash_rs.hashing.train.settings import SamplingSettings

__all__ = ["BalancedDataModule", "ClassFolderDataModule", "ClassFolderDataset"]

LOOKED_AT = 64  # files whose height is read
DEFAULTS = SamplingSettings()


class ClassFolderDataset(Dataset[dict[str, Tensor]]):
    """Tiles of class folders as TorchGeo samples: ``image``, raw pixels, and ``label``.

    Args:
        tiles: The files.
        size: Side in px to which all tiles are resized, so that they fit in a batch.
    """

    def __init__(self, tiles: ClassFolders, *, size: int) -> None:
        self.tiles = tiles
        self.size = size
        self.targets = tiles.labels.tolist()

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image = self.tiles.read(index).float()
        resized = resize(image[None], (self.size, self.size))[0]
        if resized.shape != image.shape:  # bicubic resizing overshoots at edges
            resized.clamp_(float(image.min()), float(image.max()))
        return {"image": resized, "label": torch.tensor(int(self.tiles.labels[index]))}


class BalancedDataModule(RawDataModule):
    """Training, validation and test part of a data set, with balanced training batches.

    Batches hold the same number of tiles from each of several classes, so that every anchor has a
    positive. Subclasses make the parts: data sets of samples with ``image``, raw pixels, and
    ``label``, with an attribute ``targets`` that lists the labels.

    Args:
        classes_per_batch: Classes in a training batch. Default: the task's, or 15 if it has none.
        samples_per_class: Tiles of each class in a training batch. Default: the task's, or 6.
        batch_size: Tiles in a batch of validation and test.
        num_workers: Processes that read.
        seed: Seed of the split and of the batches.

    Attributes:
        classes: Names of the classes, sorted, once set up; a label is an index into them.
    """

    def __init__(
        self,
        *,
        classes_per_batch: int | None,
        samples_per_class: int | None,
        batch_size: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__(Dataset, batch_size=batch_size, num_workers=num_workers)
        self.classes_per_batch, self.samples_per_class = classes_per_batch, samples_per_class
        self.seed = seed
        self.parts: dict[str, Any] = {}
        self.classes: tuple[str, ...] = ()

    @abstractmethod
    def make_parts(self) -> dict[str, Any]:
        """Find and split the tiles; return data sets named train, val and test."""

    @property
    @abstractmethod
    def source(self) -> str:
        """Where the tiles come from, for messages."""

    def setup(self, stage: str) -> None:
        """Find the tiles and split them; the same for every stage."""
        if not self.parts:
            self.parts = self.make_parts()
            self.train_dataset, self.val_dataset, self.test_dataset = (
                self.parts[name] for name in ("train", "val", "test")
            )

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Load balanced batches of the training part."""
        part = self._part("train")
        sampler = ClassBalancedSampler(
            part.targets,
            classes_per_batch=self.classes_per_batch or DEFAULTS.classes_per_batch,
            samples_per_class=self.samples_per_class or DEFAULTS.samples_per_class,
            seed=self.seed + (self.trainer.global_rank if self.trainer else 0),
            names=self.classes,
        )
        return DataLoader(part, batch_sampler=sampler, num_workers=self.num_workers)

    def in_order(self, part: str) -> DataLoader[dict[str, Tensor]]:
        """Load a part in order."""
        return DataLoader(
            self._part(part), batch_size=self.batch_size, num_workers=self.num_workers
        )

    def _part(self, name: str) -> Any:  # noqa: ANN401
        if name not in self.parts or not len(self.parts[name]):
            msg = (
                f"the {name} part of {self.source} has no tiles; call setup() or change fractions."
            )
            raise TrainingError(msg)
        return self.parts[name]


class ClassFolderDataModule(BalancedDataModule):
    """A folder with one subfolder per class: AID, WHU-RS19, or your own.

    The seed fixes the split. Each part has the same share of every class.

    Args:
        root: Folder with one subfolder per class.
        size: Side in px to which all tiles are resized. Default: the most frequent height among
            some of the files.
        fractions: Shares of training and validation; the rest is the test part.
        classes_per_batch: Classes in a training batch. Default: the task's, or 15 if it has none.
        samples_per_class: Tiles of each class in a training batch. Default: the task's, or 6.
        batch_size: Tiles in a batch of validation and test.
        num_workers: Processes that read.
        seed: Seed of the split and of the batches.
    """

    def __init__(
        self,
        root: str,
        *,
        size: int | None = None,
        fractions: tuple[float, float] = (0.6, 0.2),
        classes_per_batch: int | None = None,
        samples_per_class: int | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            classes_per_batch=classes_per_batch,
            samples_per_class=samples_per_class,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.root, self.size, self.fractions = root, size, tuple(fractions)

    @property
    def source(self) -> str:
        """The folder."""
        return self.root

    def make_parts(self) -> dict[str, ClassFolderDataset]:
        """Find the files and split them."""
        tiles = ClassFolders.open(self.root)
        self.classes = tiles.classes
        size = _usual_height(tiles) if self.size is None else self.size
        return {
            name: ClassFolderDataset(tiles.take(rows), size=size)
            for name, rows in zip(("train", "val", "test"), self.split(tiles), strict=True)
        }

    def split(self, tiles: ClassFolders) -> Sequence[npt.ArrayLike]:
        """Split the tiles; a subclass may use lists of its own.

        Args:
            tiles: All tiles.

        Returns:
            Rows of the training, validation and test part.
        """
        return split_by_class(tiles.labels, fractions=self.fractions, seed=self.seed)


def _usual_height(tiles: ClassFolders) -> int:
    """Find the most frequent height, in px, of files spread evenly over all classes."""
    rows = np.linspace(0, len(tiles) - 1, min(len(tiles), LOOKED_AT)).round().astype(int)
    heights = [tiles.read(row).shape[-2] for row in rows.tolist()]
    return max(sorted(set(heights)), key=heights.count)
