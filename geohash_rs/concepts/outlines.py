"""Draw the outlines of cells that belong together, and join those of several scenes."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
import shapely.affinity

from geohash_rs.concepts.cells import Grid, Ints
from geohash_rs.footprints.ground import ring_km2
from geohash_rs.footprints.projection import WGS84, Projection, projection_of
from geohash_rs.footprints.rings import edge_bends
from geohash_rs.footprints.shapes import lonlat_polygons

__all__ = [
    "filled",
    "footprint_outlines",
    "grid_outlines",
    "joined",
    "lonlat_outlines",
    "polygons_of",
    "united",
]

MAX_BEND_PX = 0.5  # how far a straight edge may stray from the true one, as of footprints
SNAP_PX = 1e-3  # corners of two scenes that are nearer than this are one
SNAP_DEGREES = 1e-9
MOST_HALVES = 12

GeometryArray = npt.NDArray[np.object_]
FloatArray = npt.NDArray[np.float64]


def grid_outlines(grid: Grid, across: Ints, down: Ints) -> GeometryArray:
    """Outline the cells of some tiles; cells that share a side become one polygon.

    Args:
        grid: Their grid.
        across: Positions of the tiles across, shape (n,).
        down: Positions down, shape (n,).

    Returns:
        Valid polygons in the CRS of the scene, which may have holes and touch only at corners.
    """
    cols, rows = grid.cols.slots[across], grid.rows.slots[down]
    left, top = int(cols.min()), int(rows.min())
    cells = np.zeros((int(rows.max()) - top + 1, int(cols.max()) - left + 1), np.uint8)
    cells[rows - top, cols - left] = 1
    shapes = [shape for shape, _ in rasterio.features.shapes(cells, mask=cells.view(np.bool_))]
    rings = list(chain.from_iterable(shape["coordinates"] for shape in shapes))
    corners = np.array(list(chain.from_iterable(rings))).astype(np.int64)
    points = grid.place(
        grid.cols.borders[left + corners[:, 0]], grid.rows.borders[top + corners[:, 1]]
    )
    lines = shapely.linearrings(points, indices=_repeated([len(ring) for ring in rings]))
    owners = _repeated([len(shape["coordinates"]) for shape in shapes])
    return np.asarray(shapely.polygons(np.asarray(lines, dtype=object), indices=owners))


def lonlat_outlines(outlines: GeometryArray, grid: Grid) -> GeometryArray:
    """Bring outlines to longitude and latitude, with more points where edges bend.

    Args:
        outlines: Polygons in the CRS of a scene, shape (n,).
        grid: Any grid in that CRS; edges stray by at most half of its pixel.

    Returns:
        Polygons and multipolygons, x in [-180, 180], shape (n,).
    """
    projection = projection_of(grid.crs)
    tolerance = MAX_BEND_PX * grid.pixel
    if not projection.plain and len(outlines):
        length = _straight_length(outlines, projection, tolerance / 2)
        outlines = shapely.segmentize(outlines, length)
    lonlat = lonlat_polygons(outlines, grid.crs, tolerance=tolerance)
    for pole, _ in projection.poles:
        for row in np.flatnonzero(_may_touch(outlines, pole)):
            cut = shapely.intersection(outlines[row], _quarters(outlines[row], pole))
            quarters = [polygons_of(one) for one in cut if shapely.area(one) > 0]
            pieces = lonlat_polygons(
                np.array(quarters, dtype=object), grid.crs, tolerance=tolerance
            )
            lonlat[row] = polygons_of(shapely.union_all(pieces, grid_size=SNAP_DEGREES))
    return lonlat


def _may_touch(outlines: GeometryArray, pole: FloatArray) -> npt.NDArray[np.bool_]:
    xmin, ymin, xmax, ymax = shapely.bounds(outlines).reshape(-1, 4).T
    x, y = pole
    return np.asarray((xmin <= x) & (x <= xmax) & (ymin <= y) & (y <= ymax))


def _quarters(outline: shapely.Geometry, pole: FloatArray) -> GeometryArray:
    """Divide the plane at a pole: a ring that meets it several times has no way around it."""
    reach = float(np.abs(np.subtract(shapely.bounds(outline), [*pole, *pole])).max()) + 1
    x, y = pole
    corners = [(x + dx * reach, y + dy * reach) for dx in (-1, 1) for dy in (-1, 1)]
    boxes = [shapely.box(min(x, a), min(y, b), max(x, a), max(y, b)) for a, b in corners]
    return np.array(boxes, dtype=object)


def footprint_outlines(footprints: GeometryArray) -> GeometryArray:
    """Outline tiles that are not of a grid, by their footprints.

    Args:
        footprints: Valid polygons and multipolygons in longitude and latitude.

    Returns:
        Polygons that do not overlap.
    """
    parts = shapely.get_parts(footprints)
    parts = parts[shapely.area(parts) > 0]
    if len(parts) and shapely.coverage_is_valid(parts):
        whole = shapely.coverage_union_all(parts)
    else:
        whole = shapely.union_all(parts)
    return np.asarray(shapely.get_parts(whole), dtype=object)


def joined(groups: Sequence[GeometryArray], *, snap: float) -> GeometryArray:
    """Join the outlines of several grids of one CRS where they overlap or share an edge.

    Args:
        groups: Polygons of each grid, which do not overlap each other within a group.
        snap: Corners that are nearer to each other become one, units of the CRS.

    Returns:
        Polygons that neither overlap nor share an edge.
    """
    outlines = np.concatenate(groups)
    owners = _repeated([len(group) for group in groups])
    if len(groups) == 1:
        return outlines
    one, other = shapely.STRtree(outlines).query(outlines, predicate="dwithin", distance=snap)
    meets = np.zeros(len(outlines), np.bool_)
    meets[one[owners[one] != owners[other]]] = True
    if not meets.any():
        return outlines
    whole = shapely.union_all(outlines[meets], grid_size=snap)
    parts = shapely.get_parts(shapely.get_parts(whole))
    return np.concatenate([outlines[~meets], parts[shapely.area(parts) > 0]])


def united(groups: Sequence[GeometryArray]) -> GeometryArray:
    """Unite outlines in longitude and latitude that meet, also across 180 degrees.

    Args:
        groups: Outlines of each CRS, polygons and multipolygons, which do not overlap each other
            within a group.

    Returns:
        Polygons, and multipolygons where one crosses 180 degrees, which do not overlap.
    """
    outlines = np.concatenate([np.empty(0, dtype=object), *groups])
    owners = _repeated([len(group) for group in groups])
    links = []
    if len(groups) > 1:
        one, other = shapely.STRtree(outlines).query(outlines, predicate="intersects")
        links.append(np.stack([one, other])[:, owners[one] != owners[other]])
    links.append(_across_180(outlines))
    pairs = np.concatenate(links, axis=1)
    if not pairs.shape[1]:
        return outlines
    clusters = _clusters(len(outlines), pairs)
    alone = np.bincount(clusters, minlength=len(outlines))[clusters] == 1
    order = np.flatnonzero(~alone)[np.argsort(clusters[~alone], kind="stable")]
    starts = np.flatnonzero(np.diff(clusters[order])) + 1
    whole = [
        shapely.union_all(outlines[part], grid_size=SNAP_DEGREES)
        for part in np.split(order, starts)
    ]
    return np.concatenate([outlines[alone], np.array(list(map(polygons_of, whole)), dtype=object)])


def filled(outline: shapely.Geometry, least: float) -> shapely.Geometry:
    """Fill small gaps in an outline, also those across 180 degrees.

    Args:
        outline: A polygon or multipolygon in longitude and latitude, split at 180 degrees.
        least: Gaps of this size or larger stay, km2.

    Returns:
        The outline without the others.
    """
    parts = shapely.get_parts(outline)
    bounds = shapely.bounds(parts)
    east = bounds[bounds[:, 0] >= 0]
    is_split = len(parts) > 1 and bounds[:, 0].min() == -180 and bounds[:, 2].max() == 180
    if is_split and bounds[bounds[:, 0] < 0, 2].max() < east[:, 0].min(initial=0):
        moved = [shapely.affinity.translate(part, 360.0 * (part.bounds[0] < 0)) for part in parts]
        parts = shapely.get_parts(shapely.union_all(moved, grid_size=SNAP_DEGREES))
    whole = []
    for part in parts:
        gaps = np.array(part.interiors, dtype=object)
        kept = gaps[ring_km2(gaps) >= least]
        whole.append(part if len(kept) == len(gaps) else shapely.Polygon(part.exterior, kept))
    united = whole[0] if len(whole) == 1 else shapely.MultiPolygon(whole)
    filled: shapely.Geometry = lonlat_polygons(np.array([united], dtype=object), WGS84)[0]
    return filled


def polygons_of(whole: shapely.Geometry) -> shapely.Geometry:
    """Keep what has an area.

    Args:
        whole: Any geometry.

    Returns:
        A polygon or multipolygon, which may be empty.
    """
    parts = shapely.get_parts(shapely.get_parts(whole))
    parts = parts[shapely.area(parts) > 0]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(list(parts))


def _across_180(outlines: GeometryArray) -> Ints:
    """Find pairs of outlines that share a stretch of the meridian of 180 degrees."""
    bounds = shapely.bounds(outlines).reshape(-1, 4)
    east = np.flatnonzero(bounds[:, 2] >= 180 - SNAP_DEGREES)
    west = np.flatnonzero(bounds[:, 0] <= -180 + SNAP_DEGREES)
    if not len(east) or not len(west):
        return np.empty((2, 0), np.int64)
    at_east = np.array([_stretch(outlines[row], 180.0) for row in east], dtype=object)
    at_west = np.array([_stretch(outlines[row], -180.0) for row in west], dtype=object)
    one, other = shapely.STRtree(at_west).query(at_east, predicate="intersects")
    shared = shapely.length(shapely.intersection(at_east[one], at_west[other]))
    pairs: Ints = np.stack([east[one], west[other]])[:, shared > SNAP_DEGREES]
    return pairs[:, pairs[0] != pairs[1]]  # one may be on both sides already


def _stretch(outline: shapely.Geometry, meridian: float) -> shapely.Geometry:
    """Return the part of an outline at a meridian, as lines at longitude 0."""
    line = shapely.box(meridian - SNAP_DEGREES, -91, meridian + SNAP_DEGREES, 91)
    part = shapely.intersection(shapely.boundary(outline), line)
    return shapely.transform(part, lambda xy: xy * [0, 1])


def _clusters(count: int, pairs: Ints) -> Ints:
    """Number what pairs connect, by the lowest member."""
    of = np.arange(count)
    while True:
        before = of.copy()
        np.minimum.at(of, pairs[0], before[pairs[1]])
        np.minimum.at(of, pairs[1], before[pairs[0]])
        of = of[of]
        if (of == before).all():
            return of


def _straight_length(outlines: GeometryArray, projection: Projection, tolerance: float) -> float:
    """Find a length up to which edges are straight in longitude and latitude as well."""
    xmin, ymin, xmax, ymax = shapely.total_bounds(outlines)
    length = max(xmax - xmin, ymax - ymin)
    frame = shapely.box(xmin, ymin, xmax, ymax).exterior
    for _ in range(MOST_HALVES):
        points = shapely.get_coordinates(shapely.segmentize(frame, length))
        ends = np.stack([points[:-1], points[1:]], axis=1)
        lonlat = projection.to_lonlat(ends)
        if not np.isfinite(lonlat).all():
            break
        lonlat[:, 1, 0] -= 360.0 * np.round((lonlat[:, 1, 0] - lonlat[:, 0, 0]) / 360.0)
        if edge_bends(ends, lonlat, projection).max() <= tolerance:
            break
        length /= 2
    return float(length)


def _repeated(counts: Sequence[int]) -> Ints:
    return np.repeat(np.arange(len(counts)), counts)
