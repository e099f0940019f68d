"""Guard the page: restrict who may send requests, how large, and what the page may load."""

import ipaddress
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio

from geohash_rs.serve.connections import MOST_REQUESTS_OF_A_CLIENT, Connections, Phase

__all__ = ["Guard", "content_security_policy"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_AT_ONCE = 256  # requests in progress; further ones are told to retry
PATIENCE = 20.0  # s allowed for a small body
SLOWEST = 256 * 2**10  # bytes per second; received bytes extend the allowed time at this rate
LINGER = 2.0  # s for which the rest of a rejected body is read and discarded
DISCARDED = 4 * 2**20  # bytes that are read of it at most
LOCAL = ("localhost", "127.0.0.1", "::1")


def content_security_policy(base_map: str | None = None) -> str:
    """Return the policy of what the page may load: its own files and the chosen base map.

    Args:
        base_map: URL template of raster tiles.

    Returns:
        The header's value. MapLibre loads its worker from a blob that its script creates.
    """
    other = ""
    if base_map:
        parts = urlsplit(base_map)
        other = f" {parts.scheme}://{parts.netloc}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"img-src 'self' data: blob:{other}; connect-src 'self'{other}; worker-src blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Guard:
    """ASGI middleware that rejects requests that do not come from the page itself.

    - Requests under another host name, which was made to point here (DNS rebinding).
    - Requests from another site's page (cross-site request forgery).
    - Bodies that are too large or too slow, and too many requests at once.
    """

    def __init__(
        self,
        app: App,
        *,
        hosts: Collection[str] = (),
        any_address: bool = False,
        max_body: int,
        larger: Mapping[str, int] | None = None,
        policy: str,
    ) -> None:
        """Set the limits.

        Args:
            app: The application to guard.
            hosts: Host names that it is served under, in addition to localhost and its addresses.
            any_address: Whether to accept every IP address, for a server on all networks.
            max_body: Most bytes of a request's body.
            larger: Most bytes for paths with a larger limit.
            policy: Content-Security-Policy of every response.
        """
        self.app = app
        self.hosts = {*LOCAL, *(host.lower() for host in hosts)}
        self.any_address = any_address
        self.max_body = max_body
        self.larger = dict(larger or {})
        self.headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]
        self.connections = Connections()
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or reject a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        has_body = not headers.keys().isdisjoint((b"content-length", b"transfer-encoding"))
        self.connections.enter(scope, Phase.RECEIVING if has_body else Phase.ANSWERING)
        try:
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await self._refuse(send, *refusal)
                return
            self.under_way += 1
            try:
                await self._answer(scope, receive, send)
            finally:
                self.under_way -= 1
        finally:
            self.connections.enter(scope, Phase.WAITING)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        whole = partial(self.connections.enter, scope, Phase.ANSWERING)
        body = _Body(receive, self._limit(scope), whole)
        started = False

        async def safe(message: Message) -> None:
            nonlocal started
            if body.refusal is not None:  # drop the application's own error response
                return
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *self.headers]
            await send(message)

        with suppress(_BodyError):  # some applications handle it themselves
            await self.app(scope, body.receive, safe)
        if body.refusal is not None and not started:
            await body.discard()
            await self._refuse(send, *body.refusal)

    def _limit(self, scope: Scope) -> int:
        return self.larger.get(scope["path"], self.max_body)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_own(host):
            return 421, (
                f"this server does not answer to the name {host[:80]!r}; "
                "use an address that it printed."
            )
        site = headers.get(b"sec-fetch-site", b"none")
        navigates = headers.get(b"sec-fetch-mode") == b"navigate" and scope["method"] == "GET"
        origin = headers.get(b"origin")
        foreign = origin is not None and urlsplit(origin.decode("latin-1")).netloc != host
        if foreign or (site not in (b"none", b"same-origin") and not navigates):
            return 403, "this request comes from another site's page; use the server's own page."
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._limit(scope):
            return 413, _too_large(self._limit(scope))
        own = self.connections.requests_of(scope)
        if self.under_way >= MOST_AT_ONCE or own > MOST_REQUESTS_OF_A_CLIENT:
            most = MOST_AT_ONCE if self.under_way >= MOST_AT_ONCE else MOST_REQUESTS_OF_A_CLIENT
            return 503, f"{most} requests are already in progress; try again in a second."
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self.hosts or (self.any_address and _is_address(name))

    async def _refuse(self, send: Send, status: int, message: str) -> None:
        body = json.dumps({"detail": message}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *self.headers,
        ]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _BodyError(Exception):
    """A body was too large, arrived too slowly, or will not arrive."""


class _Body:
    """An incoming request body, counted, and timed from the first read."""

    def __init__(self, receive: Receive, limit: int, whole: Callable[[], None]) -> None:
        self._receive = receive
        self._limit = limit
        self._report = whole
        self._num_bytes = 0
        self._whole = False
        self._since: float | None = None
        self.refusal: tuple[int, str] | None = None

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            _BodyError: If the body is rejected, with the reason in `refusal`, or if the client has
                disconnected.
        """
        if self._whole:  # then this waits for the client to disconnect
            return await self._receive()
        if self.refusal is None:
            self._since = anyio.current_time() if self._since is None else self._since
            allowed = PATIENCE + self._num_bytes / SLOWEST
            left = self._since + allowed - anyio.current_time()
            message: Message = {}
            with anyio.move_on_after(max(left, 0)):
                message = await self._receive()
            self._num_bytes += len(message.get("body", b""))
            if not message:
                self.refusal = 408, _too_slow(self._num_bytes, allowed)
            elif self._num_bytes > self._limit:
                self.refusal = 413, _too_large(self._limit)
            elif message["type"] == "http.request":
                self._whole = not message.get("more_body", False)
                if self._whole:
                    self._report()
                return message
        raise _BodyError

    async def discard(self) -> None:
        """Read on for a moment: closing with unread data would lose the answer on its way.

        https://www.rfc-editor.org/rfc/rfc9112#section-9.6
        """
        left = DISCARDED
        with anyio.move_on_after(LINGER):
            while left > 0:
                message = await self._receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _too_large(limit: int) -> str:
    return f"the request is larger than {limit // 2**20} MB; send a smaller patch or fewer tiles."


def _too_slow(num_bytes: int, seconds: float) -> str:
    return (
        f"only {num_bytes:,} bytes of the request arrived in {seconds:.0f} s; "
        "send it again over a faster connection."
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
