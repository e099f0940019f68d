"""Class-balanced batches of any data module; features of a frozen backbone are computed once."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from torchgeo.datasets import GeoDataset

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.data.feature_batches import (
    Batch,
    FeatureBatches,
    RandomBatches,
    ReadyBatches,
)
from geohash_rs.hashing.data.features import features_key, iterate_features
from geohash_rs.hashing.data.raw_module import RawDataModule
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.network.scaling import SCALING_TILES, sample_pixels
from geohash_rs.hashing.train.sampling import ClassBalancedSampler, labels_of

__all__ = ["BalancedBatches"]


class _Found(NamedTuple):
    """Features of a part, shape (tiles, views, num_features), with labels and tile size (px)."""

    key: str
    features: Tensor
    labels: Tensor
    tile_size: int


class BalancedBatches(RawDataModule):
    """A data module whose training batches hold the same number of tiles from several classes.

    Every anchor then has a positive. If the `HashingTask` keeps its backbone frozen, the features
    of all tiles and views are computed once, before the first epoch, and batches hold features: a
    head trains in seconds. A geo data module draws tiles at random; those of one epoch are used.

    Args:
        data: Data module of TorchGeo, or any Lightning data module with attributes such as
            ``train_dataset``.
        cache: Folder to store features in for the next run, or None.
        classes_per_batch: Classes in a training batch.
        samples_per_class: Tiles of each class in a training batch.
        num_batches: Batches in an epoch. Default: enough to see every tile once on average.
        seed: Seed of the batches, and of the tiles that a geo data module draws.
    """

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
        self._found: dict[str, _Found] = {}
        self._drawn: dict[str, list[Batch]] = {}  # tiles of a geo data module, read once

    def prepare_data(self) -> None:
        """Run the data module's own preparation."""
        self.data.prepare_data()

    def setup(self, stage: str) -> None:
        """Set the data module up; before a fit, compute the features of the training part."""
        self.data.trainer = self.trainer
        self.data.setup(stage)
        if stage == "fit" and self._frozen():
            self._task().meet_features(self._features("train").features.flatten(0, 1))

    def train_dataloader(self) -> DataLoader[Any]:
        """Load balanced batches, of features if the backbone is frozen."""
        if self._frozen():
            found = self._features("train")
            batches = self._feature_batches(found.features, found.labels)
            return DataLoader(batches, batch_size=None)
        dataset = self._dataset("train")
        if dataset is None:
            loader: DataLoader[Any] = self.data.train_dataloader()
            return loader
        labels = _labels_of_dataset(dataset)
        if labels.ndim == 2:
            return self._loader(dataset, shuffle=True)
        sampler = self._sampler(labels)
        return self._loader(dataset, batch_sampler=sampler)

    def in_order(self, part: str) -> DataLoader[Any]:
        """Load a part in order, as features if the backbone is frozen."""
        if self._frozen():
            found = self._features(part)
            pairs = zip(
                torch.split(found.features, 256), torch.split(found.labels, 256), strict=True
            )
            ready = ReadyBatches([{"features": f, "label": y} for f, y in pairs])
            return DataLoader(ready, batch_size=None)
        dataset = self._dataset(part)
        if dataset is None:
            loader: DataLoader[Any] = getattr(self.data, f"{part}_dataloader")()
            return loader
        return self._loader(dataset)

    def _features(self, part: str) -> _Found:
        """Compute or read the features of a part, unless the last task used the same ones.

        Raises:
            TrainingError: If the part has no tiles, or features that are not finite.
        """
        task = self._task()
        if not task.pixels.known:
            task.pixels.meet(self._sample(part))
        views = task.hparams["train_views" if part == "train" else "views"]
        extractor = task.extractor()
        key = features_key(extractor, views=views)
        if part not in self._found or self._found[part].key != key:
            self._found[part] = self._compute(part, extractor, views=views, key=key)
        self._drawn.pop(part, None)  # no longer needed
        task.tile_size = task.tile_size or self._found[part].tile_size
        return self._found[part]

    def _compute(
        self, part: str, extractor: Extractor, *, views: Iterable[str], key: str
    ) -> _Found:
        labels: list[Tensor] = []
        sides: list[int] = []

        def tiles() -> Iterator[Tensor]:
            for batch in self._drawn.pop(part, None) or self._raw_batches(part):
                labels.append(labels_of(batch))
                sides.append(int(batch["image"].shape[-2]))
                yield batch["image"]

        every = iterate_features(extractor, tiles(), views=tuple(views), folder=self._folder())
        features = list(every)
        if not features:
            raise TrainingError(self._no_tiles(part))
        found = torch.cat(features)
        bad = ~torch.isfinite(found).flatten(1).all(1)
        if bool(bad.any()):
            msg = f"{int(bad.sum())} of {len(bad)} tiles have features that are NaN or infinite."
            raise TrainingError(msg)
        return _Found(key, found, torch.cat(labels), sides[0])

    def _sample(self, part: str) -> Tensor:
        """Read pixels of tiles spread evenly over a part, as `sample_pixels` does.

        Raises:
            TrainingError: If the part has no tiles.
        """
        dataset: Any = self._dataset(part)
        step = 1
        if dataset is None:
            batches = self._drawn[part] = self._raw_batches(part)
            count = sum(len(batch["image"]) for batch in batches)
            step = max(1, count // SCALING_TILES)
        else:
            count = min(len(dataset), SCALING_TILES)
            rows = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
            batches = self._loader(Subset(dataset, rows)) if count else []
        if not count:
            raise TrainingError(self._no_tiles(part))
        return sample_pixels(batch["image"][::step] for batch in batches)

    def _no_tiles(self, part: str) -> str:
        return f"the {part} part of {type(self.data).__name__} has no tiles; check its folder."

    def _raw_batches(self, part: str) -> Any:  # noqa: ANN401 - a loader, or a list
        """Return the raw tiles of a part; those drawn by a geo data module are read into a list."""
        dataset = self._dataset(part)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            if dataset is None:
                return list(getattr(self.data, f"{part}_dataloader")())
            return self._loader(dataset)

    def _dataset(self, part: str) -> Dataset[Batch] | None:
        """Return a part as an indexable dataset; None for a geo data module.

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
            names=getattr(self.data, "classes", ()),
        )

    def _feature_batches(self, features: Tensor, labels: Tensor) -> FeatureBatches:
        size = self.classes_per_batch * self.samples_per_class
        length = self.num_batches or max(1, len(labels) // size)
        sampler: Iterable[list[int]] = (
            self._sampler(labels)
            if labels.ndim == 1
            else RandomBatches(len(labels), size=size, length=length, seed=self.seed)
        )
        if isinstance(sampler, ClassBalancedSampler):
            length = len(sampler)
        return FeatureBatches(features, labels, sampler, length=length, seed=self.seed)

    def _folder(self) -> Path | None:
        return None if self.cache is None else Path(self.cache)

    def _task(self) -> Any:  # noqa: ANN401 - HashingTask imports TorchGeo's base at run time
        if self.trainer is None:
            msg = "BalancedBatches needs a task, to know what is frozen; pass both to Trainer.fit."
            raise TrainingError(msg)
        return self.trainer.lightning_module

    def _frozen(self) -> bool:
        settings = getattr(self._task(), "hparams", {})
        return bool(settings.get("freeze_backbone")) and hasattr(self._task(), "meet_features")


def _labels_of_dataset(dataset: Any) -> Tensor:  # noqa: ANN401 - a data set with a length
    """Read the label of every tile, from a list if there is one, otherwise tile by tile."""
    for name in ("targets", "labels"):
        known = getattr(dataset, name, None)
        if known is not None and len(known) == len(dataset):
            return torch.as_tensor(known)
    samples = (dataset[index] for index in range(len(dataset)))
    return torch.cat(
        [labels_of({k: v[None] for k, v in s.items() if isinstance(v, Tensor)}) for s in samples]
    )
