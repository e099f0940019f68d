"""Read the tiles of scenes in batches, ahead of the network that looks at them."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from geohash_rs.errors import GeoHashRSError, one_line
from geohash_rs.pixels import fill_invalid, north_up, stack_images
from geohash_rs.scenes import Scenes, Tile

__all__ = ["TileBatch", "TileReader", "read_ahead"]

BATCHES_AHEAD = 2


@dataclass(kw_only=True)
class TileBatch:
    """Tiles that were read together.

    Attributes:
        images: Raw pixels with north up and without gaps, shape (tiles, bands, height, width).
        tiles: int64 (scene, col, row, width, height), shape (tiles, 5).
        num_read: Tiles that were to be read.
        num_nodata: Tiles left out because too little of them was seen.
        failures: Position of the scene, and why, for tiles that could not be read.
    """

    images: Tensor
    tiles: npt.NDArray[np.int64]
    num_read: int
    num_nodata: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)


class TileReader(Dataset[TileBatch]):
    """A dataset of whole batches: tiles in the order given, one pixel type and size a batch."""

    def __init__(
        self,
        scenes: Scenes,
        tiles: npt.NDArray[np.int64],
        *,
        indexes: Sequence[tuple[int, ...]],
        batch_size: int,
        max_nodata: float = 1.0,
        shape: tuple[int, int] | None = None,
    ) -> None:
        """Arrange the batches.

        Args:
            scenes: The scenes.
            tiles: int64 (scene, col, row, width, height), shape (tiles, 5), scene by scene.
            indexes: One-based bands to read, for every scene.
            batch_size: Most tiles in a batch.
            max_nodata: Tiles with a larger share of invalid pixels are left out.
            shape: Height and width that every tile is brought to; its own if None.
        """
        self.scenes = scenes
        self.tiles = tiles
        self.indexes = indexes
        self.max_nodata = max_nodata
        self.shape = shape
        self._failed: dict[int, str] = {}
        dtypes = np.array([scene.dtype for scene in scenes.scene_files])
        kinds = np.unique(dtypes, return_inverse=True)[1][tiles[:, 0]]
        same = np.column_stack([kinds, tiles[:, 3:]]) if shape is None else kinds[:, None]
        breaks = np.flatnonzero((same[1:] != same[:-1]).any(axis=1)) + 1
        edges = [0, *breaks.tolist(), len(tiles)]
        self.spans = [
            (start, min(start + batch_size, end))
            for begin, end in zip(edges[:-1], edges[1:], strict=True)
            for start in range(begin, end, batch_size)
        ]

    def __len__(self) -> int:
        """Count the batches."""
        return len(self.spans)

    def __getitem__(self, index: int) -> TileBatch:
        """Read one batch; a scene that cannot be read is named, not raised."""
        start, end = self.spans[index]
        images: list[npt.NDArray[np.generic]] = []
        kept: list[Tile] = []
        failed = self._failed
        num_nodata = 0
        planned = set(self.tiles[start:end, 0].tolist())
        for row in self.tiles[start:end].tolist():
            tile = Tile(*row)
            if tile.scene in failed:
                continue
            try:
                image = self._image(tile)
            except GeoHashRSError as error:
                failed[tile.scene] = one_line(error)
                continue
            if image is None:
                num_nodata += 1
            else:
                images.append(image)
                kept.append(tile)
        return TileBatch(
            images=stack_images(images),
            tiles=np.array(kept, dtype=np.int64).reshape(-1, 5),
            num_read=end - start,
            num_nodata=num_nodata,
            failures=[(n, r) for n, r in failed.items() if n in planned],
        )

    def _image(self, tile: Tile) -> npt.NDArray[np.generic] | None:
        scene = self.scenes.scene_files[tile.scene]
        pixels = self.scenes.read(tile, indexes=self.indexes[tile.scene], shape=self.shape)
        share = 0.0 if pixels.invalid is None else float(pixels.invalid.mean())
        if share > self.max_nodata or share == 1.0:
            return None
        nodata = scene.nodata if self.scenes.nodata is None else self.scenes.nodata
        return north_up(fill_invalid(pixels, nodata), scene.transform)


def read_ahead(reader: TileReader, *, workers: int = 0) -> Iterator[TileBatch]:
    """Read batches in order while the caller works on earlier ones.

    Args:
        reader: The batches.
        workers: Processes that read; with 0 a thread of this process does, which costs no copy.

    Yields:
        One batch after the other.
    """
    if workers > 0:
        yield from DataLoader(reader, batch_size=None, num_workers=workers)
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-tiles") as pool:
        waiting: deque[Future[TileBatch]] = deque()
        try:
            for index in range(len(reader)):
                waiting.append(pool.submit(reader.__getitem__, index))
                if len(waiting) > BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
