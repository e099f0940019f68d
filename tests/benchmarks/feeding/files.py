"""What a tile costs in a folder of 20,000 files against one of 20."""

import os
import time
from pathlib import Path

import numpy as np

from geohash_rs import Scenes, TileGrid
from geohash_rs.tile_reader import TileReader
from tests.benchmarks.feeding.scenes import write_scenes

TILE = 64
DISTINCT = 20


def linked(folder: Path, count: int) -> Path:
    """Fill a folder with files, all of which are links to a few."""
    sources = write_scenes(folder / "sources", "tiled deflate", count=DISTINCT, side=128)
    place = folder / f"files-{count}"
    place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = place / f"scene_{number:05d}.tif"
        if not path.exists():
            os.link(sources[number % DISTINCT], path)
    return place


def walk(place: Path, *, passes: int) -> tuple[float, float, int]:
    """Give the CPU-seconds a file for reading headers, a tile for reading, and how many tiles."""
    start = time.process_time()
    scenes = Scenes(place)
    tiles = TileGrid(scenes, tile_size=TILE).tiles
    headers = time.process_time() - start
    indexes = [scene.color_bands for scene in scenes.scene_files]
    spent = 0.0
    for _ in range(passes):
        fresh = Scenes.__new__(Scenes)
        fresh.__setstate__(scenes.__getstate__())  # no file is open
        start = time.process_time()
        reader = TileReader(fresh, tiles, indexes=indexes, batch_size=64)
        number = sum(len(reader[i].tiles) for i in range(len(reader)))
        spent += time.process_time() - start
    return headers / len(scenes.scene_files), spent / (passes * number), number


def measure(folder: Path, *, many: int = 20_000, rounds: int = 3) -> dict[str, object]:
    """Walk all tiles of both folders, in turns; every file is opened once a pass in both."""
    few, lots = linked(folder, DISTINCT), linked(folder, many)
    walk(few, passes=5)
    times = [(walk(few, passes=50), walk(lots, passes=1)) for _ in range(rounds)]
    ratios = [b[1] / a[1] for a, b in times]
    sizes = (DISTINCT, many)
    tile = {size: [1e3 * pair[i][1] for pair in times] for i, size in enumerate(sizes)}
    header = {size: [1e3 * pair[i][0] for pair in times] for i, size in enumerate(sizes)}
    return {
        "tiles": times[0][1][2],
        **{f"ms a tile, {k} files": round(float(np.median(v)), 4) for k, v in tile.items()},
        "ratio": round(float(np.median(ratios)), 3),
        **{f"ms a header, {k} files": round(float(np.median(v)), 3) for k, v in header.items()},
    }
