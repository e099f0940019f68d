"""Read the tiles of scenes in batches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from geohash_rs.errors import GeoHashRSError, one_line
from geohash_rs.scenes.buffers import BufferPool
from geohash_rs.scenes.dataset import Scenes, Tile
from geohash_rs.scenes.pixels import batch_tensor, fill_invalid, may_have_gaps, north_up
from geohash_rs.scenes.values import Conversion, Values

__all__ = ["TileBatch", "TileReader"]

# Larger batches do not make the network faster, but fill caches and memory: 64 tiles of 256 px with
# 13 bands of float32 are 218 MB, and several batches are queued.
BATCH_BYTES = 16_000_000


@dataclass(kw_only=True)
class TileBatch:
    """Tiles that were read together.

    Attributes:
        images: Raw pixels with north up and without gaps, shape (tiles, bands, height, width); or
            vectors of an embedding, float32, shape (tiles, length).
        tiles: int64 (scene, col, row, width, height), shape (tiles, 5).
        planned: Scene of each tile in the batch, int64, including tiles left out for nodata.
        failures: Position of the scene and reason, for tiles that could not be read.
    """

    images: Tensor
    tiles: npt.NDArray[np.int64]
    planned: npt.NDArray[np.int64]
    failures: list[tuple[int, str]] = field(default_factory=list)


class TileReader(Dataset[TileBatch]):
    """A dataset of whole batches: tiles in the given order, one pixel type and size per batch."""

    def __init__(
        self,
        scenes: Scenes,
        tiles: npt.NDArray[np.int64],
        *,
        indexes: Sequence[tuple[int, ...]],
        batch_size: int,
        values: Sequence[Values] = (),
        max_nodata: float = 1.0,
        shape: tuple[int, int] | npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Arrange the batches.

        Args:
            scenes: The scenes.
            tiles: int64 (scene, col, row, width, height), shape (tiles, 5), scene by scene.
            indexes: One-based bands to read, for every scene.
            batch_size: Largest number of tiles in a batch; fewer if they would exceed 16 MB.
            values: Values that the hasher was made for, its own first; each scene is converted to
                those. Empty applies only scale and offset.
            max_nodata: Tiles with a larger share of invalid pixels are left out.
            shape: Height and width to resample tiles to, the same for all or int64, shape
                (tiles, 2); None keeps their own.
        """
        self.scenes = scenes
        self.tiles = tiles
        self.indexes = indexes
        self.values = values
        self.max_nodata = max_nodata
        self.shapes = None if shape is None else np.broadcast_to(np.array(shape), (len(tiles), 2))
        self._conversions: dict[int, Conversion | None] = {}
        self._failed: dict[int, str] = {}
        self._buffers = BufferPool()
        self._last: int | None = None  # scene that was read last
        used = np.unique(tiles[:, 0])
        self.dtypes = {number: self._dtype(number) for number in used.tolist()}
        self._final = {number for number in used.tolist() if self._is_final(number)}
        names = np.array([str(self.dtypes[number]) for number in used])
        kinds = np.unique(names, return_inverse=True)[1][np.searchsorted(used, tiles[:, 0])]
        same = np.column_stack([kinds, tiles[:, 3:] if self.shapes is None else self.shapes])
        breaks = np.flatnonzero((same[1:] != same[:-1]).any(axis=1)) + 1
        edges = [0, *breaks.tolist(), len(tiles)] if len(tiles) else []
        self.spans: list[tuple[int, int]] = []
        for begin, end in pairwise(edges):
            step = min(batch_size, max(1, BATCH_BYTES // self._bytes_of(begin)))
            self.spans += [(i, min(i + step, end)) for i in range(begin, end, step)]

    @property
    def threads(self) -> int:
        """Threads that may read batches at once: the network has the other cores."""
        return 1

    def __len__(self) -> int:
        """Count the batches."""
        return len(self.spans)

    def __getitem__(self, index: int) -> TileBatch:
        """Read one batch; unreadable scenes are listed in ``failures``, not raised."""
        start, end = self.spans[index]
        rows = self.tiles[start:end]
        shape, dtype = self._image_of(start)
        images = self._buffers.lend((end - start, *shape), dtype)
        kept: list[Tile] = []
        failed = self._failed
        for row in _side_by_side([Tile(*values) for values in rows.tolist()]):
            for tile in self._readable(row):
                try:
                    seen = self._read_into(
                        images[len(kept)], tile, resampled=self.shapes is not None
                    )
                except GeoHashRSError as error:
                    failed[tile.scene] = one_line(error)
                    break
                if seen:
                    kept.append(tile)
        planned = rows[:, 0]
        return TileBatch(
            images=batch_tensor(images[: len(kept)]),
            tiles=np.array(kept, dtype=np.int64).reshape(-1, 5),
            planned=planned,
            failures=[(n, r) for n, r in failed.items() if (planned == n).any()],
        )

    def __getstate__(self) -> dict[str, Any]:
        """Drop buffers when sent to another process."""
        return self.__dict__ | {"_buffers": BufferPool(), "_last": None}

    def _image_of(self, position: int) -> tuple[tuple[int, int, int], np.dtype[Any]]:
        """Return shape (bands, height, width) and type of the image of a tile."""
        number, _, _, width, height = self.tiles[position].tolist()
        shape = (height, width)
        if self.shapes is not None:
            shape = tuple(self.shapes[position].tolist())
        return (len(self.indexes[number]), *shape), self.dtypes[number]

    def _bytes_of(self, position: int) -> int:
        shape, dtype = self._image_of(position)
        return math.prod(shape) * dtype.itemsize

    def _readable(self, row: list[Tile]) -> list[Tile]:
        """Prepare to read tiles of one row, unless their scene has failed."""
        scene = row[0].scene
        if scene != self._last and self._last is not None:
            # Tiles come scene by scene: free this scene's blocks for the next.
            self.scenes.close(self._last)
        self._last = scene
        if scene not in self._failed:
            try:
                self._choose_conversion(scene)
                if self.shapes is None:
                    self.scenes.prefetch(row, indexes=self.indexes[scene])
            except GeoHashRSError as error:
                self._failed[scene] = one_line(error)
        return [] if scene in self._failed else row

    def _choose_conversion(self, scene: int) -> None:
        """Compare the values of a scene with the hasher's, once.

        Raises:
            SceneError: If the scene cannot be read.
            ValueMismatchError: If the hasher was made for different values.
        """
        if scene not in self._conversions:
            self._conversions[scene] = self.scenes.conversion(
                scene, indexes=self.indexes[scene], known=self.values
            )

    def _dtype(self, number: int) -> np.dtype[Any]:
        """Return the type of a scene's tiles: float if their values may be converted."""
        scene, indexes = self.scenes.scene_files[number], self.indexes[number]
        stored = np.dtype(scene.dtype_of(indexes))
        converted = scene.rescaling(indexes) is not None
        if self.values and not converted:
            ours = self.values[0].kind == "picture" and stored == np.uint8
            several = len(self.values) > 1 and not ours
            converted = several or self.scenes.value_range is not None
        return np.dtype(np.float32) if converted else stored

    def _is_final(self, number: int) -> bool:
        """Return whether valid pixels of a scene need no processing after reading."""
        image = np.empty((1, 1, 1), self.dtypes[number])
        turned = north_up(image, self.scenes.scene_files[number].transform)
        return turned is image and not may_have_gaps(image.dtype, self.scenes.nodata_of(number))

    def _read_into(self, image: npt.NDArray[Any], tile: Tile, *, resampled: bool) -> bool:
        """Read a tile, and return whether enough of it is valid."""
        scene = self.scenes.scene_files[tile.scene]
        conversion = self._conversions[tile.scene]
        out = image if conversion is None and scene.dtype == str(image.dtype) else None
        shape = (image.shape[-2], image.shape[-1]) if resampled else None
        pixels = self.scenes.read(tile, indexes=self.indexes[tile.scene], shape=shape, out=out)
        if pixels.invalid is None and pixels.image is image and tile.scene in self._final:
            return True
        share = 0.0 if pixels.invalid is None else float(pixels.invalid.mean())
        if share > self.max_nodata or share == 1.0:
            return False
        filled = fill_invalid(pixels, self.scenes.nodata_of(tile.scene))
        if conversion is not None:
            filled = conversion.apply(filled)
        upright = north_up(filled, scene.transform)
        if upright is not image:
            image[...] = upright
        return True


def _side_by_side(tiles: Sequence[Tile]) -> list[list[Tile]]:
    """Split tiles where a row of the grid ends, or a gap is wider than a tile."""
    rows: list[list[Tile]] = []
    for tile in tiles:
        last = rows[-1][-1] if rows else None
        same_row = last is not None and (last.scene, last.row) == (tile.scene, tile.row)
        if last is not None and same_row and tile.col <= last.col + 2 * last.width:
            rows[-1].append(tile)
        else:
            rows.append([tile])
    return rows
