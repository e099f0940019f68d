"""Draw batches in which every anchor has a positive and a negative."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from geohash_rs.errors import GeoHashRSWarning, TrainingError
from geohash_rs.hashing.train.mining import check_marks
from geohash_rs.hashing.train.settings import SamplingSettings

__all__ = [
    "ClassBalancedSampler",
    "ClassPairSampler",
    "RandomBatches",
    "SingleTileWarning",
    "images_of",
    "labels_of",
    "make_batches",
    "rows_by_class",
]


class SingleTileWarning(GeoHashRSWarning):
    """A class has a single tile, which cannot form a triplet."""


def images_of(batch: Any) -> Tensor:  # noqa: ANN401 - whatever a loader yields
    """Return the images of a TorchGeo batch.

    Args:
        batch: Should have an ``image``.

    Returns:
        Images, shape (tiles, bands, height, width).

    Raises:
        TrainingError: If it has none, or is another kind of object.
    """
    image = batch.get("image") if isinstance(batch, Mapping) else None
    if not isinstance(image, Tensor):
        held = sorted(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
        msg = (
            f"a batch of the data holds {held}; yield dictionaries with the tensors image and "
            "label, as TorchGeo's data sets do."
        )
        raise TrainingError(msg)
    return image


def labels_of(batch: Mapping[str, Any]) -> Tensor:
    """Return the labels of a TorchGeo batch.

    Args:
        batch: Has a ``label``, one class per tile or zeros and ones for several; or a ``mask``,
            whose most frequent class becomes the label.

    Returns:
        Labels, shape (tiles,) or (tiles, classes).

    Raises:
        TrainingError: If it has neither, or several labels are not zeros and ones.
    """
    if "label" in batch:
        label: Tensor = batch["label"]
        if label.ndim == 2:
            check_marks(label)
        return label
    if "mask" in batch:
        mask: Tensor = batch["mask"]
        return mask.flatten(1).mode(1).values.long()
    msg = f"a batch has neither label nor mask, only {sorted(batch)}; use a labelled data set."
    raise TrainingError(msg)


def rows_by_class(labels: Sequence[int] | Tensor) -> dict[int, Tensor]:
    """Group tiles by class and check that they can form triplets.

    Args:
        labels: Class of each tile.

    Returns:
        Indices of the tiles of each class that has at least two.

    Raises:
        TrainingError: If fewer than two classes have two tiles.
    """
    values = torch.as_tensor(labels)
    if values.ndim != 1:
        msg = (
            f"labels have shape {tuple(values.shape)}; balanced batches need one class per tile. "
            "For several labels per tile, use plain shuffled batches."
        )
        raise TrainingError(msg)
    groups = {int(c): (values == c).nonzero().flatten() for c in torch.unique(values)}
    usable = {c: rows for c, rows in groups.items() if len(rows) > 1}
    if len(usable) < 2:
        if len(groups) == 1:
            msg = (
                f"all {len(values)} training tiles are of one class; add labelled tiles of another."
            )
            raise TrainingError(msg)
        lonely = [c for c in groups if c not in usable]
        msg = (
            f"triplets need two classes with two tiles each, but of {len(groups)} classes in "
            f"{len(values)} tiles {len(usable)} have two (single tiles: classes {lonely[:5]}); "
            "add labelled tiles."
        )
        raise TrainingError(msg)
    return usable


class ClassBalancedSampler(Sampler[list[int]]):
    """Batches with the same number of tiles from each of several classes.

    Args:
        labels: Class of each tile; classes with a single tile are left out, with a warning.
        classes_per_batch: Classes per batch, limited to the number of classes.
        samples_per_class: Tiles per class; fewer if a class has fewer.
        num_batches: Batches per epoch; None draws each tile once on average.
        seed: Seed; each epoch continues the random sequence of the one before.
        names: Names of the classes, for the warning; by default their numbers.

    Raises:
        TrainingError: If fewer than two classes have two tiles, or a number is too small.
    """

    def __init__(
        self,
        labels: Sequence[int] | Tensor,
        *,
        classes_per_batch: int = 15,
        samples_per_class: int = 6,
        num_batches: int | None = None,
        seed: int = 0,
        names: Sequence[str] = (),
    ) -> None:
        if classes_per_batch < 2 or samples_per_class < 2:
            msg = (
                f"a batch of {classes_per_batch} classes x {samples_per_class} tiles cannot form "
                "triplets; use at least 2 x 2."
            )
            raise TrainingError(msg)
        rows = rows_by_class(labels)
        _warn_of_single_tiles(sorted(set(torch.as_tensor(labels).tolist()) - set(rows)), names)
        self.rows = list(rows.values())
        self.classes_per_batch = min(classes_per_batch, len(self.rows))
        self.samples_per_class = samples_per_class
        per_batch = self.classes_per_batch * samples_per_class
        self.num_batches = num_batches or max(1, len(labels) // per_batch)
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.num_batches):
            yield self.draw().tolist()

    def draw(self) -> Tensor:
        """Draw the indices of one batch, int64, shape (tiles,)."""
        chosen = torch.randperm(len(self.rows), generator=self.generator)[: self.classes_per_batch]
        return torch.cat(
            [_take(self.rows[i], self.samples_per_class, self.generator) for i in chosen.tolist()]
        )


class ClassPairSampler(ClassBalancedSampler):
    """The paper's batches: anchors and positives of one class, negatives of another.

    Args:
        labels: As in `ClassBalancedSampler`.
        num_triplets: Triplets per batch: twice as many tiles of one class, as many of another.
        num_batches: Batches per epoch.
        seed: Seed of the batches.
        names: Names of the classes.

    References:
        Roy et al., MiLaN, 2021, https://arxiv.org/abs/1904.01258
    """

    def __init__(
        self,
        labels: Sequence[int] | Tensor,
        *,
        num_triplets: int = 30,
        num_batches: int | None = None,
        seed: int = 0,
        names: Sequence[str] = (),
    ) -> None:
        self.num_triplets = num_triplets
        num_batches = num_batches or max(1, len(labels) // (3 * num_triplets))
        super().__init__(
            labels, classes_per_batch=2, num_batches=num_batches, seed=seed, names=names
        )

    def draw(self) -> Tensor:
        """Draw the indices of one batch, int64, shape (tiles,)."""
        first, second = torch.randperm(len(self.rows), generator=self.generator)[:2].tolist()
        like = _take(self.rows[first], 2 * self.num_triplets, self.generator)
        return torch.cat([like, _take(self.rows[second], self.num_triplets, self.generator)])


class RandomBatches(Sampler[list[int]]):
    """Random batches, for tiles with several labels each; epochs continue the random sequence.

    Args:
        count: Number of tiles.
        size: Tiles in a batch; all of them if there are fewer.
        num_batches: Batches per epoch; None draws each tile once on average.
        seed: Seed of the batches.
    """

    def __init__(self, count: int, *, size: int, num_batches: int | None, seed: int) -> None:
        self.count, self.size = count, size
        self.num_batches = num_batches or max(1, count // size)
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.num_batches):
            yield torch.randperm(self.count, generator=self.generator)[: self.size].tolist()


def make_batches(
    labels: Tensor,
    sampling: SamplingSettings,
    *,
    num_batches: int | None,
    seed: int,
    names: Sequence[str] = (),
) -> Sampler[list[int]]:
    """Make the sampler that suits the labels: balanced by class, or random for several labels.

    Args:
        labels: As for `label_similarity`.
        sampling: Sizes of the batches.
        num_batches: As in `ClassBalancedSampler`.
        seed: Seed of the batches.
        names: Names of the classes.

    Returns:
        Batches of rows.

    Raises:
        TrainingError: If fewer than two classes have two tiles, or a number is too small.
    """
    classes, samples = sampling.classes_per_batch, sampling.samples_per_class
    if labels.ndim == 2:
        # for pairs of classes, samples_per_class counts triplets of three tiles
        size = (classes or 3) * samples
        return RandomBatches(len(labels), size=size, num_batches=num_batches, seed=seed)
    if not classes:
        return ClassPairSampler(
            labels, num_triplets=samples, num_batches=num_batches, seed=seed, names=names
        )
    return ClassBalancedSampler(
        labels,
        classes_per_batch=classes,
        samples_per_class=samples,
        num_batches=num_batches,
        seed=seed,
        names=names,
    )


def _warn_of_single_tiles(classes: Sequence[int], names: Sequence[str]) -> None:
    if classes:
        listed = ", ".join(str(names[c]) if names else str(c) for c in classes[:5])
        msg = (
            f"{len(classes)} classes have a single training tile and are left out ({listed}); "
            "a triplet needs two: add tiles."
        )
        warnings.warn(msg, SingleTileWarning, stacklevel=4)


def _take(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)[:count]]
