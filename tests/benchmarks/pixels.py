"""Measure how fast a raster of vectors is indexed, against rasterio alone; print Markdown.

    python -m tests.benchmarks.pixels [--side 4096] [--rounds 5] [--tile-size 16] [--bits 64]

One invented AlphaEarth raster of 64 bands is written in the published layout: int8, bands apart,
blocks of 1,024 px, ZSTD. "rasterio" reads every block once and does nothing with it; "vectors"
makes the mean of every tile; "index" also hashes, places and commits the tiles, with a given
hasher; "index and fit" fits the hasher too. They take turns; the times are of the clock, and of all
processors together, which a busy machine changes less.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from geohash_rs import Archive, Scenes
from geohash_rs.hashing import PixelEmbedding
from geohash_rs.scenes.ahead import CACHE_BYTES, read_ahead
from geohash_rs.scenes.grids import TileGrids
from geohash_rs.scenes.vector_reader import VectorReader
from tests.pixels import ALPHAEARTH_BANDS, BOTTOM_UP, UTM, encoded, unit_field

BLOCK = 1024  # px


def write(path: Path, side: int) -> None:
    """Write the raster, block by block."""
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 64,
        "dtype": "int8",
        "crs": UTM,
        "transform": BOTTOM_UP,
        "nodata": -128,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "band",
        "compress": "zstd",
    }
    with rasterio.open(path, "w", **profile) as raster:
        for index, name in enumerate(ALPHAEARTH_BANDS, 1):
            raster.set_band_description(index, name)
        for number, window in enumerate(blocks(side)):
            pixels = encoded(unit_field(64, max(window.height, window.width), seed=number))
            raster.write(pixels[:, : window.height, : window.width], window=window)


def blocks(side: int) -> Iterator[Window]:
    for row in range(0, side, BLOCK):
        for col in range(0, side, BLOCK):
            yield Window(col, row, min(BLOCK, side - col), min(BLOCK, side - row))


def read_alone(path: Path, side: int) -> None:
    """Read every block with rasterio, each into the same memory."""
    out = np.empty((64, min(BLOCK, side), min(BLOCK, side)), np.int8)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), rasterio.open(path) as raster:
        for window in blocks(side):
            raster.read(window=window, out=out[:, : window.height, : window.width])


def make_vectors(path: Path, tile_size: int) -> None:
    embedding = PixelEmbedding.of("alphaearth")
    scenes = Scenes(path)
    tiles = TileGrids.for_hasher(None, tile_size=tile_size).tiles(scenes.scene_files[0], 0)
    indexes = [tuple(range(1, 65))]
    reader = VectorReader(scenes, tiles, indexes=indexes, pool=embedding.pool)
    made = sum(len(batch.tiles) for batch in read_ahead(reader))
    if made != len(tiles):
        msg = f"{made} of {len(tiles)} tiles have vectors"
        raise RuntimeError(msg)


@contextlib.contextmanager
def clock(times: list[tuple[float, float]]) -> Iterator[None]:
    start, used = time.perf_counter(), time.process_time()
    yield
    times.append((time.perf_counter() - start, time.process_time() - used))


def measure(folder: Path, *, side: int, rounds: int, tile_size: int, bits: int) -> None:
    """Print a row for each way."""
    path = folder / "aef.tif"
    write(path, side)
    number = iter(range(10**6))

    def index(hasher: object) -> Archive:
        archive = Archive.create(folder / str(next(number)), hasher=hasher)
        archive.add(Scenes(path), tile_size=tile_size)
        return archive

    pending = f"general-{bits}"
    hasher = index(pending).hasher()  # compiles the loops, too
    ways: dict[str, Callable[[], object]] = {
        "rasterio": lambda: read_alone(path, side),
        "vectors": lambda: make_vectors(path, tile_size),
        "index": lambda: index(hasher),
        "index and fit": lambda: index(pending),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            with clock(times[name]):
                work()
    middle = {
        name: [statistics.median(part) for part in zip(*t, strict=True)]
        for name, t in times.items()
    }
    gigabytes, alone = side * side * 64 / 1e9, middle["rasterio"]
    print(
        f"{side} x {side} px of 64 int8, tiles of {tile_size} px, {pending}, median of {rounds}\n"
    )
    print("| | s | GB/s | speed, rasterio = 1 | processor, s |\n|---|---|---|---|---|")
    for name, (seconds, used) in middle.items():
        speed = alone[0] / seconds
        print(f"| {name} | {seconds:.2f} | {gigabytes / seconds:.2f} | {speed:.2f} | {used:.2f} |")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--side", type=int, default=4096, help="px")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tile-size", type=int, default=16, help="px")
    parser.add_argument("--bits", type=int, default=64)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        measure(
            Path(folder),
            side=chosen.side,
            rounds=chosen.rounds,
            tile_size=chosen.tile_size,
            bits=chosen.bits,
        )


if __name__ == "__main__":
    main()
