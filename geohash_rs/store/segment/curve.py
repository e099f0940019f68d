"""Order points along a curve that keeps neighbours together."""

import numpy as np
import numpy.typing as npt

__all__ = ["box_keys", "hilbert_keys"]

ORDER = 26  # bits per axis: 60 cm of longitude at the equator
CHUNK = 1 << 14  # rows at a time, so that the working set stays in the cache


def box_keys(bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """Return the position of the middle of each box along the curve.

    Args:
        bounds: Boxes of footprints in degrees, xmax above 180 across the antimeridian, NaN if
            missing, shape (n, 4).

    Returns:
        Keys, as `hilbert_keys`.
    """
    longitudes = (bounds[:, 0] + bounds[:, 2]) / 2
    longitudes = np.where(longitudes > 180, longitudes - 360, longitudes)
    return hilbert_keys(longitudes, (bounds[:, 1] + bounds[:, 3]) / 2)


def hilbert_keys(
    longitudes: npt.NDArray[np.float64], latitudes: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint64]:
    """Return each point's position along a Hilbert curve over the globe.

    Args:
        longitudes: Degrees, shape (n,); NaN for tiles without a footprint, which come last.
        latitudes: Degrees, shape (n,).

    Returns:
        Keys, uint64, shape (n,); similar keys mean nearby points.

    References:
        Hilbert, Ueber die stetige Abbildung einer Linie auf ein Flaechenstueck, 1891
    """
    keys = np.empty(len(longitudes), np.uint64)
    for start in range(0, len(keys), CHUNK):
        piece = slice(start, start + CHUNK)
        keys[piece] = _walk(
            _grid(longitudes[piece], -180.0, 360.0), _grid(latitudes[piece], -90.0, 180.0)
        )
    keys[np.isnan(longitudes)] = np.iinfo(np.uint64).max
    return keys


def _grid(values: npt.NDArray[np.float64], low: float, extent: float) -> npt.NDArray[np.uint32]:
    cells = np.nan_to_num((values - low) * ((1 << ORDER) / extent))
    return np.clip(cells, 0, (1 << ORDER) - 1).astype(np.uint32)


def _walk(x: npt.NDArray[np.uint32], y: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """Descend the quadrants, largest first, flipping each so that the curve is continuous."""
    keys = np.zeros(len(x), np.uint64)
    one = np.uint32(1)
    for level in range(ORDER - 1, -1, -1):
        bit = np.uint32(level)
        right, top = (x >> bit) & one, (y >> bit) & one
        keys = (keys << np.uint64(2)) | (((one * 3) * right) ^ top).astype(np.uint64)
        low = top == 0
        flip = (low & (right == 1)).astype(np.uint32) * np.uint32((1 << ORDER) - 1)
        x, y = x ^ flip, y ^ flip
        x, y = np.where(low, y, x), np.where(low, x, y)
    return keys
