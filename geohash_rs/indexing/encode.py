"""Run tiles through a hasher: dataset and sampler in, codes and located tiles out."""

import contextlib
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.errors import HasherError
from geohash_rs.footprints.windows import WGS84
from geohash_rs.indexing.samples import LocatedTile, located_frame
from geohash_rs.scenes.dataset import Scenes, Tile
from geohash_rs.scenes.reader import TileBatch, TileReader, read_ahead

__all__ = [
    "EncodedScene",
    "EncodedTiles",
    "TileHasher",
    "encode_located",
    "encode_scenes",
    "scene_tiles_frame",
]


class TileHasher(Protocol):
    """What encoding needs of a hasher: names of its bands, and codes for raw pixels."""

    @property
    def bands(self) -> Sequence[str]:
        """Give the names of the bands in the order in which tiles have them."""

    def codes(self, tiles: Tensor) -> npt.NDArray[np.uint8]:
        """Hash tiles of shape (tiles, bands, height, width), raw pixels of any dtype.

        Returns:
            Packed codes, uint8, shape (tiles, bits / 8).
        """


@dataclass(frozen=True, kw_only=True)
class EncodedTiles:
    """Codes and the tiles that they belong to.

    Attributes:
        codes: Packed codes, uint8, shape (tiles, bits / 8).
        tiles: The tiles, with the columns of an archive.
    """

    codes: npt.NDArray[np.uint8]
    tiles: gpd.GeoDataFrame


@dataclass(kw_only=True)
class EncodedScene:
    """One scene, done.

    Attributes:
        number: Position in ``Scenes.scene_files``.
        num_read: Tiles that were read.
        num_nodata: Tiles left out because too little of them was seen.
        failure: Why the scene could not be read or hashed, or None. Then it has no codes.
        codes: Packed codes, one array a batch.
        windows: Tiles of the codes, int64 (scene, col, row, width, height), one array a batch.
    """

    number: int
    num_read: int = 0
    num_nodata: int = 0
    failure: str | None = None
    codes: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    windows: list[npt.NDArray[np.int64]] = field(default_factory=list)


def encode_scenes(
    scenes: Scenes,
    tiles: npt.NDArray[np.int64],
    hasher: TileHasher,
    *,
    batch_size: int = 64,
    max_nodata: float = 0.5,
    shape: tuple[int, int] | None = None,
    workers: int = 0,
) -> Generator[EncodedScene, None, None]:
    """Hash the tiles of scenes.

    Args:
        scenes: The scenes.
        tiles: int64 (scene, col, row, width, height), shape (tiles, 5), scene by scene.
        hasher: What turns tiles into codes.
        batch_size: Most tiles a pass.
        max_nodata: Tiles with a larger share of invalid pixels are left out.
        shape: Height and width that tiles are brought to before hashing; their own if None.
        workers: Processes that read; 0 reads in a thread.

    Yields:
        Every scene that has tiles, in order, when it is done.

    Raises:
        BandMismatchError: If the bands of a scene do not fit the hasher.
    """
    used = set(np.unique(tiles[:, 0]).tolist())
    indexes = [
        file.band_indexes(scenes.bands, names=hasher.bands) if number in used else ()
        for number, file in enumerate(scenes.scene_files)
    ]
    reader = TileReader(
        scenes,
        tiles,
        indexes=indexes,
        batch_size=batch_size,
        max_nodata=max_nodata,
        shape=shape,
    )
    open_scenes: dict[int, EncodedScene] = {}
    with closing(read_ahead(reader, workers=workers)) as batches:
        for span, batch in zip(reader.spans, batches, strict=True):
            planned = tiles[span[0] : span[1], 0]
            for number in np.unique(planned).tolist():
                done = open_scenes.setdefault(number, EncodedScene(number=number))
                done.num_read += int((planned == number).sum())
            for number, reason in batch.failures:
                open_scenes[number].failure = open_scenes[number].failure or reason
            _hash_batch(hasher, batch, open_scenes, scenes)
            following = int(tiles[span[1], 0]) if span[1] < len(tiles) else len(scenes.scene_files)
            for number in [n for n in open_scenes if n < following]:
                yield _finish(open_scenes.pop(number))


def encode_located(tiles: Sequence[LocatedTile], hasher: TileHasher) -> EncodedTiles:
    """Hash a batch of tiles of any TorchGeo dataset.

    Args:
        tiles: Located tiles, as `samples.located_tiles` gives them. Those without an
            image are left out.
        hasher: What turns tiles into codes.

    Returns:
        Codes and tiles, in an order in which images of one size stand together.

    Raises:
        BandMismatchError: If the bands of the dataset do not fit the hasher.
    """
    shapes: dict[tuple[int, ...], list[tuple[LocatedTile, Tensor]]] = {}
    for tile in tiles:
        if tile.image is not None:
            shapes.setdefault(tuple(tile.image.shape), []).append((tile, tile.image))
    codes = [hasher.codes(torch.stack([image for _, image in group])) for group in shapes.values()]
    placed = [tile for group in shapes.values() for tile, _ in group]
    return EncodedTiles(
        codes=np.concatenate(codes) if codes else np.empty((0, 0), dtype=np.uint8),
        tiles=located_frame(placed),
    )


def scene_tiles_frame(scenes: Scenes, windows: npt.NDArray[np.int64]) -> gpd.GeoDataFrame:
    """Place tiles of scenes.

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


def _hash_batch(
    hasher: TileHasher, batch: TileBatch, open_scenes: dict[int, EncodedScene], scenes: Scenes
) -> None:
    if len(batch.tiles) == 0:
        return
    numbers, starts = np.unique(batch.tiles[:, 0], return_index=True)
    parts = [slice(*ends) for ends in pairwise([*starts.tolist(), len(batch.tiles)])]
    whole: npt.NDArray[np.uint8] | None = None
    with contextlib.suppress(HasherError):  # of which scene, the loop below finds out
        whole = hasher.codes(batch.images)
    for number, part in zip(numbers.tolist(), parts, strict=True):
        try:
            codes = hasher.codes(batch.images[part]) if whole is None else whole[part]
        except HasherError as error:
            name = scenes.scene_files[number].name
            open_scenes[number].failure = f"{name} cannot be hashed: {error}"
        else:
            open_scenes[number].codes.append(codes)
            open_scenes[number].windows.append(batch.tiles[part])


def _finish(scene: EncodedScene) -> EncodedScene:
    if scene.failure is not None:  # half a scene is no scene
        scene.codes, scene.windows = [], []
        return scene
    scene.num_nodata = scene.num_read - sum(len(part) for part in scene.windows)
    return scene
