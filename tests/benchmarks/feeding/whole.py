"""The whole of ``index``, against the bare network on tensors in memory.

The network is the one that ``index`` runs, at its fastest: the same session, on the same threads,
on tiles that are prepared already.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from geohash_rs import Archive, Scenes
from tests.benchmarks.feeding.network import TILE, default_hasher, make_tiles
from tests.benchmarks.feeding.scenes import write_scenes


def measure(
    folder: Path, *, side: int = 2048, count: int = 1, rounds: int = 5, workers: int = 0
) -> dict[str, object]:
    """Index scenes, and run the network on as many prepared tiles, in turns, on two threads.

    Half of the network's turn comes before that of ``index`` and half after it, so that a machine
    that becomes faster or slower does so for both.
    """
    torch.set_num_threads(2)
    scenes = folder / f"index-{side}x{count}"
    write_scenes(scenes, "tiled deflate", count=count, side=side)
    hasher = default_hasher().accelerate()
    num_tiles = count * (side // TILE) ** 2
    raw = torch.from_numpy(make_tiles(64, 4, 9))
    images = hasher.extractor.prepare(raw).contiguous()
    network = hasher.extractor.runtime
    if network is None:
        raise SystemExit("ONNX Runtime cannot trace the network here")
    path = folder / "index-archive"

    def half_of_network() -> None:
        with torch.inference_mode():
            for _ in range(num_tiles // 128):
                network(images)

    def codes() -> None:
        for _ in range(num_tiles // 64):
            hasher.codes(raw)

    def index() -> None:
        shutil.rmtree(path, ignore_errors=True)
        report = Archive.create(path, hasher=hasher).add(
            Scenes(scenes), tile_size=TILE, workers=workers
        )
        if report.num_tiles != num_tiles:
            raise SystemExit(f"index took {report.num_tiles} of {num_tiles} tiles")

    turns = []
    for _ in range(rounds + 1):  # the first warms up
        steps = [_seconds(run) for run in (half_of_network, codes, index, half_of_network)]
        turns.append((steps[0] + steps[3], steps[1], steps[2]))
    shutil.rmtree(path, ignore_errors=True)
    times = np.array(turns[1:])
    milliseconds = 1e3 * np.median(times, axis=0) / num_tiles
    names = ("network", "with preparation", "index")
    return {
        "tiles": num_tiles,
        "workers": workers,
        **{f"{n}, ms a tile": round(float(v), 3) for n, v in zip(names, milliseconds, strict=True)},
        "index / network": round(float(np.median(times[:, 2] / times[:, 0])), 3),
        "index, tiles/s": round(1e3 / float(milliseconds[2]), 1),
    }


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
