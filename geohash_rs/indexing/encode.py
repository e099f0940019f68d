"""Run tiles through a hasher: batches in, codes and placed tiles out."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.errors import HasherError
from geohash_rs.footprints.windows import WGS84
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.samples import LocatedTile, located_frame
from geohash_rs.scenes.dataset import Scenes, Tile
from geohash_rs.scenes.reader import TileBatch
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["EncodedScene", "EncodedTiles", "SceneEncoder", "encode_located", "scene_tiles_frame"]

THIN_STEP = 8  # px between those kept of each tile to compare their values
MOST_PIXELS = 4096  # of those of a batch


@dataclass(frozen=True, kw_only=True)
class EncodedTiles:
    """Codes and their tiles, ready to commit.

    Attributes:
        num_read: Number of tiles read for them.
        codes: Packed codes, uint8, shape (tiles, bits / 8).
        tiles: The tiles, with the columns of an archive.
        records: Records of the scenes that are complete with these tiles.
    """

    num_read: int
    codes: npt.NDArray[np.uint8]
    tiles: gpd.GeoDataFrame
    records: Sequence[SceneRecord] = ()


@dataclass(kw_only=True)
class EncodedScene:
    """A scene whose tiles are being hashed.

    Attributes:
        number: Position in ``Scenes.scene_files``.
        num_read: Number of tiles read.
        failure: Why the scene could not be read or hashed, or None.
        pixels: Some pixels as the hasher sees them, shape (bands, pixels), one array per batch.
        codes: Packed codes, one array per batch.
        windows: Tiles of the codes, int64 (scene, col, row, width, height), one array per batch.
    """

    number: int
    num_read: int = 0
    failure: str | None = None
    pixels: list[npt.NDArray[Any]] = field(default_factory=list)
    codes: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    windows: list[npt.NDArray[np.int64]] = field(default_factory=list)

    @property
    def num_tiles(self) -> int:
        """Number of tiles with a code; others were left out for nodata, or the scene failed."""
        return sum(map(len, self.windows))


class SceneEncoder:
    """Hashes batches, and collects the results scene by scene."""

    def __init__(self, scenes: Scenes, counts: npt.NDArray[np.int64]) -> None:
        """Start without tiles.

        Args:
            scenes: The scenes.
            counts: Number of tiles that will be read from each scene, shape (scenes,).
        """
        self.scenes = scenes
        self.counts = counts
        self._open: dict[int, EncodedScene] = {}

    def encode(self, batch: TileBatch, hasher: Hasher) -> Iterator[EncodedScene]:
        """Hash a batch.

        Args:
            batch: Tiles, scene by scene.
            hasher: Turns tiles into codes.

        Yields:
            Each scene whose tiles are all done, in order.
        """
        numbers, counts = np.unique(batch.planned, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._open.setdefault(number, EncodedScene(number=number)).num_read += count
        for number, reason in batch.failures:
            self._open[number].failure = self._open[number].failure or reason
        self._hash(batch, hasher)
        for number in numbers.tolist():
            if self._open[number].num_read == self.counts[number]:
                yield self._open.pop(number)

    def _hash(self, batch: TileBatch, hasher: Hasher) -> None:
        if len(batch.tiles) == 0:
            return
        numbers, starts = np.unique(batch.tiles[:, 0], return_index=True)
        parts = [slice(*ends) for ends in pairwise([*starts.tolist(), len(batch.tiles)])]
        whole: npt.NDArray[np.uint8] | None = None
        with contextlib.suppress(HasherError):  # the loop below finds the scene
            whole = hasher.codes(batch.images)
        for number, part in zip(numbers.tolist(), parts, strict=True):
            scene = self._open[number]
            try:
                codes = hasher.codes(batch.images[part]) if whole is None else whole[part]
            except HasherError as error:
                name = self.scenes.scene_files[number].name
                scene.failure = f"{name} cannot be hashed: {error}"
            else:
                scene.codes.append(codes)
                scene.pixels.append(_some_pixels(batch.images[part]))
                scene.windows.append(batch.tiles[part])


def _some_pixels(images: Tensor) -> npt.NDArray[Any]:
    """Copy some pixels of a batch, whose memory is used again; shape (bands, pixels)."""
    thin = images[..., ::THIN_STEP, ::THIN_STEP].numpy().swapaxes(0, 1)
    flat = thin.reshape(len(thin), -1)
    return flat[:, :: max(1, flat.shape[1] // MOST_PIXELS)].copy()


def encode_located(
    tiles: Sequence[LocatedTile], hasher: Hasher
) -> tuple[npt.NDArray[np.uint8], gpd.GeoDataFrame]:
    """Hash a batch of tiles of any TorchGeo dataset.

    Args:
        tiles: Located tiles; those without an image are left out.
        hasher: Turns tiles into codes.

    Returns:
        Packed codes, uint8, shape (tiles, bits / 8), and the tiles with the columns of an archive,
        ordered so that images of one size are together.

    Raises:
        BandMismatchError: If the bands of the dataset do not fit the hasher.
    """
    shapes: dict[tuple[object, ...], list[tuple[LocatedTile, Tensor]]] = {}
    for tile in tiles:
        if tile.image is not None:
            shapes.setdefault((tile.image.shape, tile.image.dtype), []).append((tile, tile.image))
    codes = [hasher.codes(torch.stack([image for _, image in group])) for group in shapes.values()]
    placed = [tile for group in shapes.values() for tile, _ in group]
    packed = np.concatenate(codes) if codes else np.empty((0, 0), dtype=np.uint8)
    return packed, located_frame(placed)


def scene_tiles_frame(scenes: Scenes, windows: npt.NDArray[np.int64]) -> gpd.GeoDataFrame:
    """Make a table of scene tiles with their footprints.

    Args:
        scenes: The scenes.
        windows: int64 (scene, col, row, width, height), shape (tiles, 5).

    Returns:
        The columns scene, col, row, width, height, datetime, datetime_end and geometry.
    """
    used, numbers = np.unique(windows[:, 0], return_inverse=True)
    files = [scenes.scene_files[number] for number in used]
    geometry = scenes.tile_footprints([Tile(*row) for row in windows.tolist()])
    columns = {"scene": np.array([file.key for file in files], dtype=object)[numbers]}
    columns |= {
        name: windows[:, i] for i, name in enumerate(("col", "row", "width", "height"), start=1)
    }
    for end, name in enumerate(("datetime", "datetime_end")):
        moments = [file.dates[end].replace(tzinfo=None) if file.dates else None for file in files]
        columns[name] = np.array(moments, dtype="datetime64[us]")[numbers]
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=WGS84)
