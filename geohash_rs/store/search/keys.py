"""Keys of candidates: distance and tile id packed into one integer that sorts as results do.

A key is distance << ID_BITS | tile id, so that keys sort by distance, or cost, then by id.
"""

import numpy as np
import numpy.typing as npt

from geohash_rs.store.segment.layout import ID_BITS

__all__ = ["ID_BITS", "NO_KEY", "Keys", "keys_of"]

Keys = npt.NDArray[np.uint64]

NO_KEY = np.uint64(np.iinfo(np.uint64).max)


def keys_of(distances: npt.NDArray[np.integer], ids: npt.NDArray[np.integer]) -> Keys:
    """Pack distances and tile ids, none negative, of shapes that fit each other."""
    far = distances.astype(np.uint64) << np.uint64(ID_BITS)
    return np.asarray(far | ids.astype(np.uint64))
