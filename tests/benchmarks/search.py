"""Measure the archive next to FAISS, NumPy and one pass over the codes; print JSON.

    python -m tests.benchmarks.search --tiles 10000000 --bits 64 --folder /tmp/bench

The archive is built once in the folder (grids in UTM, full-precision footprints, clustered codes, a
random day for every tile) and used again by later runs. All methods run in one process, in turn.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import geopandas as gpd
import numba
import numpy as np
import pyproj
import shapely

from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.search import compiled

SIDE = 1000  # tiles along a scene
CENTRES = 1000
METRES = 640.0


def make_codes(rng: np.random.Generator, count: int, num_bits: int) -> np.ndarray:
    """Draw codes around centres, each with a few bits flipped."""
    centres = np.random.default_rng(7).integers(0, 256, (CENTRES, num_bits // 8), dtype=np.uint8)
    codes = centres[rng.integers(0, CENTRES, count)]
    for _ in range(4):
        rows = np.flatnonzero(rng.random(count) < 0.6)
        bits = rng.integers(0, num_bits, len(rows))
        codes[rows, bits >> 3] ^= (128 >> (bits & 7)).astype(np.uint8)
    return codes


def make_scene(number: int, rows: int) -> gpd.GeoDataFrame:
    """Lay a scene's tiles out in UTM and bring their corners to longitude and latitude."""
    east, north = divmod(number, 10)
    x = 200_000 + np.arange(SIDE + 1) * METRES
    zone = 32_601 + 20 + 2 * (east % 20)
    y = 200_000 + north * SIDE * METRES + np.arange(SIDE + 1) * METRES
    to_lonlat = pyproj.Transformer.from_crs(zone, 4326, always_xy=True)
    lon, lat = to_lonlat.transform(*np.meshgrid(x, y))
    points = np.stack([lon, lat], axis=-1)
    ring = [points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1], points[:-1, :-1]]
    quads = np.stack(ring, axis=2).reshape(-1, 5, 2)[:rows]
    row, col = np.divmod(np.arange(len(quads)), SIDE)
    rng = np.random.default_rng(number)
    days = np.datetime64("2015-01-01", "D") + rng.integers(0, 3650, len(quads))
    return gpd.GeoDataFrame(
        {
            "scene": f"/data/sentinel-2/2023/S2A_MSIL2A_scene_{number:06d}.tif",
            "col": (col * 64).astype(np.int32),
            "row": (row * 64).astype(np.int32),
            "width": np.int32(64),
            "height": np.int32(64),
            "datetime": days.astype("datetime64[us]"),
        },
        geometry=shapely.polygons(quads),
        crs=4326,
    )


def build(folder: Path, tiles: int, num_bits: int) -> dict[str, float]:
    """Write the archive, or the rest of it, measuring only the time inside add_codes."""
    archive = (
        CodeStore.open(folder) if folder.exists() else CodeStore.create(folder, num_bits=num_bits)
    )
    spent, before = 0.0, len(archive)
    for number in range(before // SIDE**2, -(-tiles // SIDE**2)):
        frame = make_scene(number, min(SIDE**2, tiles - number * SIDE**2))
        codes = make_codes(np.random.default_rng(number), len(frame), num_bits)
        start = time.perf_counter()
        archive.add_codes(codes, frame)
        spent += time.perf_counter() - start
        speed = (len(archive) - before) / spent
        print(f"{len(archive):,} tiles, {speed:,.0f} tiles/s", file=sys.stderr)
    if len(archive) == before:
        return {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"tiles_per_second": speed, "peak MB of the process": peak}


@numba.njit(nogil=True)
def stream(words: np.ndarray) -> int:
    """Read every word once."""
    total = np.uint64(0)
    for i in range(len(words)):
        total ^= words[i]
    return total


def interleave(methods: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Run the methods in turn and give each one's median in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for method in methods.values():
        method()
    for _ in range(rounds):
        for name, method in methods.items():
            start = time.perf_counter()
            method()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def numpy_search(codes: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Search as one would write it in NumPy, in pieces that fit the cache."""
    words, target = codes.view(np.uint64), query.view(np.uint64)
    distances = np.empty(len(words), np.uint8)
    for start in range(0, len(words), 65_536):
        piece = words[start : start + 65_536] ^ target
        distances[start : start + 65_536] = np.bitwise_count(piece).sum(axis=1, dtype=np.uint8)
    return np.argpartition(distances, 20)[:20]


def box_of(archive: CodeStore, share: float) -> tuple[float, float, float, float]:
    """Find a box around the archive's middle that keeps about a share of its tiles."""
    bounds = np.array([entry.bounds for entry in archive.manifest.segments])
    west, south, _, _ = bounds.min(axis=0)
    _, _, east, north = bounds.max(axis=0)
    rng = np.random.default_rng(0)
    ids = np.sort(rng.choice(len(archive), 20_000, replace=False))
    middle = shapely.centroid(archive.tiles(ids).geometry.to_numpy())
    x, y = shapely.get_x(middle), shapely.get_y(middle)
    cx, cy = np.median(x), np.median(y)
    low, high = 0.0, 1.0
    for _ in range(40):
        half = (low + high) / 2
        dx, dy = half * (east - west), half * (north - south)
        kept = ((abs(x - cx) < dx) & (abs(y - cy) < dy)).mean()
        low, high = (half, high) if kept < share else (low, half)
    return (cx - dx, cy - dy, cx + dx, cy + dy)


def measure(folder: Path, num_bits: int, rounds: int) -> dict[str, object]:
    """Time every method."""
    compiled.Spent.most = -1  # no search is small enough for NumPy
    archive = CodeStore.open(folder, mode="r")
    faiss.omp_set_num_threads(1)
    ids = np.arange(archive.manifest.next_id)
    codes = archive.codes(ids)
    index = faiss.IndexBinaryFlat(num_bits)
    index.add(codes)
    rng = np.random.default_rng(99)
    queries = make_codes(rng, 100, num_bits)
    one = queries[:1]
    words = codes.view(np.uint64).reshape(-1)
    small, half = box_of(archive, 0.01), box_of(archive, 0.5)
    cx, cy = (small[0] + small[2]) / 2, (small[1] + small[3]) / 2
    angle = np.linspace(0, 2 * np.pi, 33)[:-1]
    rx, ry = (small[2] - small[0]) / np.pi**0.5, (small[3] - small[1]) / np.pi**0.5
    circle = shapely.Polygon(np.stack([cx + rx * np.cos(angle), cy + ry * np.sin(angle)], axis=1))
    month = ("2017-03-01", "2017-04-06")
    kept = {
        name: archive.search(one, k=len(archive), **kw).ids.shape[1] / len(archive)
        for name, kw in {
            "region 1 %": {"region": small},
            "polygon 1 %": {"region": circle},
            "region 50 %": {"region": half},
            "time 1 %": {"time": month},
        }.items()
    }

    def run(count: int = 1, **kw: object) -> Callable[[], object]:
        kw.setdefault("num_threads", 1)
        return lambda: archive.search(queries[:count], k=20, **kw)

    def whole() -> object:
        return archive.tiles(archive.search(one, k=20, num_threads=1).ids[0])

    def rows() -> object:
        return archive.tiles(rng.choice(len(archive), 20, replace=False))

    single = interleave(
        {
            "stream": lambda: stream(words),
            "ours": run(),
            "faiss IndexBinaryFlat": lambda: index.search(one, 20),
            "faiss knn_hamming": lambda: faiss.knn_hamming(one, codes, 20),
            "numpy": lambda: numpy_search(codes, one),
            "ours region 1 %": run(region=small),
            "ours polygon 1 %": run(region=circle),
            "ours region 50 %": run(region=half),
            "ours time 1 %": run(time=month),
            "ours k=1000": lambda: archive.search(one, k=1000, num_threads=1),
            "ours radius 3": lambda: archive.search(one, k=None, max_distance=3, num_threads=1),
            "ours with GeoDataFrame": whole,
            "20 random rows to GeoDataFrame": rows,
        },
        rounds,
    )
    batch = interleave(
        {
            "ours 100": run(100),
            "ours 100, two threads": run(100, num_threads=2),
            "faiss 100": lambda: index.search(queries, 20),
        },
        max(3, rounds // 5),
    )
    _, expected = index.search(queries, 20)
    found = archive.search(queries, k=20)
    agree = bool((index.search(queries, 20)[0] == found.distances).all())
    del expected
    return {"kept": kept, "milliseconds": single | batch, "distances equal faiss": agree}


def ratios(times: dict[str, float]) -> dict[str, float]:
    """Put the times into the ratios that the goals are set in."""
    flat = times["faiss IndexBinaryFlat"]
    return {
        "1 query / stream": times["ours"] / times["stream"],
        "faiss / ours, 1 query": flat / times["ours"],
        "faiss / ours, 100 queries": times["faiss 100"] / times["ours 100"],
        "two threads, 100 queries": times["ours 100"] / times["ours 100, two threads"],
        "faiss / region 1 %": flat / times["ours region 1 %"],
        "faiss / polygon 1 %": flat / times["ours polygon 1 %"],
        "region 50 % / faiss": times["ours region 50 %"] / flat,
        "time 1 % / ours unfiltered": times["ours time 1 %"] / times["ours"],
        "query to GeoDataFrame beyond the scan, ms": times["ours with GeoDataFrame"]
        - times["ours"],
    }


OPENING = """
import sys, time
from geohash_rs.store import CodeStore
start = time.perf_counter()
archive = CodeStore.open(sys.argv[1], mode="r")
opened = time.perf_counter() - start
status = open("/proc/self/status").read()
before = int(status.split("RssAnon:")[1].split()[0])
import numpy as np
base = before
archive.search(np.zeros((1, archive.num_bits // 8), np.uint8), k=20, num_threads=1)
after = int(open("/proc/self/status").read().split("RssAnon:")[1].split()[0])
print(opened * 1e3, before / 1024, after / 1024)
"""


def opening(folder: Path) -> dict[str, float]:
    """Open the archive in fresh processes; private memory includes the interpreter."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", OPENING, str(folder)], check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(5)
    ]
    opened, before, after = np.median(np.array(runs, float), axis=0)
    return {"open ms": opened, "private MB": before, "private MB after a search": after}


def disk(folder: Path, tiles: int) -> dict[str, float]:
    """Count the bytes a tile, by kind of file."""
    sizes: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.name if path.parent.parent.name == "segments" else "other"
            sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return {name: size / tiles for name, size in sizes.items()} | {
        "all": sum(sizes.values()) / tiles
    }


def machine() -> dict[str, object]:
    """Describe the machine."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line for line in info.splitlines() if line.startswith("model name")), "unknown")
    return {"cpu": model.split(":")[-1].strip(), "avx512_vpopcntdq": "avx512_vpopcntdq" in info}


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=10_000_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/geohash_rs-bench"))
    parser.add_argument("--open-only", action="store_true")
    args = parser.parse_args()
    folder = args.folder / f"{args.tiles}x{args.bits}"
    result: dict[str, object] = {"tiles": args.tiles, "bits": args.bits, "machine": machine()}
    if ingest := build(folder, args.tiles, args.bits):
        result["ingest"] = ingest
    result["disk bytes a tile"] = disk(folder, args.tiles)
    result["open"] = opening(folder)
    if not args.open_only:
        result |= measure(folder, args.bits, args.rounds)
        result["ratios"] = ratios(result["milliseconds"])
    json.dump(result, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
