"""Kill -9 at random times: acknowledged changes survive, half-written ones are never seen.

GEOHASH_RS_CRASH_ROUNDS sets the rounds; `python -m tests.store.test_crash 100` runs many.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from geohash_rs.store.code_store import CodeStore
from tests.store.helpers import make_vectors

ROOT = Path(__file__).resolve().parents[2]


def run_and_kill(folder: Path, seed: int, delay: float) -> list[str]:
    """Start a writer, kill it some time after its first line, and return its output."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.store.crash_writer", str(folder), str(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        first = writer.stdout.readline()
        time.sleep(delay)
    finally:
        writer.kill()
    rest = writer.stdout.read()
    writer.wait()
    writer.stdout.close()
    assert first.startswith("begin"), f"the writer failed before it was killed: {first}{rest}"
    return (first + rest).splitlines()


def crash_rounds(folder: Path, rounds: int) -> Counter:
    """Kill writers, and check after each that the archive matches the acknowledged changes."""
    CodeStore.create(folder, num_bits=64, keep_vectors="float16").close()
    expected: dict[str, int] = {}
    counts: Counter = Counter()
    rng = np.random.default_rng(rounds)
    for seed in range(rounds):
        open_step = None
        for line in run_and_kill(folder, seed, float(rng.uniform(0.0, 0.6))):
            step, action, name, other = line.split()
            if step == "begin":
                open_step = (action, name, other)
                continue
            open_step = None
            counts["acknowledged"] += 1
            apply(expected, action, name, other)
        counts["killed in " + (open_step[0] if open_step else "between")] += 1
        with CodeStore.open(folder) as archive:
            report = archive.verify()
            assert report.ok, report.damage
            found = tiles_by_scene(archive)
            after = dict(expected)
            if open_step:
                apply(after, *open_step)
            assert found in (expected, after), "neither the state before nor the one after"
            counts["unacknowledged but whole"] += found != expected
            expected = found
            records = {record.scene: record.num_tiles for record in archive.scenes()}
            assert records == expected
            counts["rounds with orphans"] += bool(report.orphans)
            archive.compact()
            assert not archive.verify().orphans
    return counts


def apply(state: dict[str, int], action: str, name: str, other: str) -> None:
    """Apply the writer's changes to the expected contents."""
    if action == "set":
        state[name] = int(other)
    elif action == "rename":
        state[other] = state.pop(name)
    elif action == "remove":
        state.pop(name, None)


def tiles_by_scene(archive: CodeStore) -> dict[str, int]:
    """Count tiles by scene, and check that codes, vectors and rows match."""
    found: dict[str, int] = {}
    for frame in archive.iter_tiles():
        for scene, rows in frame.groupby("scene"):
            found[scene] = found.get(scene, 0) + len(rows)
    for frame in archive.iter_tiles():
        codes = archive.codes(frame["tile_id"])
        assert (codes[:, 0] == frame["scene"].map(found) % 251).all()
        places = frame["row"] // 64 * 20 + frame["col"] // 64
        made = {count: make_vectors(archive, count).astype(np.float16) for count in found.values()}
        expected = [made[found[scene]][n] for scene, n in zip(frame["scene"], places, strict=True)]
        assert (archive.vectors(frame["tile_id"]) == np.array(expected)).all()
    searched = archive.search(np.zeros((1, 8), np.uint8), k=10**6).ids
    assert searched.size == len(archive) == sum(found.values())
    return found


def test_a_killed_writer_loses_nothing_acknowledged(tmp_path):
    rounds = int(os.environ.get("GEOHASH_RS_CRASH_ROUNDS", "4"))
    counts = crash_rounds(tmp_path / "a", rounds)
    assert sum(n for name, n in counts.items() if name.startswith("killed")) == rounds
    assert counts["acknowledged"] > 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(dict(crash_rounds(Path(scratch) / "a", int(sys.argv[1]))))  # noqa: T201
