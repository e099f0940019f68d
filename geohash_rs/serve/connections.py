"""Limit the connections of the server, and drop those that hold a place without using it."""

import asyncio
import dataclasses
from collections.abc import Collection, MutableMapping
from enum import IntEnum
from typing import Any

__all__ = ["MOST_CONNECTIONS", "MOST_REQUESTS_OF_A_CLIENT", "Connections", "Phase"]

MOST_CONNECTIONS = 2048  # half of the files that the server may open; idle ones cost 20 KB
MOST_OF_A_CLIENT = 1024
MOST_BODIES_OF_A_CLIENT = 64  # arriving at once; a browser opens six connections
MOST_REQUESTS_OF_A_CLIENT = 128  # in progress: half of what the server takes on
PATIENCE = 10.0  # s for the head of a request, from the connection or the last answer
SLOWEST = 4096  # bytes of an answer that a client must take per second, once it lags behind

ANSWERS = {
    408: "the head of the request did not arrive in time; send it again.",
    503: "this client already has too many requests in progress; try again in a second.",
}


class Phase(IntEnum):
    """What a connection waits for, in the order in which connections are given up for others."""

    WAITING = 0  # for the head of a request
    RECEIVING = 1  # for its body
    ANSWERING = 2


@dataclasses.dataclass(eq=False)
class _Connection:
    transport: asyncio.Transport
    client: str
    address: tuple[Any, ...]
    since: float
    phase: Phase = Phase.WAITING
    heard: bool = False  # whether a part of a head has arrived
    lagging: bool = False  # whether the client takes its answer more slowly than it is sent
    unsent: int = 0  # bytes of the answer at the last tick
    timer: asyncio.TimerHandle | None = None


class Connections:
    """The open connections; used from the event loop alone.

    A new connection above a limit takes the place of the one that has waited longest for a request,
    or for the rest of one. It is refused only if all are being answered. A new body above its
    limit takes the place of the one that has been arriving longest.
    """

    def __init__(self) -> None:
        """Start without connections."""
        self.most = MOST_CONNECTIONS
        self._by_address: dict[tuple[Any, ...], _Connection] = {}
        self._by_client: dict[str, list[_Connection]] = {}

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._by_address)

    def admit(self, transport: asyncio.Transport) -> bool:
        """Take in a new connection, or refuse and close it.

        Args:
            transport: The connection.

        Returns:
            Whether it was taken in.
        """
        address = _peer(transport)
        client = str(address[0])
        own = self._by_client.get(client, [])
        room = len(own) < min(MOST_OF_A_CLIENT, self.most // 2) or self._give_up_one(own)
        if room and len(self) >= self.most:
            most = max(self._by_client.values(), key=len)
            room = self._give_up_one(most) or self._give_up_one(self._by_address.values())
        if not room:
            _answer(transport, 503)
            return False
        made = _Connection(transport, client, address, asyncio.get_running_loop().time())
        self._by_address[address] = made
        self._by_client.setdefault(client, []).append(made)
        self._wait(made)
        return True

    def lost(self, transport: asyncio.Transport) -> None:
        """Forget a connection that was closed."""
        found = self._by_address.get(_peer(transport))
        if found is not None and found.transport is transport:
            self._forget(found)

    def heard(self, transport: asyncio.Transport) -> None:
        """Note that something arrived."""
        found = self._by_address.get(_peer(transport))
        if found is not None:
            found.heard = True

    def lags(self, transport: asyncio.Transport, *, lagging: bool) -> None:
        """Note whether the client takes its answer more slowly than it is sent."""
        found = self._by_address.get(_peer(transport))
        if found is not None:
            found.lagging = lagging
            self._wait(found)

    def enter(self, scope: MutableMapping[str, Any], phase: Phase) -> None:
        """Note the phase of the connection that a request came from.

        Args:
            scope: The request's ASGI scope.
            phase: What it waits for now.
        """
        found = self._by_address.get(tuple(scope.get("client") or ()))
        if found is not None:
            found.phase, found.since, found.heard = phase, asyncio.get_running_loop().time(), False
            self._wait(found)
            if phase == Phase.RECEIVING:
                own = [one for one in self._by_client[found.client] if one.phase == phase]
                if len(own) > MOST_BODIES_OF_A_CLIENT:
                    self._give_up_one(own)

    def requests_of(self, scope: MutableMapping[str, Any]) -> int:
        """Return how many requests of a request's client are in progress, with this one."""
        found = self._by_address.get(tuple(scope.get("client") or ()))
        own = [] if found is None else self._by_client[found.client]
        return sum(one.phase != Phase.WAITING for one in own)

    def _give_up_one(self, connections: Collection[_Connection]) -> bool:
        """Drop the connection that has waited longest; return whether there was one."""
        free = [one for one in connections if one.phase != Phase.ANSWERING]
        if not free:
            return False
        oldest = min(free, key=lambda one: (one.phase, one.heard, one.since))
        self._forget(oldest)
        oldest.transport.abort()
        return True

    def _forget(self, connection: _Connection) -> None:
        if connection.timer is not None:
            connection.timer.cancel()
        del self._by_address[connection.address]
        own = self._by_client[connection.client]
        own.remove(connection)
        if not own:
            del self._by_client[connection.client]

    def _wait(self, connection: _Connection) -> None:
        """Start to wait again."""
        if connection.timer is not None:
            connection.timer.cancel()
        connection.unsent = connection.transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        spread = connection.address[1] % 64 / 64  # so that a thousand do not end in one moment
        connection.timer = loop.call_later(PATIENCE * (1 + spread / 2), self._tick, connection)

    def _tick(self, connection: _Connection) -> None:
        """Drop a connection that sent no head, or takes too little of its answer."""
        unsent = connection.transport.get_write_buffer_size()
        taken = connection.unsent - unsent
        idle = connection.phase == Phase.WAITING
        if idle and not unsent and not connection.unsent:
            self._forget(connection)
            if connection.heard:
                _answer(connection.transport, 408)
            else:
                connection.transport.close()
        elif unsent and (idle or connection.lagging) and taken < SLOWEST * PATIENCE:
            self._forget(connection)
            connection.transport.abort()
        else:
            self._wait(connection)


def _peer(transport: asyncio.Transport) -> tuple[Any, ...]:
    """Return the address at the other end, as ASGI names it."""
    name = transport.get_extra_info("peername") or ("", 0)
    return str(name[0]), int(name[1])


def _answer(transport: asyncio.Transport, status: int) -> None:
    """Send a last answer and close."""
    body = f'{{"detail": "{ANSWERS[status]}"}}'.encode()
    head = (
        f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    transport.write(head.encode() + body)
    transport.close()
