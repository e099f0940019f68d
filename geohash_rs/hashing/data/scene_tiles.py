"""Read tiles of scenes to train on; scenes that cannot be read are left out and named."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.errors import BandMismatchError, GeoHashRSWarning
from geohash_rs.scenes.ahead import read_ahead
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.grid import TileGrid
from geohash_rs.scenes.kinds import kinds_of_scenes
from geohash_rs.scenes.reader import TileBatch, TileReader
from geohash_rs.scenes.values import Values

__all__ = ["SceneTiles"]

Ints = npt.NDArray[np.int64]

SAMPLE_TILES = 512
SAMPLE_PIXELS = 1_000_000  # of each band, in all
NAMED = 3  # scenes that a warning names


class SceneTiles:
    """The tiles of a grid, and the scenes that were left out.

    Args:
        grid: The grid.
        workers: Processes that read; 0 reads in a thread.

    Attributes:
        left_out: Reason for each scene that is left out, entirely or in part.
        values: Kinds of values of the tiles; others are converted to the first. Set by `look`.
    """

    def __init__(self, grid: TileGrid, *, workers: int = 0) -> None:
        self.scenes: Scenes = grid.scenes
        self.settings = grid.settings
        self.workers = workers
        files = self.scenes.scene_files
        self.left_out: dict[str, str] = dict(self.scenes.unreadable)
        self.left_out |= {files[number].key: why for number, why in grid.skipped}
        self.values: tuple[Values, ...] = ()

    def look(self, tiles: Ints, *, names: Sequence[str] | None = None) -> None:
        """Find the kinds of values in the scenes, before their tiles are read.

        Args:
            tiles: As in `batches`.
            names: As in `batches`.

        Raises:
            BandMismatchError: If the bands of a scene do not fit.
        """
        counts = np.bincount(tiles[:, 0], minlength=len(self.scenes.scene_files))
        bands = self.scenes.band_indexes(tiles, names)
        self.values = kinds_of_scenes(self.scenes, counts, indexes=bands)

    def batches(self, tiles: Ints, *, names: Sequence[str] | None = None) -> Iterator[TileBatch]:
        """Read tiles, and note the scenes that cannot be read.

        Args:
            tiles: int64 (scene, col, row, width, height), shape (tiles, 5), scene by scene.
            names: Names of the bands; None uses those that the scenes share.

        Yields:
            Batches of one or more tiles.

        Raises:
            BandMismatchError: If the scenes differ in bands.
        """
        files = self.scenes.scene_files
        used = np.unique(tiles[:, 0]).tolist()
        bands = self._band_indexes(tiles, names)
        first = int(tiles[0, 0]) if len(tiles) else 0
        for number in used:
            if len(bands[number]) != len(bands[first]):
                msg = (
                    f"{files[first].name} has {len(bands[first])} bands but {files[number].name} "
                    f"has {len(bands[number])}; choose bands that all scenes have with bands=..., "
                    "or leave some scenes out."
                )
                raise BandMismatchError(msg)
        reader = TileReader(
            self.scenes,
            tiles,
            indexes=bands,
            batch_size=64,
            values=self.values,
            max_nodata=self.settings.max_nodata,
            shape=self.settings.shape,
        )
        for batch in read_ahead(reader, workers=self.workers):
            self.left_out |= {files[number].key: why for number, why in batch.failures}
            if len(batch.tiles):
                yield batch

    def _band_indexes(self, tiles: Ints, names: Sequence[str] | None) -> list[tuple[int, ...]]:
        """Choose the bands of every scene.

        Raises:
            BandMismatchError: If a scene has as many bands as the others, but not the same.
        """
        if names is not None:
            return self.scenes.band_indexes(tiles, names)
        every = self.scenes.band_indexes(tiles, None)
        try:
            return self.scenes.band_indexes(tiles, self.scenes.shared_bands())
        except BandMismatchError:
            if len({len(indexes) for indexes in every if indexes}) == 1:
                raise
            return every

    def usable(self, tiles: Ints) -> npt.NDArray[np.bool_]:
        """Find the tiles that have enough valid pixels, in scenes that can be read completely.

        Args:
            tiles: As in `batches`.

        Returns:
            bool, shape (tiles,).

        Raises:
            BandMismatchError: If the scenes differ in bands.
        """
        seen = {tuple(tile) for batch in self.batches(tiles) for tile in batch.tiles.tolist()}
        broken = [file.key in self.left_out for file in self.scenes.scene_files]
        rows = tiles.tolist()
        return np.array([tuple(row) in seen and not broken[row[0]] for row in rows], dtype=bool)

    def sample(self, tiles: Ints, *, names: Sequence[str] | None = None) -> Tensor:
        """Sample pixels from tiles of all scenes, to choose a range of values from.

        Args:
            tiles: As in `batches`.
            names: As in `batches`.

        Returns:
            Raw pixels, shape (tiles, bands, rows, columns), float32 if scenes differ in type; empty
            if no tile can be read.

        Raises:
            BandMismatchError: If the scenes differ in bands.
        """
        positions = np.linspace(0, len(tiles) - 1, min(len(tiles), SAMPLE_TILES)).astype(int)
        parts: list[Tensor] = []
        for batch in self.batches(tiles[positions], names=names):
            height, width = batch.images.shape[-2:]
            step = max(1, int(np.sqrt(height * width * len(positions) / SAMPLE_PIXELS)))
            parts.append(batch.images[..., ::step, ::step].clone())  # frees the batch
        if len({part.dtype for part in parts}) > 1:
            parts = [part.float() for part in parts]
        return torch.cat(parts) if parts else torch.empty(0)

    def warn(self) -> None:
        """Warn of the scenes that are left out, if there are any."""
        if self.left_out:
            first = list(self.left_out.items())[:NAMED]
            reasons = "; ".join(f"{scene}: {why}" for scene, why in first)
            msg = f"{len(self.left_out)} scenes are left out: {reasons}"
            warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
