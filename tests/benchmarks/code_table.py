"""Measure how long it takes and how much memory to read an archive as a table; print Markdown.

    python -m tests.benchmarks.code_table [--tiles 1000000] [--postgis]

An archive of random codes of 64 bits is made in a temporary folder. Each way to read it runs in a
process of its own, on Linux. Its peak memory is given above that before its first row, without the
mapped files of the archive, which the system drops when it needs room. Whole tables in memory are
left out beyond two million tiles. With --postgis, the archive is published to the server of
GEOHASH_RS_TEST_POSTGRES and read from there, too.
"""

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import shapely

from geohash_rs.store.code_store import CodeStore

AT_ONCE = 500_000
WIDE = 4000  # tiles in a row
MOST_IN_MEMORY = 2_000_000
CODES = ["tile_id", "code"]


def make(folder: Path, count: int) -> None:
    """Make an archive of tiles side by side, a hundred in a scene."""
    rng = np.random.default_rng(0)
    archive = CodeStore.create(folder, num_bits=64)
    for first in range(0, count, AT_ONCE):
        tile = np.arange(first, min(first + AT_ONCE, count))
        row, col = np.divmod(tile, WIDE)
        x, y = col * 0.01 - 20, 60 - row * 0.01
        frame = gpd.GeoDataFrame(
            {
                "scene": [f"/data/scenes/S2_{number:06}.tif" for number in tile // 100],
                "col": col % 100 * 64,
                "row": row % 100 * 64,
                "width": 64,
                "height": 64,
                "datetime": "2023-06-01",
                "label": rng.choice(["farm", "sea", "town"], len(tile)),
            },
            geometry=shapely.box(x, y - 0.01, x + 0.01, y),
            crs="EPSG:4326",
        )
        archive.add_codes(rng.integers(0, 256, (len(tile), 8), dtype=np.uint8), frame)


def stream(archive: Any, columns: list[str] | None = None, **filters: object) -> int:
    return sum(batch.num_rows for batch in archive.to_table(columns, **filters).reader())


def labels(archive: Any) -> int:
    tiles = archive.to_table(["label"])
    counts = duckdb.sql("SELECT count(*) FROM tiles GROUP BY label").fetchall()
    assert tiles is not None  # DuckDB finds it by its name
    return sum(count for (count,) in counts)


def neighbours(archive: Any) -> int:
    tiles, query = archive.to_table(CODES), archive.codes([7]).tobytes()
    found = duckdb.execute(
        "SELECT tile_id FROM tiles ORDER BY bit_count(xor(code::BIT, ?::BLOB::BIT)), tile_id "
        "LIMIT 20",
        [query],
    ).fetchall()
    assert [tile for (tile,) in found] == archive.search(archive.codes([7])).ids[0].tolist()
    assert tiles is not None
    return len(archive)


def parquet(archive: Any) -> int:
    table = archive.to_table()
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        with pq.ParquetWriter(file.name, table.schema, compression="zstd") as writer:
            for batch in table.reader():
                writer.write_batch(batch)
        return int(pq.read_metadata(file.name).num_rows)


WAYS: dict[str, Callable[[Any], int]] = {
    "all columns, batch by batch": stream,
    "ids and codes, batch by batch": lambda archive: stream(archive, CODES),
    "a box of one degree": lambda archive: stream(archive, region=(-10.0, 57.6, -9.0, 58.6)),
    "written to Parquet": parquet,
    "labels counted in DuckDB": labels,
    "twenty nearest in DuckDB": neighbours,
    "`to_geopandas`": lambda archive: len(archive.to_table().to_geopandas()),
    "`to_xarray` of ids and codes": lambda archive: (
        archive.to_table(CODES).to_xarray().sizes["tile"]
    ),
}


def open_archive(place: str) -> Any:
    if "://" not in place:
        return CodeStore.open(place, mode="r")
    from geohash_rs.engines.postgis import PostGISArchive

    return PostGISArchive.open(place, table="code_table")


def own_memory() -> float:
    """Return the memory of this process without mapped files, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def run(way: str, place: str, answers: Any) -> None:
    archive = open_archive(place)
    done, memory = threading.Event(), [own_memory()]

    def look() -> None:
        while not done.wait(0.01):
            memory.append(own_memory())

    looking = threading.Thread(target=look)
    looking.start()
    start = time.perf_counter()
    count = WAYS[way](archive)
    seconds = time.perf_counter() - start
    done.set()
    looking.join()
    answers.put((count, seconds, max(memory) - memory[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--postgis", action="store_true")
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "archive")
        make(folder, args.tiles)
        places = {"folder": str(folder)}
        if args.postgis:
            from geohash_rs.engines.postgis import publish

            places["PostGIS"] = os.environ["GEOHASH_RS_TEST_POSTGRES"]
            with CodeStore.open(folder) as made:
                publish(made, places["PostGIS"], table="code_table")
        print("| archive | read as | tiles | s | MB |\n|---|---|---|---|---|")
        for kind, place in places.items():
            for way in WAYS:
                if way.startswith("`to_") and args.tiles > MOST_IN_MEMORY:
                    continue
                answers = context.Queue()
                process = context.Process(target=run, args=(way, place, answers))
                process.start()
                count, seconds, memory = answers.get()
                process.join()
                print(f"| {kind} | {way} | {count:,} | {seconds:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
