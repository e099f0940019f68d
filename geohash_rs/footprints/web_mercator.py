"""The unit square of web maps (EPSG:3857): x runs from west to east, y from north to south."""

import numpy as np
import numpy.typing as npt

__all__ = ["HALF_WORLD", "LIMIT", "from_square", "to_square"]

Array = npt.NDArray[np.float64]

LIMIT = 85.0511287798066  # degrees; the latitude at which the map becomes a square
HALF_WORLD = 20_037_508.342789244  # m from the centre of the map to its edge


def to_square(lonlat: npt.ArrayLike) -> Array:
    """Project points onto the square; latitudes beyond its edge are clipped.

    Args:
        lonlat: Degrees, shape (..., 2); longitudes beyond 180 continue to the east.

    Returns:
        x and y, shape (..., 2).
    """
    lon, lat = np.moveaxis(np.asarray(lonlat, dtype=float), -1, 0)
    sine = np.sin(np.radians(np.clip(lat, -LIMIT, LIMIT)))
    y = 0.5 - np.log((1 + sine) / (1 - sine)) / (4 * np.pi)
    return np.stack([(lon + 180) / 360, y], axis=-1)


def from_square(points: npt.ArrayLike) -> Array:
    """Convert points of the square to longitude and latitude.

    Args:
        points: x and y, shape (..., 2).

    Returns:
        Degrees, shape (..., 2).
    """
    x, y = np.moveaxis(np.asarray(points, dtype=float), -1, 0)
    return np.stack([x * 360 - 180, np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * y))))], axis=-1)
