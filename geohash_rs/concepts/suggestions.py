"""Choose the tiles whose judgement teaches most."""

import numpy as np
import numpy.typing as npt

from geohash_rs.codes import hamming_distances
from geohash_rs.concepts.learning import Model

__all__ = ["choose", "num_candidates"]

Codes = npt.NDArray[np.uint8]

NUM_CANDIDATES = 4096  # or the threshold of a class of that many tiles is out of reach
PER_CHOICE = 2  # uncertain tiles for each that is chosen
AT_ONCE = 1 << 20  # pairs of mark and tile in memory


def num_candidates(k: int) -> int:
    """Return how many of the tiles with the lowest costs to choose from.

    Args:
        k: Number of tiles to choose.

    Returns:
        Number of candidates.
    """
    return max(NUM_CANDIDATES, PER_CHOICE * k)


def choose(
    codes: Codes,
    costs: npt.NDArray[np.integer],
    model: Model,
    right: Codes,
    wrong: Codes,
    *,
    k: int,
) -> npt.NDArray[np.intp]:
    """Choose tiles to judge next: those about which the model knows least, and unlike each other.

    Of the 2 k candidates whose costs are nearest to the model's offset, the one that is least like
    all marks is chosen, then the one that is least like all marks and the first one, and so on.

    Args:
        codes: Codes of the candidates, none of them marked, uint8, shape (candidates, bits / 8).
        costs: Their costs, shape (candidates,).
        model: The model.
        right: Codes of the tiles that are marked right, uint8, shape (right, bits / 8).
        wrong: Codes of the tiles that are marked wrong, uint8, shape (wrong, bits / 8).
        k: Number of tiles to choose.

    Returns:
        Rows of the candidates, in the order in which they were chosen, shape (k,), fewer if there
        are fewer candidates. Ties go to the first candidate.

    References:
        Lewis and Gale, A Sequential Algorithm for Training Text Classifiers, SIGIR 1994,
        https://arxiv.org/abs/cmp-lg/9407020, for uncertain examples; Gonzalez, Clustering to
        minimize the maximum intercluster distance, 1985,
        https://doi.org/10.1016/0304-3975(85)90224-5, for the order
    """
    doubt = np.abs(np.asarray(costs, dtype=np.float64) - model.offset)
    unsure = np.argsort(doubt, kind="stable")[: PER_CHOICE * k]
    likeness = _nearest(np.concatenate([right, wrong]), codes[unsure])
    chosen: list[int] = []
    while len(chosen) < min(k, len(unsure)):
        place = int(likeness.argmax())
        chosen.append(place)
        likeness = np.minimum(likeness, _nearest(codes[unsure[[place]]], codes[unsure]))
        likeness[chosen] = -1
    return unsure[chosen]


def _nearest(marks: Codes, codes: Codes) -> npt.NDArray[np.int32]:
    """Compute the Hamming distance from each code to the nearest mark, shape (codes,)."""
    nearest = np.full(len(codes), 8 * codes.shape[1] + 1, np.int32)
    step = max(1, AT_ONCE // max(1, len(codes)))
    for start in range(0, len(marks), step):
        found = hamming_distances(marks[start : start + step], codes)
        nearest = np.minimum(nearest, found.min(axis=0))
    return nearest
