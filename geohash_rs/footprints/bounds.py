"""Boxes in longitude and latitude, also across the antimeridian."""

import numpy as np
import numpy.typing as npt

__all__ = ["total_bounds"]


def total_bounds(bounds: npt.NDArray[np.float64]) -> tuple[float, float, float, float] | None:
    """Return the narrowest box around all boxes.

    Args:
        bounds: (xmin, ymin, xmax, ymax) in degrees, xmax above 180 if a box crosses the
            antimeridian, NaN for a missing box; shape (n, 4).

    Returns:
        The box, xmax above 180 if it crosses the antimeridian; None if there are no boxes.
    """
    placed = bounds[~np.isnan(bounds[:, 0])]
    if not len(placed):
        return None
    west, south = placed[:, :2].min(axis=0).tolist()
    east, north = placed[:, 2:].max(axis=0).tolist()
    if east - west > 180:
        order = np.argsort(placed[:, 0])
        lows, highs = placed[order, 0], np.maximum.accumulate(placed[order, 2])
        gaps = lows[1:] - highs[:-1]
        widest = int(np.argmax(gaps)) if len(gaps) else 0
        if len(gaps) and gaps[widest] > max(west + 360 - east, 0):
            west, east = float(lows[widest + 1]), max(float(highs[widest]) + 360, east)
        if east - west >= 360:
            west, east = -180.0, 180.0
    return (west, south, east, north)
