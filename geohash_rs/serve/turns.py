"""Limit how many slow requests of one kind run at once, so that other kinds do not wait."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

from geohash_rs.errors import GeoHashRSError

__all__ = ["BusyError", "Turns"]

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


async def in_own_thread(call: Callable[[], T]) -> T:
    """Run a function in an extra thread, outside the pool for other requests.

    Args:
        call: A function that may block.

    Returns:
        Its result.
    """
    return await anyio.to_thread.run_sync(call, limiter=anyio.CapacityLimiter(1))
