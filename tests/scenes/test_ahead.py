"""Processes that read ahead: if they die, stop or fail, the run never waits for ever."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection

import numpy as np
import pytest
import rasterio

from geohash_rs import Scenes, TileGrid
from geohash_rs.errors import ReadingError
from geohash_rs.scenes.ahead import read_ahead
from geohash_rs.scenes.process import ReadingProcess
from geohash_rs.scenes.reader import TileReader
from tests.ground import mosaic
from tests.ground import write as write_ground
from tests.scenes.killing import INHERITED, Chatty, run
from tests.scenes.test_scenes import write

# Python 3.12 warns of forks in a process with threads:
# https://github.com/python/cpython/pull/100229
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture
def reader(tmp_path):
    """Make a reader of 16 batches of one tile."""
    write(tmp_path / "scene.tif", height=128, width=128)
    return of(tmp_path, TileReader)


def of(folder, kind):
    scenes = Scenes(folder)
    tiles = TileGrid(scenes, tile_size=32).tiles
    return kind(scenes, tiles, indexes=[(1, 2, 3)], batch_size=1)


@FORKS
@pytest.mark.skipif(sys.platform != "linux", reason="the list of children is read from /proc")
@pytest.mark.parametrize("inherited", INHERITED)
def test_a_run_ends_with_every_tile_whenever_its_processes_are_killed(tmp_path, inherited):
    write_ground(tmp_path / "scene.tif", mosaic(5, 5, 1))
    assert run(tmp_path, inherited, 1_000_000, kills=4, seed=0, seconds=400) == (4, "ended")


@FORKS
def test_a_process_killed_in_the_middle_of_a_message_is_replaced(tmp_path):
    write(tmp_path / "scene.tif", height=128, width=128)
    reader = of(tmp_path, Chatty)
    reader.message = 10_000_000  # more than the pipe holds
    batches = read_ahead(reader, workers=1)
    seen = next(batches).tiles.tolist()
    time.sleep(0.5)  # the next message has begun, but is not read
    (process,) = multiprocessing.active_children()
    process.kill()
    for batch in batches:
        seen += batch.tiles.tolist()
    assert seen == reader.tiles.tolist()


@FORKS
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="the system stops no processes")
def test_a_stopped_process_ends_with_the_run(reader):
    batches = read_ahead(reader, workers=2)
    next(batches)
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGSTOP)
    batches.close()
    assert not multiprocessing.active_children()


@FORKS
def test_a_death_is_noticed_even_if_another_process_holds_the_pipe(reader, monkeypatch):
    pipe, held = multiprocessing.Pipe, []

    def shared():
        ours, theirs = pipe()
        held.append(Connection(os.dup(theirs.fileno())))
        return ours, theirs

    monkeypatch.setattr(multiprocessing, "Pipe", shared)
    process = ReadingProcess(reader, cache=1_000_000)
    (child,) = multiprocessing.active_children()
    child.kill()
    child.join()
    with pytest.raises(ChildProcessError, match="by SIGKILL"):
        process.receive()
    held[0].close()


class Failing(TileReader):
    """A reader that raises an error of its own."""

    error = ValueError("such a tile is not known")

    def __getitem__(self, index):
        raise self.error


class UnportableError(Exception):
    """An error that cannot be rebuilt from its text."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


@FORKS
@pytest.mark.parametrize("workers", [0, 1])
def test_errors_while_reading_reach_the_caller(tmp_path, reader, workers):
    with pytest.raises(ValueError, match="such a tile is not known") as caught:
        next(read_ahead(of(tmp_path, Failing), workers=workers))
    if workers:
        assert "__getitem__" in caught.value.__notes__[0]
    assert not multiprocessing.active_children()


@FORKS
def test_an_error_that_cannot_be_pickled_arrives_as_text(tmp_path, reader):
    failing = of(tmp_path, Failing)
    failing.error = UnportableError("one", "two")
    with pytest.raises(RuntimeError, match="UnportableError: one and two"):
        next(read_ahead(failing, workers=1))


def test_a_process_that_cannot_be_started_is_reported(reader, monkeypatch):
    def full(_process):
        raise OSError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(multiprocessing.Process, "start", full)
    with pytest.raises(ReadingError, match="cannot be started .*no more processes.*fewer workers"):
        next(read_ahead(reader, workers=2))


BESIDE_BUSY_THREADS = """
import sys
import torch
from geohash_rs import Scenes, TileGrid
from geohash_rs.scenes.ahead import read_ahead
from geohash_rs.scenes.reader import TileReader

torch.set_num_threads(2)
torch.rand(3000, 3000).exp()  # now OpenMP has a thread that no forked process has
scenes = Scenes(sys.argv[1])
tiles = TileGrid(scenes, tile_size=64, stride=4).tiles
reader = TileReader(scenes, tiles, indexes=[(1, 2, 3)], batch_size=64)
print(sum(int(batch.images.long().sum()) for batch in read_ahead(reader, workers=2)))
"""


@FORKS
def test_reading_processes_send_large_batches_after_pytorch_was_used(tmp_path):
    path = write(tmp_path / "scene.tif", height=160, width=160)
    done = subprocess.run(
        [sys.executable, "-c", BESIDE_BUSY_THREADS, str(path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    with rasterio.open(path) as source:
        pixels = source.read().astype(np.int64)
    starts = range(0, 160 - 64 + 1, 4)
    expected = sum(pixels[:, r : r + 64, c : c + 64].sum() for r in starts for c in starts)
    assert int(done.stdout) == expected
