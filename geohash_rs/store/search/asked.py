"""What a search asks for: the tiles nearest to some codes, or the cheapest by bit weights."""

import numpy as np
import numpy.typing as npt

from geohash_rs.codes import hamming_distances
from geohash_rs.store.search.weights import BitWeights

__all__ = ["Asked", "distances_to", "num_bytes_of", "num_queries", "some_of", "worst_distance"]

Asked = npt.NDArray[np.uint8] | BitWeights


def num_queries(asked: Asked) -> int:
    """Return the number of queries; weights are one."""
    return 1 if isinstance(asked, BitWeights) else len(asked)


def num_bytes_of(asked: Asked) -> int:
    """Return the number of bytes of a code."""
    return asked.num_bits // 8 if isinstance(asked, BitWeights) else asked.shape[1]


def worst_distance(asked: Asked) -> int:
    """Return the largest distance that a code can have: its bits, or the sum of the weights."""
    return asked.most if isinstance(asked, BitWeights) else 8 * asked.shape[1]


def distances_to(asked: Asked, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Compute the distance, or the cost, of every code to every query.

    Args:
        asked: The queries.
        codes: Packed codes, uint8, shape (tiles, bits / 8).

    Returns:
        Distances, int32, shape (queries, tiles).
    """
    if isinstance(asked, BitWeights):
        return asked.costs(codes)[None]
    return hamming_distances(asked, codes)


def some_of(asked: Asked, some: slice) -> Asked:
    """Return some of the queries."""
    return asked if isinstance(asked, BitWeights) else asked[some]
