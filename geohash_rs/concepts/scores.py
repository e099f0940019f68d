"""Count tiles by score."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geohash_rs.concepts.learning import Model
from geohash_rs.errors import ConceptError
from geohash_rs.trust.promise import Promise

__all__ = ["Histogram", "histogram_of"]

MOST_BINS = 10_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Histogram:
    """How many tiles have which score.

    Attributes:
        edges: Scores from 0 to 1 that divide the steps, shape (steps + 1,).
        counts: Tiles in each step, its lower edge included, int64, shape (steps,).
        precision: What can be promised for all tiles from the lower edge of a step on, shape
            (steps,); NaN where nothing can. None if the concept is not calibrated.
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    precision: npt.NDArray[np.float64] | None


def histogram_of(
    model: Model, costs: npt.NDArray[np.int32], *, bins: int, promise: Promise | None
) -> Histogram:
    """Count tiles by score.

    Args:
        model: What the scores follow from.
        costs: Costs of the tiles, shape (tiles,).
        bins: Number of equal steps of score.
        promise: What is known about precision by cost.

    Returns:
        The histogram.

    Raises:
        ConceptError: If the number of steps is out of range.
    """
    if not 1 <= bins <= MOST_BINS:
        msg = f"bins is {bins}; use 1 to {MOST_BINS}."
        raise ConceptError(msg)
    edges = np.linspace(0, 1, bins + 1)
    by_cost = np.bincount(costs, minlength=1)
    counts, _ = np.histogram(model.scores(np.arange(len(by_cost))), edges, weights=by_cost)
    limits = np.array([model.cost_at(float(edge)) for edge in edges[:-1]])
    known = None if promise is None else promise.precision_of(limits)
    return Histogram(edges=edges, counts=counts.round().astype(np.int64), precision=known)
