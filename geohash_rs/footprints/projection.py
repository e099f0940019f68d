"""Bring points between a CRS and longitude and latitude, and tell where a CRS leaves the Earth."""

from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geohash_rs.errors import SceneError

__all__ = ["WGS84", "Projection", "projection_of"]

WGS84 = "EPSG:4326"

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Projection:
    """One CRS and how it lies on the Earth; x is east and y north, whatever its axis order.

    Attributes:
        crs: The CRS.
        plain: Whether its axes are longitudes and latitudes themselves, so that its grid lines are
            meridians and parallels (a rotated pole is not plain).
    """

    def __init__(self, crs: CRS) -> None:
        """Prepare both directions.

        Args:
            crs: The CRS.

        Raises:
            SceneError: If its coordinates have no place on the Earth's surface.
        """
        self.crs = crs
        self.plain = crs.is_geographic and not crs.is_derived
        msg = (
            f"the CRS {crs.name!r} ({crs.type_name}) cannot be brought to longitude and latitude, "
            "so tiles cannot be placed; set the right one with 'rio edit-info --crs'."
        )
        if not (crs.is_geographic or crs.is_projected):
            raise SceneError(msg)
        try:
            self._to_lonlat = Transformer.from_crs(crs, WGS84, always_xy=True)
            self._from_lonlat = Transformer.from_crs(WGS84, crs, always_xy=True)
        except ProjError as error:
            raise SceneError(msg) from error
        self._same = crs.to_epsg() == 4326

    def to_lonlat(self, points: FloatArray) -> FloatArray:
        """Give longitudes and latitudes.

        Args:
            points: x and y, shape (..., 2).

        Returns:
            Degrees, shape (..., 2); not finite where there is no place on the Earth. For a plain
            CRS longitudes go on beyond 180 as x does, and latitudes end at the poles.
        """
        if not self.plain:
            return self._transform(self._to_lonlat, points)
        x, y = points[..., 0], points[..., 1]
        if self._same:
            return np.stack([x, np.clip(y, -90.0, 90.0)], axis=-1)
        meridian, degrees = self._x_in_degrees
        limited = np.stack([x, np.clip(y, -90.0 / degrees, 90.0 / degrees)], axis=-1)
        lonlat = self._transform(self._to_lonlat, limited)
        lonlat[..., 0] += 360.0 * np.round((meridian + degrees * x - lonlat[..., 0]) / 360.0)
        return lonlat

    def from_lonlat(self, lonlat: FloatArray) -> FloatArray:
        """Give x and y.

        Args:
            lonlat: Degrees, shape (..., 2).

        Returns:
            Coordinates of the CRS, shape (..., 2); not finite where there are none.
        """
        return self._transform(self._from_lonlat, lonlat)

    def offsets(self, points: FloatArray, lonlat: FloatArray) -> FloatArray:
        """Measure how far places on the Earth are from points of the CRS.

        Args:
            points: x and y, shape (..., 2).
            lonlat: Degrees, shape (..., 2).

        Returns:
            Offsets in x and y, units of the CRS, shape (..., 2); infinite where a place has no
            coordinates. On a cylinder whole turns do not count.
        """
        finite = np.isfinite(lonlat).all(axis=-1, keepdims=True)
        back = self.from_lonlat(np.where(finite, lonlat, 0.0))
        placed = finite & np.isfinite(back).all(axis=-1, keepdims=True)
        off = np.where(placed, back, points) - points
        if self._period:
            off[..., 0] -= self._period * np.round(off[..., 0] / self._period)
        return np.where(placed, off, np.inf)

    def on_earth(self, points: FloatArray, lonlat: FloatArray, *, slack: float) -> BoolArray:
        """Tell which points come back to themselves from the Earth.

        Projections such as the sinusoidal give some longitude to points beyond their outline too.

        Args:
            points: x and y, shape (..., 2).
            lonlat: Where `to_lonlat` put them, shape (..., 2).
            slack: How far, in units of the CRS, a point may be off.

        Returns:
            Shape (...).
        """
        return np.asarray((np.abs(self.offsets(points, lonlat)) <= slack).all(axis=-1))

    @cached_property
    def poles(self) -> list[tuple[FloatArray, float]]:
        """List the poles that are points of this CRS, with their latitude."""
        found = []
        for latitude in (90.0, -90.0):
            seen = self.from_lonlat(np.array([[lon, latitude] for lon in (0.0, 90.0, 180.0)]))
            if np.isfinite(seen).all() and np.ptp(seen, axis=0).max() <= 1e-9 * self._one_degree:
                found.append((seen[0], latitude))
        return [] if self.plain else found

    @cached_property
    def _one_degree(self) -> float:
        return 1.0 if self.crs.is_geographic else 111_320.0

    @cached_property
    def _period(self) -> float:
        """Measure how far x goes in one turn around a cylinder; 0 for other projections."""
        if self.crs.is_geographic:
            return 360.0
        x = self.from_lonlat(np.array([[10.0, 0.0], [10.0, 60.0], [20.0, 0.0], [20.0, 60.0]]))[:, 0]
        if not np.isfinite(x).all() or max(abs(x[0] - x[1]), abs(x[2] - x[3])) > 1e-3:
            return 0.0
        return float(36.0 * abs(x[2] - x[0]))

    @cached_property
    def _x_in_degrees(self) -> tuple[float, float]:
        zero, one = self._transform(self._to_lonlat, np.array([[0.0, 0.0], [1.0, 0.0]]))[:, 0]
        return float(zero), float(round(one - zero, 6))

    @staticmethod
    def _transform(transformer: Transformer, points: FloatArray) -> FloatArray:
        x, y = transformer.transform(points[..., 0], points[..., 1])
        return np.stack([x, y], axis=-1)


def projection_of(crs: object) -> Projection:
    """Give the projection of a CRS, prepared once and kept.

    Args:
        crs: Anything that ``pyproj.CRS.from_user_input`` takes.

    Returns:
        The projection.

    Raises:
        SceneError: If its coordinates have no place on the Earth's surface.
    """
    if isinstance(crs, str):
        return _of_text(crs)
    return _of_text(CRS.from_user_input(crs).to_wkt())


@lru_cache(maxsize=256)
def _of_text(text: str) -> Projection:
    return Projection(CRS.from_user_input(text))
