"""Bit weights as the compiled loops take them."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geohash_rs.codes import code_words
from geohash_rs.store.search.weights import BitWeights

__all__ = ["NOT_WEIGHED", "Weighing", "weighing_of"]

NUM_MASKS = 4  # binary digits of a weight that the first, fast comparison looks at


class Weighing(NamedTuple):
    """The weights of a search, in two forms.

    Attributes:
        masks: Words, at most `NUM_MASKS` times the words of a code, or none: bit i is in mask j if
            binary digit j of its coarse weight is set.
        tables: What each value of each byte of a code costs, uint16, shape (bytes * 256,).
        shift: A coarse weight counts 2^shift, rounded down.
    """

    masks: Any
    tables: npt.NDArray[np.uint16]
    shift: int


NOT_WEIGHED = Weighing(masks=(), tables=np.empty(0, np.uint16), shift=0)


def weighing_of(weights: BitWeights) -> Weighing:
    """Prepare weights for the compiled loops.

    A coarse weight is the weight divided by 2^shift, rounded down, at most 2^NUM_MASKS - 1. So the
    sum of coarse weights is a lower bound of the cost in units of 2^shift. The shift is the one
    that loses least of the weights.

    Args:
        weights: The weights.

    Returns:
        The masks and the tables.
    """
    words = code_words(weights.code[None])
    lanes = 8 * words.itemsize  # bits in which the compiled loops add coarse weights
    fine = weights.weights.astype(np.int64)
    shifts = [s for s in range(17) if (weights.most >> s) + 1 < 1 << lanes]
    kept = {s: np.minimum(fine >> s, (1 << NUM_MASKS) - 1) for s in shifts}
    shift = max(shifts, key=lambda s: (int(kept[s].sum()) << s, -s))
    digits = kept[shift] >> np.arange(NUM_MASKS)[:, None] & 1
    masks = code_words(np.packbits(digits.astype(np.uint8), axis=1)).reshape(-1)
    return Weighing(masks=tuple(masks), tables=weights.tables.reshape(-1).copy(), shift=shift)
