"""Measure how well validation tiles find each other by their codes."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.errors import GeoHashRSWarning, TrainingError
from geohash_rs.hashing.train.mining import label_similarity
from geohash_rs.metrics import measures as metrics

__all__ = ["CodeCollapseWarning", "SeenCodes", "gathered", "ranking_values", "warn_of_collapse"]

COLLAPSED = 0.1  # mean bit entropy below which codes hold almost no information
MOST_PAIRS = 1 << 24  # pairs of query and tile to rank at once


class CodeCollapseWarning(GeoHashRSWarning):
    """Codes of different tiles have become almost identical."""


class SeenCodes:
    """Codes and labels of an epoch, collected batch by batch."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Tensor]] = []

    def add(self, activations: Tensor, labels: Tensor) -> None:
        """Store the codes of a batch.

        Args:
            activations: In [0, 1], shape (tiles, bits).
            labels: As for `label_similarity`.

        Raises:
            TrainingError: If an activation is NaN, which would become a zero bit, or infinite.
        """
        bad = ~torch.isfinite(activations).all(1)
        if bool(bad.any()):
            msg = (
                f"activations of {int(bad.sum())} of {len(bad)} tiles are NaN or infinite: the "
                "tiles have missing pixels, or the learning rate is too high; fill the pixels or "
                "lower it."
            )
            raise TrainingError(msg)
        self._batches.append((activations.detach().float().cpu() > 0.5, labels.cpu()))

    def take(self) -> tuple[Tensor, Tensor]:
        """Return all codes, shape (tiles, bits), and labels, and clear them."""
        bits, labels = (torch.cat(parts) for parts in zip(*self._batches, strict=True))
        self._batches.clear()
        return bits, labels


def gathered(rows: tuple[Tensor, Tensor], *, count: int) -> tuple[Tensor, Tensor]:
    """Gather what the processes of a distributed run saw of a part, each one tile in turn.

    Args:
        rows: Codes and labels of this process.
        count: Number of tiles of the part. Lightning repeats a few tiles so that all processes see
            equally many; these would find themselves, so they are left out.

    Returns:
        Codes and labels of all tiles; those of this process if there is only one.
    """
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return rows
    if len(rows[0]) == count:  # every process sees all of them
        return rows
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, rows)
    bits, labels = (
        torch.stack(same, dim=1).flatten(0, 1)[:count] for same in zip(*parts, strict=True)
    )
    return bits, labels


def ranking_values(bits: Tensor, labels: Tensor, *, k: int) -> dict[str, float]:
    """Rank all other tiles for each tile by Hamming distance and measure the rankings.

    Args:
        bits: Zeros and ones, shape (tiles, bits).
        labels: As for `label_similarity`.
        k: Number of ranks to evaluate.

    Returns:
        "map" (AP divides by the relevant tiles found among the k), "precision_radius2" and
        "bit_entropy"; for several labels per tile also "ndcg", "acg" and "weighted_map".

    Raises:
        TrainingError: If the labels have another shape, or a tile has no label.
    """
    codes = bits.numpy().astype(np.float32)
    parts: dict[str, list[npt.NDArray[np.float64]]] = {}
    for queries in torch.split(torch.arange(len(bits)), max(1, MOST_PAIRS // len(bits))):
        for name, part in _measure(codes, labels, queries, k=k).items():
            parts.setdefault(name, []).append(part)
    values = {name: float(np.concatenate(found).mean()) for name, found in parts.items()}
    return values | {"bit_entropy": float(metrics.bit_entropy(codes).mean())}


def _measure(
    codes: npt.NDArray[np.float32], labels: Tensor, queries: Tensor, *, k: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Measure the rankings of some queries, one value per query."""
    rows = queries.numpy()
    distances = np.rint((codes.shape[1] - (2 * codes[rows] - 1) @ (2 * codes - 1).T) / 2)
    distances[np.arange(len(rows)), rows] = np.inf
    relevant = (label_similarity(labels[queries], labels) > 0).numpy()
    values = {
        "map": metrics.average_precision(distances, relevant, k=k),
        "precision_radius2": metrics.precision_within(distances, relevant),
    }
    if labels.ndim == 2:
        gains = (labels[queries].float() @ labels.float().T).numpy()
        values["ndcg"] = metrics.ndcg(distances, gains, k=k)
        values["acg"] = metrics.average_cumulative_gain(distances, gains, k=k)
        values["weighted_map"] = metrics.weighted_average_precision(distances, gains, k=k)
    return values


def warn_of_collapse(entropy: float, *, tiles: int) -> None:
    """Warn if codes hardly differ.

    Args:
        entropy: Mean bit entropy, in [0, 1].
        tiles: Number of tiles it was measured on.
    """
    if entropy < COLLAPSED:
        msg = (
            f"codes have collapsed: mean bit entropy over {tiles} tiles is {entropy:.3f} of 1; "
            "lower lr, raise balance, or use larger class-balanced batches."
        )
        warnings.warn(msg, CodeCollapseWarning, stacklevel=2)
