"""Rank the archive of a trial for its queries, and say how good the rankings are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.evaluate.features import Features
from geohash_rs.evaluate.protocols import Trial
from geohash_rs.hashing.network.heads import Head
from geohash_rs.metrics import measures as metrics

__all__ = ["K", "label_gains", "measure_head", "precision_recall", "rank"]

K = 20  # ranks that the figures look at

Labels = npt.NDArray[np.int64]


def measure_head(
    features: Features,
    head: Head | None,
    views: Sequence[str],
    labels: Labels,
    trial: Trial,
) -> dict[str, float]:
    """Measure a head, or the features themselves, on one trial.

    Args:
        features: Frozen features of all tiles.
        head: The head, or None to rank by the cosine of the features.
        views: Views over which activations are averaged.
        labels: Class of every tile, shape (tiles,); or zeros and ones, shape (tiles, classes).
        trial: Queries and archive.

    Returns:
        Means over the queries by name.
    """
    distances = rank(features, head, views, trial)
    gains = label_gains(labels[trial.queries], labels[trial.searched])
    relevant = gains > 0
    values = {
        f"map@{K}": metrics.mean_average_precision(distances, relevant, k=K),
        f"precision@{K}": float(metrics.precision_at(distances, relevant, k=K).mean()),
        "map": metrics.mean_average_precision(distances, relevant, k=None),
    }
    if labels.ndim == 2:
        values[f"ndcg@{K}"] = float(metrics.ndcg(distances, gains, k=K).mean())
        acg = metrics.average_cumulative_gain(distances, gains, k=K)
        values[f"acg@{K}"] = float(acg.mean())
        weighted = metrics.weighted_average_precision(distances, gains, k=K)
        values[f"weighted_map@{K}"] = float(weighted.mean())
    if head is not None:
        within = metrics.precision_within(distances, relevant, radius=2)
        values["precision@radius2"] = float(within.mean())
        signs = signs_of(features.of(trial.searched, views), head)
        values["bit_entropy"] = float(metrics.bit_entropy(signs > 0).mean())
    return values


def rank(
    features: Features, head: Head | None, views: Sequence[str], trial: Trial
) -> npt.NDArray[np.float64]:
    """Compute the distance of every tile of the archive from every query.

    Args:
        features: As in `measure_head`.
        head: As in `measure_head`.
        views: As in `measure_head`.
        trial: As in `measure_head`.

    Returns:
        Hamming distances, or ``1 - cosine`` of features, shape (queries, searched); infinite
        between a tile and itself.
    """
    queries, searched = (features.of(rows, views) for rows in (trial.queries, trial.searched))
    if head is None:
        ours, theirs = (
            torch.nn.functional.normalize(values.mean(1), dim=1).numpy()
            for values in (queries, searched)
        )
        distances: npt.NDArray[np.float64] = 1 - (ours @ theirs.T).astype(np.float64)
    else:
        ours, theirs = signs_of(queries, head), signs_of(searched, head)
        distances = np.rint((head.num_bits - ours @ theirs.T) / 2).astype(np.float64)
    distances[trial.queries[:, None] == trial.searched[None]] = np.inf
    return distances


def label_gains(queries: Labels, searched: Labels) -> Labels:
    """Count the labels that a query and a tile of the archive share.

    Args:
        queries: Labels of the queries, shape (queries,) or (queries, classes).
        searched: Labels of the archive, shape (searched,) or (searched, classes).

    Returns:
        Shape (queries, searched); 0 or 1 for one class a tile.
    """
    if queries.ndim == 2:
        shared: Labels = queries @ searched.T
        return shared
    same: Labels = (queries[:, None] == searched[None]).astype(np.int64)
    return same


def precision_recall(
    features: Features,
    head: Head | None,
    views: Sequence[str],
    labels: Labels,
    trial: Trial,
    *,
    points: int = 50,
) -> dict[str, list[float]]:
    """Compute precision and recall as the search radius grows, means over the queries.

    Args:
        features: As in `measure_head`.
        head: As in `measure_head`.
        views: As in `measure_head`.
        labels: As in `measure_head`.
        trial: As in `measure_head`.
        points: Radii for features, whose distances are no integers; codes use all of theirs.

    Returns:
        "recall" and "precision", one value a radius; radii within which no query finds anything
        are left out, and a query that finds nothing yet counts in recall alone.
    """
    distances = rank(features, head, views, trial)
    relevant = label_gains(labels[trial.queries], labels[trial.searched]) > 0
    finite = distances[np.isfinite(distances)]
    radii: npt.NDArray[Any] = (
        np.quantile(finite, np.linspace(0, 1, points) ** 2)
        if head is None
        else np.arange(head.num_bits + 1)
    )
    curve: dict[str, list[float]] = {"recall": [], "precision": []}
    for radius in radii:
        some = (distances <= radius).any(1)
        if some.any():
            recall = metrics.recall_within(distances, relevant, radius=radius)
            precision = metrics.precision_within(distances[some], relevant[some], radius=radius)
            curve["recall"].append(float(recall.mean()))
            curve["precision"].append(float(precision.mean()))
    return curve


@torch.no_grad()
def signs_of(features: Tensor, head: Head) -> npt.NDArray[np.float32]:
    """Give codes as -1 and 1, activations averaged over the views (second axis)."""
    activations = torch.stack([head(features[:, i]) for i in range(features.shape[1])]).mean(0)
    return np.asarray(torch.where(activations > 0.5, 1.0, -1.0).numpy(), dtype=np.float32)
