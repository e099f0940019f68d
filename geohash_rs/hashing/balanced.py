"""Class-balanced batches of any data module; features are computed once where none can change."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets import GeoDataset

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.features import iterate_features
from geohash_rs.hashing.sampling import ClassBalancedSampler, labels_of

__all__ = ["BalancedBatches"]

Batch = dict[str, Tensor]


class BalancedBatches(BaseDataModule):  # type: ignore[misc]
    """A data module whose training batches hold the same number of tiles from several classes.

    Every anchor then has a positive. Where the `HashingTask` that is trained keeps its backbone
    frozen, the features of all tiles and views are computed once, before the first epoch, and
    batches hold those: a head trains in seconds. Of a geo data module, which draws its tiles at
    random, the tiles of one epoch are taken.

    Args:
        data: TorchGeo's or any other Lightning data module with ``train_dataset`` and the like.
        cache: Folder where features are kept for the next run, or None.
        classes_per_batch: Classes in a training batch.
        samples_per_class: Tiles of each class in a training batch.
        num_batches: Batches in an epoch. Default: as many as see every tile once on average.
        seed: Seed of the batches, and of the tiles that a geo data module draws.
    """

    mean = torch.tensor(0.0)  # tiles come as the data set reads them, before any normalisation
    std = torch.tensor(1.0)

    def __init__(
        self,
        data: LightningDataModule,
        *,
        cache: str | None = None,
        classes_per_batch: int = 15,
        samples_per_class: int = 6,
        num_batches: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(type(data), batch_size=64)
        self.data = data
        self.cache = cache
        self.classes_per_batch, self.samples_per_class = classes_per_batch, samples_per_class
        self.num_batches, self.seed = num_batches, seed
        self._found: dict[str, tuple[Tensor, Tensor]] = {}

    def prepare_data(self) -> None:
        """Let the data module fetch what it needs."""
        self.data.prepare_data()

    def setup(self, stage: str) -> None:
        """Set the data module up; before a fit, compute the features of the training part."""
        self.data.trainer = self.trainer
        self.data.setup(stage)
        if stage == "fit" and self._frozen():
            features, _ = self._features("train")
            self._task().meet_features(features.flatten(0, 1))

    def train_dataloader(self) -> DataLoader[Any]:
        """Give balanced batches, of features where the backbone is frozen."""
        if self._frozen():
            features, labels = self._features("train")
            return DataLoader(self._feature_batches(features, labels), batch_size=None)
        dataset = self._dataset("train")
        if dataset is None:
            loader: DataLoader[Any] = self.data.train_dataloader()
            return loader
        labels = _labels_of_dataset(dataset)
        if labels.ndim == 2:
            return self._loader(dataset, shuffle=True)
        sampler = self._sampler(labels)
        return self._loader(dataset, batch_sampler=sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        """Give the validation part in order."""
        return self._in_order("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Give the test part in order."""
        return self._in_order("test")

    def transfer_batch_to_device(
        self,
        batch: Any,  # noqa: ANN401  (Lightning's signature)
        device: torch.device,
        dataloader_idx: int,
    ) -> Any:  # noqa: ANN401
        """Move the tensors of a batch; a geo data set's other keys are not needed."""
        return {key: v.to(device) for key, v in batch.items() if isinstance(v, Tensor)}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """Leave the batch as it is: TorchGeo would normalise it here."""
        return batch

    def _in_order(self, part: str) -> DataLoader[Any]:
        if self._frozen():
            features, labels = self._features(part)
            batches = zip(torch.split(features, 256), torch.split(labels, 256), strict=True)
            return DataLoader(
                _Batches([{"features": f, "label": y} for f, y in batches]), batch_size=None
            )
        dataset = self._dataset(part)
        if dataset is None:
            loader: DataLoader[Any] = getattr(self.data, f"{part}_dataloader")()
            return loader
        return self._loader(dataset)

    def _features(self, part: str) -> tuple[Tensor, Tensor]:
        """Compute or read features (tiles, views, num_features) and labels of a part.

        Raises:
            TrainingError: If the part has no tiles, or features that are not finite.
        """
        if part in self._found:
            return self._found[part]
        task = self._task()
        views = task.hparams["train_views" if part == "train" else "views"]
        labels: list[Tensor] = []
        batches = self._tiles(part, labels)
        first = next(batches, None)
        if first is None:
            msg = f"the {part} part of {type(self.data).__name__} has no tiles."
            raise TrainingError(msg)
        task.tile_size = task.tile_size or int(first.shape[-2])
        hasher = task.feature_hasher(first)
        every = iterate_features(
            hasher, chain([first], batches), views=views, folder=self._folder()
        )
        features = torch.cat(list(every))
        bad = ~torch.isfinite(features).flatten(1).all(1)
        if bool(bad.any()):
            msg = f"{int(bad.sum())} of {len(bad)} tiles have features that are NaN or infinite."
            raise TrainingError(msg)
        self._found[part] = features, torch.cat(labels)
        return self._found[part]

    def _tiles(self, part: str, labels: list[Tensor]) -> Iterator[Tensor]:
        """Go through the raw tiles of a part, and note their labels on the way."""
        dataset = self._dataset(part)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            loader = (
                getattr(self.data, f"{part}_dataloader")()
                if dataset is None
                else self._loader(dataset)
            )
            batches = list(loader) if dataset is None else loader
        for batch in batches:
            labels.append(labels_of(batch))
            yield batch["image"]

    def _dataset(self, part: str) -> Dataset[Batch] | None:
        """Give a part as a data set that is read by number; a geo data module has none.

        Raises:
            TrainingError: If the data module has no such part.
        """
        whole = getattr(self.data, "dataset", None)
        dataset = getattr(self.data, f"{part}_dataset", None)
        dataset = whole if dataset is None else dataset
        if dataset is None:
            msg = f"{type(self.data).__name__} has no {part}_dataset; its setup() must make one."
            raise TrainingError(msg)
        return None if isinstance(dataset, GeoDataset) else dataset

    def _loader(self, dataset: Dataset[Batch], **settings: Any) -> DataLoader[Any]:  # noqa: ANN401
        if "batch_sampler" not in settings:
            settings["batch_size"] = getattr(self.data, "batch_size", None) or 64
        return DataLoader(
            dataset,
            num_workers=getattr(self.data, "num_workers", 0),
            collate_fn=getattr(self.data, "collate_fn", None),
            **settings,
        )

    def _sampler(self, labels: Tensor) -> ClassBalancedSampler:
        return ClassBalancedSampler(
            labels,
            classes_per_batch=self.classes_per_batch,
            samples_per_class=self.samples_per_class,
            num_batches=self.num_batches,
            seed=self.seed,
        )

    def _feature_batches(self, features: Tensor, labels: Tensor) -> "_FeatureBatches":
        size = self.classes_per_batch * self.samples_per_class
        length = self.num_batches or max(1, len(labels) // size)
        sampler: Iterable[list[int]] = (
            self._sampler(labels)
            if labels.ndim == 1
            else _RandomBatches(len(labels), size=size, length=length, seed=self.seed)
        )
        if isinstance(sampler, ClassBalancedSampler):
            length = len(sampler)
        return _FeatureBatches(features, labels, sampler, length=length, seed=self.seed)

    def _folder(self) -> Path | None:
        return None if self.cache is None else Path(self.cache)

    def _task(self) -> Any:  # noqa: ANN401 - HashingTask imports TorchGeo's base at run time
        if self.trainer is None:
            msg = "BalancedBatches asks the task what is frozen; give it to Trainer.fit."
            raise TrainingError(msg)
        return self.trainer.lightning_module

    def _frozen(self) -> bool:
        settings = getattr(self._task(), "hparams", {})
        return bool(settings.get("freeze_backbone")) and hasattr(self._task(), "feature_hasher")


class _Batches(Dataset[Batch]):
    """Batches that are ready."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]


class _FeatureBatches(IterableDataset[Batch]):
    """Batches of features, a view of every tile drawn at random."""

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        sampler: Iterable[list[int]],
        *,
        length: int,
        seed: int,
    ) -> None:
        self.features, self.labels, self.sampler, self.length = features, labels, sampler, length
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        for chosen in self.sampler:
            rows = torch.tensor(chosen)
            views = torch.randint(self.features.shape[1], (len(rows),), generator=self.generator)
            yield {"features": self.features[rows, views], "label": self.labels[rows]}


class _RandomBatches:
    """Batches of any tiles, for those with several labels each; every epoch draws on."""

    def __init__(self, count: int, *, size: int, length: int, seed: int) -> None:
        self.count, self.size, self.length = count, size, length
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.length):
            yield torch.randperm(self.count, generator=self.generator)[: self.size].tolist()


def _labels_of_dataset(dataset: Any) -> Tensor:  # noqa: ANN401 - a data set with a length
    """Read the label of every tile, from a list where there is one, else tile by tile."""
    for name in ("targets", "labels"):
        known = getattr(dataset, name, None)
        if known is not None and len(known) == len(dataset):
            return torch.as_tensor(known)
    samples = (dataset[index] for index in range(len(dataset)))
    return torch.cat(
        [labels_of({k: v[None] for k, v in s.items() if isinstance(v, Tensor)}) for s in samples]
    )
