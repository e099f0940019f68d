"""Turn the tiles that a concept covers into areas on the map."""

import dataclasses
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from geohash_rs.concepts.area_table import AREA_COLUMNS, Areas, Estimate
from geohash_rs.concepts.cells import Grid, grids_of
from geohash_rs.concepts.outlines import (
    SNAP_PX,
    filled,
    footprint_outlines,
    grid_outlines,
    joined,
    lonlat_outlines,
    polygons_of,
    united,
)
from geohash_rs.concepts.regions import Regions, regions_of
from geohash_rs.concepts.tile_rows import rows_by_scene, tile_rows, windows_of
from geohash_rs.errors import GeoHashRSWarning, QueryError
from geohash_rs.footprints.ground import square_km
from geohash_rs.footprints.projection import WGS84, projection_of
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.searchable import Searchable

if TYPE_CHECKING:
    from geohash_rs.concepts.learning import Model
    from geohash_rs.trust.promise import Promise

__all__ = ["areas_of", "check_map", "dissolved"]

OUTSIDE = 1e-3  # share of the areas outside all regions that may be due to bent edges
TWICE = 0.1  # most of the ground that days may share if it is to be estimated
LEAST_KM2 = 1e-12  # of what is left of an area at the border of a region: rounding

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
GeometryArray = npt.NDArray[np.object_]
Footprints = Callable[[Ints], GeometryArray]  # of the tiles in these rows


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cells:
    """Tiles of one grid: their rows in the table, and their positions on it."""

    grid: Grid
    rows: Ints
    across: Ints
    down: Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class _Loose:
    """Tiles of no grid: their rows in the table, and their footprints."""

    rows: Ints
    shapes: GeometryArray

    @classmethod
    def of(cls, rows: Ints, footprints: Footprints) -> Self:
        """Look up footprints; a tile without one is nowhere."""
        shapes = footprints(rows) if len(rows) else np.empty(0, dtype=object)
        there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
        return cls(rows=rows[there], shapes=shapes[there])

    def of_day(self, days: npt.NDArray[np.datetime64], day: np.datetime64) -> Self:
        """Choose the tiles of one day."""
        mine = _is_day(days[self.rows], day)
        return dataclasses.replace(self, rows=self.rows[mine], shapes=self.shapes[mine])


def areas_of(
    archive: Searchable,
    ids: Ints,
    costs: npt.NDArray[np.int32],
    *,
    model: "Model",
    promise: "Promise | None",
    dates: str,
    min_area_km2: float,
    by: gpd.GeoDataFrame | str | Path | None,
    by_column: str | None,
    by_layer: str | None,
    tile_sizes: Collection[int] | None,
) -> Areas:
    """Dissolve the tiles of an archive that a concept covers.

    Args:
        archive: One state of it.
        ids: The tiles, each once, shape (n,).
        costs: Their costs, shape (n,).
        model: What their scores follow from.
        promise: What is known about precision by cost.
        dates: As in `dissolved`.
        min_area_km2: As in `dissolved`.
        by: As in `regions_of`; None sums up everything.
        by_column: As in `regions_of`.
        by_layer: As in `regions_of`.
        tile_sizes: As in `dissolved`.

    Returns:
        The areas.

    Raises:
        QueryError: As in `dissolved`.
        RegionError: As in `regions_of`.
        SceneError: As in `dissolved`.
    """
    check_map(dates, min_area_km2)
    regions = None if by is None else regions_of(by, column=by_column, layer=by_layer)
    tiles = tile_rows(archive, ids).assign(score=model.scores(costs))
    ratio = None
    if promise is not None:
        tiles["precision"] = promise.precision_of(costs)
        if promise.totals is not None and len(costs):
            ratio = promise.totals.at(costs.max())

    def footprints(rows: Ints) -> GeometryArray:
        return np.asarray(archive.tiles(ids[rows]).geometry.array, dtype=object)

    return dissolved(
        tiles,
        archive.scenes(),
        footprints=footprints,
        dates=dates,
        min_area_km2=min_area_km2,
        by=regions,
        ratio=ratio,
        tile_sizes=tile_sizes,
    )


def dissolved(
    tiles: pd.DataFrame,
    records: Sequence[SceneRecord],
    *,
    footprints: Footprints,
    dates: str = "apart",
    min_area_km2: float = 0.0,
    by: Regions | None = None,
    ratio: Floats | None = None,
    tile_sizes: Collection[int] | None = None,
) -> Areas:
    """Dissolve tiles into areas.

    A tile answers for its part of the scene's grid: tiles that overlap share the overlap, what
    overhangs the scene counts for nothing, gaps stay gaps. Of several tile sizes in a scene the
    smallest decides. Scenes of one day are joined, and ground that several of them show counts
    once. Tiles that no grid explains, such as vectors and codes made elsewhere, are joined by their
    footprints.

    Args:
        tiles: The tiles that the concept covers, as from `tile_rows`, with a column score and,
            where a promise is known, precision.
        records: The archive's records, at least those of the tiles' scenes that have one.
        footprints: Returns the footprints of rows of tiles in EPSG:4326, None where missing; asked
            only for tiles that no grid explains.
        dates: "apart" makes areas for each UTC day on which scenes were taken; "merged" shows what
            was covered on any day.
        min_area_km2: Areas smaller than this are left out, then gaps in areas smaller than this are
            filled; square kilometres.
        by: Regions at whose borders areas are cut. Ground outside all of them is left out, with a
            warning; ground in several counts in each.
        ratio: What is right in all by what the tiles cover, and the ends of its interval, shape
            (3,); None or NaN if unknown.
        tile_sizes: The tile sizes that were asked for, px; None means all.

    Returns:
        The areas; none if there are no tiles, with a warning.

    Raises:
        QueryError: If `dates` is neither, or `min_area_km2` is negative or not a number.
        SceneError: If a scene's CRS cannot be converted to longitude and latitude.
    """
    check_map(dates, min_area_km2)
    days = _days(tiles)
    placed, points, loose = _placed(tiles, records, tile_sizes, footprints)
    parts, used, ground = [], [], 0.0
    apart = dates == "apart"
    covering = np.concatenate([*(one.rows for one in placed), loose.rows])
    groups = np.unique(days[covering])
    for day in groups if apart else [None]:
        chosen, rest, rows = placed, loose, covering
        if day is not None:
            chosen, rest = list(_of_day(placed, days, day)), loose.of_day(days, day)
            rows = covering[_is_day(days[covering], day)]
        outlines = _outlined(chosen, rest.shapes)
        ground += float(square_km(outlines).sum()) if ratio is not None else 0
        shapes = _sieved(outlines, min_area_km2)
        frame = _measured(shapes, points, rows, tiles)
        cut = shapes
        if by is not None:
            cut, regions, areas = _cut(shapes, by)
            # a part without the middle of a tile in it is as good as its area
            whole = frame.drop(columns=["geometry", "tiles"]).iloc[areas].reset_index(drop=True)
            frame = _measured(cut, points, rows, tiles).fillna(whole)
            frame["region"] = by.names[regions]
        if apart:
            frame["date"] = pd.DatetimeIndex([day] * len(frame), tz="UTC")
        parts.append(frame)
        used.append((shapes, cut))
    if by is not None:
        _warn_outside(used)
    none = [] if parts else [_empty(tiles, by=by, apart=apart)]
    frame = pd.concat([*parts, *none], ignore_index=True)
    frame["area"] = np.arange(1, len(frame) + 1)
    areas = Areas(frame[[name for name in AREA_COLUMNS if name in frame.columns]], crs=WGS84)
    areas.regions = by
    areas.days = pd.DatetimeIndex(groups, tz="UTC") if apart else None
    if ratio is not None and np.isfinite(ratio).all() and by is None:
        daily = [
            square_km(_outlined(list(_of_day(placed, days, day)), loose.of_day(days, day).shapes))
            for day in (groups if len(groups) > 1 and not apart else [])
        ]
        once = sum(float(one.sum()) for one in daily) <= (1 + TWICE) * ground
        if len(groups) == 1 or (once and not apart):
            total, low, high = (ratio * ground).tolist()
            areas.estimate = Estimate(total, low, high, len(areas))
    if not len(areas):
        why = "no tile passes" if not len(tiles) else "nothing is left of the tiles that pass"
        msg = (
            f"the map is empty: {why}; ask for a lower precision or score, a wider region or time, "
            "or a smaller min_area_km2."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=2)
    return areas


def check_map(dates: str, min_area_km2: float) -> None:
    """Check the settings of a map before anything is computed.

    Args:
        dates: "apart" or "merged".
        min_area_km2: Square kilometres.

    Raises:
        QueryError: If `dates` is neither, or `min_area_km2` is negative or not a number.
    """
    if dates not in ("apart", "merged"):
        msg = f"dates is {dates!r}; choose apart or merged."
        raise QueryError(msg)
    if not 0 <= min_area_km2 < np.inf:
        msg = f"min_area_km2 is {min_area_km2}; it must be 0 or more."
        raise QueryError(msg)


def _days(tiles: pd.DataFrame) -> npt.NDArray[np.datetime64]:
    """Return the UTC day of each tile, NaT where unknown."""
    stamps = pd.to_datetime(tiles["datetime"], utc=True).dt.tz_localize(None)
    return stamps.to_numpy(dtype="datetime64[D]").astype("datetime64[s]")


def _placed(
    tiles: pd.DataFrame,
    records: Sequence[SceneRecord],
    sizes: Collection[int] | None,
    footprints: Footprints,
) -> tuple[list[_Cells], Floats, _Loose]:
    """Find each tile on its scene's grid.

    Returns:
        The tiles of each scene whose grid decides; the middle of each tile's ground, degrees, shape
        (tiles, 2); and the tiles that have a footprint but no grid.
    """
    windows = windows_of(tiles)
    known = {one.scene: one for one in records}
    points = np.full((len(tiles), 2), np.nan)
    placed, free = [], [np.empty(0, np.int64)]
    for scene, rows in rows_by_scene(tiles).items():
        grids = grids_of(known[scene], sizes=sizes) if scene in known else []
        left = np.ones(len(rows), np.bool_)
        for number, grid in enumerate(grids):
            across, down = grid.find(windows[rows])
            found = left & (across >= 0)
            if number == 0 and not _is_on_earth(grid):
                continue  # footprints end where the Earth does
            left &= ~found
            if number == 0 and found.any():  # larger tiles say nothing that the smallest do not
                cells = _Cells(grid=grid, rows=rows[found], across=across[found], down=down[found])
                points[cells.rows] = _middles(cells)
                placed.append(cells)
        free.append(rows[left])
    loose = _Loose.of(np.concatenate(free), footprints)
    points[loose.rows] = _inside(loose.shapes)
    lost = np.concatenate([np.empty(0, np.int64), *(one.rows for one in placed)])
    lost = lost[np.isnan(points[lost]).any(axis=1)]
    points[lost] = _inside(footprints(lost)) if len(lost) else points[lost]
    return placed, points, loose


def _is_on_earth(grid: Grid) -> bool:
    """Return whether the corners of a scene are on the Earth, and so all of it is."""
    left, right = grid.cols.borders[[0, -1]]
    top, bottom = grid.rows.borders[[0, -1]]
    corners = grid.place(np.array([left, left, right, right]), np.array([top, bottom, bottom, top]))
    projection = projection_of(grid.crs)
    slack = grid.pixel * grid.cols.size
    if projection.plain:
        return True
    return bool(projection.on_earth(corners, projection.to_lonlat(corners), slack=slack).all())


def _inside(shapes: GeometryArray) -> Floats:
    """Return a point in each shape."""
    found: Floats = shapely.get_coordinates(shapely.point_on_surface(shapes)).reshape(-1, 2)
    return found


def _middles(cells: _Cells) -> Floats:
    """Return the middle of each tile's ground in longitude and latitude, NaN off the Earth."""
    projection = projection_of(cells.grid.crs)
    lonlat = projection.to_lonlat(cells.grid.centres(cells.across, cells.down))
    lonlat[~np.isfinite(lonlat).all(axis=1)] = np.nan
    beyond = np.abs(lonlat[:, 0]) > 180
    lonlat[beyond, 0] = (lonlat[beyond, 0] + 180) % 360 - 180
    return lonlat


def _of_day(
    placed: Sequence[_Cells], days: npt.NDArray[np.datetime64], day: np.datetime64
) -> Iterator[_Cells]:
    """Choose the tiles of one day; that of tiles without a date is NaT."""
    for one in placed:
        mine = _is_day(days[one.rows], day)
        if mine.all():
            yield one
        elif mine.any():
            yield _Cells(
                grid=one.grid, rows=one.rows[mine], across=one.across[mine], down=one.down[mine]
            )


def _is_day(days: npt.NDArray[np.datetime64], day: np.datetime64) -> npt.NDArray[np.bool_]:
    return np.isnat(days) if np.isnat(day) else np.asarray(days == day)


def _outlined(placed: Sequence[_Cells], loose: GeometryArray) -> GeometryArray:
    """Outline the ground of tiles, in longitude and latitude, each place once."""
    same: dict[tuple[object, ...], list[_Cells]] = {}
    for one in placed:  # scenes with one grid, such as dates of one place, are drawn at once
        same.setdefault(one.grid.key, []).append(one)
    by_crs: dict[tuple[str, int], list[tuple[Grid, GeometryArray]]] = {}
    for cells in same.values():
        grid = cells[0].grid
        across = np.concatenate([one.across for one in cells])
        down = np.concatenate([one.down for one in cells])
        outlines = grid_outlines(grid, across, down)
        by_crs.setdefault((grid.crs, _turn(grid, outlines)), []).append((grid, outlines))
    groups = []
    for members in by_crs.values():
        finest = min((grid for grid, _ in members), key=lambda grid: grid.pixel)
        whole = joined([outlines for _, outlines in members], snap=SNAP_PX * finest.pixel)
        groups.append(lonlat_outlines(whole, finest))
    if len(loose):
        groups.append(footprint_outlines(loose))
    return united(groups)


def _turn(grid: Grid, outlines: GeometryArray) -> int:
    """Number how far longitudes go on beyond 180: what is one place must have the same ones."""
    if not projection_of(grid.crs).plain:
        return 0
    west, _, east, _ = shapely.total_bounds(outlines)
    return 0 if west >= -180 and east <= 180 else hash(grid.key)


def _sieved(shapes: GeometryArray, least: float) -> GeometryArray:
    """Leave out small areas, then fill small gaps; the largest first."""
    if least:
        shapes = shapes[square_km(shapes) >= least]
        has_gap = shapely.get_num_interior_rings(shapes) > 0
        for row in np.flatnonzero(has_gap | (shapely.get_num_geometries(shapes) > 1)):
            shapes[row] = filled(shapes[row], least)
    return shapes[np.argsort(-square_km(shapes), kind="stable")]


def _cut(shapes: GeometryArray, by: Regions) -> tuple[GeometryArray, Ints, Ints]:
    """Cut areas at the borders of regions.

    Returns:
        The parts, by region and within one the largest first, and the region and area of each.
    """
    shapely.prepare(by.shapes)
    region, area = shapely.STRtree(shapes).query(by.shapes, predicate="intersects")
    parts = shapes[area]
    crossing = ~shapely.contains(by.shapes[region], parts)
    cut = shapely.intersection(by.shapes[region[crossing]], parts[crossing])
    # without the lines and points where areas only touch a region
    parts[crossing] = np.array(list(map(polygons_of, cut)), dtype=object)
    sizes = square_km(parts)
    order = np.lexsort((-sizes, region))
    order = order[sizes[order] > LEAST_KM2]
    return parts[order], region[order], area[order]


def _measured(
    shapes: GeometryArray, points: Floats, rows: Ints, tiles: pd.DataFrame
) -> pd.DataFrame:
    """Measure areas, and average the tiles that have their middle in them."""
    shapely.prepare(shapes)
    middles = np.asarray(shapely.points(points[rows]), dtype=object)
    inside, which = shapely.STRtree(middles).query(shapes, "intersects")
    counts = np.bincount(inside, minlength=len(shapes))
    scores = tiles["score"].to_numpy(dtype=np.float64)[rows]
    sums = np.bincount(inside, weights=scores[which], minlength=len(shapes))
    means = np.divide(sums, counts, out=np.full(len(shapes), np.nan), where=counts > 0)
    found = {"area_km2": square_km(shapes), "score": means, "tiles": counts}
    if "precision" in tiles.columns:
        certain = tiles["precision"].to_numpy(dtype=np.float64)[rows][which]
        least = np.full(len(shapes), np.inf)
        np.minimum.at(least, inside, np.nan_to_num(certain, nan=-np.inf))
        found["precision"] = np.where(np.isfinite(least), least, np.nan)
    return pd.DataFrame({**found, "geometry": gpd.array.from_shapely(shapes, crs=WGS84)})


def _empty(tiles: pd.DataFrame, *, by: Regions | None, apart: bool) -> pd.DataFrame:
    """Make a table without rows that has the right columns."""
    none = np.empty(0, dtype=object)
    frame = _measured(none, np.empty((0, 2)), np.empty(0, np.int64), tiles)
    if by is not None:
        frame["region"] = none
    if apart:
        frame["date"] = pd.DatetimeIndex([], dtype="datetime64[s, UTC]")
    return frame


def _warn_outside(used: Sequence[tuple[GeometryArray, GeometryArray]]) -> None:
    """Warn if areas lie outside all regions."""
    found = sum(float(square_km(shapes).sum()) for shapes, _ in used)
    inside = sum(float(square_km(np.array([shapely.union_all(cut)])).sum()) for _, cut in used)
    if found - inside > OUTSIDE * found:
        msg = (
            f"{found - inside:.4g} of {found:.4g} km2 lie outside all regions and are left out; "
            "map without by=... to see them."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
