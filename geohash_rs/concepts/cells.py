"""The ground that each tile of a scene's grid answers for, so that overlapping tiles share it."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
from affine import Affine

from geohash_rs.errors import SceneError, TileSizeError
from geohash_rs.scenes.grids import TileGrids
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["Axis", "Grid", "grids_of"]

MOST_CELLS = 1 << 28  # of a grid; a record that asks for more is not believed

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """The tiles along one side of a scene, and the stretch that each of them answers for.

    Where neighbours overlap, each answers for its half of the overlap; where there is a gap, nobody
    does; and nobody answers for what lies outside the scene.

    Attributes:
        starts: First pixel of each tile, ascending, shape (n,).
        size: Pixels of a tile.
        stride: Step of the regular grid, px.
        borders: Where slots begin and end, px, ascending, shape (slots + 1,).
        slots: The slot of each tile; the slots between are gaps, shape (n,).
    """

    starts: Ints
    size: int
    stride: int
    borders: Floats
    slots: Ints

    @classmethod
    def of(cls, starts: Ints, *, size: int, stride: int, length: int) -> Self:
        """Divide a side of a scene among its tiles.

        Args:
            starts: First pixel of each tile, ascending.
            size: Pixels of a tile.
            stride: Step of the regular grid, px.
            length: Pixels of the scene along the side.

        Returns:
            The tiles and their stretches.

        >>> axis = Axis.of(np.array([0, 4, 6]), size=4, stride=4, length=10)
        >>> axis.borders.tolist(), axis.slots.tolist()
        ([0.0, 4.0, 7.0, 10.0], [0, 1, 2])
        """
        first = starts.astype(np.float64)
        last = np.minimum(first + size, length)
        halves = (first[1:] + last[:-1]) / 2
        shared = first[1:] <= last[:-1]
        last[:-1] = np.where(shared, halves, last[:-1])
        first[1:] = np.where(shared, halves, first[1:])
        borders = np.unique(np.concatenate([first, last]))
        slots = np.searchsorted(borders, first)
        return cls(starts=starts, size=size, stride=stride, borders=borders, slots=slots)

    def find(self, starts: Ints) -> Ints:
        """Find tiles by their first pixels.

        Args:
            starts: First pixels, shape (tiles,).

        Returns:
            Positions on the axis, -1 where no tile starts there, shape (tiles,).
        """
        places = np.minimum(np.searchsorted(self.starts, starts), len(self.starts) - 1)
        return np.where(self.starts[places] == starts, places, -1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """The tiles of one size of a scene.

    Attributes:
        tile_size: Columns and rows of a tile, px; of the tile's pixels if it was resampled.
        cols: The tiles across.
        rows: The tiles down.
        crs: CRS of the scene.
        transform: Affine transform of the scene, pixel to CRS.
    """

    tile_size: int
    cols: Axis
    rows: Axis
    crs: str
    transform: Affine

    @cached_property
    def key(self) -> tuple[object, ...]:
        """What two scenes have in common if their cells are the same ground."""
        borders = (self.cols.borders.tobytes(), self.rows.borders.tobytes())
        slots = (self.cols.slots.tobytes(), self.rows.slots.tobytes())
        return (self.crs, tuple(self.transform)[:6], *borders, *slots)

    @property
    def pixel(self) -> float:
        """Side of a pixel, units of the CRS: the root of its area."""
        return float(np.sqrt(abs(self.transform.determinant)))

    def find(self, windows: Ints) -> tuple[Ints, Ints]:
        """Find tiles by their windows.

        Args:
            windows: (col, row, width, height), px of the scene, shape (tiles, 4); a window that
                overhangs the scene may be cut off at its edge.

        Returns:
            Positions across and down, both -1 where the window is not one of the grid.
        """
        across, down = self.cols.find(windows[:, 0]), self.rows.find(windows[:, 1])
        fits = (across >= 0) & (down >= 0)
        for axis, start, size in ((self.cols, 0, 2), (self.rows, 1, 3)):
            cut = windows[:, start] + windows[:, size] == axis.borders[-1]
            fits &= (windows[:, size] == axis.size) | (cut & (windows[:, size] < axis.size))
        return np.where(fits, across, -1), np.where(fits, down, -1)

    def centres(self, across: Ints, down: Ints) -> Floats:
        """Return the middle of the ground that tiles answer for.

        Args:
            across: Positions across, shape (tiles,).
            down: Positions down, shape (tiles,).

        Returns:
            x and y in the CRS, shape (tiles, 2).
        """
        cols, rows = self.cols, self.rows
        col = (cols.borders[:-1] + cols.borders[1:])[cols.slots[across]] / 2
        row = (rows.borders[:-1] + rows.borders[1:])[rows.slots[down]] / 2
        return self.place(col, row)

    def place(self, cols: Floats, rows: Floats) -> Floats:
        """Convert pixels to the CRS.

        Args:
            cols: Columns, px, shape (n,).
            rows: Rows, px, shape (n,).

        Returns:
            x and y, shape (n, 2).
        """
        t = self.transform
        return np.stack([t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f], axis=-1)


@dataclass(frozen=True, kw_only=True)
class _Recorded:
    """What an archive recorded of a scene, as a grid needs it."""

    name: str
    width: int
    height: int
    crs: str
    transform: Affine


def grids_of(record: SceneRecord, *, sizes: Collection[int] | None = None) -> list[Grid]:
    """Return the grids that tiles of a scene were cut by, from its record alone.

    Args:
        record: The archive's record of the scene.
        sizes: Only grids of these tile sizes, px; None takes all.

    Returns:
        The grids, smallest tiles first; none if the tiles were not cut by a grid, as of vectors and
        codes that were made elsewhere.
    """
    settings = record.settings
    if "tile_size" not in settings or record.crs is None or record.transform is None:
        return []
    if not record.width or not record.height or min(record.width, record.height) < 1:
        return []
    scene = _Recorded(
        name=record.scene.rstrip("/").rsplit("/", 1)[-1],
        width=record.width,
        height=record.height,
        crs=record.crs,
        transform=Affine(*record.transform),
    )
    try:
        # published vectors say nothing of edges: their last tiles are cut off like padded ones
        grids = TileGrids.of_settings({"edges": "pad", **settings})
        left_out = {size for size, _ in grids.left_out(scene)}
        found = []
        for one in grids.grids:
            if one.tile_size in left_out or (sizes is not None and one.tile_size not in sizes):
                continue
            step = one.steps(scene)
            if (scene.width // step[0] + 1) * (scene.height // step[1] + 1) > MOST_CELLS:
                continue
            axes = [
                Axis.of(starts, size=size, stride=stride, length=length)
                for starts, size, stride, length in zip(
                    one.axes(scene),
                    one.window(scene),
                    step,
                    (scene.width, scene.height),
                    strict=True,
                )
            ]
            found.append(
                Grid(
                    tile_size=one.tile_size,
                    cols=axes[0],
                    rows=axes[1],
                    crs=scene.crs,
                    transform=scene.transform,
                )
            )
    except (SceneError, TileSizeError):  # of a damaged record; its tiles still have footprints
        return []
    return found
