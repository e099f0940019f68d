"""Turn the tiles that a concept covers into areas on the map."""

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from geohash_rs.concepts.area_table import AREA_COLUMNS, Areas
from geohash_rs.concepts.cells import Grid
from geohash_rs.concepts.cutting import Cut, cut_at, warn_of_cuts
from geohash_rs.concepts.outlines import (
    SNAP_PX,
    filled,
    footprint_outlines,
    grid_outlines,
    joined,
    lonlat_outlines,
    united,
)
from geohash_rs.concepts.placing import Cells, Footprints, Placed, days_of
from geohash_rs.concepts.regions import Regions, regions_of
from geohash_rs.concepts.tile_rows import tile_rows
from geohash_rs.errors import GeoHashRSWarning, QueryError
from geohash_rs.footprints.ground import square_km
from geohash_rs.footprints.projection import WGS84, projection_of
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.searchable import Searchable

if TYPE_CHECKING:
    from geohash_rs.concepts.learning import Model
    from geohash_rs.trust.promise import Promise

__all__ = ["areas_of", "check_map", "dissolved"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
GeometryArray = npt.NDArray[np.object_]


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
    name: str | None = None,
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
        name: What the concept is called.

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
    if promise is not None:
        tiles["precision"] = promise.precision_of(costs)

    def footprints(rows: Ints) -> GeometryArray:
        return np.asarray(archive.tiles(ids[rows]).geometry.array, dtype=object)

    areas = dissolved(
        tiles,
        archive.scenes(),
        footprints=footprints,
        dates=dates,
        min_area_km2=min_area_km2,
        by=regions,
        tile_sizes=tile_sizes,
    )
    areas.concept = name
    return areas


def dissolved(
    tiles: pd.DataFrame,
    records: Sequence[SceneRecord],
    *,
    footprints: Footprints,
    dates: str = "apart",
    min_area_km2: float = 0.0,
    by: Regions | None = None,
    tile_sizes: Collection[int] | None = None,
) -> Areas:
    """Dissolve tiles into areas.

    A tile answers for its part of the scene's grid: tiles that overlap share the overlap, what
    overhangs the scene counts for nothing, gaps stay gaps. Of several tile sizes in a scene the
    smallest decides, with a warning if others are left out. Scenes of one day are joined, and
    ground that several of them show counts once. Tiles that no grid explains, such as vectors and
    codes made elsewhere, are joined by their footprints.

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
            warning; ground in several counts in each. Slivers at the edge of an area, as
            `cut_at` finds them, count for the region next to theirs.
        tile_sizes: The tile sizes that were asked for, px; None means all.

    Returns:
        The areas; none if there are no tiles, with a warning.

    Raises:
        QueryError: If `dates` is neither, or `min_area_km2` is negative or not a number.
        SceneError: If a scene's CRS cannot be converted to longitude and latitude.
    """
    check_map(dates, min_area_km2)
    days = days_of(tiles)
    placed = Placed.of(tiles, records, sizes=tile_sizes, footprints=footprints)
    parts: list[pd.DataFrame] = []
    cuts: list[Cut] = []
    apart = dates == "apart"
    groups = np.unique(days[placed.rows])
    for day in groups if apart else [None]:
        there = placed if day is None else placed.of_day(days, day)
        shapes = _sieved(_outlined(there.cells, there.loose.shapes), min_area_km2)
        frame = _measured(shapes, there, tiles)
        if by is not None:
            cut = cut_at(by, shapes, frame["tiles"].to_numpy())
            cuts.append(cut)
            # a part without the middle of a tile in it is as good as its area
            whole = frame.drop(columns=["geometry", "tiles"]).iloc[cut.area].reset_index(drop=True)
            frame = _measured(cut.parts, there, tiles).fillna(whole)
            frame["region"] = by.names[cut.region]
        if apart:
            frame["date"] = pd.DatetimeIndex([day] * len(frame), tz="UTC")
        parts.append(frame)
    if not parts:
        parts.append(_empty(tiles, placed, by=by, apart=apart))
    frame = pd.concat(parts, ignore_index=True)
    frame["area"] = np.arange(1, len(frame) + 1)
    areas = Areas(frame[[name for name in AREA_COLUMNS if name in frame.columns]], crs=WGS84)
    areas.regions = by
    areas.days = pd.DatetimeIndex(groups, tz="UTC") if apart else None
    if len(areas):
        _warn_of_sizes(placed)
        warn_of_cuts(cuts)
    else:
        _warn_of_nothing(tiles, placed, cuts)
    return areas


def _warn_of_sizes(placed: Placed) -> None:
    """Warn if tiles are larger than those that decide."""
    if placed.left_out:
        msg = (
            "a scene is drawn from its smallest tiles, so "
            f"{sum(placed.left_out.values()):,} larger tiles that pass are left out, of "
            f"{_sizes(placed)} px; choose them with tile_size={max(placed.left_out)}."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=3)


def _sizes(placed: Placed) -> str:
    return " and ".join(map(str, sorted(placed.left_out)))


def _warn_of_nothing(tiles: pd.DataFrame, placed: Placed, cuts: Sequence[Cut]) -> None:
    """Warn that there are no areas, and why."""
    then = "ask for a lower precision or score, or a wider region or time"
    if not len(tiles):
        why = "no tile passes"
    elif placed.left_out and not len(placed.rows):
        why = f"all tiles that pass are of {_sizes(placed)} px, and the smallest of a scene decide"
        then = f"choose their size with tile_size={max(placed.left_out)}"
    elif any(len(cut.whole) for cut in cuts):
        why = "all areas lie outside all regions"
        then = "draw the map without regions to see them"
    elif not len(placed.rows):
        why = "no tile that passes has a place"
        then = "map an archive whose tiles have footprints"
    else:
        why = "all areas are smaller than the smallest that was asked for"
        then = "choose a smaller min_area_km2"
    warnings.warn(f"the map is empty: {why}; {then}.", GeoHashRSWarning, stacklevel=3)


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


def _outlined(placed: Sequence[Cells], loose: GeometryArray) -> GeometryArray:
    """Outline the ground of tiles, in longitude and latitude, each place once."""
    same: dict[tuple[object, ...], list[Cells]] = {}
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


def _measured(shapes: GeometryArray, placed: Placed, tiles: pd.DataFrame) -> pd.DataFrame:
    """Measure areas, and average the tiles that have their middle in them."""
    shapely.prepare(shapes)
    rows = placed.rows
    middles = np.asarray(shapely.points(placed.points[rows]), dtype=object)
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
    outlines = shapely.orient_polygons(shapes)  # counterclockwise, holes clockwise
    return pd.DataFrame({**found, "geometry": gpd.array.from_shapely(outlines, crs=WGS84)})


def _empty(tiles: pd.DataFrame, placed: Placed, *, by: Regions | None, apart: bool) -> pd.DataFrame:
    """Make a table without rows that has the right columns."""
    none = np.empty(0, dtype=object)
    frame = _measured(none, placed, tiles)
    if by is not None:
        frame["region"] = none
    if apart:
        frame["date"] = pd.DatetimeIndex([], dtype="datetime64[s, UTC]")
    return frame
