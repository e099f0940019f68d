"""How well the tiles of a validation part find each other by their codes."""

import warnings

import numpy as np
from torch import Tensor

from geohash_rs import metrics
from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.hashing.mining import label_similarity

__all__ = ["CodeCollapseWarning", "ranking_values", "warn_of_collapse"]

COLLAPSED = 0.1  # mean bit entropy below which codes say next to nothing


class CodeCollapseWarning(GeoHashRSWarning):
    """Codes of different tiles have become almost the same."""


def ranking_values(bits: Tensor, labels: Tensor, *, k: int) -> dict[str, float]:
    """Rank every tile's others by Hamming distance and measure.

    Args:
        bits: Zeros and ones, shape (tiles, bits).
        labels: As `label_similarity` takes them.
        k: Ranks that are looked at.

    Returns:
        "map" (AP divides by the relevant tiles found among the k), "precision_radius2" and
        "bit_entropy"; for several labels a tile also "ndcg", "acg" and "weighted_map".
    """
    codes = bits.numpy().astype(np.float32)
    relevant = (label_similarity(labels) > 0).numpy()
    distances = np.rint((codes.shape[1] - (2 * codes - 1) @ (2 * codes - 1).T) / 2)
    np.fill_diagonal(distances, np.inf)
    values = {
        "map": metrics.mean_average_precision(distances, relevant, k=k),
        "precision_radius2": float(metrics.precision_within(distances, relevant).mean()),
        "bit_entropy": float(metrics.bit_entropy(codes).mean()),
    }
    if labels.ndim == 2:
        gains = (labels.float() @ labels.float().T).numpy()
        values["ndcg"] = float(metrics.ndcg(distances, gains, k=k).mean())
        values["acg"] = float(metrics.average_cumulative_gain(distances, gains, k=k).mean())
        weighted = metrics.weighted_average_precision(distances, gains, k=k)
        values["weighted_map"] = float(weighted.mean())
    return values


def warn_of_collapse(entropy: float, *, tiles: int) -> None:
    """Warn where codes hardly differ.

    Args:
        entropy: Mean bit entropy, in [0, 1].
        tiles: How many tiles it was measured on.
    """
    if entropy < COLLAPSED:
        msg = (
            f"codes have collapsed: mean bit entropy of {tiles} tiles is {entropy:.3f} of 1; lower "
            "lr, raise balance, or use larger class-balanced batches."
        )
        warnings.warn(msg, CodeCollapseWarning, stacklevel=2)
