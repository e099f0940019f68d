"""A process that reads batches of tiles, with its own pipe."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
import warnings
from collections import deque
from multiprocessing import util
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

import rasterio
import torch

from geohash_rs.errors import ReadingError
from geohash_rs.scenes.reader import TileBatch, TileReader
from geohash_rs.scenes.vector_reader import VectorReader

__all__ = ["ReadingProcess"]

END_SECONDS = 10.0  # to wait for a killed process to end


class ReadingProcess:
    """A process that reads batches in the order of the requests.

    Processes share no lock or queue, so one that dies leaves nothing locked and no partial message
    for others: its own pipe closes, which `receive` reports.

    Attributes:
        connection: Our end of the pipe; ready when a batch can be received or the process died.
        asked: Batches that were requested and not yet received.
    """

    def __init__(self, reader: TileReader | VectorReader, *, cache: int) -> None:
        """Start the process.

        Args:
            reader: The batches.
            cache: Bytes of decoded blocks that the process keeps.

        Raises:
            ReadingError: If the system cannot start another process.
        """
        self.asked: deque[int] = deque()
        # Processes pass shared memory through sockets in this folder. If it is ours, it is removed
        # when we end, however the children end.
        util.get_temp_dir()
        self.connection, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(
            target=_serve, args=(theirs, reader, cache), name="read-tiles", daemon=True
        )
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of locks that another thread held; `_serve` waits for none.
                warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded")
                self._process.start()
        except OSError as error:
            self.connection.close()
            msg = f"a reading process cannot be started ({error}); use fewer workers."
            raise ReadingError(msg) from error
        finally:
            theirs.close()  # so that the pipe closes when the process ends

    def ask(self, index: int) -> None:
        """Request a batch; `receive` reports if the process has died."""
        self.asked.append(index)
        with contextlib.suppress(OSError):
            self.connection.send(index)

    def receive(self) -> tuple[int, TileBatch] | None:
        """Receive a batch if one is ready.

        Returns:
            Index of the batch and the batch, or None if none is ready.

        Raises:
            ChildProcessError: If the process died.
            EOFError: If the process closed the pipe but does not end.
            OSError: If a batch cannot be received, for example with too many open files here.
            Exception: Any error raised by reading.
        """
        batch = None
        alive = self._process.is_alive()
        try:
            if self.connection.poll():
                batch = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(END_SECONDS)  # the pipe closes a moment before its process ends
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
        """Kill the process, even if it is stopped or ignores signals; it has nothing to finish."""
        self._process.kill()
        self._process.join(END_SECONDS)
        self.connection.close()


def _how(exitcode: int | None) -> str:
    """Describe how a process ended."""
    if exitcode is None:
        return "was lost"
    names = {one.value: one.name for one in signal.Signals}
    return f"by {names.get(-exitcode, exitcode)}" if exitcode < 0 else f"with exit code {exitcode}"


def _serve(connection: Connection, reader: TileReader | VectorReader, cache: int) -> None:
    """Serve requests until the parent ends, however it ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted and ends this process
    # A handler inherited from the parent, such as Ray's, would only delay the end.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A forked process lacks the OpenMP threads of its parent, and would wait for them when it
    # copies a large batch into shared memory.
    torch.set_num_threads(1)
    # By default GDAL caches blocks in a twentieth of the machine's memory, in each process.
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


def _answer(reader: TileReader | VectorReader, index: int) -> memoryview:
    """Read a batch and pickle it, or pickle the error."""
    try:
        return ForkingPickler.dumps(reader[index])
    except Exception as error:
        error.add_note(f"In a reading process:\n{traceback.format_exc()}")
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # some errors of libraries cannot be pickled
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return ForkingPickler.dumps(error)
