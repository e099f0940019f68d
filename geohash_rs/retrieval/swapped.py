"""Notice coordinates that are not what was meant: latitude first, or longitudes beyond 180."""

from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geohash_rs.errors import QueryError
from geohash_rs.store.search.filters import Region
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable, bits_of

__all__ = ["check_point", "swapped_point", "swapped_region"]


def check_point(point: Sequence[float]) -> tuple[float, float]:
    """Check a longitude and latitude.

    Args:
        point: The two, degrees.

    Returns:
        Longitude and latitude.

    Raises:
        QueryError: If there are not two finite numbers, or one is out of range. The message offers
            the point that was probably meant.
    """
    if len(point) != 2 or not all(np.isfinite(point)):
        msg = f"point is {tuple(point)}; pass longitude and latitude in degrees."
        raise QueryError(msg)
    lon, lat = float(point[0]), float(point[1])
    if abs(lon) <= 180 and abs(lat) <= 90:
        return lon, lat
    meant = ""
    if abs(lat) <= 90 and abs(lon) < 540:
        turned = lon - np.copysign(360, lon)
        meant = f"; {lon:g} degrees east are {turned:g}: pass {_point(turned, lat)}"
    elif abs(lon) <= 90 and abs(lat) <= 180:
        meant = f"; if this is latitude, longitude, pass {_point(lat, lon)}"
    msg = (
        f"point is {lon:g}, {lat:g}; longitude comes first and lies in -180..180, latitude in "
        f"-90..90{meant}."
    )
    raise QueryError(msg)


def swapped_point(archive: Searchable, lon: float, lat: float) -> str:
    """Offer a point with longitude and latitude swapped if a tile lies there.

    Args:
        archive: One state of the archive.
        lon: What was given as longitude, degrees.
        lat: What was given as latitude, degrees.

    Returns:
        A sentence for a user, or an empty string.
    """
    if abs(lon) > 90 or not _holds(archive, shapely.Point(lat, lon)):
        return ""
    return (
        f"Latitude and longitude seem swapped: a tile lies at longitude {lat:g}, latitude {lon:g}; "
        f"pass {_point(lat, lon)}."
    )


def swapped_region(archive: Searchable, region: Region) -> str:
    """Offer a region with longitude and latitude swapped if a tile lies there.

    Args:
        archive: One state of the archive.
        region: The region, in which no tile lies.

    Returns:
        A sentence for a user, or an empty string.
    """
    west, south, east, north = region.bounds
    if max(abs(west), abs(east)) > 90:
        return ""
    turned = shapely.transform(region.geometry, lambda lonlat: lonlat[:, ::-1])
    if not _holds(archive, turned):
        return ""
    if region.is_boxes:
        box = ", ".join(f"{value:.10g}" for value in (south, west, north, east))
        return f"Latitude and longitude seem swapped: tiles lie in region=({box}); pass that."
    return (
        "Latitude and longitude seem swapped: with longitude first, tiles lie in the region; write "
        "its coordinates as longitude, latitude."
    )


def _point(lon: float, lat: float) -> str:
    return f"point=({lon:.10g}, {lat:.10g})"


def _holds(archive: Searchable, shape: BaseGeometry) -> bool:
    """Return whether a tile of the archive meets a shape."""
    num_bits = bits_of(archive)
    anything = np.zeros((1, num_bits // 8), dtype=np.uint8)
    limits = Limits(k=1, max_distance=num_bits)
    found = archive.find(anything, limits=limits, where=Where.parse(region=shape))
    return bool((found.ids >= 0).any())
