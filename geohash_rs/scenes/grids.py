"""Lay grids of several tile sizes over each scene."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import SceneError, TileSizeError
from geohash_rs.scenes.file import SceneFile
from geohash_rs.scenes.grid import Edges, GridSettings, Raster, Sizes

__all__ = ["LARGER", "TileGrids", "recorded_grids", "recorded_sizes"]

LARGER = "larger_tiles"  # setting of a scene: (tile_size, stride) of all but the smallest tiles
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TileGrids:
    """The grids of one or several tile sizes, all laid over each scene.

    Attributes:
        grids: One for each tile size, smallest first; they differ in tile size and stride only.
    """

    grids: tuple[GridSettings, ...]

    @classmethod
    def for_hasher(
        cls,
        hasher: Sizes | None,
        *,
        tile_size: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        edges: Edges = "shift",
        max_nodata: float = 0.5,
        resolution: float | None = None,
        known: Sequence[Mapping[str, Any]] = (),
    ) -> Self:
        """Create grids, with defaults from a hasher.

        Args:
            hasher: As in `GridSettings.for_hasher`.
            tile_size: One size or several, px. None uses the sizes of the known scenes if all were
                cut in the same several ones, otherwise the hasher's.
            stride: One for all sizes, or as many as sizes and in their order; None uses each tile
                size.
            edges: As in `GridSettings`.
            max_nodata: As in `GridSettings`.
            resolution: None uses the hasher's.
            known: Settings of the archive's scenes.

        Returns:
            The grids.

        Raises:
            TileSizeError: If no size is given, a size is repeated, a setting is out of range, or
                the number of strides differs from the number of sizes.
        """
        if tile_size is None and (usual := _usual(known)):
            tile_size = [size for size, _ in usual]
            stride = [step for _, step in usual] if stride is None else stride
        sizes = [tile_size] if tile_size is None else _listed(tile_size, "tile_size")
        strides = [None] if stride is None else _listed(stride, "stride")
        if len(strides) == 1:
            strides *= len(sizes)
        if len(strides) != len(sizes):
            msg = (
                f"stride names {len(strides)} steps for {len(sizes)} tile sizes; pass one for all "
                "sizes, or one for each."
            )
            raise TileSizeError(msg)
        grids = [
            GridSettings.for_hasher(
                hasher,
                tile_size=size,
                stride=step,
                edges=edges,
                max_nodata=max_nodata,
                resolution=resolution,
            )
            for size, step in zip(sizes, strides, strict=True)
        ]
        return cls(grids=tuple(sorted(grids, key=lambda grid: grid.tile_size)))

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the grids with which a scene of an archive was cut.

        Args:
            settings: Of the scene's record.

        Returns:
            The grids.
        """
        grids = [
            GridSettings(
                tile_size=size,
                stride=step,
                edges=settings.get("edges", "shift"),
                max_nodata=settings.get("max_nodata", 1.0),
                resolution=settings.get("resolution"),
            )
            for size, step in recorded_grids(settings)
        ]
        return cls(grids=tuple(grids))

    @property
    def tile_size(self) -> int:
        """The smallest tile size, px; most tiles have it."""
        return self.grids[0].tile_size

    @property
    def max_nodata(self) -> float:
        """Largest share of invalid pixels of a tile."""
        return self.grids[0].max_nodata

    @property
    def resolution(self) -> float | None:
        """Ground size of a tile's pixel, m; None keeps the scene's own pixels."""
        return self.grids[0].resolution

    def settings(self) -> dict[str, Any]:
        """Return the settings that a scene's record keeps, as JSON values."""
        larger = [[grid.tile_size, grid.stride] for grid in self.grids[1:]]
        return asdict(self.grids[0]) | ({LARGER: larger} if larger else {})

    def counts(self, scene: Raster) -> list[int]:
        """Count the tiles of a scene without creating them.

        Args:
            scene: The scene.

        Returns:
            The number of tiles of each size; 0 of a size that is left out.

        Raises:
            SceneError: If the ground size of the scene's pixels cannot be measured.
            TileSizeError: If no size fits; the reason is that of the smallest.
        """
        laid = self._laid(scene)
        return [
            0 if why else grid.count(scene) for grid, (_, why) in zip(self.grids, laid, strict=True)
        ]

    def left_out(self, scene: Raster) -> list[tuple[int, str]]:
        """Return the sizes in which a scene has no tiles, and why.

        Args:
            scene: The scene.

        Returns:
            The sizes, px, and one reason for each.

        Raises:
            SceneError: As in `counts`.
            TileSizeError: As in `counts`.
        """
        laid = self._laid(scene)
        return [
            (grid.tile_size, why) for grid, (_, why) in zip(self.grids, laid, strict=True) if why
        ]

    def tiles(self, scene: Raster, number: int) -> Ints:
        """Lay the tiles of all sizes over one scene.

        Args:
            scene: The scene.
            number: Its position in ``Scenes.scene_files``.

        Returns:
            int64 (scene, col, row, width, height), shape (tiles, 5), size by size and row by row.

        Raises:
            SceneError: As in `counts`.
            TileSizeError: As in `counts`.
        """
        laid = self._laid(scene)
        parts = [
            g.tiles(scene, number) for g, (_, why) in zip(self.grids, laid, strict=True) if not why
        ]
        return np.concatenate(parts)

    def sides(self, scene: SceneFile, windows: Ints) -> Ints:
        """Find the tile size of each window of a scene.

        Args:
            scene: The scene.
            windows: (scene, col, row, width, height), shape (tiles, 5), as from `tiles`.

        Returns:
            The sizes, px, int64, shape (tiles,).

        Raises:
            SceneError: As in `counts`, or if a window has none of the sizes.
            TileSizeError: As in `counts`.
        """
        sides = np.zeros(len(windows), np.int64)
        for grid, (window, why) in zip(self.grids, self._laid(scene), strict=True):
            if not why:
                sides[(windows[:, 3:] == window).all(axis=1)] = grid.tile_size
        if not sides.all():
            width, height = windows[sides == 0][0, 3:].tolist()
            msg = f"{scene.name} has a tile of {width} x {height} px, which no tile size makes."
            raise SceneError(msg)
        return sides

    def shapes(self, files: Sequence[SceneFile], windows: Ints) -> Ints | None:
        """Return the height and width to which each window is resampled.

        Args:
            files: The scenes.
            windows: (scene, col, row, width, height), shape (tiles, 5).

        Returns:
            int64, shape (tiles, 2); None if windows keep their own.

        Raises:
            SceneError: As in `sides`.
            TileSizeError: As in `counts`.
        """
        if self.resolution is None:
            return None
        shapes = np.full((len(windows), 2), self.tile_size, np.int64)
        if len(self.grids) > 1:
            order = np.argsort(windows[:, 0], kind="stable")
            numbers, starts = np.unique(windows[order, 0], return_index=True)
            for number, mine in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
                shapes[mine] = self.sides(files[number], windows[mine])[:, None]
        return shapes

    def _laid(self, scene: Raster) -> list[tuple[tuple[int, int], str]]:
        """Return the window of each size, px, and why it is left out, or nothing.

        Raises:
            SceneError: If the ground size of the scene's pixels cannot be measured.
            TileSizeError: If no size fits.
        """
        laid: list[tuple[tuple[int, int], str]] = []
        first: TileSizeError | None = None
        for grid in self.grids:
            try:
                window = grid.window(scene)
            except TileSizeError as error:
                first = first or error
                laid.append(((0, 0), str(error)))
                continue
            before = [
                one.tile_size
                for one, (known, _) in zip(self.grids, laid, strict=False)
                if known == window
            ]
            why = f"they would cover the pixels of those of {before[0]} px" if before else ""
            laid.append((window, why))
        if first is not None and all(why for _, why in laid):
            raise first
        return laid


def recorded_sizes(settings: Mapping[str, Any]) -> list[int]:
    """Return the tile sizes in which a scene of an archive was cut, smallest first.

    Args:
        settings: Of the scene's record.

    Returns:
        The sizes, px; none if the tiles came from a TorchGeo dataset.
    """
    return [size for size, _ in recorded_grids(settings)]


def recorded_grids(settings: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the grids on which a scene of an archive was cut, smallest first.

    Args:
        settings: Of the scene's record.

    Returns:
        Tile size and stride of each, px; none if the tiles came from a TorchGeo dataset.
    """
    if "tile_size" not in settings:
        return []
    size = int(settings["tile_size"])
    return [(size, int(settings.get("stride", size))), *map(tuple, settings.get(LARGER, ()))]


def _usual(known: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Return the several sizes, with strides, in which all known scenes were cut; else nothing."""
    found = {tuple(recorded_grids(settings)) for settings in known}
    only = list(found.pop()) if len(found) == 1 else []
    return only if len(only) > 1 else []


def _listed(given: int | Sequence[int], name: str) -> list[Any]:
    """List one number or several.

    Raises:
        TileSizeError: If there is none, one is not a whole number, or a tile size is named twice.
    """
    several = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    numbers: list[Any] = list(given) if several else [given]  # type: ignore[arg-type]
    if not numbers or any(isinstance(n, bool) or not isinstance(n, Integral) for n in numbers):
        msg = f"{name} is {given!r}, but it must be a whole number of pixels, or several."
        raise TileSizeError(msg)
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    if twice and name == "tile_size":
        msg = f"tile_size names {twice[0]} px twice; name each size once."
        raise TileSizeError(msg)
    return [int(number) for number in numbers]
