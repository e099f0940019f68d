"""Read rasters of vectors block by block, and turn the pixels of each tile into one vector."""

import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from geohash_rs.errors import GeoHashRSError, one_line
from geohash_rs.scenes.buffers import BufferPool
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.reader import TileBatch
from geohash_rs.scenes.values import Conversion

__all__ = ["Pool", "VectorReader", "few_blocks"]

WINDOW_BYTES = 64_000_000  # of pixels read at once; more if a single block of all bands is larger
MOST_THREADS = 4  # each holds two windows
BLOCK = 1024  # px: side of AlphaEarth's blocks
ROWS = 256  # least number of rows read at once, so that small blocks do not cost one call each

Ints = npt.NDArray[np.int64]


class Pool(Protocol):
    """Turns the pixels of tiles into vectors; see `PixelEmbedding.pool` for a full contract."""

    def __call__(
        self,
        pixels: npt.NDArray[Any],
        windows: Ints,
        *,
        hidden: npt.NDArray[np.bool_] | None = None,
        nodata: float | None = None,
        rescaling: Conversion | None = None,
    ) -> tuple[npt.NDArray[np.float32], Ints]:
        """Compute the vector of each tile, zero if it has none, and count its valid pixels."""


class _OfThread(threading.local):
    """What each reading thread has for itself.

    Attributes:
        last: Position of the scene that it read last.
        buffers: Memory for pixels.
    """

    def __init__(self) -> None:
        self.last: int | None = None
        self.buffers = BufferPool()


class VectorReader(Dataset[TileBatch]):
    """A dataset of batches, as `TileReader` is, whose images are vectors of shape (tiles, length).

    Blocks are read whole and each once: of 64 bands, a tile of 16 px is a small part of one. Where
    tiles reach into the next block, it is read again. Scenes are never resampled: a tile of another
    ground size is the mean of more or fewer pixels.
    """

    def __init__(
        self,
        scenes: Scenes,
        tiles: Ints,
        *,
        indexes: Sequence[tuple[int, ...]],
        pool: Pool,
        max_nodata: float = 1.0,
        in_order: bool = False,
    ) -> None:
        """Arrange the batches.

        Args:
            scenes: The scenes.
            tiles: int64 (scene, col, row, width, height), shape (tiles, 5), scene by scene.
            indexes: One-based bands to read, for every scene.
            pool: Turns pixels into vectors.
            max_nodata: Tiles with a larger share of invalid pixels are left out, and all that have
                no vector.
            in_order: Whether batches must keep the order of the tiles; otherwise tiles of a scene
                come block by block, in smaller batches.
        """
        self.scenes = scenes
        self.indexes = indexes
        self.pool = pool
        self.max_nodata = max_nodata
        self._failed: dict[int, str] = {}
        self._own = _OfThread()
        numbers, scene = np.unique(tiles[:, 0], return_inverse=True)
        self._sides = {number: self._window(number) for number in numbers.tolist()}
        sides = np.array([self._sides[number] for number in numbers.tolist()]).reshape(-1, 2)[scene]
        same = np.column_stack([tiles[:, [0, 3, 4]], tiles[:, 2] // sides[:, 1]])
        if not in_order:
            same = np.column_stack([same, tiles[:, 1] // sides[:, 0]])
            order = np.lexsort(same.T[::-1])  # stable: those of a block keep their order
            same, tiles = same[order], tiles[order]
        self.tiles = tiles
        breaks = np.flatnonzero((same[1:] != same[:-1]).any(axis=1)) + 1
        edges = [0, *breaks.tolist(), len(tiles)] if len(tiles) else []
        self.spans = list(zip(edges[:-1], edges[1:], strict=True))

    @property
    def threads(self) -> int:
        """Threads that may read batches at once: no network needs a core."""
        return min(torch.get_num_threads(), MOST_THREADS)

    def __len__(self) -> int:
        """Count the batches."""
        return len(self.spans)

    def __getitem__(self, index: int) -> TileBatch:
        """Read one batch; unreadable scenes are listed in ``failures``, not raised."""
        start, end = self.spans[index]
        rows = self.tiles[start:end]
        number = int(rows[0, 0])
        if self._own.last not in (None, number):
            self.scenes.close(self._own.last)  # frees its blocks for the next scene
        self._own.last = number
        found: list[tuple[Ints, npt.NDArray[np.float32]]] = []
        if number not in self._failed:
            try:
                found = list(self._pooled(number, rows))
            except GeoHashRSError as error:
                name, reason = self.scenes.scene_files[number].name, one_line(error)
                self._failed[number] = reason if name in reason else f"{name}: {reason}"
        kept = np.concatenate([np.empty(0, np.int64), *(places for places, _ in found)])
        order = np.argsort(kept)
        vectors = [part for _, part in found] or [np.empty((0, 0), np.float32)]
        failure = self._failed.get(number)
        return TileBatch(
            images=torch.from_numpy(np.concatenate(vectors)[order]),
            tiles=rows[kept[order]],
            planned=rows[:, 0],
            failures=[] if failure is None else [(number, failure)],
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out buffers when sent to another process."""
        return {name: value for name, value in self.__dict__.items() if name != "_own"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start in another process without buffers."""
        self.__dict__.update(state)
        self._own = _OfThread()

    def _pooled(self, number: int, rows: Ints) -> Iterator[tuple[Ints, npt.NDArray[np.float32]]]:
        """Read tiles of one scene, a few blocks at a time.

        Yields:
            Positions of tiles that have enough valid pixels, and their vectors.
        """
        scene, indexes = self.scenes.scene_files[number], self.indexes[number]
        across = self._sides[number][0]
        groups = rows[:, 1] // across
        for group in np.unique(groups).tolist():
            places = np.flatnonzero(groups == group)
            mine = rows[places, 1:]
            clipped = np.column_stack(
                [
                    np.maximum(mine[:, 0], 0),
                    np.maximum(mine[:, 1], 0),
                    np.minimum(mine[:, 0] + mine[:, 2], scene.width),
                    np.minimum(mine[:, 1] + mine[:, 3], scene.height),
                ]
            )
            left, top = clipped[:, :2].min(axis=0).tolist()
            right, bottom = clipped[:, 2:].max(axis=0).tolist()
            window = (left, top, right - left, bottom - top)
            shape = (len(indexes), bottom - top, right - left)
            out = self._own.buffers.lend(shape, scene.dtype_of(indexes))
            hidden = self.scenes.read_block(number, window, indexes=indexes, out=out)
            inside = clipped - [left, top, left, top]
            inside[:, 2:] -= inside[:, :2]
            vectors, valid = self.pool(
                out,
                inside,
                hidden=hidden,
                nodata=self.scenes.nodata_of(number),
                rescaling=scene.rescaling(indexes),
            )
            share = 1 - valid / (mine[:, 2] * mine[:, 3])  # what overhangs the scene is invalid
            enough = (share <= self.max_nodata) & vectors.any(axis=1)
            yield places[enough], vectors[enough]

    def _window(self, number: int) -> tuple[int, int]:
        """Choose the columns and rows to read at once: whole blocks of a scene."""
        scene, indexes = self.scenes.scene_files[number], self.indexes[number]
        try:
            high, wide = self.scenes.block_shape(number)
        except GeoHashRSError as error:
            self._failed[number] = one_line(error)
            return scene.width, ROWS
        pixel = len(indexes) * np.dtype(scene.dtype_of(indexes)).itemsize
        fits = max(1, WINDOW_BYTES // (pixel * wide * high))  # blocks
        down = min(fits, math.ceil(ROWS / high), math.ceil(scene.height / high))
        across = min(max(1, fits // down), math.ceil(scene.width / wide))
        return across * wide, down * high


def few_blocks(tiles: Ints, *, size: int, seed: int = 0) -> Ints:
    """Choose tiles in few blocks, of every scene as far as the size allows.

    Args:
        tiles: int64 (scene, col, row, width, height), shape (tiles, 5), scene by scene.
        size: Number of tiles to reach.
        seed: Seed of the choice.

    Returns:
        The tiles of random blocks of 1024 px: of one block of each scene, then of a second one, and
        so on until there are enough; in the order given.
    """
    blocks = tiles[:, :3].copy()
    blocks[:, 1:] //= BLOCK
    known, owner, counts = np.unique(blocks, axis=0, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(known))
    order = order[np.argsort(known[order, 0], kind="stable")]
    scenes = known[order, 0]
    first = np.concatenate([[True], scenes[1:] != scenes[:-1]])
    turn = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    order = order[np.argsort(turn, kind="stable")]
    enough = int(np.searchsorted(np.cumsum(counts[order]), size)) + 1
    chosen: Ints = tiles[np.isin(owner.reshape(-1), order[:enough])]
    return chosen
