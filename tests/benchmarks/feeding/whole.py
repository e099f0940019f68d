"""The whole of ``index``, against the bare network on tensors in memory."""

import shutil
import time
from pathlib import Path

import numpy as np
import torch

from geohash_rs import Archive, Scenes
from tests.benchmarks.feeding.network import TILE, default_hasher, make_tiles
from tests.benchmarks.feeding.scenes import write_scenes


def measure(
    folder: Path, *, side: int = 2048, count: int = 2, rounds: int = 3, workers: int = 0
) -> dict[str, object]:
    """Index scenes, and run the network on as many prepared tiles, in turns, on two threads."""
    torch.set_num_threads(2)
    scenes = folder / f"index-{side}x{count}"
    write_scenes(scenes, "tiled deflate", count=count, side=side)
    hasher = default_hasher().accelerate()
    num_tiles = count * (side // TILE) ** 2
    raw = torch.from_numpy(make_tiles(64, 4, 9))
    images = hasher._prepare(raw)
    spent: dict[str, list[float]] = {"network": [], "with preparation": [], "index": []}
    for turn in range(rounds + 1):
        batches = num_tiles // 64 if turn else 4
        start = time.perf_counter()
        with torch.inference_mode():
            for _ in range(batches):
                hasher._forward(images, head=True)
        network = (time.perf_counter() - start) / (batches * 64)
        start = time.perf_counter()
        for _ in range(batches):
            hasher.codes(raw)
        prepared = (time.perf_counter() - start) / (batches * 64)
        path = folder / "index-archive"
        shutil.rmtree(path, ignore_errors=True)
        archive = Archive.create(path, hasher=hasher)
        start = time.perf_counter()
        report = archive.add(Scenes(scenes), tile_size=TILE, workers=workers)
        index = (time.perf_counter() - start) / report.num_tiles
        if turn:
            for name, value in zip(spent, (network, prepared, index), strict=True):
                spent[name].append(value)
    shutil.rmtree(path, ignore_errors=True)
    ratio = np.array(spent["index"]) / np.array(spent["network"])
    return {
        "tiles": num_tiles,
        "workers": workers,
        **{f"{name}, ms a tile": round(1e3 * float(np.median(v)), 3) for name, v in spent.items()},
        "index / network": round(float(np.median(ratio)), 3),
        "index, tiles/s": round(1 / float(np.median(spent["index"])), 1),
    }
