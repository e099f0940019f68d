"""Rank the archive of a trial for each query, and measure the rankings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from geohash_rs.evaluate.features import Features
from geohash_rs.evaluate.protocols import Trial
from geohash_rs.hashing.network.heads import Head
from geohash_rs.metrics import measures as metrics

__all__ = ["K", "Ranker", "label_gains"]

K = 20  # ranks that the measures evaluate
RADII = 50  # points of a curve of features, whose distances are not integers

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Ranker:
    """Ranks tiles by the codes of a head, or by the features themselves.

    Attributes:
        features: Frozen features of all tiles.
        head: The head, or None to rank by the cosine of the features.
        views: Views over which activations or features are averaged.
    """

    features: Features
    head: Head | None
    views: Sequence[str] = ("identity",)

    def vectors(self, rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Compute activations of some tiles, or their features, averaged over the views.

        Args:
            rows: Indices of the tiles.

        Returns:
            Float32, shape (tiles, num_bits or num_features).
        """
        values = self.features.of(rows, self.views)
        if self.head is None:
            return values.mean(1).numpy()
        with torch.no_grad():
            passes = [self.head(values[:, i]) for i in range(len(self.views))]
        return torch.stack(passes).mean(0).numpy()

    def distances(self, trial: Trial) -> npt.NDArray[np.float64]:
        """Compute the distance of each archive tile from each query.

        Args:
            trial: Queries and archive.

        Returns:
            Hamming distances, or ``1 - cosine`` of features, shape (queries, searched); infinite
            between a tile and itself.
        """
        ours, theirs = (self.vectors(rows) for rows in (trial.queries, trial.searched))
        if self.head is None:
            ours, theirs = (
                torch.nn.functional.normalize(torch.from_numpy(values), dim=1).numpy()
                for values in (ours, theirs)
            )
            distances: npt.NDArray[np.float64] = 1 - (ours @ theirs.T).astype(np.float64)
        else:
            product = _signs(ours) @ _signs(theirs).T
            distances = np.rint((self.head.num_bits - product) / 2).astype(np.float64)
        distances[trial.queries[:, None] == trial.searched[None]] = np.inf
        return distances

    def measure(self, labels: Labels, trial: Trial) -> dict[str, float]:
        """Measure the rankings of one trial.

        Args:
            labels: Class of each tile, shape (tiles,); or zeros and ones, shape (tiles, classes).
            trial: Queries and archive.

        Returns:
            Means over the queries, by name of the measure.
        """
        distances = self.distances(trial)
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
        if self.head is not None:
            within = metrics.precision_within(distances, relevant, radius=2)
            values["precision@radius2"] = float(within.mean())
            codes = self.vectors(trial.searched) > 0.5
            values["bit_entropy"] = float(metrics.bit_entropy(codes).mean())
        return values

    def precision_recall(self, labels: Labels, trial: Trial) -> dict[str, list[float]]:
        """Compute precision and recall as the search radius grows, means over the queries.

        Args:
            labels: As in `measure`.
            trial: As in `measure`.

        Returns:
            "recall" and "precision", one value per radius. Radii at which no query finds anything
            are left out; a query that finds nothing counts only in recall.
        """
        distances = self.distances(trial)
        relevant = label_gains(labels[trial.queries], labels[trial.searched]) > 0
        finite = distances[np.isfinite(distances)]
        radii: npt.NDArray[Any] = (
            np.quantile(finite, np.linspace(0, 1, RADII) ** 2)
            if self.head is None
            else np.arange(self.head.num_bits + 1)
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


def label_gains(queries: Labels, searched: Labels) -> Labels:
    """Count the labels that queries and archive tiles share.

    Args:
        queries: Labels of the queries, shape (queries,) or (queries, classes).
        searched: Labels of the archive, shape (searched,) or (searched, classes).

    Returns:
        Shape (queries, searched); 0 or 1 for one class per tile.
    """
    if queries.ndim == 2:
        shared: Labels = queries @ searched.T
        return shared
    same: Labels = (queries[:, None] == searched[None]).astype(np.int64)
    return same


def _signs(activations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.where(activations > 0.5, np.float32(1), np.float32(-1))
