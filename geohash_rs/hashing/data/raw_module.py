"""The base of data modules that return raw pixels: scaling belongs to the hasher."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchgeo.datamodules import BaseDataModule

__all__ = ["RawDataModule"]


class RawDataModule(BaseDataModule):  # type: ignore[misc]
    """A TorchGeo data module whose batches are not normalised.

    Subclasses load their validation and test part in order. As in TorchGeo, ``train_aug`` may be
    set to augment training batches, here of raw pixels.
    """

    mean = torch.tensor(0.0)
    std = torch.tensor(1.0)

    @abstractmethod
    def in_order(self, part: str) -> DataLoader[Any]:
        """Load the part "val" or "test" in order."""

    def val_dataloader(self) -> DataLoader[Any]:
        """Load the validation part in order."""
        return self.in_order("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Load the test part in order."""
        return self.in_order("test")

    def transfer_batch_to_device(
        self,
        batch: Any,  # noqa: ANN401  (Lightning's signature)
        device: torch.device,
        dataloader_idx: int,
    ) -> Any:  # noqa: ANN401
        """Move the tensors of a batch, and drop the other keys of a geo data set."""
        return {key: v.to(device) for key, v in batch.items() if isinstance(v, Tensor)}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """Augment images in training by `train_aug`; TorchGeo would also normalise them here."""
        training = self.trainer is not None and self.trainer.training
        augmented = training and self.train_aug is not None and "image" in batch
        return self.train_aug(batch) if augmented else batch
