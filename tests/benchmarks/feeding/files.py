"""What a tile costs in a folder of 20,000 files against one of 20."""

import os
import time
from pathlib import Path

import numpy as np

from geohash_rs import Scenes, TileGrid
from geohash_rs.scenes.reader import TileReader
from tests.benchmarks.feeding.scenes import write_scenes

TILE = 64
FILES = 20  # of the small folder, and of a batch
BATCHES = 5  # of a turn


def linked(folder: Path, count: int) -> Path:
    """Fill a folder with files, all of which are links to a few."""
    sources = write_scenes(folder / "sources", "tiled deflate", count=FILES, side=128)
    place = folder / f"files-{count}"
    place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = place / f"scene_{number:05d}.tif"
        if not path.exists():
            os.link(sources[number % FILES], path)
    return place


class Walk:
    """A folder whose tiles are read bit by bit, round and round."""

    def __init__(self, place: Path) -> None:
        """Read the headers, and note what a file costs there."""
        start = time.process_time()
        self.scenes = Scenes(place)
        self.tiles = TileGrid(self.scenes, tile_size=TILE).tiles
        self.header = (time.process_time() - start) / len(self.scenes.scene_files)
        self._batch = 0
        self._start()

    def _start(self) -> None:
        fresh = Scenes.__new__(Scenes)
        fresh.__setstate__(self.scenes.__getstate__())  # no file is open
        indexes = [scene.color_bands for scene in fresh.scene_files]
        self._reader = TileReader(fresh, self.tiles, indexes=indexes, batch_size=FILES * 4)
        self._batch = 0

    def read(self, batches: int) -> float:
        """Return CPU-seconds per tile of the next batches, without the start of a round."""
        spent, count = 0.0, 0
        for _ in range(batches):
            if self._batch == len(self._reader):
                self._start()
            start = time.process_time()
            count += len(self._reader[self._batch].tiles)
            spent += time.process_time() - start
            self._batch += 1
        return spent / count


def measure(folder: Path, *, many: int = 20_000, rounds: int = 3) -> dict[str, object]:
    """Read both folders in turns of a few files, until the large one was read a few times."""
    few, lots = Walk(linked(folder, FILES)), Walk(linked(folder, many))
    turns = rounds * many // (FILES * BATCHES)
    times = np.array([(few.read(BATCHES), lots.read(BATCHES)) for _ in range(turns + 1)])[1:]
    walks = {FILES: few, many: lots}
    return {
        "tiles": rounds * len(lots.tiles),
        **{
            f"ms a tile, {count} files": round(1e3 * float(np.median(times[:, i])), 4)
            for i, count in enumerate(walks)
        },
        "ratio": round(float(np.median(times[:, 1] / times[:, 0])), 3),
        **{f"ms a header, {k} files": round(1e3 * w.header, 3) for k, w in walks.items()},
    }
