"""Cut areas at the borders of regions, without slivers where a border follows an area's edge."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.concepts.outlines import polygons_of
from geohash_rs.concepts.regions import Regions
from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.footprints.ground import square_km

__all__ = ["Cut", "cut_at", "warn_of_cuts"]

ROUNDING = 1e-3  # share of the areas that bent edges may shift without a word
LEAST_KM2 = 1e-12  # of what is left of an area at the border of a region: rounding
NARROW = 0.01  # of a tile's side: two lines that are nearer are one

Ints = npt.NDArray[np.int64]
GeometryArray = npt.NDArray[np.object_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """Areas, cut at the borders of regions.

    Attributes:
        whole: The areas, shape (areas,).
        parts: What lies in a region, by region and within one the largest first, shape (n,).
        region: The region of each part, shape (n,).
        area: The area of each part, shape (n,).
        moved: Ground of slivers that count for the region next to theirs, km2.
    """

    whole: GeometryArray
    parts: GeometryArray
    region: Ints
    area: Ints
    moved: float


def cut_at(by: Regions, areas: GeometryArray, tiles: Ints) -> Cut:
    """Cut areas at the borders of regions.

    Regions are drawn in one CRS and tiles cut in another, so a border that is meant to follow the
    edge of tiles strays from it by a little. A part of an area that lies within a hundredth of a
    tile of the area's edge is such a sliver: its ground counts for the region that holds the ground
    next to it, or, if none does, as ground outside all regions.

    Args:
        by: The regions.
        areas: Valid polygons and multipolygons in longitude and latitude, shape (n,).
        tiles: Number of tiles of each area, shape (n,).

    Returns:
        The parts.
    """
    shapely.prepare(by.shapes)
    region, area = shapely.STRtree(areas).query(by.shapes, predicate="intersects")
    parts = areas[area]
    crossing = np.flatnonzero(~shapely.contains(by.shapes[region], parts))
    cut = shapely.intersection(by.shapes[region[crossing]], parts[crossing])
    # without the lines and points where areas only touch a region
    parts[crossing] = np.array(list(map(polygons_of, cut)), dtype=object)
    narrow = NARROW * np.sqrt(shapely.area(areas) / np.maximum(tiles, 1))  # degrees
    is_sliver = np.zeros(len(parts), np.bool_)
    is_sliver[crossing] = _slivers(parts[crossing], areas, area[crossing], narrow)
    moved = _moved(parts, area, is_sliver, narrow)
    sizes = np.where(is_sliver, 0, square_km(parts))
    order = np.lexsort((-sizes, region))
    order = order[sizes[order] > LEAST_KM2]
    return Cut(whole=areas, parts=parts[order], region=region[order], area=area[order], moved=moved)


def _slivers(
    parts: GeometryArray, areas: GeometryArray, owners: Ints, narrow: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Find parts that lie at the edge of their area all along."""
    sizes, lengths = shapely.area(parts), shapely.length(parts)
    may_be = np.flatnonzero((sizes > 0) & (2 * sizes <= narrow[owners] * lengths))
    touched, places = np.unique(owners[may_be], return_inverse=True)
    cores = shapely.buffer(areas[touched], -narrow[touched], join_style="mitre")
    shapely.prepare(cores)
    found = np.zeros(len(parts), np.bool_)
    found[may_be] = ~shapely.intersects(cores[places], parts[may_be])
    return found


def _moved(
    parts: GeometryArray,
    owners: Ints,
    is_sliver: npt.NDArray[np.bool_],
    narrow: npt.NDArray[np.float64],
) -> float:
    """Join slivers, in place, with the largest part of their area next to them.

    Returns:
        How much ground that is, km2; without that of slivers next to nothing.
    """
    slivers, others = np.flatnonzero(is_sliver), np.flatnonzero(~is_sliver)
    if not len(slivers) or not len(others):
        return 0.0
    one, other = shapely.STRtree(parts[others]).query(
        parts[slivers], predicate="dwithin", distance=narrow[owners[slivers]]
    )
    sliver, target = slivers[one], others[other]
    same = owners[sliver] == owners[target]
    sliver, target = sliver[same], target[same]
    moved = float(square_km(parts[np.unique(sliver)]).sum())
    # a region that overlaps the sliver's own has that ground already
    shared = shapely.area(shapely.intersection(parts[sliver], parts[target]))
    apart = shared < shapely.area(parts[sliver]) / 2
    sliver, target = sliver[apart], target[apart]
    order = np.lexsort((-shapely.area(parts[target]), sliver))
    chosen, first = np.unique(sliver[order], return_index=True)
    target = target[order][first]
    order = np.argsort(target, kind="stable")
    rows, starts = np.unique(target[order], return_index=True)
    for row, pieces in zip(rows, np.split(chosen[order], starts[1:]), strict=False):
        parts[row] = polygons_of(shapely.union_all([parts[row], *parts[pieces]]))
    return moved


def warn_of_cuts(cuts: Sequence[Cut]) -> None:
    """Warn if ground lies outside all regions, or counts for the region next to its own.

    Args:
        cuts: The areas of each day.
    """
    found = sum(float(square_km(one.whole).sum()) for one in cuts)
    inside = sum(float(square_km(np.array([shapely.union_all(one.parts)])).sum()) for one in cuts)
    moved = sum(one.moved for one in cuts)
    if found - inside > ROUNDING * found:
        msg = (
            f"{found - inside:.4g} of {found:.4g} km2 lie outside all regions and are left out; "
            "draw the map without regions to see them."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=4)
    if moved > ROUNDING * found:
        msg = (
            f"{moved:.4g} of {found:.4g} km2 are slivers between the edge of an area and the "
            "border of a region, narrower than a hundredth of a tile, and count for the region "
            "next to them."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=4)
