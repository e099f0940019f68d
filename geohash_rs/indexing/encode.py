"""Run tiles through a hasher: batches in, codes and placed tiles out."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.errors import HasherError, VectorError
from geohash_rs.footprints.windows import WGS84
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.samples import LocatedTile, located_frame
from geohash_rs.indexing.waiting_vectors import WaitingVectors
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.reader import TileBatch
from geohash_rs.store.disk.manifest import VectorsEntry
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.segment.vectors import check_vectors

__all__ = ["EncodedScene", "EncodedTiles", "SceneEncoder", "encode_located", "scene_tiles_frame"]

Hashed = tuple[npt.NDArray[np.uint8], npt.NDArray[np.floating] | None]

PIXELS = 4  # dimensions of a batch of tiles; one of an embedding's vectors has two
THIN_STEP = 8  # px between those kept of each tile to compare their values
MOST_PIXELS = 4096  # of those of a batch


@dataclass(frozen=True, kw_only=True)
class EncodedTiles:
    """Codes and their tiles, ready to commit.

    Attributes:
        num_read: Number of tiles read for them.
        codes: Packed codes, uint8, shape (tiles, bits / 8).
        tiles: The tiles, with the columns of an archive.
        vectors: Feature vectors of the tiles, float, shape (tiles, length); None if the archive
            keeps none.
        records: Records of the scenes that are complete with these tiles, or of one that is added
            in several parts, how far it is.
        continues: Whether the tiles of these scenes that the archive holds stay.
    """

    num_read: int
    codes: npt.NDArray[np.uint8]
    tiles: gpd.GeoDataFrame
    vectors: npt.NDArray[np.floating] | None = None
    records: Sequence[SceneRecord] = ()
    continues: bool = False


@dataclass(kw_only=True)
class EncodedScene:
    """A scene whose tiles are being hashed.

    Attributes:
        number: Position in ``Scenes.scene_files``.
        num_read: Number of tiles read.
        failure: Why the scene could not be read or hashed, or None.
        pixels: Some pixels as the hasher sees them, shape (bands, pixels), one array per batch;
            none of an embedding.
        codes: Packed codes, one array per batch.
        vectors: Feature vectors; none if the archive keeps none.
        windows: Tiles of the codes, int64 (scene, col, row, width, height), one array per batch.
        footprints: Polygons of tiles of an embedding, one array per batch.
    """

    number: int
    vectors: WaitingVectors
    num_read: int = 0
    failure: str | None = None
    pixels: list[npt.NDArray[Any]] = field(default_factory=list)
    codes: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    windows: list[npt.NDArray[np.int64]] = field(default_factory=list)
    footprints: list[npt.NDArray[np.object_]] = field(default_factory=list)

    @property
    def num_tiles(self) -> int:
        """Number of tiles with a code; others were left out for nodata, or the scene failed."""
        return sum(map(len, self.windows))


class SceneEncoder:
    """Hashes batches, and collects the results scene by scene."""

    def __init__(
        self,
        scenes: Scenes,
        counts: npt.NDArray[np.int64],
        *,
        folder: Path,
        form: VectorsEntry | None,
    ) -> None:
        """Start without tiles.

        Args:
            scenes: The scenes.
            counts: Number of tiles that will be read from each scene, shape (scenes,).
            folder: The archive's folder.
            form: How it keeps feature vectors; None if it keeps none.
        """
        self.scenes = scenes
        self.folder = folder
        self.form = form
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
            if number not in self._open:
                waiting = WaitingVectors(self.folder)
                self._open[number] = EncodedScene(number=number, vectors=waiting)
            self._open[number].num_read += count
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
        whole: Hashed | None = None
        with contextlib.suppress(HasherError, VectorError):  # the loop below finds the scene
            whole = _hashed(batch.images, hasher, self.form)
        for number, part in zip(numbers.tolist(), parts, strict=True):
            scene = self._open[number]
            try:
                if whole is None:
                    codes, vectors = _hashed(batch.images[part], hasher, self.form)
                else:
                    codes, vectors = whole[0][part], None if whole[1] is None else whole[1][part]
            except (HasherError, VectorError) as error:
                name = self.scenes.scene_files[number].name
                scene.failure = f"{name} cannot be hashed: {error}"
            else:
                scene.codes.append(codes)
                if vectors is not None:
                    scene.vectors.append(vectors)
                if batch.images.ndim == PIXELS:
                    scene.pixels.append(_some_pixels(batch.images[part]))
                else:  # many tiles, whose blocks take long to read meanwhile
                    scene.footprints.append(self.scenes.tile_footprints(batch.tiles[part]))
                scene.windows.append(batch.tiles[part])


def _hashed(images: Tensor, hasher: Hasher, form: VectorsEntry | None) -> Hashed:
    """Compute codes and, if an archive keeps them, vectors in its form.

    Raises:
        HasherError: If a feature is not finite.
        VectorError: If the archive cannot keep a vector.
    """
    if form is None:
        return hasher.codes(images), None
    codes, vectors = hasher.codes_and_features(images)
    check_vectors(vectors, form, count=len(codes))
    return codes, vectors.astype(np.float16) if form.kind == "float16" else vectors


def _some_pixels(images: Tensor) -> npt.NDArray[Any]:
    """Copy some pixels of a batch, whose memory is used again; shape (bands, pixels)."""
    thin = images[..., ::THIN_STEP, ::THIN_STEP].numpy().swapaxes(0, 1)
    flat = thin.reshape(len(thin), -1)
    return flat[:, :: max(1, flat.shape[1] // MOST_PIXELS)].copy()


def encode_located(
    tiles: Sequence[LocatedTile], hasher: Hasher, *, form: VectorsEntry | None = None
) -> EncodedTiles:
    """Hash a batch of tiles of any TorchGeo dataset.

    Args:
        tiles: Located tiles; those without an image are left out.
        hasher: Turns tiles into codes.
        form: How the archive keeps feature vectors; None if it keeps none.

    Returns:
        Codes and tiles, ordered so that images of one size are together.

    Raises:
        BandMismatchError: If the bands of the dataset do not fit the hasher.
        HasherError: If a feature is not finite.
        VectorError: If the archive cannot keep a vector.
    """
    shapes: dict[tuple[object, ...], list[tuple[LocatedTile, Tensor]]] = {}
    for tile in tiles:
        if tile.image is not None:
            shapes.setdefault((tile.image.shape, tile.image.dtype), []).append((tile, tile.image))
    found = [
        _hashed(torch.stack([image for _, image in group]), hasher, form)
        for group in shapes.values()
    ]
    placed = [tile for group in shapes.values() for tile, _ in group]
    vectors = [part for _, part in found if part is not None]
    return EncodedTiles(
        num_read=len(tiles),
        codes=np.concatenate([part for part, _ in found]) if found else np.empty((0, 0), np.uint8),
        tiles=located_frame(placed),
        vectors=np.concatenate(vectors) if vectors else None,
    )


def scene_tiles_frame(
    scenes: Scenes,
    windows: npt.NDArray[np.int64],
    *,
    footprints: npt.NDArray[np.object_] | None = None,
) -> gpd.GeoDataFrame:
    """Make a table of scene tiles with their footprints.

    Args:
        scenes: The scenes.
        windows: int64 (scene, col, row, width, height), shape (tiles, 5).
        footprints: Their polygons, if they are known, shape (tiles,).

    Returns:
        The columns scene, col, row, width, height, datetime, datetime_end and geometry.
    """
    used, numbers = np.unique(windows[:, 0], return_inverse=True)
    files = [scenes.scene_files[number] for number in used]
    geometry = scenes.tile_footprints(windows) if footprints is None else footprints
    columns = {"scene": np.array([file.key for file in files], dtype=object)[numbers]}
    columns |= {
        name: windows[:, i] for i, name in enumerate(("col", "row", "width", "height"), start=1)
    }
    for end, name in enumerate(("datetime", "datetime_end")):
        moments = [file.dates[end].replace(tzinfo=None) if file.dates else None for file in files]
        columns[name] = np.array(moments, dtype="datetime64[us]")[numbers]
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=WGS84)
