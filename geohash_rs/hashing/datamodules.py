"""A data module for folders with one folder a class: fixed splits, balanced batches."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchgeo.datamodules import BaseDataModule

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.class_folders import ClassFolders, read_tile, split_by_class
from geohash_rs.hashing.sampling import ClassBalancedSampler

__all__ = ["ClassFolderDataModule", "ClassFolderDataset"]


class ClassFolderDataset(Dataset[dict[str, Tensor]]):
    """Tiles of class folders as TorchGeo's samples: ``image``, raw pixels, and ``label``.

    Args:
        tiles: The files.
        size: Side in px to which tiles of another size are resized, so that they fit a batch.
    """

    def __init__(self, tiles: ClassFolders, *, size: int) -> None:
        self.tiles = tiles
        self.size = size

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image = read_tile(self.tiles.paths[index]).float()
        if image.shape[-2:] != (self.size, self.size):
            size = (self.size, self.size)
            image = torch.nn.functional.interpolate(
                image[None], size=size, mode="bicubic", antialias=True
            )[0]
        return {"image": image, "label": torch.tensor(int(self.tiles.labels[index]))}


class ClassFolderDataModule(BaseDataModule):  # type: ignore[misc]
    """A folder with one folder a class: AID, WHU-RS19, or your own.

    Splits are fixed by the seed, the same share of every class in each part. Training batches
    hold the same number of tiles from each of several classes, so that every anchor has a
    positive.

    Args:
        root: Folder with one folder a class.
        size: Side in px to which all tiles are brought.
        fractions: Shares of training and validation; the rest is the test part.
        classes_per_batch: Classes in a training batch.
        samples_per_class: Tiles of each class in a training batch.
        batch_size: Tiles in a batch of validation and test.
        num_workers: Processes that read.
        seed: Seed of the split and of the batches.
    """

    mean = torch.tensor(0.0)  # pixels are given raw: scaling belongs to the hasher
    std = torch.tensor(1.0)

    def __init__(
        self,
        root: str,
        *,
        size: int = 256,
        fractions: tuple[float, float] = (0.6, 0.2),
        classes_per_batch: int = 15,
        samples_per_class: int = 6,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(ClassFolderDataset, batch_size=batch_size, num_workers=num_workers)
        self.root, self.size, self.fractions, self.seed = root, size, tuple(fractions), seed
        self.classes_per_batch, self.samples_per_class = classes_per_batch, samples_per_class
        self.parts: dict[str, ClassFolderDataset] = {}

    def setup(self, stage: str) -> None:
        """Find the files and split them; the same for every stage."""
        if not self.parts:
            tiles = ClassFolders.open(self.root)
            rows = split_by_class(tiles.labels, fractions=self.fractions, seed=self.seed)
            self.parts = {
                name: ClassFolderDataset(tiles.take(part), size=self.size)
                for name, part in zip(("train", "val", "test"), rows, strict=True)
            }

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Give balanced batches of the training part."""
        part = self._part("train")
        sampler = ClassBalancedSampler(
            part.tiles.labels.tolist(),
            classes_per_batch=self.classes_per_batch,
            samples_per_class=self.samples_per_class,
            seed=self.seed,
        )
        return DataLoader(part, batch_sampler=sampler, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Give the validation part in order."""
        return self._in_order("val")

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Give the test part in order."""
        return self._in_order("test")

    def transfer_batch_to_device(
        self,
        batch: Any,  # noqa: ANN401  (Lightning's signature)
        device: torch.device,
        dataloader_idx: int,
    ) -> Any:  # noqa: ANN401
        """Move a batch."""
        return {key: value.to(device) for key, value in batch.items()}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """Leave the batch as it is: TorchGeo would normalise it here."""
        return batch

    def _in_order(self, name: str) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(
            self._part(name), batch_size=self.batch_size, num_workers=self.num_workers
        )

    def _part(self, name: str) -> ClassFolderDataset:
        if name not in self.parts or not len(self.parts[name]):
            msg = f"the {name} part of {self.root} has no tiles; call setup() or change fractions."
            raise TrainingError(msg)
        return self.parts[name]
