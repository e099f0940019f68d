"""Measure what it costs to keep feature vectors: time, disk, and bits that change; print Markdown.

    python -m tests.benchmarks.vectors [--side 24] [--rounds 3] [--tiles 100000]

One invented scene of side x side tiles is indexed with general-64, which is fitted on it first. The
forms take turns, and times are of the processor, so that a busy machine changes little. The last
column hashes the kept vectors again. A second table reads random vectors of a larger archive, and a
third refits an archive of as many tiles: those of the scene, again and again, with noise.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import torch

from geohash_rs import Archive, Hasher, Scenes
from geohash_rs.codes import pack_codes
from geohash_rs.store.code_store import CodeStore
from tests.ground import TILE, mosaic, write

KINDS = ("none", "float16", "int8")


@contextlib.contextmanager
def clock(times: list[float]) -> Iterator[None]:
    start = time.process_time()
    yield
    times.append(time.process_time() - start)


def size_of(folder: Path, name: str = "*") -> int:
    return sum(path.stat().st_size for path in (folder / "segments").rglob(name) if path.is_file())


def changed_bits(archive: Archive, hasher: Hasher) -> float:
    """Return the share of bits that differ if the vectors are hashed again."""
    ids = np.arange(archive.num_tiles)
    with torch.inference_mode():
        again = pack_codes(hasher.head(torch.from_numpy(archive.vectors(ids))).numpy())
    return float(np.unpackbits(again ^ archive.codes(ids), axis=1).mean())


def index(folder: Path, side: int, rounds: int) -> int:
    """Index a scene in each form; print a row for each, and return the length of a vector."""
    write(folder / "s" / "0.tif", mosaic(side, side, 1))
    first = Archive.create(folder / "first", hasher="general-64")
    first.add(Scenes(folder / "s"), tile_size=TILE)
    hasher = first.hasher()
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    made: dict[str, Archive] = {}
    for number in range(rounds):
        for kind in KINDS:
            place = folder / f"{kind}-{number}"
            made[kind] = Archive.create(place, hasher=hasher, keep_vectors=kind)
            scenes = Scenes(folder / "s")
            with clock(times[kind]):
                made[kind].add(scenes, tile_size=TILE)
    length = hasher.backbone.num_features
    print(f"{side * side} tiles, vectors of {length} numbers, {rounds} rounds\n")
    print("| kept | index, s | bytes per tile | of them vectors | bits changed if hashed again |")
    print("|---|---|---|---|---|")
    for kind in KINDS:
        count = made[kind].num_tiles
        all_bytes, kept = (size_of(made[kind].path, name) / count for name in ("*", "vectors.bin"))
        changed = "" if kind == "none" else f"{changed_bits(made[kind], hasher):.2%}"
        middle = statistics.median(times[kind])
        print(f"| {kind} | {middle:.2f} | {all_bytes:,.0f} | {kept:,.0f} | {changed} |")
    return length


def read(folder: Path, count: int, length: int) -> None:
    """Add and read random vectors in each form; print a row for each."""
    rng = np.random.default_rng(0)
    print(f"\n{count:,} tiles, vectors of {length} numbers\n")
    print("| kept | add, s | read all, s | read 1,000 anywhere, s | compact, s |")
    print("|---|---|---|---|---|")
    for kind in KINDS[1:]:
        with CodeStore.create(folder / f"read-{kind}", num_bits=64, keep_vectors=kind) as store:
            adding: list[float] = []
            step = 20_000
            for start in range(0, count, step):
                some = min(step, count - start)
                vectors = rng.standard_normal((some, length), np.float32)
                codes = rng.integers(0, 256, (some, 8), dtype=np.uint8)
                tiles = gpd.GeoDataFrame({"scene": ["a"] * some}, geometry=[None] * some, crs=4326)
                with clock(adding):
                    store.add_codes(codes, tiles, vectors=vectors)
            rest: list[float] = []
            every = np.arange(count)
            with clock(rest):
                for ids in np.array_split(every, max(1, count // 10_000)):
                    store.vectors(ids)
            few = rng.choice(every, 1000, replace=False)
            with clock(rest):
                store.vectors(few)
            with clock(rest):
                store.compact()
            print(f"| {kind} | {sum(adding):.1f} | {rest[0]:.1f} | {rest[1]:.2f} | {rest[2]:.1f} |")


def refit(folder: Path, count: int) -> None:
    """Refit a larger archive from its vectors; print a row for each form."""
    print(f"\nrefit of {count:,} tiles to general-64 and to itq-64\n")
    print("| kept | general-64, s | itq-64, s |")
    print("|---|---|---|")
    rng = np.random.default_rng(0)
    for kind in KINDS[1:]:
        seconds = []
        for name in ("general-64", "itq-64"):
            archive = Archive.create(folder / f"{name}-{kind}", hasher=name, keep_vectors=kind)
            archive.add(Scenes(folder / "s"), tile_size=TILE)
            ids = np.arange(archive.num_tiles)
            tiles, codes = archive.tiles(ids).drop(columns="tile_id"), archive.codes(ids)
            vectors = archive.vectors(ids)
            spread = 0.1 * vectors.std()
            while archive.num_tiles < count:
                some = ids[: count - archive.num_tiles]
                noise = spread * rng.standard_normal((len(some), vectors.shape[1]), np.float32)
                archive.add_codes(codes[some], tiles.iloc[some], vectors=vectors[some] + noise)
            start = time.perf_counter()
            report = archive.refit()
            seconds.append(time.perf_counter() - start)
            if report.num_hashed != count:
                msg = f"{report.num_hashed} of {count} tiles were hashed."
                raise RuntimeError(msg)
        print(f"| {kind} | {seconds[0]:.0f} | {seconds[1]:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiles", type=int, default=100_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        length = index(Path(scratch), chosen.side, chosen.rounds)
        read(Path(scratch), chosen.tiles, length)
        refit(Path(scratch), chosen.tiles)


if __name__ == "__main__":
    main()
