"""Measure search on a Ray cluster of one and of two one-core nodes; print JSON.

    python -m tests.benchmarks.ray_search --tiles 100000000 --folder /tmp/bench

The archive is ten copies of that of tests/benchmarks/search.py with a tenth of the tiles, under ids
of their own, so that every distance is there ten times and ties decide. Every answer is compared
with the embedded archive's. At the end a node is killed in the middle of a search.
"""

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # stay on the loopback address
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - spelt so by Ray

import numpy as np
import ray
from ray.cluster_utils import Cluster

from geohash_rs.engines.ray import RayArchive
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.locks import create_locks
from geohash_rs.store.disk.manifest_file import commit_manifest, read_manifest
from tests.benchmarks.search import box_of, build, make_codes

NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False}
NODE |= {"object_store_memory": 100_000_000}
TURNS = 3


def replicate(source: Path, target: Path, copies: int) -> None:
    """Make an archive of copies of another one's segments, each under ids of its own."""
    manifest = read_manifest(source)
    entries = []
    for copy in range(copies):
        for entry in manifest.segments:
            name = f"{copy:04d}{entry.name}"
            folder = target / "segments" / name
            folder.mkdir(parents=True)
            for file in entry.files:
                old = source / "segments" / entry.name / file.name
                if file.name.endswith(".parquet"):
                    (folder / file.name).hardlink_to(old)
                else:
                    shutil.copyfile(old, folder / file.name)
            first = copy * manifest.next_id
            moved = {"first_id": entry.first_id + first, "last_id": entry.last_id + first}
            entries.append(dataclasses.replace(entry, name=name, **moved))
    create_locks(target)
    state = {"segments": tuple(entries), "next_id": copies * manifest.next_id}
    commit_manifest(target, dataclasses.replace(manifest, scene_logs=(), **state))


def same(mine: Any, theirs: Any) -> bool:
    return np.array_equal(mine.ids, theirs.ids) and np.array_equal(mine.distances, theirs.distances)


def timed(archive: Any, rounds: int, *args: Any, **kw: Any) -> list[float]:
    """Ask again and again; seconds of each time but the first."""
    archive.search(*args, **kw)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        archive.search(*args, **kw)
        times.append(time.perf_counter() - start)
    return times


def speeds(folder: Path, embedded: Any, queries: Any, rounds: int) -> dict[str, float]:
    """Time two nodes, one node and no node in turns, as a shared machine is not always as busy."""
    times: dict[str, list[float]] = {}
    for _ in range(TURNS):
        for name, nodes in (("two", 2), ("one", 1)):
            while ray.available_resources().get("CPU", 0) < 2:
                time.sleep(0.1)
            with RayArchive.open(folder, num_actors=nodes) as archive:
                times.setdefault(name, []).extend(timed(archive, rounds, queries, k=20))
                single = timed(archive, rounds * 4, queries[:1], k=20)
                times.setdefault(f"{name}, 1 query", []).extend(single)
        alone = timed(embedded, rounds, queries, k=20, num_threads=1)
        times.setdefault("embedded, one thread", []).extend(alone)
    return {name: statistics.median(values) for name, values in times.items()}


def faults(cluster: Any, archive: Any, node: Any, expected: Any, queries: Any) -> dict[str, Any]:
    """Search again and again while a node dies."""
    killer = threading.Timer(0.1, cluster.remove_node, [node])
    killer.start()
    answers, wrong, longest = 0, 0, 0.0
    while killer.is_alive() or answers < 5:
        start = time.perf_counter()
        wrong += not same(archive.search(queries, k=20), expected)
        longest = max(longest, time.perf_counter() - start)
        answers += 1
    killer.join()
    return {"searches while a node died": answers, "wrong": wrong, "longest, s": longest}


def main() -> None:
    """Build, start, compare, measure, kill, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=100_000_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/geohash_rs-bench"))
    args = parser.parse_args()
    source = args.folder / f"{args.tiles // 10}x{args.bits}"
    folder = args.folder / f"10x{args.tiles // 10}x{args.bits}"
    if not source.exists():
        build(source, args.tiles // 10, args.bits)
    if not folder.exists():
        replicate(source, folder, 10)
    queries = make_codes(np.random.default_rng(99), 100, args.bits)
    embedded = CodeStore.open(folder, mode="r")
    box = box_of(embedded, 0.01)
    cases: dict[str, dict[str, Any]] = {
        "100 queries": {"k": 20},
        "region 1 %": {"k": 20, "region": box},
        "time": {"k": 20, "time": ("2017-03-01", "2017-04-06")},
        "k 1000": {"k": 1000},
    }
    expected = {name: embedded.search(queries, **case) for name, case in cases.items()}
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    second = cluster.add_node(**NODE)
    ray.init(address=cluster.address, log_to_driver=False)
    result: dict[str, Any] = {"tiles": len(embedded), "segments": len(embedded.segments)}
    with RayArchive.open(folder, num_actors=2) as two:
        result["equal to embedded"] = {
            name: same(two.search(queries, **case), expected[name]) for name, case in cases.items()
        }
    times = speeds(folder, embedded, queries, args.rounds)
    result["seconds"] = times
    result["one / two"] = times["one"] / times["two"]
    while ray.available_resources().get("CPU", 0) < 2:
        time.sleep(0.1)
    with RayArchive.open(folder, num_actors=2) as two:
        two.search(queries, k=20)
        result["faults"] = faults(cluster, two, second, expected["100 queries"], queries)
    ray.shutdown()
    cluster.shutdown()
    json.dump(result, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
