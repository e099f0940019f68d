"""Measure how fast a table of vectors becomes an archive, and the memory it takes; print Markdown.

    python -m tests.benchmarks.tables [--rows 1000000] [--dimensions 768] [--bits 256]
        [--keep-vectors none]

One GeoParquet file is written in row groups of 10,000. A process of its own indexes it; its private
memory (RssAnon) is read every 20 ms. "rest" is what it takes when the package is imported. The
bytes of a tile are those after `compact`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from geohash_rs import Archive

GROUP = 10_000  # rows
INDEX = """
import sys, time
from geohash_rs import Archive
table, folder, hasher, keep = sys.argv[1:]
archive = Archive.create(folder, hasher=hasher, keep_vectors=keep)
print("ready", flush=True)
start, used = time.perf_counter(), time.process_time()
report = archive.add(table)
print(time.perf_counter() - start, time.process_time() - used, report.num_tiles)
"""


def write(path: Path, rows: int, dimensions: int) -> None:
    """Write vectors near a plane of 32 dimensions, and footprints of 0.01 degrees."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(32, dimensions)).astype(np.float32)
    kind = pa.list_(pa.float32(), dimensions)
    schema = pa.schema(
        {"embedding": kind, "geometry": pa.binary()},
        metadata={
            "geo": '{"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": '
            '{"encoding": "WKB", "geometry_types": ["Polygon"]}}}'
        },
    )
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, GROUP):
            count = min(GROUP, rows - start)
            vectors = rng.normal(size=(count, 32)).astype(np.float32) @ axes
            vectors += rng.normal(size=vectors.shape).astype(np.float32)
            west, south = rng.uniform(-179, 178, count), rng.uniform(-80, 80, count)
            footprints = shapely.to_wkb(shapely.box(west, south, west + 0.01, south + 0.01))
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dimensions)
            writer.write_table(pa.table([flat, pa.array(footprints, pa.binary())], schema=schema))


def private_bytes(process: int) -> int:
    """Return the private memory of a process, bytes; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith("RssAnon")]
    return 1024 * int(found[0]) if found else 0


def measure(folder: Path, *, rows: int, dimensions: int, bits: int, keep: str) -> None:
    """Print a row of figures."""
    table = folder / "vectors.parquet"
    write(table, rows, dimensions)
    words = [str(table), str(folder / "archive"), f"general-{bits}", keep]
    with subprocess.Popen(
        [sys.executable, "-c", INDEX, *words], stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdout is None or process.stdout.readline().strip() != "ready":
            msg = "the process that indexes did not start"
            raise RuntimeError(msg)
        rest = peak = private_bytes(process.pid)
        while process.poll() is None:
            peak = max(peak, private_bytes(process.pid))
            time.sleep(0.02)
        seconds, used, added = process.stdout.readline().split()
    if int(added) != rows:
        msg = f"{added} of {rows} rows were added"
        raise RuntimeError(msg)
    archive = Archive.open(folder / "archive")
    archive.compact()
    archive.close()
    files = [path for path in (folder / "archive").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{rows:,} x {dimensions} float32, general-{bits}, vectors kept: {keep}\n")
    print("| s | processor, s | peak, MB | rest, MB | bytes a tile |\n|---|---|---|---|---|")
    print(
        f"| {float(seconds):.1f} | {float(used):.1f} | {peak / 1e6:,.0f} | {rest / 1e6:,.0f} | "
        f"{size / rows:.1f} |"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=768)
    parser.add_argument("--bits", type=int, default=256)
    parser.add_argument("--keep-vectors", default="none", choices=["none", "float16", "int8"])
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        measure(
            Path(folder),
            rows=chosen.rows,
            dimensions=chosen.dimensions,
            bits=chosen.bits,
            keep=chosen.keep_vectors,
        )


if __name__ == "__main__":
    main()
