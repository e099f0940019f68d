"""Measure what a tile costs at each stage, and estimate 1e9 and 1e10 tiles; print Markdown.

    python -m tests.benchmarks.scaling --folder /tmp/bench --tiles 10000000

The archive is that of tests/benchmarks/search.py, created if it does not exist. Two checks of the
estimate follow: an archive ten times as large, if the folder holds one, and manifests with the
segments of 1e9 and 1e10 tiles, which are really written, read, distributed and filtered.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from geohash_rs.engines.ray.search import share_out
from geohash_rs.hashing.shipped import load_hasher
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.durable import FileEntry
from geohash_rs.store.disk.locks import ReaderPin, create_locks
from geohash_rs.store.disk.manifest import Manifest, SegmentEntry
from geohash_rs.store.disk.manifest_file import commit_manifest, read_manifest
from geohash_rs.store.disk.records import SceneRecord, read_scene_logs, write_scene_log
from geohash_rs.store.search.filters import parse_region
from geohash_rs.store.search.selection import select
from geohash_rs.store.search.where import Where
from geohash_rs.store.segment.layout import MAX_ROWS
from geohash_rs.store.snapshot import Snapshot
from tests.benchmarks.search import box_of, build, disk, make_codes

TARGETS = (10**9, 10**10)
TILES_OF_A_SCENE = 29_584  # a Sentinel-2 scene of 10,980 px in 172 x 172 tiles of 64 px


def seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """Time a call: the median of several, after one that does not count."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def hashing() -> float:
    """Time the network: seconds a tile, one thread."""
    torch.set_num_threads(1)
    hasher = load_hasher("ucmerced-64").accelerate()
    tiles = torch.randint(0, 255, (64, len(hasher.bands), 64, 64), dtype=torch.uint8)
    return seconds(lambda: hasher.codes(tiles)) / 64


def scanning(archive: CodeStore) -> dict[str, float]:
    """Time searches on one thread: seconds a tile and query, seconds a filtered query."""
    queries = make_codes(np.random.default_rng(1), 100, archive.num_bits or 0)
    box = box_of(archive, 0.01)
    count = len(archive)
    ask = archive.search
    return {
        "one": seconds(lambda: ask(queries[:1], k=20, num_threads=1)) / count,
        "hundred": seconds(lambda: ask(queries, k=20, num_threads=1), 3) / count / 100,
        "region": seconds(lambda: ask(queries[:1], k=20, region=box, num_threads=1)) / count,
    }


def manifest_of(tiles: int) -> Manifest:
    """Make the manifest of an archive of so many tiles: full segments in a grid of degrees."""
    number = -(-tiles // MAX_ROWS)
    side = int(np.ceil(number**0.5))
    names = ("codes.bin", "index.safetensors", "tiles.parquet")
    files = tuple(FileEntry(name=name, size=10**8, crc32=4 * 10**9) for name in names)
    entries = []
    for place in range(number):
        row, col = divmod(place, side)
        west, south = -180 + 360 * col / side, -60 + 120 * row / side
        entries.append(
            SegmentEntry(
                name=f"{place:08d}",
                num_tiles=MAX_ROWS,
                num_removed=0,
                first_id=place * MAX_ROWS,
                last_id=(place + 1) * MAX_ROWS - 1,
                sequential=True,
                bounds=(west, south, west + 360 / side, south + 120 / side),
                times=(10**15, 2 * 10**15),
                files=files,
            )
        )
    return Manifest(num_bits=64, next_id=number * MAX_ROWS, segments=tuple(entries))


def simulate(tiles: int) -> dict[str, float]:
    """Write, read, share out and filter the manifest of an archive of so many tiles."""
    manifest = manifest_of(tiles)
    region = parse_region((1.0, 1.0, 1.1, 1.1))
    late = parse_region((-60.0, -89.0, -59.0, -88.0))  # where no segment is: no file is opened
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_locks(folder)
        commit = seconds(lambda: commit_manifest(folder, manifest), 3)
        size = (folder / "manifest.json").stat().st_size
        read = seconds(lambda: read_manifest(folder), 3)
        snapshot = Snapshot.of(folder, manifest, pin=ReaderPin(folder))
        meets = [
            entry
            for entry in manifest.segments
            if entry.bounds is not None
            and entry.bounds[0] <= region.bounds[2]
            and entry.bounds[2] >= region.bounds[0]
            and entry.bounds[1] <= region.bounds[3]
            and entry.bounds[3] >= region.bounds[1]
        ]
        drop = seconds(
            lambda: [select(segment, Where(region=late)) for segment in snapshot.segments], 3
        )
    shares = seconds(lambda: share_out(manifest, 64), 3)
    loads = [sum(entry.num_tiles for entry in share.segments) for share in share_out(manifest, 64)]
    return {
        "segments": len(manifest.segments),
        "manifest, MB": size / 1e6,
        "commit, s": commit,
        "open, s": read,
        "share out over 64 cores, s": shares,
        "largest share / mean": max(loads) / (sum(loads) / len(loads)),
        "drop all segments by box, s": drop,
        "segments that a box of 0.1 degrees meets": len(meets),
        f"read the records of scenes of {TILES_OF_A_SCENE:,} tiles, s": reading_records(
            tiles // TILES_OF_A_SCENE
        ),
    }


def reading_records(scenes: int) -> float:
    """Time the reading of scene records, as every query by patch does: seconds."""
    records = [
        SceneRecord(
            scene=f"/data/sentinel-2/2023/S2A_MSIL2A_scene_{number:09d}.tif",
            width=10980,
            height=10980,
            crs="EPSG:32633",
            transform=(10.0, 0.0, 499980.0, 0.0, -10.0, 5400000.0),
            dtype="uint16",
            count=4,
            size=800_000_000,
            mtime_ns=1_700_000_000_000_000_000 + number,
            num_tiles=TILES_OF_A_SCENE,
            settings={"tile_size": 64, "stride": 64, "edges": "shift", "bands": [4, 3, 2]},
        )
        for number in range(scenes)
    ]
    with tempfile.TemporaryDirectory() as name:
        entry = write_scene_log(Path(name) / "00000000", records)
        del records
        start = time.perf_counter()
        read_scene_logs(Path(name), [entry])
        return time.perf_counter() - start


def table(rows: list[list[str]]) -> None:
    """Print rows as Markdown; the first is the head."""
    for number, row in enumerate(rows):
        print("| " + " | ".join(row) + " |")
        if number == 0:
            print("|" + "---|" * len(row))
    print()


def large(number: float) -> str:
    """Write a number of bytes or core hours with three digits."""
    return f"{number:,.3g}" if number < 1000 else f"{number:,.0f}"


def main() -> None:
    """Measure, estimate, check, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("/tmp/geohash_rs-bench"))
    parser.add_argument("--tiles", type=int, default=10_000_000)
    args = parser.parse_args()
    folder = args.folder / f"{args.tiles}x64"
    if not folder.exists():
        build(folder, args.tiles, 64)
    with tempfile.TemporaryDirectory() as name:
        adding = 1 / build(Path(name) / "archive", 1_000_000, 64)["tiles_per_second"]
    archive = CodeStore.open(folder, mode="r")
    costs = scanning(archive)
    network = hashing()
    stored = disk(folder, args.tiles)
    table(
        [
            ["stage, one core", "cost a tile"],
            ["hash (ucmerced-64, 64 px)", f"{network * 1e3:.2f} ms"],
            ["add codes and footprints", f"{adding * 1e6:.1f} us"],
            ["store", f"{stored['all']:.1f} bytes, {stored['codes.bin']:.0f} of them codes"],
            ["scan for one query", f"{costs['one'] * 1e9:.3f} ns"],
            ["scan for a query of a hundred", f"{costs['hundred'] * 1e9:.3f} ns"],
            ["one query with a region of 1 %", f"{costs['region'] * 1e9:.4f} ns"],
        ]
    )
    rows = [["", *(f"{tiles:.0e} tiles".replace("e+", "e") for tiles in TARGETS)]]
    reckoned: dict[str, Callable[[int], str]] = {
        "storage, GB": lambda n: large(n * stored["all"] / 1e9),
        "of it codes, held in memory, GB": lambda n: large(n * 8 / 1e9),
        "hashing, core hours": lambda n: large(n * network / 3600),
        "adding, core hours": lambda n: large(n * adding / 3600),
        "one query, 1 core, s": lambda n: large(n * costs["one"]),
        "one query, 64 cores, s": lambda n: large(n * costs["one"] / 64),
        "a query of a hundred, 64 cores, s": lambda n: large(n * costs["hundred"] / 64),
        "region of 1 %, 1 core, s": lambda n: large(n * costs["region"]),
    }
    rows += [[what, *(work(tiles) for tiles in TARGETS)] for what, work in reckoned.items()]
    table(rows)
    bigger = args.folder / f"{10 * args.tiles}x64"
    if bigger.exists():
        real = scanning(CodeStore.open(bigger, mode="r"))
        count = 10 * args.tiles
        table(
            [
                [f"checked at {count:.0e} tiles".replace("e+", "e"), "reckoned", "measured"],
                *(
                    [
                        what,
                        f"{count * costs[key] * many:.3f} s",
                        f"{count * real[key] * many:.3f} s",
                    ]
                    for what, key, many in (
                        ("one query", "one", 1),
                        ("a hundred queries", "hundred", 100),
                        ("region of 1 %", "region", 1),
                    )
                ),
            ]
        )
    simulated = [simulate(tiles) for tiles in TARGETS]
    table(
        [
            ["manifest of", *(f"{tiles:.0e} tiles".replace("e+", "e") for tiles in TARGETS)],
            *([key, *(large(one[key]) for one in simulated)] for key in simulated[0]),
        ]
    )


if __name__ == "__main__":
    main()
