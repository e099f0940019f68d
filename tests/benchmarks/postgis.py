"""Measure publishing into PostGIS and asking it; print JSON.

    python -m tests.benchmarks.postgis "$(.ci/postgres start /tmp/pg)" --tiles 1000000

Makes a schema `benchmark` in the database, and drops it at the end.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psycopg

from geohash_rs.engines.postgis import PostGISArchive, publish
from geohash_rs.store.code_store import CodeStore
from tests.benchmarks.search import box_of, build, make_codes, make_scene


def seconds(work: Callable[[], object], rounds: int = 1) -> float:
    """Time a call; the median of several."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(archive: CodeStore, dsn: str, added: int) -> dict[str, object]:
    """Publish, ask, add one scene, publish again."""
    tiles = len(archive)
    first = seconds(lambda: publish(archive, dsn, schema="benchmark"))
    again = seconds(lambda: publish(archive, dsn, schema="benchmark"))
    queries = make_codes(np.random.default_rng(99), 5, archive.num_bits or 0)
    box = box_of(archive, 0.01)
    asked = {
        "unfiltered": {},
        "region 1 %": {"region": box},
        "radius 3": {"k": None, "max_distance": 3},
    }
    with PostGISArchive.open(dsn, schema="benchmark") as published:
        times = {
            name: seconds(lambda options=options: published.search(queries[:1], **options), 15)
            for name, options in asked.items()
        }
        same = all(
            (a.ids == b.ids).all() and (a.distances == b.distances).all()
            for a, b in (
                (published.search(queries, **options), archive.search(queries, **options))
                for options in asked.values()
            )
        )
        size = published._session.ask(
            published._tables.sql("SELECT pg_total_relation_size(%(name)s::regclass)"),
            {"name": "benchmark.geohash_tiles"},
        )[0][0]
    frame = make_scene(77, added)
    archive.add_codes(make_codes(np.random.default_rng(5), added, archive.num_bits or 0), frame)
    one_scene = seconds(lambda: publish(archive, dsn, schema="benchmark"))
    return {
        "tiles": tiles,
        "publish, s": first,
        "publish, tiles/s": tiles / first,
        "publish again unchanged, s": again,
        f"publish again after a scene of {added:,} tiles, s": one_scene,
        "tiles/s of that scene": added / one_scene,
        "milliseconds": {name: value * 1e3 for name, value in times.items()},
        "unfiltered / region 1 %": times["unfiltered"] / times["region 1 %"],
        "equal to the folder": same,
        "bytes a tile": size / tiles,
    }


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dsn")
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--added", type=int, default=10_000, help="tiles of the scene added later")
    args = parser.parse_args()
    with psycopg.connect(args.dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS postgis")
        connection.execute("DROP SCHEMA IF EXISTS benchmark CASCADE")
        connection.execute("CREATE SCHEMA benchmark")
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "archive"
                build(path, args.tiles, args.bits)
                archive = CodeStore.open(path)
                result = measure(archive, args.dsn, args.added)
        finally:
            connection.execute("DROP SCHEMA benchmark CASCADE")
    json.dump(result, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
