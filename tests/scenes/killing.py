"""Kill reading processes at random: ``python -m tests.scenes.killing [--trials 50] [--kills 6]``.

Each trial reads a scene with three processes and kills them with SIGKILL, the last one as the run
ends. It must yield every tile once, and end. Trials differ in what the processes inherit from the
parent (a SIGTERM handler such as Ray's, a mask that blocks SIGTERM) and in the size of the message
for a batch. A trial that does not end in time counts as hung, and its stacks are printed.
"""

import argparse
import contextlib
import faulthandler
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from geohash_rs import Scenes, TileGrid
from geohash_rs.scenes import ahead
from geohash_rs.scenes.reader import TileBatch, TileReader
from tests.ground import mosaic, write

INHERITED = ("nothing", "handler", "mask")
WORKERS = 3


class Chatty(TileReader):
    """A reader whose batches come with a message of a given size in bytes."""

    message = 0

    def __getitem__(self, index: int) -> TileBatch:
        batch = super().__getitem__(index)
        batch.failures = [(0, "x" * self.message)]
        return batch


def children() -> list[int]:
    """List the living children of this process, without reaping any."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            with contextlib.suppress(OSError):
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                found += [int(pid)] * (state != "Z")
    return found


def trial(folder: Path, inherited: str, message: int, kills: int, seed: int, told: Connection):
    """Read all tiles while processes are killed; send the number of kills and the outcome."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if inherited == "handler":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    elif inherited == "mask":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    chance = random.Random(seed)
    scenes = Scenes(folder)
    tiles = TileGrid(scenes, tile_size=32, stride=16).tiles
    reader = Chatty(scenes, tiles, indexes=[(1, 2, 3)], batch_size=4)
    reader.message = message
    ahead.MAX_DEATHS = kills
    ending, killed = threading.Event(), 0

    def fire() -> None:
        nonlocal killed
        while killed < kills:
            if killed == kills - 1:  # the last kill comes as the run ends
                ending.wait()
                time.sleep(chance.uniform(0, 0.01))
            else:
                ending.wait(chance.uniform(0, 0.3))
            if found := children():
                os.kill(chance.choice(found), signal.SIGKILL)
                killed += 1
            elif ending.is_set():
                return

    killer = threading.Thread(target=fire)
    killer.start()
    seen = []
    for number, batch in enumerate(ahead.read_ahead(reader, workers=WORKERS)):
        seen += batch.tiles.tolist()
        if number == len(reader) - 1:
            ending.set()
    killer.join()
    told.send((killed, "ended" if seen == tiles.tolist() else "wrong"))


def run(folder: Path, inherited: str, message: int, *, kills: int, seed: int, seconds: float):
    """Run a trial in a separate process.

    Returns:
        Number of kills, and "ended", "wrong" or "hung".
    """
    context = multiprocessing.get_context("fork")
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=trial, args=(folder, inherited, message, kills, seed, tell))
    process.start()
    tell.close()
    answer = (kills, "hung")
    if told.poll(seconds):
        try:
            answer = told.recv()
            process.join(seconds)
        except EOFError:
            answer = (kills, "wrong")
    if process.is_alive():
        os.kill(process.pid, signal.SIGUSR1)
        time.sleep(1)
        answer = (kills, "hung")
    process.kill()
    process.join()
    return answer


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50, help="of each kind")
    parser.add_argument("--kills", type=int, default=6, help="in a trial")
    parser.add_argument("--messages", type=int, nargs="*", default=[0, 1_000_000], help="bytes")
    parser.add_argument("--seconds", type=float, default=60, help="after which a trial has hung")
    parser.add_argument("--inherited", nargs="*", choices=INHERITED, default=INHERITED)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        write(Path(name) / "scene.tif", mosaic(5, 5, 1))
        print("inherited | message, bytes | trials | kills | ended | wrong | hung", flush=True)
        for inherited in args.inherited:
            for message in args.messages:
                ends: Counter[str] = Counter()
                count = 0
                for seed in range(args.trials):
                    options = {"kills": args.kills, "seed": seed, "seconds": args.seconds}
                    killed, end = run(Path(name), inherited, message, **options)
                    ends[end] += 1
                    count += killed
                figures = (ends["ended"], ends["wrong"], ends["hung"])
                print(inherited, message, args.trials, count, *figures, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
