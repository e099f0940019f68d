"""Measure a search by bit weights next to one exact query, and a sample; print JSON.

    python -m tests.benchmarks.scoring --tiles 10000000 --bits 64 --folder /tmp/bench

The archive is that of tests/benchmarks/search.py. All methods run in one process, in turn, warm,
with as many threads as there are processors unless named otherwise. Weights are drawn in three
ways: all alike, uniform, and heavy-tailed, where few bits decide. Answers must equal NumPy's.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.search import compiled
from geohash_rs.store.search.nearest import Limits, SearchResult
from geohash_rs.store.search.weights import MOST_COST, BitWeights
from geohash_rs.store.search.where import Where
from tests.benchmarks.search import box_of, build, interleave, machine, make_codes


def draw_weights(code: np.ndarray) -> dict[str, BitWeights]:
    """Draw weights of several shapes, each with nearly the largest sum."""
    rng = np.random.default_rng(1)
    num_bits = 8 * len(code)
    shapes = {
        "alike": np.ones(num_bits),
        "uniform": rng.random(num_bits),
        "heavy-tailed": rng.exponential(size=num_bits) ** 2,
    }
    return {
        name: BitWeights(code=code, weights=(shape / shape.sum() * MOST_COST).astype(np.uint16))
        for name, shape in shapes.items()
    }


def agree(archive: CodeStore, weights: BitWeights, found: SearchResult) -> bool:
    """Return whether NumPy finds the same tiles at the same costs."""
    ids = np.arange(archive.manifest.next_id)
    costs = weights.costs(archive.codes(ids))
    kept = np.lexsort((ids, costs))[: found.ids.shape[1]]
    same = np.array_equal(found.ids[0], ids[kept])
    return same and np.array_equal(found.distances[0], costs[kept])


def measure(folder: Path, num_bits: int, rounds: int) -> dict[str, object]:
    """Time every method."""
    compiled.Spent.most = -1  # no search is small enough for NumPy
    archive = CodeStore.open(folder, mode="r")
    query = make_codes(np.random.default_rng(99), 1, num_bits)
    every = draw_weights(query[0])
    box = box_of(archive, 0.01)
    checked = {
        name: agree(archive, weights, archive.find(weights, limits=Limits(k=1000), where=Where()))
        for name, weights in every.items()
    }

    def run(name: str, where: Where | None = None, **limits: int | None) -> Callable[[], object]:
        return lambda: archive.find(every[name], limits=Limits(**limits), where=where or Where())

    some = "heavy-tailed"
    methods = {
        "exact query": lambda: archive.search(query, k=20),
        "exact query, one thread": lambda: archive.search(query, k=20, num_threads=1),
        **{f"weights {name}": run(name, k=20) for name in every},
        **{f"weights {name}, one thread": run(name, k=20, num_threads=1) for name in every},
        "weights, region 1 %": run(some, Where.parse(region=box), k=20),
        "weights, k=1000": run(some, k=1000),
        "weights, k=4096": run(some, k=4096),
    }
    slow = {
        "weights, k=100000": run(some, k=100_000),
        "weights, all tiles": run(some, k=None, max_distance=MOST_COST),
        "exact query, all tiles": lambda: archive.search(query, k=None, max_distance=num_bits),
        "sample of 16384": lambda: archive.sample(16_384),
    }
    times = interleave(methods, rounds) | interleave(slow, max(3, rounds // 5))
    slowest = max(times[f"weights {name}"] for name in every)
    return {
        "milliseconds": times,
        "weights / exact query": slowest / times["exact query"],
        "equal to NumPy": checked,
    }


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=10_000_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/geohash_rs-bench"))
    args = parser.parse_args()
    folder = args.folder / f"{args.tiles}x{args.bits}"
    build(folder, args.tiles, args.bits)
    result = {"tiles": args.tiles, "bits": args.bits, "machine": machine()}
    json.dump(result | measure(folder, args.bits, args.rounds), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
