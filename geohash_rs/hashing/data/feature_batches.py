"""Batches of precomputed features."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

__all__ = ["Batch", "FeatureBatches", "ReadyBatches"]

Batch = dict[str, Tensor]


class ReadyBatches(IterableDataset[Batch]):
    """Precomputed batches, which every process of a run gets whole."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


class FeatureBatches(IterableDataset[Batch]):
    """Batches of features that a head has prepared, with a random view of each tile.

    Args:
        prepared: Prepared features, float32, shape (tiles, views, num_features).
        labels: Labels of the tiles.
        sampler: Batches of rows; each iteration is an epoch.
        seed: Seed of the views; epochs continue the random sequence.
    """

    def __init__(
        self, prepared: Tensor, labels: Tensor, sampler: Iterable[list[int]], *, seed: int
    ) -> None:
        self.prepared, self.labels, self.sampler = prepared, labels, sampler
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]  # samplers of batches have a length

    def __iter__(self) -> Iterator[Batch]:
        for chosen in self.sampler:
            rows = torch.as_tensor(chosen)
            views = torch.randint(self.prepared.shape[1], (len(rows),), generator=self.generator)
            yield {"prepared": self.prepared[rows, views], "label": self.labels[rows]}
