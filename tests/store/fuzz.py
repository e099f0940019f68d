"""Change the files of an archive at random and use it: only the package's own errors may come out.

    python -m tests.store.fuzz [--examples 100] [--seed 0] [--minutes 60]

Hypothesis draws which file is changed and how: single bytes, or what a forger would write (other
numbers in the manifest, other arrays in the index, other columns in the table), with sizes and
checksums that fit. Every round runs in a process of its own, which may take 1 GB more than it
started with and 10 s of a processor per example. With --minutes, rounds follow each other with new
seeds, and what is found is printed.
"""

# ruff: noqa: T201 - a program

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from geohash_rs.errors import GeoHashRSError
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.summary import summarise
from tests.store.forger import change
from tests.store.helpers import make_grid, make_vectors

ROOT = Path(__file__).resolve().parents[2]
MOST_MEMORY = 1 << 30  # bytes above what the process had when it began
MOST_SECONDS = 10  # of a processor for an example
MOST_WAIT = 120  # s for an example on a busy machine
ROUND = 100  # examples


def make_base(folder: Path, hasher: bytes) -> None:
    """Make an archive with every kind of file, and segments of every kind."""
    made = HasherFile(data=hasher, fingerprint=json_fingerprint(hasher), num_bits=16)
    with CodeStore.create(folder, hasher=made, keep_vectors="int8") as store:
        for number in range(3):
            count = 60 + number
            tiles = make_grid(count, scene=f"{number}.tif", west=10.0 + number)
            tiles["label"] = [f"kind {n % 3}" if n % 4 else None for n in range(count)]
            tiles["tile_size"] = [64 if n % 2 else 32 for n in range(count)]
            tiles["source"] = [f"{n}.tif" if n % 3 else None for n in range(count)]
            tiles["datetime"] = [f"2023-06-{n % 28 + 1:02}" for n in range(count)]
            tiles["datetime_end"] = [f"2023-07-{n % 28 + 1:02}" for n in range(count)]
            record = SceneRecord(
                scene=f"{number}.tif", num_tiles=count, width=9, height=9, crs="EPSG:32633"
            )
            codes = np.arange(count * 2).astype(np.uint8).reshape(count, 2)
            vectors = make_vectors(store, count)
            store.add_codes(codes, tiles, vectors=vectors, scenes=[record])
            if number == 1:
                store.remove_tiles([3, 64])
                store.compact()  # a segment whose ids are not consecutive
        store.remove_tiles([5, 130])
        store.update_attrs({"a": {"b": [1, 2.5, None]}})


def json_fingerprint(hasher: bytes) -> str:
    """Return the fingerprint that a hasher's file states."""
    length = int.from_bytes(hasher[:8], "little")
    header = json.loads(hasher[8 : 8 + length])
    return str(json.loads(header["__metadata__"]["geohash_rs"])["fingerprint"])


def use(folder: Path, *, hasher: bool = True) -> None:
    """Use an archive in every way; the package's own errors are right answers.

    Args:
        folder: The archive.
        hasher: Whether to load its network too, which takes longest.
    """
    from geohash_rs.archive import Archive

    box, shape = (10, 40, 12, 50), shapely.Point(11, 48).buffer(1)
    query = np.zeros((1, 2), np.uint8)
    wheres: list[dict[str, Any]] = [
        {},
        {"region": box},
        {"region": shape},
        {"labels": ["kind 1"], "scenes": ["1.tif"], "time": ("2023-06-03", "2023-06-20")},
        {"exclude_region": box, "time": ("2023-06-03", None)},
        {"tile_size": 32},
    ]

    def attempt(call: Any) -> None:
        with contextlib.suppress(GeoHashRSError):
            call()

    def search(store: CodeStore, where: dict[str, Any]) -> None:
        for limits in ({"k": 50}, {"max_distance": 64}):
            store.tiles(np.unique(store.search(query, **limits, **where).ids)[:300])

    try:
        store = Archive.open(folder)
    except GeoHashRSError:
        return
    with store:
        for where in wheres:
            attempt(lambda where=where: search(store, where))
            attempt(lambda where=where: store.to_table(**where).to_geopandas())
        attempt(lambda: [list(store.iter_tiles()), store.scenes(), len(store)])
        attempt(lambda: store.codes([0, 5, 70]))
        attempt(lambda: store.vectors([0, 6, 70]))
        attempt(lambda: summarise(store))
        attempt(store.verify)
        if hasher:
            attempt(store.hasher)
        attempt(lambda: store.remove_tiles([7, 8]))
        attempt(lambda: store.add_codes(query, make_grid(1), vectors=make_vectors(store, 1)))
        attempt(store.compact)


def memory() -> int:
    """Return the largest resident memory so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_round(base: Path, number: int, examples: int) -> None:
    """Try examples in this process; print what is wrong and end with an error."""
    warnings.simplefilter("ignore")
    note = base.parent / "example"
    scratch = Path(tempfile.mkdtemp(dir=base.parent))
    use(base_copy(base, scratch))  # loads and compiles everything
    before = memory()

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        folder = base_copy(base, scratch)
        what = change(data.draw, folder)
        note.write_text(f"seed {number}: {what}")
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)  # ends the process
        signal.alarm(MOST_WAIT)
        try:
            use(folder, hasher=what not in ("arrays", "records", "table"))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
        assert memory() - before < MOST_MEMORY, f"{what}: {(memory() - before) >> 20} MB"

    try:
        one()
    except BaseException as error:  # noqa: BLE001 - whatever it is is what is looked for
        print(f"seed {number}, last: {note.read_text()}")
        for one_error in getattr(error, "exceptions", [error]):
            print(described(one_error))
        sys.exit(1)


def described(error: BaseException) -> str:
    """Return an error with the frames that are ours, and what Hypothesis drew."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "hypothesis" not in frame.filename]
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith("Draw")]
    return "\n".join([repr(error)[:300], *traceback.format_list(ours[-4:]), *notes])


def base_copy(base: Path, scratch: Path) -> Path:
    folder = scratch / "a"
    shutil.rmtree(folder, ignore_errors=True)
    return shutil.copytree(base, folder)


def hasher_bytes() -> bytes:
    """Return a small hasher."""
    import torch

    from geohash_rs import fit_hasher
    from tests.ground import KINDS, TILE, ground

    tiles = torch.from_numpy(np.stack([ground(i % KINDS, TILE, i) for i in range(32)]))
    return fit_hasher([tiles], num_bits=16, input_size=32).to_bytes()


def start_round(base: Path, number: int, examples: int) -> str:
    """Run a round in a process of its own; return what it found."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.store.fuzz",
            "--round",
            str(base),
            str(number),
            str(examples),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    note = base.parent / "example"
    last = note.read_text() if note.exists() else "before the first example"
    how = f"signal {-done.returncode}, {last}" if done.returncode < 0 else ""
    return f"{how}\n{done.stdout}\n{done.stderr[-3000:]}".strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=ROUND)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--round", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.round:
        run_round(Path(chosen.round[0]), int(chosen.round[1]), int(chosen.round[2]))
        return
    end = time.monotonic() + 60 * chosen.minutes
    findings = rounds = 0
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        make_base(base, hasher_bytes())
        while rounds == 0 or time.monotonic() < end:
            found = start_round(base, chosen.seed + rounds, chosen.examples)
            rounds += 1
            if found:
                findings += 1
                print(f"== finding {findings}\n{found}", flush=True)
            print(f"{rounds * chosen.examples:,} examples, {findings} findings", flush=True)
    print(f"{rounds * chosen.examples:,} examples, {findings} findings")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
