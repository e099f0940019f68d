"""Lay a regular grid of tiles over each scene."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from affine import Affine
from torch.utils.data import Sampler

from geohash_rs.errors import SceneError, TileSizeError
from geohash_rs.footprints.windows import ground_pixel

if TYPE_CHECKING:  # TorchGeo, which it is built on, is of no use to a patch
    from geohash_rs.scenes.dataset import Scenes, Tile

__all__ = ["Edges", "GridSettings", "Raster", "TileGrid", "grid_starts"]

DEFAULT_TILE_SIZE = 64  # px, if neither the user nor a hasher sets it
Edges = Literal["shift", "pad", "drop"]
EDGES: tuple[Edges, ...] = ("shift", "pad", "drop")
Windows = npt.NDArray[np.int64]


class Sizes(Protocol):
    """What a grid needs from a hasher."""

    @property
    def tile_size(self) -> int:
        """Columns and rows of a tile, px."""

    @property
    def resolution(self) -> float | None:
        """Ground size of a pixel, m; or None."""


class Raster(Protocol):
    """What a grid needs from a scene: its file's header, or what an archive recorded of it."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def width(self) -> int:
        """Columns."""

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def crs(self) -> str:
        """Its CRS."""

    @property
    def transform(self) -> Affine:
        """Affine transform, pixel to CRS."""


@dataclass(frozen=True, kw_only=True)
class GridSettings:
    """How tiles are cut from scenes; stored with each scene of an archive.

    Attributes:
        tile_size: Columns and rows of a tile, px.
        stride: Step between tiles, px.
        edges: What to do if the grid does not fit the scene: ``shift`` moves the last tile of a row
            or column back inside, ``pad`` lets it overhang, ``drop`` leaves it out.
        max_nodata: Tiles with a larger share of invalid pixels are left out.
        resolution: Ground size of a tile's pixel, m; windows cover that ground and are resampled.
            None keeps the scene's own pixels.

    Raises:
        TileSizeError: If a setting is out of range.
    """

    tile_size: int
    stride: int
    edges: Edges
    max_nodata: float
    resolution: float | None

    def __post_init__(self) -> None:
        if self.tile_size < 1 or self.stride < 1:
            msg = (
                f"tile_size is {self.tile_size} px and stride {self.stride} px; both must be 1 or "
                "more."
            )
            raise TileSizeError(msg)
        if self.edges not in EDGES:
            msg = f"edges is {self.edges!r}; choose one of {', '.join(EDGES)}."
            raise TileSizeError(msg)
        if not 0 <= self.max_nodata <= 1:
            msg = f"max_nodata is {self.max_nodata}; choose a share between 0 (none) and 1 (any)."
            raise TileSizeError(msg)

    @classmethod
    def for_hasher(
        cls,
        hasher: Sizes | None,
        *,
        tile_size: int | None = None,
        stride: int | None = None,
        edges: Edges = "shift",
        max_nodata: float = 0.5,
        resolution: float | None = None,
    ) -> Self:
        """Create settings, with defaults from a hasher.

        Args:
            hasher: Source of tile size and resolution; None if the archive has none yet.
            tile_size: None uses the hasher's, or 64 without a hasher.
            stride: None uses the tile size.
            edges: As in the class.
            max_nodata: As in the class.
            resolution: None uses the hasher's.

        Returns:
            The settings.

        Raises:
            TileSizeError: If a setting is out of range.
        """
        if tile_size is None:
            tile_size = hasher.tile_size if hasher else DEFAULT_TILE_SIZE
        return cls(
            tile_size=tile_size,
            stride=tile_size if stride is None else stride,
            edges=edges,
            max_nodata=max_nodata,
            resolution=hasher.resolution if hasher and resolution is None else resolution,
        )

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width that windows are resampled to; None if they keep their own."""
        return None if self.resolution is None else (self.tile_size, self.tile_size)

    def tiles(self, scene: Raster, number: int) -> Windows:
        """Lay tiles over one scene.

        Args:
            scene: The scene.
            number: Its position in ``Scenes.scene_files``.

        Returns:
            int64 (scene, col, row, width, height), shape (tiles, 5), row by row.

        Raises:
            SceneError: If the ground size of the scene's pixels cannot be measured.
            TileSizeError: If the scene is smaller than a tile and edges is not ``pad``, or a tile
                is smaller than a pixel.
        """
        width, height = self.window(scene)
        cols, rows = self.axes(scene)
        tiles = np.empty((len(rows), len(cols), 5), dtype=np.int64)
        tiles[..., 0], tiles[..., 1], tiles[..., 2] = number, cols, rows[:, None]
        tiles[..., 3], tiles[..., 4] = width, height
        return tiles.reshape(-1, 5)

    def count(self, scene: Raster) -> int:
        """Count the tiles of a scene without creating them.

        Args:
            scene: The scene.

        Returns:
            The number of tiles that `tiles` would return.

        Raises:
            SceneError: As in `tiles`.
            TileSizeError: As in `tiles`.
        """
        cols, rows = self.axes(scene)
        return len(cols) * len(rows)

    def window(self, scene: Raster) -> tuple[int, int]:
        """Return the width and height of the tiles of a scene in its own pixels.

        Args:
            scene: The scene.

        Returns:
            Columns and rows, px.

        Raises:
            SceneError: As in `tiles`.
            TileSizeError: As in `tiles`.
        """
        across, down = self._scale(scene)
        small = not 1 <= self.tile_size * min(across, down) < np.inf
        if small and self.resolution is not None:
            msg = (
                f"resolution {self.resolution} m makes tiles of {self.tile_size} px smaller than "
                f"a pixel of {scene.name} ({self.resolution / across:.3g} x "
                f"{self.resolution / down:.3g} m); use a larger resolution."
            )
            raise TileSizeError(msg)
        width, height = max(1, round(self.tile_size * across)), max(1, round(self.tile_size * down))
        if self.edges != "pad" and (width > scene.width or height > scene.height):
            msg = (
                f"tile_size {self.tile_size} px is larger than {scene.name} ({scene.width} x "
                f'{scene.height} px); use a smaller tile_size or edges="pad".'
            )
            raise TileSizeError(msg)
        return width, height

    def axes(self, scene: Raster) -> tuple[Windows, Windows]:
        """Return the first columns and first rows of the tiles of a scene.

        Args:
            scene: The scene.

        Returns:
            Columns and rows, px, int64, ascending.

        Raises:
            SceneError: As in `tiles`.
            TileSizeError: As in `tiles`.
        """
        width, height = self.window(scene)
        step = self.steps(scene)
        cols = grid_starts(scene.width, width, step[0], self.edges)
        rows = grid_starts(scene.height, height, step[1], self.edges)
        return cols, rows

    def steps(self, scene: Raster) -> tuple[int, int]:
        """Return the steps between the tiles of a scene in its own pixels.

        Args:
            scene: The scene.

        Returns:
            Across and down, px.

        Raises:
            SceneError: As in `tiles`.
        """
        across, down = self._scale(scene)
        return max(1, round(self.stride * across)), max(1, round(self.stride * down))

    def _scale(self, scene: Raster) -> tuple[float, float]:
        """Return how many pixels of a scene, across and down, a pixel of a tile covers."""
        if self.resolution is None:
            return 1.0, 1.0
        pixel = ground_pixel(scene.transform, scene.width, scene.height, crs=scene.crs)
        return self.resolution / pixel[0], self.resolution / pixel[1]


class TileGrid(Sampler["Tile"]):
    """A sampler that yields all tiles of all scenes, scene by scene and row by row.

    Attributes:
        scenes: The scenes.
        settings: How tiles are cut.
        tiles: All tiles, including those that are left out for nodata: int64 (scene, col, row,
            width, height), shape (tiles, 5).
        skipped: Position and reason for scenes that are smaller than a tile or whose ground
            resolution cannot be measured.
    """

    def __init__(
        self,
        scenes: "Scenes",
        *,
        tile_size: int,
        stride: int | None = None,
        edges: Edges = "shift",
        max_nodata: float = 1.0,
        resolution: float | None = None,
    ) -> None:
        """Lay the grid.

        The settings are those of `GridSettings`, with the tile size as the default stride.

        Args:
            scenes: The scenes.
            tile_size: Columns and rows of a tile, px.
            stride: Step between tiles, px.
            edges: ``shift``, ``pad`` or ``drop``.
            max_nodata: Largest share of invalid pixels. Below 1, all tiles are read once, on the
                first iteration or ``len``.
            resolution: Ground size of a tile's pixel, m.

        Raises:
            TileSizeError: If a setting is out of range, or every scene is smaller than a tile.
        """
        self.scenes = scenes
        self.settings = GridSettings.for_hasher(
            None,
            tile_size=tile_size,
            stride=stride,
            edges=edges,
            max_nodata=max_nodata,
            resolution=resolution,
        )
        self.skipped: list[tuple[int, str]] = []
        parts = []
        for number, scene in enumerate(scenes.scene_files):
            try:
                parts.append(self.settings.tiles(scene, number))
            except (TileSizeError, SceneError) as error:
                self.skipped.append((number, str(error)))
        if not parts:
            raise TileSizeError(self.skipped[0][1])
        self.tiles: Windows = np.concatenate(parts)
        self._kept: Windows | None = self.tiles if max_nodata >= 1 else None

    def __iter__(self) -> "Iterator[Tile]":
        """Yield the tiles in order."""
        from geohash_rs.scenes.dataset import Tile

        return (Tile(*row) for row in self._keep().tolist())

    def __len__(self) -> int:
        """Count the tiles."""
        return len(self._keep())

    def _keep(self) -> Windows:
        if self._kept is None:
            from geohash_rs.scenes.dataset import Tile

            shares = np.array([self._nodata_share(Tile(*row)) for row in self.tiles.tolist()])
            self._kept = self.tiles[shares <= self.settings.max_nodata]
        return self._kept

    def _nodata_share(self, tile: "Tile") -> float:
        invalid = self.scenes.read(tile).invalid
        return 0.0 if invalid is None else float(invalid.mean())


def grid_starts(length: int, size: int, stride: int, edges: Edges) -> Windows:
    """Lay tiles along one axis.

    Args:
        length: Pixels of the scene along the axis.
        size: Pixels of a tile.
        stride: Step between tiles, px.
        edges: What to do at the end, as in `GridSettings`.

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
