"""Keys of candidates: distance and tile id packed into one integer that sorts as results do."""

import numpy as np
import numpy.typing as npt

__all__ = ["ID_BITS", "NO_KEY", "Keys"]

Keys = npt.NDArray[np.uint64]

ID_BITS = 53  # a key is distance << 53 | tile id, so that keys sort by distance, then by id
NO_KEY = np.uint64(np.iinfo(np.uint64).max)
