"""Let slow requests through a few of a kind at a time, so that no other kind waits for them."""

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
    """Too many requests of one kind wait already."""


class Turns:
    """The turns of one kind of request."""

    def __init__(self, kind: str, *, at_once: int, waiting: int) -> None:
        """Set the limits.

        Args:
            kind: What is asked for, for messages.
            at_once: Most requests that are answered at a time.
            waiting: Most that wait for their turn.
        """
        self.kind = kind
        self.most_waiting = waiting
        self._turns = asyncio.Semaphore(at_once)
        self._num_waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the length of the block.

        Raises:
            BusyError: If too many wait.
        """
        if self._turns.locked() and self._num_waiting >= self.most_waiting:
            msg = f"{self._num_waiting} {self.kind} wait already; try again in a second."
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
        """Call something in a thread, when it is its turn.

        Args:
            call: What may block.

        Returns:
            What it returns.

        Raises:
            BusyError: If too many wait.
        """
        async with self.turn():
            return await in_own_thread(call)


async def in_own_thread(call: Callable[[], T]) -> T:
    """Call something in a thread besides those that answer other requests.

    Args:
        call: What may block.

    Returns:
        What it returns.
    """
    return await anyio.to_thread.run_sync(call, limiter=anyio.CapacityLimiter(1))
