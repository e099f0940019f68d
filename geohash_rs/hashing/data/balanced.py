"""Class-balanced batches of any data module; features of a frozen backbone are computed once."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets import GeoDataset
from tqdm import tqdm

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.data.feature_batches import Batch, FeatureBatches, ReadyBatches
from geohash_rs.hashing.data.features import features_key, iterate_features
from geohash_rs.hashing.data.raw_module import RawDataModule
from geohash_rs.hashing.data.reading import (
    check_finite,
    collated,
    labels_of_dataset,
    recognise,
    some_label,
)
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.network.scaling_choice import SCALING_TILES, sample_pixels
from geohash_rs.hashing.train.joints import checked_batches
from geohash_rs.hashing.train.loader_pixels import undo
from geohash_rs.hashing.train.on_features import prepared
from geohash_rs.hashing.train.sampling import images_of, labels_of, make_batches

__all__ = ["BalancedBatches", "Found"]

WHOLE_TILES = 64  # of which more than the range of pixels is measured


class Found(NamedTuple):
    """Features of a part, shape (tiles, views, num_features), with the labels of the tiles."""

    key: str
    features: Tensor
    labels: Tensor


class BalancedBatches(RawDataModule):
    """A data module whose training batches hold the same number of tiles from several classes.

    Every anchor then has a positive. If the `HashingTask` keeps its backbone frozen, the features
    of all tiles and views are computed once, before the first epoch, and batches hold features: a
    head trains in seconds. A geo data module draws tiles at random; those of one epoch are used.

    A `HashingTask` with a frozen backbone does this to any data module by itself. Wrapped by hand,
    a data module also serves a backbone that is trained, and several tasks share its batches.

    Args:
        data: Data module of TorchGeo, or any Lightning data module with attributes such as
            ``train_dataset``.
        cache: Folder to store features in for the next run, or None.
        classes_per_batch: Classes in a training batch. Default: the data module's, or the task's.
        samples_per_class: Tiles of each class in a training batch. Default: likewise.
        num_batches: Batches in an epoch. Default: the task's iterations, spread over the trainer's
            epochs; its `max_steps` if it has no last epoch; otherwise enough to see every tile once
            on average.
        seed: Seed of the batches, and of the tiles that a geo data module draws.
    """

    def __init__(
        self,
        data: LightningDataModule,
        *,
        cache: str | None = None,
        classes_per_batch: int | None = None,
        samples_per_class: int | None = None,
        num_batches: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(type(data), batch_size=64)
        self.data = data
        self.cache = cache
        self.classes_per_batch, self.samples_per_class = classes_per_batch, samples_per_class
        self.num_batches, self.seed = num_batches, seed
        self.loaders: dict[str, Callable[[], Any]] = {}  # the data module's own, if replaced
        self.restore: Callable[[BaseException], None] = data.on_exception
        self.hooks: dict[str, Callable[..., Any]] = {}  # likewise, for batches of images
        self._samples: dict[str, tuple[Tensor, Tensor]] = {}
        self._found: dict[str, Found] = {}
        self._tiles: dict[str, tuple[Any, str]] = {}  # of this run: data set, what tells it apart
        self._labels: Tensor | None = None  # of a training part whose images are loaded
        self._drawn: dict[str, list[Batch]] = {}  # tiles of a geo data module, read once

    def on_exception(self, exception: BaseException) -> None:
        """Pass a failed run on to the data module."""
        self.restore(exception)

    def transfer_batch_to_device(
        self,
        batch: Any,  # noqa: ANN401  (Lightning's signature)
        device: torch.device,
        dataloader_idx: int,
    ) -> Any:  # noqa: ANN401
        """Move a batch; the data module moves images from its own loaders."""
        own = self.hooks.get("transfer_batch_to_device") if "image" in batch else None
        move = own or super().transfer_batch_to_device
        return move(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """Augment images by `train_aug`, or as the data module does if its own loader has them."""
        own = self.hooks.get("on_after_batch_transfer") if "image" in batch else None
        return (own or super().on_after_batch_transfer)(batch, dataloader_idx)

    def prepare_data(self) -> None:
        """Run the data module's own preparation."""
        self.data.prepare_data()

    def setup(self, stage: str) -> None:
        """Set the data module up; before a fit, compute the features of the training part."""
        self.begin()
        self.data.trainer = self.trainer
        self.data.setup(stage)
        if stage == "fit":
            self.prepare_fit()

    def begin(self) -> None:
        """Begin a run, before which the data sets may have changed."""
        self._tiles.clear()

    def prepare_fit(self) -> None:
        """Read the labels of the training part, and compute its features for a frozen backbone."""
        dataset = self._dataset("train")
        if self._frozen():
            found = self.features("train")
            self._task().meet_labels(found.labels)
            self._task().meet_features(found.features.flatten(0, 1), all_tiles=True)
            if self.has("val"):  # now, not below the trainer's progress bar
                self.features("val")
        elif dataset is not None:
            self._labels = labels_of_dataset(dataset)
            self._task().meet_labels(self._labels)

    def train_dataloader(self) -> DataLoader[Any]:
        """Load balanced batches, of features if the backbone is frozen."""
        if self._frozen():
            found, head = self.features("train"), self._task().head
            batches = FeatureBatches(
                prepared(head, found.features),
                found.labels,
                self._sampler(found.labels),
                seed=self._own_seed(),
            )
            # a generator of its own: a loader would draw from the global one
            return DataLoader(batches, batch_size=None, generator=torch.Generator())
        dataset = self._dataset("train")
        if dataset is None:
            return self._own_loader("train")
        labels = labels_of_dataset(dataset) if self._labels is None else self._labels
        return self._loader(dataset, part="train", batch_sampler=self._sampler(labels))

    def in_order(self, part: str) -> DataLoader[Any]:
        """Load a part in order, as features if the backbone is frozen."""
        if self._frozen():
            found = self.features(part)
            pairs = zip(
                torch.split(found.features, 256), torch.split(found.labels, 256), strict=True
            )
            ready = ReadyBatches([{"features": f, "label": y} for f, y in pairs])
            return DataLoader(ready, batch_size=None, generator=torch.Generator())
        dataset = self._dataset(part)
        return self._own_loader(part) if dataset is None else self._loader(dataset, part=part)

    def has(self, part: str) -> bool:
        """Return whether the data module has the part "train", "val" or "test"."""
        return any(getattr(self.data, name, None) is not None for name in self._names(part))

    def about(self) -> tuple[str, tuple[str, ...]]:
        """Return the name of the data, and those of the classes if they are known."""
        root = getattr(self.data, "root", None)
        name = type(self.data).__name__.removesuffix("DataModule")
        if root is not None and Path(root).name:
            name = Path(root).resolve().name
        owners = (self.data, getattr(self.data, "train_dataset", None))
        named = next((n for n in (getattr(o, "classes", None) for o in owners) if n), ())
        return name, tuple(map(str, named))

    def features(self, part: str) -> Found:
        """Compute or read the features of a part, unless the last task used the same ones.

        Args:
            part: "train", "val" or "test".

        Returns:
            The features.

        Raises:
            TrainingError: If the part has no tiles, or features that are not finite.
        """
        task = self._task()
        source = self._source(part)
        tiles = self._recognised(part, source)
        task.meet_bands(source)  # their names belong to the key of the features
        if not task.met_pixels or (part == "train" and task.met_on not in {"", "train"}):
            if tiles not in self._samples:
                self._samples[tiles] = self._sample(part)
            task.meet_pixels(*self._samples[tiles], part=part)
        settings = task.recipe.features
        views = settings.train_views if part == "train" else settings.views
        extractor = task.extractor()
        key = f"{features_key(extractor, views=views)} {tiles}"
        if part not in self._found or self._found[part].key != key:
            self._found[part] = self._compute(part, extractor, views=views, key=key)
        self._drawn.pop(part, None)  # no longer needed
        return self._found[part]

    def _compute(self, part: str, extractor: Extractor, *, views: Iterable[str], key: str) -> Found:
        labels: list[Tensor] = []

        def tiles() -> Iterator[Tensor]:
            for batch in self._drawn.pop(part, None) or self._raw_batches(part):
                images = images_of(batch)
                check_finite(images, part=part, first=sum(map(len, labels)))
                labels.append(labels_of(batch))
                yield self._raw(images)

        every = iterate_features(extractor, tiles(), views=tuple(views), folder=self._folder())
        name = f"features of the {part} part"
        features = list(tqdm(every, desc=name, unit="batch", disable=None, leave=False))
        if not features:
            raise TrainingError(self._no_tiles(part))
        found, target = torch.cat(features), torch.cat(labels)
        bad = ~torch.isfinite(found).flatten(1).all(1)
        if bool(bad.any()):
            msg = f"{int(bad.sum())} of {len(bad)} tiles have features that are NaN or infinite."
            raise TrainingError(msg)
        some = some_label(target, part=part)
        return Found(key, found[some], target[some])

    def _raw(self, images: Tensor) -> Tensor:
        """Undo a normalisation that the data sets themselves apply.

        TorchGeo's data modules normalise later, on the device; the values of their data sets are
        raw.
        """
        hook = LightningDataModule.on_after_batch_transfer
        if type(self.data).on_after_batch_transfer is not hook:
            return images
        mean, std = (getattr(self.data, name, value) for name, value in (("mean", 0), ("std", 1)))
        return undo(images.float(), mean=mean, std=std)

    def _sample(self, part: str) -> tuple[Tensor, Tensor]:
        """Read tiles spread evenly over a part.

        Returns:
            Pixels of all of them, as `sample_pixels` returns them, and some of the tiles.

        Raises:
            TrainingError: If the part has no tiles.
        """
        dataset: Any = self._dataset(part)
        step = 1
        if dataset is None:
            batches = self._drawn[part] = self._raw_batches(part)
            count = sum(len(images_of(batch)) for batch in batches)
            step = max(1, count // SCALING_TILES)
        else:
            count = min(len(dataset), SCALING_TILES)
            rows = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
            batches = self._loader(Subset(dataset, rows), part=part) if count else []
        if not count:
            raise TrainingError(self._no_tiles(part))
        some: list[Tensor] = []

        def spread() -> Iterator[Tensor]:
            for batch in batches:
                tiles = self._raw(images_of(batch))[::step]
                some.append(tiles[:: max(1, SCALING_TILES // WHOLE_TILES)])
                yield tiles

        return sample_pixels(spread()), torch.cat(some)

    def _no_tiles(self, part: str) -> str:
        return f"the {part} part of {type(self.data).__name__} has no tiles; check its folder."

    def _raw_batches(self, part: str) -> Any:  # noqa: ANN401 - a loader, or a list
        """Return the raw tiles of a part; those drawn by a geo data module are read into a list."""
        dataset = self._dataset(part)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            if dataset is None:
                return list(self._own_loader(part))
            return self._loader(dataset, part=part)

    def _recognised(self, part: str, source: Any) -> str:  # noqa: ANN401 - any data set
        """Return what tells a part from others; tiles of it are read once in a run."""
        known = self._tiles.get(part)
        if known is None or known[0] is not source:
            known = self._tiles[part] = (source, recognise(source))
        return known[1]

    def _names(self, part: str) -> tuple[str, ...]:
        """Return the attributes of the data module that may hold a part; TorchGeo's have two."""
        return (f"{part}_dataset", *(["dataset"] if isinstance(self.data, BaseDataModule) else []))

    def _source(self, part: str) -> Any:  # noqa: ANN401 - any data set
        """Return the data set of a part.

        Raises:
            TrainingError: If the data module has no such part.
        """
        candidates = (getattr(self.data, name, None) for name in self._names(part))
        dataset = next((found for found in candidates if found is not None), None)
        if dataset is None:
            msg = f"{type(self.data).__name__} has no {part}_dataset; its setup() must make one."
            raise TrainingError(msg)
        return dataset

    def _dataset(self, part: str) -> Dataset[Batch] | None:
        """Return a part as an indexable dataset; None for a geo data module.

        Raises:
            TrainingError: If the data module has no such part.
        """
        dataset = self._source(part)
        return None if isinstance(dataset, GeoDataset) else dataset

    def _own_loader(self, part: str) -> DataLoader[Any]:
        name = f"{part}_dataloader"
        make = self.loaders.get(name) or getattr(self.data, name)
        loader: DataLoader[Any] = make()
        return loader

    def _loader(
        self,
        dataset: Dataset[Batch],
        *,
        part: str,
        **settings: Any,  # noqa: ANN401
    ) -> DataLoader[Any]:
        if "batch_sampler" not in settings:
            settings["batch_size"] = getattr(self.data, "batch_size", None) or 64
        return DataLoader(
            dataset,
            num_workers=getattr(self.data, "num_workers", 0),
            collate_fn=partial(collated, collate=getattr(self.data, "collate_fn", None), part=part),
            **settings,
        )

    def _sampler(self, labels: Tensor) -> Iterable[list[int]]:
        task = self._task()
        if task.sampler is not None:
            return checked_batches(task.sampler, labels)
        sizes = ("classes_per_batch", "samples_per_class")
        given = {n: getattr(self, n) or getattr(self.data, n, None) for n in sizes}
        sampling = replace(task.recipe.sampling, **{n: v for n, v in given.items() if v})
        num_batches, epochs = self.num_batches, self.trainer.max_epochs or 0
        if num_batches is None and epochs > 0:
            num_batches = math.ceil(sampling.iterations / epochs)
        elif num_batches is None and self.trainer.max_steps > 0:
            num_batches = int(self.trainer.max_steps)  # the only epoch
        names = getattr(self.data, "classes", ())
        return make_batches(
            labels, sampling, num_batches=num_batches, seed=self._own_seed(), names=names
        )

    def _own_seed(self) -> int:
        """Return the seed of this process, so that those of a distributed run draw differently."""
        return self.seed + int(self.trainer.global_rank)

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
