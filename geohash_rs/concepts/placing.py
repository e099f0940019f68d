"""Find the ground of tiles: their cells on the grids of scenes, or their footprints."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from geohash_rs.concepts.cells import Grid, grids_of
from geohash_rs.concepts.tile_rows import rows_by_scene, windows_of
from geohash_rs.footprints.projection import projection_of
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["Cells", "Footprints", "Loose", "Placed", "days_of", "is_day"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
GeometryArray = npt.NDArray[np.object_]
Footprints = Callable[[Ints], GeometryArray]  # of the tiles in these rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Tiles of one grid.

    Attributes:
        grid: The grid.
        rows: Their rows in the table, shape (n,).
        across: Their positions across, shape (n,).
        down: Their positions down, shape (n,).
    """

    grid: Grid
    rows: Ints
    across: Ints
    down: Ints

    def chosen(self, mine: npt.NDArray[np.bool_]) -> Self:
        """Choose some of the tiles."""
        return dataclasses.replace(
            self, rows=self.rows[mine], across=self.across[mine], down=self.down[mine]
        )

    def middles(self) -> Floats:
        """Return the middle of each tile's ground in longitude and latitude, NaN off the Earth."""
        projection = projection_of(self.grid.crs)
        lonlat = projection.to_lonlat(self.grid.centres(self.across, self.down))
        lonlat[~np.isfinite(lonlat).all(axis=1)] = np.nan
        beyond = np.abs(lonlat[:, 0]) > 180
        lonlat[beyond, 0] = (lonlat[beyond, 0] + 180) % 360 - 180
        return lonlat


@dataclass(frozen=True, kw_only=True, eq=False)
class Loose:
    """Tiles of no grid.

    Attributes:
        rows: Their rows in the table, shape (n,).
        shapes: Their footprints, shape (n,).
    """

    rows: Ints
    shapes: GeometryArray

    @classmethod
    def of(cls, rows: Ints, footprints: Footprints) -> Self:
        """Look up footprints; a tile without one is nowhere."""
        shapes = footprints(rows) if len(rows) else np.empty(0, dtype=object)
        there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
        return cls(rows=rows[there], shapes=shapes[there])

    def chosen(self, mine: npt.NDArray[np.bool_]) -> Self:
        """Choose some of the tiles."""
        return dataclasses.replace(self, rows=self.rows[mine], shapes=self.shapes[mine])


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """The ground of tiles.

    Attributes:
        cells: The tiles of each scene whose grid decides.
        loose: The tiles that have a footprint but no grid.
        points: The middle of each tile's ground, degrees, shape (tiles, 2); NaN if left out.
        left_out: How many tiles are larger than the smallest of their scene, by tile size.
    """

    cells: Sequence[Cells]
    loose: Loose
    points: Floats = field(repr=False)
    left_out: Mapping[int, int]

    @classmethod
    def of(
        cls,
        tiles: pd.DataFrame,
        records: Sequence[SceneRecord],
        *,
        sizes: Collection[int] | None,
        footprints: Footprints,
    ) -> Self:
        """Find each tile on its scene's grid.

        Args:
            tiles: As from `tile_rows`.
            records: The archive's records of scenes.
            sizes: The tile sizes that were asked for, px; None means all.
            footprints: Returns the footprints of rows of tiles.

        Returns:
            Their ground. Of several sizes in a scene the smallest decides.
        """
        windows = windows_of(tiles)
        known = {one.scene: one for one in records}
        points = np.full((len(tiles), 2), np.nan)
        placed: list[Cells] = []
        free = [np.empty(0, np.int64)]
        left_out: dict[int, int] = {}
        for scene, rows in rows_by_scene(tiles).items():
            grids = grids_of(known[scene], sizes=sizes) if scene in known else []
            left = np.ones(len(rows), np.bool_)
            for number, grid in enumerate(grids):
                across, down = grid.find(windows[rows])
                found = left & (across >= 0)
                if number == 0 and not _is_on_earth(grid):
                    continue  # footprints end where the Earth does
                left &= ~found
                if not found.any():
                    continue
                if number > 0:  # larger tiles say nothing that the smallest do not
                    left_out[grid.tile_size] = left_out.get(grid.tile_size, 0) + int(found.sum())
                    continue
                cells = Cells(grid=grid, rows=rows[found], across=across[found], down=down[found])
                points[cells.rows] = cells.middles()
                placed.append(cells)
            free.append(rows[left])
        loose = Loose.of(np.concatenate(free), footprints)
        points[loose.rows] = _inside(loose.shapes)
        lost = np.concatenate([np.empty(0, np.int64), *(one.rows for one in placed)])
        lost = lost[np.isnan(points[lost]).any(axis=1)]
        points[lost] = _inside(footprints(lost)) if len(lost) else points[lost]
        return cls(cells=placed, loose=loose, points=points, left_out=left_out)

    @cached_property
    def rows(self) -> Ints:
        """Rows of the tiles that have ground of their own."""
        return np.concatenate([*(one.rows for one in self.cells), self.loose.rows])

    def of_day(self, days: Days, day: np.datetime64) -> Self:
        """Choose the tiles of one day.

        Args:
            days: Of all tiles, as from `days_of`.
            day: The day; that of tiles without a date is NaT.

        Returns:
            Their ground.
        """
        each = [one.chosen(is_day(days[one.rows], day)) for one in self.cells]
        loose = self.loose.chosen(is_day(days[self.loose.rows], day))
        return dataclasses.replace(self, cells=[one for one in each if len(one.rows)], loose=loose)


def days_of(tiles: pd.DataFrame) -> Days:
    """Return the UTC day of each tile.

    Args:
        tiles: Column datetime.

    Returns:
        Days, NaT where unknown, shape (tiles,).
    """
    stamps = pd.to_datetime(tiles["datetime"], utc=True).dt.tz_localize(None)
    return stamps.to_numpy(dtype="datetime64[D]").astype("datetime64[s]")


def is_day(days: Days, day: np.datetime64) -> npt.NDArray[np.bool_]:
    """Return which days are this one, which may be NaT."""
    return np.isnat(days) if np.isnat(day) else np.asarray(days == day)


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
