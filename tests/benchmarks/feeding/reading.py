"""Tiles a CPU-second of rasterio with open handles, of TorchGeo's own path, and of ours."""

import gc
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset

from geohash_rs import Scenes, TileGrid
from geohash_rs._compat import TORCHGEO_VERSION
from geohash_rs.scenes.reader import TileReader
from tests.benchmarks.feeding.scenes import LAYOUTS, write_scenes

TILE = 256


class Plain(RasterDataset):
    """TorchGeo's own dataset, as its documentation tells to write one."""

    filename_glob = "scene_*.tif"


def rasterio_loop(folder: Path) -> Callable[[], int]:
    """Read every window of every file through a handle that stays open."""

    def read() -> int:
        count = 0
        for path in sorted(folder.glob("*.tif")):
            with rasterio.open(path) as source:
                for row in range(0, source.height, TILE):
                    for col in range(0, source.width, TILE):
                        count += source.read(window=Window(col, row, TILE, TILE)).shape[0] > 0
        return count

    return read


def torchgeo_loop(folder: Path) -> Callable[[], int]:
    """Read the same grid through TorchGeo's dataset and sampler."""
    RasterDataset._cached_load_warp_file.cache_clear()
    dataset = Plain(folder)
    if TORCHGEO_VERSION < (0, 9):
        from torchgeo.samplers import GridGeoSampler

        sampler = GridGeoSampler(dataset, size=TILE, stride=TILE)
    else:
        from torchgeo.samplers import GriddedPatchSampler

        sampler = GriddedPatchSampler(dataset, size=TILE, stride=TILE)
    return lambda: sum(dataset[query]["image"].shape[0] > 0 for query in sampler)


def our_loop(folder: Path) -> Callable[[], int]:
    """Read the same windows as batches that a hasher takes, in this thread."""
    scenes = Scenes(folder)
    tiles = TileGrid(scenes, tile_size=TILE).tiles
    indexes = [scene.color_bands for scene in scenes.scene_files]
    reader = TileReader(scenes, tiles, indexes=indexes, batch_size=64)
    reader[0]  # an archive has many batches: all but the first find their memory there
    scenes.close(0)  # but no decoded block
    return lambda: sum(len(reader[i].tiles) for i in range(len(reader)))


# Each opens the index of the files, which is not measured, and gives the loop, which is.
METHODS: dict[str, Callable[[Path], Callable[[], int]]] = {
    "rasterio": rasterio_loop,
    "torchgeo": torchgeo_loop,
    "ours": our_loop,
}


def measure(folder: Path, *, side: int, count: int, rounds: int) -> dict[str, object]:
    """Measure every layout, methods interleaved, and give medians and ratios."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    table: dict[str, object] = {}
    for layout in LAYOUTS:
        place = folder / f"{layout.replace(' ', '-')}-{side}x{count}"
        write_scenes(place, layout, count=count, side=side)
        seconds: dict[str, list[float]] = {name: [] for name in METHODS}
        tiles = 0
        for turn in range(rounds + 1):
            for name, method in METHODS.items():
                loop = method(place)
                start = time.process_time()  # all three read in one thread, from the page cache
                number = loop()
                spent = time.process_time() - start
                # Decoded blocks of one method must not crowd out those of the next.
                del loop
                RasterDataset._cached_load_warp_file.cache_clear()
                gc.collect()
                if tiles and number != tiles:
                    raise SystemExit(f"{name} read {number} tiles, not {tiles}")
                tiles = number
                if turn:  # the first round fills the page cache
                    seconds[name].append(spent)
        rate = {name: tiles / float(np.median(s)) for name, s in seconds.items()}
        pairs = {
            "ours / rasterio": np.array(seconds["rasterio"]) / seconds["ours"],
            "ours / torchgeo": np.array(seconds["torchgeo"]) / seconds["ours"],
        }
        table[layout] = {
            "tiles": tiles,
            **{f"{name}, tiles/CPU-s": round(value, 1) for name, value in rate.items()},
            **{name: round(float(np.median(values)), 3) for name, values in pairs.items()},
        }
    return table
