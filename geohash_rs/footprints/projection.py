"""Convert points between a CRS and longitude and latitude, and detect points off the Earth."""

import re
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geohash_rs.errors import SceneError

__all__ = ["WGS84", "Projection", "names_file", "projection_of"]

WGS84 = "EPSG:4326"
# PROJ opens the files that a CRS names, and waits if one is a pipe.
FILE_IN_TEXT = re.compile(
    r"(grids|init|file|model)\s*=[^\s\"]*[/\\]"  # a PROJ string
    r"|(grids|file|value)\"\s*[,:]\s*\"[^\"]*[/\\]",  # WKT or PROJJSON
    re.IGNORECASE,
)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Projection:
    """A CRS and its transforms to and from WGS 84; always (x, y), whatever its axis order.

    Attributes:
        crs: The CRS.
        plain: Whether its axes are longitude and latitude, so that its grid lines are meridians
            and parallels (a rotated pole is not plain).
    """

    def __init__(self, crs: CRS) -> None:
        """Prepare the transforms in both directions.

        Args:
            crs: The CRS.

        Raises:
            SceneError: If the CRS cannot be transformed to longitude and latitude.
        """
        self.crs = crs
        self.plain = crs.is_geographic and not crs.is_derived
        msg = (
            f"the CRS {crs.name!r} ({crs.type_name}) cannot be converted to longitude and "
            "latitude, so tiles cannot be placed; set the right one with 'rio edit-info --crs'."
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
        """Convert points to longitude and latitude.

        Args:
            points: x and y, shape (..., 2).

        Returns:
            Degrees, shape (..., 2); not finite for points off the Earth. In a plain CRS, longitudes
            continue beyond 180 as x does, and latitudes are clipped at the poles.
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
        """Convert longitude and latitude to x and y.

        Args:
            lonlat: Degrees, shape (..., 2).

        Returns:
            Coordinates in the CRS, shape (..., 2); not finite if there are none.
        """
        return self._transform(self._from_lonlat, lonlat)

    def offsets(self, points: FloatArray, lonlat: FloatArray) -> FloatArray:
        """Measure in the CRS how far positions on the Earth are from points.

        Args:
            points: x and y, shape (..., 2).
            lonlat: Degrees, shape (..., 2).

        Returns:
            Offsets in x and y, units of the CRS, shape (..., 2); infinite if a position has no
            coordinates. In a cylindrical projection, full turns are ignored.
        """
        finite = np.isfinite(lonlat).all(axis=-1, keepdims=True)
        back = self.from_lonlat(np.where(finite, lonlat, 0.0))
        placed = finite & np.isfinite(back).all(axis=-1, keepdims=True)
        off = np.where(placed, back, points) - points
        if self._period:
            off[..., 0] -= self._period * np.round(off[..., 0] / self._period)
        return np.where(placed, off, np.inf)

    def on_earth(self, points: FloatArray, lonlat: FloatArray, *, slack: float) -> BoolArray:
        """Return which points survive the round trip to longitude and latitude and back.

        Projections such as the sinusoidal return a longitude even for points outside their outline.

        Args:
            points: x and y, shape (..., 2).
            lonlat: Result of `to_lonlat` for them, shape (..., 2).
            slack: Largest allowed offset, in units of the CRS.

        Returns:
            Bool, shape (...).
        """
        return np.asarray((np.abs(self.offsets(points, lonlat)) <= slack).all(axis=-1))

    @cached_property
    def poles(self) -> list[tuple[FloatArray, float]]:
        """The poles that are single points in this CRS, with their latitudes."""
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
        """Length in x of one turn of a cylindrical projection; 0 for other projections."""
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
    """Return the projection of a CRS, from a cache.

    Args:
        crs: Anything that ``pyproj.CRS.from_user_input`` accepts.

    Returns:
        The projection.

    Raises:
        SceneError: If the CRS cannot be transformed to longitude and latitude.
    """
    if isinstance(crs, str):
        return _of_text(crs)
    return _of_text(CRS.from_user_input(crs).to_wkt())


@lru_cache(maxsize=256)
def _of_text(text: str) -> Projection:
    """Return the projection of a CRS, which may come from a stranger.

    Raises:
        SceneError: If it names a file by its path, or cannot be transformed.
    """
    found = None if names_file(text) else CRS.from_user_input(text)
    if found is None or _names_path(found.to_json_dict()):
        msg = (
            "a CRS names a grid by the path of a file, which is not opened; put the grid into "
            "PROJ's data folder and name it without a path."
        )
        raise SceneError(msg)
    return Projection(found)


def names_file(text: str) -> bool:
    """Return whether the text of a CRS names a file by its path."""
    return FILE_IN_TEXT.search(text) is not None


def _names_path(part: Any) -> bool:  # noqa: ANN401 - any JSON
    """Return whether a parameter of a CRS in PROJJSON is the path of a file."""
    if isinstance(part, dict):
        value = part.get("value")
        if isinstance(value, str) and ("/" in value or "\\" in value):
            return True
        return any(map(_names_path, part.values()))
    return isinstance(part, list) and any(map(_names_path, part))
