"""Read batches of tiles ahead of the network that uses them."""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import wait

import rasterio

from geohash_rs.errors import ReadingError
from geohash_rs.scenes.process import ReadingProcess
from geohash_rs.scenes.reader import TileBatch, TileReader
from geohash_rs.scenes.vector_reader import VectorReader

__all__ = ["read_ahead"]

BATCHES_AHEAD = 2  # per reader
MAX_DEATHS = 3  # processes that may die before the run stops
CACHE_BYTES = 256_000_000  # decoded blocks kept by all readers together
POLL_SECONDS = 1.0  # between checks for processes that died without closing their pipe


def read_ahead(
    reader: TileReader | VectorReader, *, workers: int = 0
) -> Generator[TileBatch, None, None]:
    """Read batches in order while the caller works on earlier ones.

    A process that dies is replaced and its batches are read again.

    Args:
        reader: The batches.
        workers: Reading processes; 0 reads in threads of this process, without a copy.

    Yields:
        The batches in order.

    Raises:
        ReadingError: If processes die repeatedly, or cannot be started.
    """
    yield from _in_processes(reader, workers) if workers else _in_threads(reader)


def _in_threads(reader: TileReader | VectorReader) -> Generator[TileBatch, None, None]:
    waiting: deque[Future[TileBatch]] = deque()
    with ThreadPoolExecutor(reader.threads, thread_name_prefix="read-tiles") as threads:
        try:
            for index in range(len(reader)):
                waiting.append(threads.submit(_read, reader, index))
                if len(waiting) > BATCHES_AHEAD * reader.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _read(reader: TileReader | VectorReader, index: int) -> TileBatch:
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        return reader[index]


def _in_processes(
    reader: TileReader | VectorReader, workers: int
) -> Generator[TileBatch, None, None]:
    crew = _Crew(reader, workers)
    try:
        for index in range(len(reader)):
            yield crew.take(index)
    finally:
        crew.end()


class _Crew:
    """Processes that share the batches of a run."""

    def __init__(self, reader: TileReader | VectorReader, workers: int) -> None:
        self.reader = reader
        self.workers = workers
        self.processes: list[ReadingProcess] = []
        self.following = deque(range(len(reader)))  # batches that no process was asked for
        self.arrived: dict[int, TileBatch] = {}
        self.deaths = 0

    def take(self, index: int) -> TileBatch:
        """Wait for a batch, and keep the processes busy with the next ones."""
        self._receive()
        self._ask()
        while index not in self.arrived:
            wait([process.connection for process in self.processes], POLL_SECONDS)
            self._receive()
            self._ask()
        return self.arrived.pop(index)

    def _ask(self) -> None:
        """Ask the process with the fewest pending batches for more."""
        while len(self.processes) < min(self.workers, len(self.reader)):
            process = ReadingProcess(self.reader, cache=CACHE_BYTES // self.workers)
            self.processes.append(process)
        ahead = len(self.arrived) + sum(len(process.asked) for process in self.processes)
        while self.following and ahead <= self.workers * BATCHES_AHEAD:
            idlest = min(self.processes, key=lambda process: len(process.asked))
            idlest.ask(self.following.popleft())
            ahead += 1

    def _receive(self) -> None:
        """Receive batches that have arrived, and reassign those of a dead process.

        Raises:
            ReadingError: If too many processes died.
        """
        for process in list(self.processes):
            try:
                while answer := process.receive():
                    self.arrived[answer[0]] = answer[1]
            except ChildProcessError as error:
                self.processes.remove(process)
                self.following.extendleft(reversed(process.asked))
                self.deaths += 1
                if self.deaths > MAX_DEATHS:
                    msg = (
                        f"processes that read tiles died {self.deaths} times, the last {error}, "
                        f"possibly out of memory; use fewer workers than {self.workers} or "
                        "smaller batches."
                    )
                    raise ReadingError(msg) from error

    def end(self) -> None:
        for process in self.processes:
            process.end()
