"""Lay a regular grid of tiles over every scene."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from geohash_rs.errors import SceneError, TileSizeError
from geohash_rs.footprints.windows import ground_pixel
from geohash_rs.scenes.dataset import Scenes, Tile
from geohash_rs.scenes.file import SceneFile

__all__ = [
    "Edges",
    "GridSettings",
    "TileGrid",
    "check_grid",
    "count_windows",
    "grid_starts",
    "grid_windows",
]

Edges = Literal["shift", "pad", "drop"]
EDGES: tuple[Edges, ...] = ("shift", "pad", "drop")


@dataclass(frozen=True, kw_only=True)
class GridSettings:
    """How tiles are cut; stored with every scene.

    Attributes:
        tile_size: Columns and rows of a tile, px.
        stride: Step between tiles, px.
        edges: ``shift``, ``pad`` or ``drop``.
        max_nodata: Tiles with a larger share of invalid pixels are left out.
        resolution: Ground size that tiles are resampled to, m; None keeps the scene's own.
    """

    tile_size: int
    stride: int
    edges: Edges
    max_nodata: float
    resolution: float | None


def check_grid(tile_size: int, stride: int, edges: str, max_nodata: float) -> None:
    """Check the settings of a grid.

    Args:
        tile_size: Columns and rows of a tile, px.
        stride: Step between tiles, px.
        edges: One of shift, pad, drop.
        max_nodata: Largest share of invalid pixels that a tile may have.

    Raises:
        TileSizeError: If one of them is out of range.
    """
    if tile_size < 1 or stride < 1:
        msg = f"tile_size is {tile_size} px and stride {stride} px; both must be 1 or more."
        raise TileSizeError(msg)
    if edges not in EDGES:
        msg = f"edges is {edges!r}; choose one of {', '.join(EDGES)}."
        raise TileSizeError(msg)
    if not 0 <= max_nodata <= 1:
        msg = f"max_nodata is {max_nodata}; it is a share between 0 (none) and 1 (any)."
        raise TileSizeError(msg)


def grid_windows(
    scene: SceneFile,
    *,
    tile_size: int,
    stride: int,
    edges: Edges = "shift",
    resolution: float | None = None,
) -> npt.NDArray[np.int64]:
    """Lay tiles over one scene.

    Args:
        scene: The scene.
        tile_size: Columns and rows of a tile, px of the scene, or of ``resolution`` if given.
        stride: Step between tiles in the same pixels.
        edges: What happens where the grid does not end with the scene: ``shift`` moves the last
            tile back inside, ``pad`` lets it overhang, ``drop`` leaves it out.
        resolution: Ground size of a pixel of the tile, m; the scene's own if None.

    Returns:
        Windows (col, row, width, height), int64, shape (windows, 4), row by row.

    Raises:
        SceneError: If the ground size of the scene's pixels cannot be told.
        TileSizeError: If the scene is smaller than a tile and edges is not ``pad``, or a tile is
            smaller than a pixel.
    """
    cols, rows, width, height = _axes(scene, tile_size, stride, edges, resolution)
    grid_rows, grid_cols = np.meshgrid(rows, cols, indexing="ij")
    windows = np.empty((grid_cols.size, 4), dtype=np.int64)
    windows[:, 0], windows[:, 1] = grid_cols.ravel(), grid_rows.ravel()
    windows[:, 2], windows[:, 3] = width, height
    return windows


def count_windows(
    scene: SceneFile,
    *,
    tile_size: int,
    stride: int,
    edges: Edges = "shift",
    resolution: float | None = None,
) -> int:
    """Count the tiles that `grid_windows` lays over a scene, without laying them.

    Args:
        scene: The scene.
        tile_size: As in `grid_windows`.
        stride: Likewise.
        edges: Likewise.
        resolution: Likewise.

    Returns:
        How many there are.

    Raises:
        SceneError: As in `grid_windows`.
        TileSizeError: Likewise.
    """
    cols, rows, _, _ = _axes(scene, tile_size, stride, edges, resolution)
    return len(cols) * len(rows)


def _axes(
    scene: SceneFile, tile_size: int, stride: int, edges: Edges, resolution: float | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int, int]:
    """Give first columns, first rows, width and height of the tiles of a scene.

    Raises:
        TileSizeError: As in `grid_windows`.
    """
    across = down = 1.0
    if resolution is not None:
        pixel = ground_pixel(scene.transform, scene.width, scene.height, crs=scene.crs)
        across, down = resolution / pixel[0], resolution / pixel[1]
        if not 1 <= tile_size * min(across, down) < np.inf:
            msg = (
                f"resolution {resolution} m makes tiles of {tile_size} px smaller than a pixel of "
                f"{scene.name} ({pixel[0]:.3g} x {pixel[1]:.3g} m); use a larger resolution."
            )
            raise TileSizeError(msg)
    width, height = max(1, round(tile_size * across)), max(1, round(tile_size * down))
    if edges != "pad" and (width > scene.width or height > scene.height):
        msg = (
            f"tile_size {tile_size} px is larger than {scene.name} ({scene.width} x "
            f'{scene.height} px); use a smaller tile_size or edges="pad".'
        )
        raise TileSizeError(msg)
    cols = grid_starts(scene.width, width, max(1, round(stride * across)), edges)
    rows = grid_starts(scene.height, height, max(1, round(stride * down)), edges)
    return cols, rows, width, height


class TileGrid(Sampler[Tile]):
    """A sampler that walks over all tiles of all scenes, scene by scene and row by row.

    Attributes:
        tiles: All tiles before any is left out for nodata: int64 (scene, col, row, width, height),
            shape (tiles, 5).
        skipped: Position of the scene, and why, for scenes that are smaller than a tile or whose
            ground resolution cannot be told.
    """

    def __init__(
        self,
        scenes: Scenes,
        *,
        tile_size: int,
        stride: int | None = None,
        edges: Edges = "shift",
        max_nodata: float = 1.0,
        resolution: float | None = None,
    ) -> None:
        """Lay the grid.

        Args:
            scenes: The scenes.
            tile_size: Columns and rows of a tile, px.
            stride: Step between tiles, px; the tile size if None.
            edges: ``shift`` moves the last tile of a row or column back inside, ``pad`` lets it
                overhang, ``drop`` leaves it out.
            max_nodata: Tiles with a larger share of invalid pixels are left out. Below 1, tiles
                are read once, when the sampler is first walked or counted.
            resolution: Ground size of a tile's pixel, m; windows then have as many of the scene's
                own pixels as cover the same ground. None keeps every scene's own pixels.

        Raises:
            TileSizeError: If a setting is out of range, or every scene is smaller than a tile.
        """
        step = tile_size if stride is None else stride
        check_grid(tile_size, step, edges, max_nodata)
        self.scenes = scenes
        self.max_nodata = max_nodata
        self.skipped: list[tuple[int, str]] = []
        parts = []
        for number, scene in enumerate(scenes.scene_files):
            try:
                windows = grid_windows(
                    scene, tile_size=tile_size, stride=step, edges=edges, resolution=resolution
                )
            except (TileSizeError, SceneError) as error:
                self.skipped.append((number, str(error)))
                continue
            parts.append(np.insert(windows, 0, number, axis=1))
        if not parts:
            raise TileSizeError(self.skipped[0][1])
        self.tiles: npt.NDArray[np.int64] = np.concatenate(parts)
        self._kept: npt.NDArray[np.int64] | None = self.tiles if max_nodata >= 1 else None

    def __iter__(self) -> Iterator[Tile]:
        """Yield the tiles in order."""
        return (Tile(*row) for row in self._keep().tolist())

    def __len__(self) -> int:
        """Count the tiles."""
        return len(self._keep())

    def _keep(self) -> npt.NDArray[np.int64]:
        if self._kept is None:
            shares = np.array([self._nodata_share(Tile(*row)) for row in self.tiles.tolist()])
            self._kept = self.tiles[shares <= self.max_nodata]
        return self._kept

    def _nodata_share(self, tile: Tile) -> float:
        invalid = self.scenes.read(tile).invalid
        return 0.0 if invalid is None else float(invalid.mean())


def grid_starts(length: int, size: int, stride: int, edges: Edges) -> npt.NDArray[np.int64]:
    """Lay tiles along one axis.

    Args:
        length: Pixels of the scene along the axis.
        size: Pixels of a tile.
        stride: Step between tiles, px.
        edges: What happens at the end, as in `grid_windows`.

    Returns:
        First pixel of each tile, int64.

    >>> grid_starts(10, 4, 4, "shift").tolist()
    [0, 4, 6]
    """
    if edges == "pad":
        count = 1 + max(0, -(-(length - size) // stride))
        starts = np.arange(count, dtype=np.int64) * stride
        return starts[starts < length]  # a stride wider than a tile may step over the end
    starts = np.arange(0, length - size + 1, stride, dtype=np.int64)
    if edges == "shift" and starts[-1] + size < length:
        starts = np.append(starts, length - size)
    return starts
