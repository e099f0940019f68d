"""Limit how many slow requests of one kind run at once, so that other kinds do not wait."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

from geohash_rs.errors import GeoHashRSError

__all__ = ["BusyError", "Room", "Turns", "in_own_thread"]

T = TypeVar("T")


class BusyError(GeoHashRSError, RuntimeError):
    """Too many requests of one kind are already waiting."""


class Turns:
    """The queue for one kind of request."""

    def __init__(self, kind: str, *, at_once: int, waiting: int) -> None:
        """Set the limits.

        Args:
            kind: What the requests are for, in messages.
            at_once: Most requests to run at once.
            waiting: Most requests to keep waiting.
        """
        self.kind = kind
        self.most_waiting = waiting
        self._turns = asyncio.Semaphore(at_once)
        self._num_waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it for the block.

        Raises:
            BusyError: If too many are waiting.
        """
        if self._turns.locked() and self._num_waiting >= self.most_waiting:
            msg = f"{self._num_waiting} {self.kind} are already waiting; try again in a second."
            raise BusyError(msg)
        self._num_waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._num_waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def run(self, call: Callable[[], T]) -> T:
        """Run a function in a thread once it has a turn.

        Args:
            call: A function that may block.

        Returns:
            Its result.

        Raises:
            BusyError: If too many are waiting.
        """
        async with self.turn():
            return await in_own_thread(call)


class Room:
    """The memory for the bodies of one kind of request."""

    def __init__(self, kind: str, *, most: int) -> None:
        """Set the limit.

        Args:
            kind: What the requests are for, in messages.
            most: Most bytes to hold at once.
        """
        self.kind = kind
        self.most = most
        self._held = 0

    @asynccontextmanager
    async def receive(self, pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Receive a body and hold it for the block.

        Args:
            pieces: The body as it arrives.

        Yields:
            All of it.

        Raises:
            BusyError: If the bodies would take more than `most`.
        """
        parts: list[bytes] = []
        size = 0
        try:
            async for piece in pieces:
                parts.append(piece)
                size += len(piece)
                self._held += len(piece)
                if self._held > self.most:
                    most = f"{self.most // 2**20} MB"
                    msg = f"{most} of {self.kind} are already waiting; try again in a second."
                    raise BusyError(msg)
            whole = b"".join(parts)
            parts.clear()
            yield whole
        finally:
            self._held -= size


async def in_own_thread(call: Callable[[], T]) -> T:
    """Run a function in an extra thread, outside the pool for other requests.

    Args:
        call: A function that may block.

    Returns:
        Its result.
    """
    return await anyio.to_thread.run_sync(call, limiter=anyio.CapacityLimiter(1))
