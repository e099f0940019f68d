"""Memory of ``index`` over a long run: two reading processes, a growing archive, many tiles to do.

The run ends after some time, since all tiles that are planned would take hours; what is planned
must take no memory.
"""

import contextlib
import multiprocessing
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geohash_rs import Archive, Scenes
from tests.benchmarks.feeding.files import linked
from tests.benchmarks.feeding.network import make_tiles

SAMPLE_SECONDS = 0.5
TILE = 64
SIDE = 128  # of a scene, px


class _EnoughError(Exception):
    """The time is over."""


def proportional_mb(process: int) -> float:
    """Return a process's share of memory, so that shared memory counts once in a sum."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:  # it has just ended
        return 0.0
    return int(text.split("\nPss:")[1].split()[0]) / 1024


def measure(
    folder: Path, *, files: int = 20_000, workers: int = 2, seconds: int = 180
) -> dict[str, object]:
    """Index with a hasher whose network is small, a tile at every pixel, so that there are many."""
    from geohash_rs.hashing.fit.training_free import fit_hasher

    torch.set_num_threads(2)
    hasher = fit_hasher(
        [torch.from_numpy(make_tiles(64, 4, seed)) for seed in range(4)], input_size=32
    )
    place = linked(folder, files)
    path = folder / "memory-archive"
    shutil.rmtree(path, ignore_errors=True)
    samples: list[tuple[float, float, int]] = []
    ended = threading.Event()
    here = multiprocessing.current_process().pid or 0

    def sample(archive: Archive) -> None:
        while not ended.wait(SAMPLE_SECONDS):
            children = [child.pid or 0 for child in multiprocessing.active_children()]
            total = sum(proportional_mb(process) for process in (here, *children))
            samples.append((time.perf_counter(), total, archive.num_tiles))

    archive = Archive.create(path, hasher=hasher)
    watcher = threading.Thread(target=sample, args=(archive,))
    scenes = Scenes(place)
    watcher.start()
    start = time.perf_counter()
    add_codes = archive.add_codes

    def add_and_look(*arguments: Any, **options: Any) -> object:
        ids = add_codes(*arguments, **options)
        if time.perf_counter() - start > seconds:
            raise _EnoughError
        return ids

    archive.add_codes = add_and_look  # type: ignore[method-assign, assignment]
    with contextlib.suppress(_EnoughError):
        archive.add(scenes, tile_size=TILE, stride=1, workers=workers, batch_size=64)
    spent = time.perf_counter() - start
    ended.set()
    watcher.join()
    done = archive.num_tiles
    shutil.rmtree(path, ignore_errors=True)
    values = np.array([value for _, value, _ in samples])
    quarters = [float(part.max()) for part in np.array_split(values, 4)]
    return {
        "tiles planned": files * (SIDE - TILE + 1) ** 2,
        "tiles done": done,
        "files": files,
        "workers": workers,
        "seconds": round(spent, 1),
        "largest MB in each quarter of the run": [round(q) for q in quarters],
        "largest MB": round(float(values.max())),
        "commits seen": len({tiles for _, _, tiles in samples}),
    }
