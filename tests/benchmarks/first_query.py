"""Measure the first search of a process over archives of several sizes; print JSON.

    python -m tests.benchmarks.first_query --tiles 1000 1000000 4000000 --folder /tmp/first-query

Each archive is searched once in fresh processes: as `search` chooses, with NumPy, and with the
compiled loops, whose cache on disk is empty (cold) or not (warm). The time starts after the import.
With `--demo`, the whole of ``geohash-rs demo`` is timed too, from the shell, with an empty cache.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from geohash_rs.store.code_store import CodeStore
from tests.benchmarks.search import make_codes
from tests.store.helpers import make_grid

SEARCH = """
import sys, time
import numpy as np
from geohash_rs.store.search import compiled
from geohash_rs.store.code_store import CodeStore
folder, most = sys.argv[1:]
if most != "as chosen":
    compiled.Spent.most = float(most)
archive = CodeStore.open(folder, mode="r")
query = archive.codes(np.array([0]))
start = time.perf_counter()
archive.search(query, k=20)
first = time.perf_counter() - start
print(first, "numba" in sys.modules)
"""
SCANNERS = {"as chosen": "as chosen", "NumPy": "inf", "compiled, cold": "-1", "warm": "-1"}


def build(folder: Path, tiles: int, num_bits: int) -> None:
    """Write an archive of a million tiles a scene, unless it is there."""
    if folder.exists():
        return
    archive = CodeStore.create(folder, num_bits=num_bits)
    for number in range(-(-tiles // 1_000_000)):
        count = min(1_000_000, tiles - number * 1_000_000)
        codes = make_codes(np.random.default_rng(number), count, num_bits)
        frame = make_grid(20, scene=f"scene {number}")
        archive.add_codes(codes, frame.iloc[np.arange(count) % 20].reset_index(drop=True))


def first_search(folder: Path, most: str, cache: str) -> tuple[float, bool]:
    """Search once in a fresh process; return the seconds, and whether Numba was imported."""
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(folder), most],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, loaded = done.stdout.split()
    return float(seconds), loaded == "True"


def measure(folder: Path, rounds: int) -> dict[str, object]:
    """Take the median of the first searches, the methods in turn."""
    times: dict[str, list[float]] = {name: [] for name in SCANNERS}
    first_search(folder, "inf", "")  # codes into the page cache
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cold:
            for name, most in SCANNERS.items():
                seconds, loaded = first_search(folder, most, cold)
                times[name].append(seconds)
                if name == "as chosen":
                    compiled = loaded
                    if loaded:  # leave an empty cache for the next
                        for file in Path(cold).rglob("*.nb?"):
                            file.unlink()
    medians: dict[str, object] = {name: statistics.median(t) for name, t in times.items()}
    return medians | {"chosen": "compiled" if compiled else "NumPy"}


def demo(rounds: int) -> dict[str, float]:
    """Time the demo from the shell, with an empty cache of kernels."""
    times = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "geohash_rs", "demo", f"{folder}/demo"],
                env={**os.environ, "NUMBA_CACHE_DIR": f"{folder}/kernels"},
                capture_output=True,
                check=True,
            )
            times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times), "fastest": min(times)}


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, nargs="*", default=[1000, 1_000_000, 4_000_000])
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/geohash_rs-first-query"))
    parser.add_argument("--demo", action="store_true", help="time the demo as well")
    args = parser.parse_args()
    result: dict[str, object] = {"bits": args.bits, "load": os.getloadavg(), "seconds": {}}
    for tiles in args.tiles:
        folder = args.folder / f"{tiles}x{args.bits}"
        build(folder, tiles, args.bits)
        result["seconds"][f"{tiles:,} tiles"] = measure(folder, args.rounds)
    if args.demo:
        result["demo"] = demo(args.rounds)
    json.dump(result, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
