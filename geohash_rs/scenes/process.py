"""A process that reads batches of tiles, with a pipe of its own."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from multiprocessing import util
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

import rasterio
import torch

from geohash_rs.errors import ReadingError
from geohash_rs.scenes.reader import TileBatch, TileReader

__all__ = ["ReadingProcess"]

END_SECONDS = 10.0  # for a process that was killed to be gone


class ReadingProcess:
    """A process that reads batches in the order in which they are asked for.

    No lock and no queue is shared with another process, so one that dies leaves nothing locked and
    no half message in the way of others: its own pipe ends, which `receive` reports.

    Attributes:
        connection: Our end of the pipe; ready when a batch can be received or the process died.
        asked: Batches that were asked for and not yet received.
    """

    def __init__(self, reader: TileReader, *, cache: int) -> None:
        """Start the process.

        Args:
            reader: The batches.
            cache: Bytes of decoded blocks that the process keeps.

        Raises:
            ReadingError: If the system starts no more processes.
        """
        self.asked: deque[int] = deque()
        # Processes pass shared memory through sockets in this folder. If it is ours, it goes when
        # we end, however they do.
        util.get_temp_dir()
        self.connection, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(
            target=_serve, args=(theirs, reader, cache), name="read-tiles", daemon=True
        )
        try:
            self._process.start()
        except OSError as error:
            self.connection.close()
            msg = f"a reading process cannot be started ({error}); use fewer workers."
            raise ReadingError(msg) from error
        finally:
            theirs.close()  # so that the pipe ends when the process does

    def ask(self, index: int) -> None:
        """Ask for a batch; a process that died reports it in `receive`."""
        self.asked.append(index)
        with contextlib.suppress(OSError):
            self.connection.send(index)

    def receive(self) -> tuple[int, TileBatch] | None:
        """Receive a batch if one is there.

        Returns:
            Index of the batch and the batch, or None if none is there yet.

        Raises:
            ChildProcessError: If the process died.
            EOFError: If it closed the pipe and yet does not end.
            OSError: If a batch cannot be taken in, as where this process has too many open files.
            Exception: That reading raised.
        """
        batch = None
        alive = self._process.is_alive()
        try:
            if self.connection.poll():
                batch = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(END_SECONDS)  # the pipe ends a moment before its process
            if self._process.is_alive():
                raise
            alive = False
        if batch is None:
            if alive:
                return None
            self.end()
            raise ChildProcessError(_how(self._process.exitcode))
        index = self.asked.popleft()
        if isinstance(batch, Exception):
            raise batch
        return index, batch

    def end(self) -> None:
        """Kill the process, which has nothing to finish; a stopped or deaf one ends too."""
        self._process.kill()
        self._process.join(END_SECONDS)
        self.connection.close()


def _how(exitcode: int | None) -> str:
    """Return in words how a process ended."""
    if exitcode is None:
        return "was lost"
    names = {one.value: one.name for one in signal.Signals}
    return f"by {names.get(-exitcode, exitcode)}" if exitcode < 0 else f"with exit code {exitcode}"


def _serve(connection: Connection, reader: TileReader, cache: int) -> None:
    """Read what is asked for until the parent ends, however that ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends this
    # A handler inherited from the parent, such as Ray's, would only delay the end.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A forked process has none of the threads that OpenMP believes in, and would wait for them
    # when a large batch is copied into shared memory.
    torch.set_num_threads(1)
    # GDAL would keep blocks in a twentieth of the machine's memory, in every process.
    with rasterio.Env(GDAL_CACHEMAX=cache):
        try:
            while True:
                connection.send_bytes(_answer(reader, connection.recv()))
        except (EOFError, ConnectionError):  # the parent closed the pipe
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _answer(reader: TileReader, index: int) -> memoryview:
    """Read a batch and pickle it, or the error that this raised."""
    try:
        return ForkingPickler.dumps(reader[index])
    except Exception as error:
        error.add_note(f"In a reading process:\n{traceback.format_exc()}")
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # some errors of libraries cannot travel
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return ForkingPickler.dumps(error)
