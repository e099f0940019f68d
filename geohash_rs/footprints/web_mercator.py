"""The square world of web maps (EPSG:3857): 0 to 1 from west to east and from north to south."""

import numpy as np
import numpy.typing as npt

__all__ = ["HALF_WORLD", "LIMIT", "from_square", "to_square"]

Array = npt.NDArray[np.float64]

LIMIT = 85.0511287798066  # degrees; the latitude at which the world is a square
HALF_WORLD = 20_037_508.342789244  # m from the middle of the world to its rim


def to_square(lonlat: npt.ArrayLike) -> Array:
    """Place points in the square; latitudes beyond its rim come to lie on it.

    Args:
        lonlat: Degrees, shape (..., 2); longitudes beyond 180 go on to the east.

    Returns:
        x and y, shape (..., 2).
    """
    lon, lat = np.moveaxis(np.asarray(lonlat, dtype=float), -1, 0)
    sine = np.sin(np.radians(np.clip(lat, -LIMIT, LIMIT)))
    y = 0.5 - np.log((1 + sine) / (1 - sine)) / (4 * np.pi)
    return np.stack([(lon + 180) / 360, y], axis=-1)


def from_square(points: npt.ArrayLike) -> Array:
    """Bring points of the square back to longitude and latitude.

    Args:
        points: x and y, shape (..., 2).

    Returns:
        Degrees, shape (..., 2).
    """
    x, y = np.moveaxis(np.asarray(points, dtype=float), -1, 0)
    return np.stack([x * 360 - 180, np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * y))))], axis=-1)
