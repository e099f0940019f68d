"""Batches of precomputed features."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

__all__ = ["Batch", "FeatureBatches", "RandomBatches", "ReadyBatches"]

Batch = dict[str, Tensor]


class ReadyBatches(Dataset[Batch]):
    """Precomputed batches."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]


class FeatureBatches(IterableDataset[Batch]):
    """Batches of features, with a random view of each tile."""

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


class RandomBatches:
    """Random batches for tiles with several labels each; epochs continue the random sequence."""

    def __init__(self, count: int, *, size: int, length: int, seed: int) -> None:
        self.count, self.size, self.length = count, size, length
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.length):
            yield torch.randperm(self.count, generator=self.generator)[: self.size].tolist()
