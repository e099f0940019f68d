"""Run the page on this machine until interrupted."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geohash_rs.archive import Archive
from geohash_rs.errors import GeoHashRSError
from geohash_rs.pictures.permission import Permission
from geohash_rs.serve.addresses import PORT, own_addresses, own_names

if TYPE_CHECKING:
    import uvicorn

    from geohash_rs.serve.connections import Connections
    from geohash_rs.serve.guard import Guard

__all__ = ["ServeError", "make_server", "run_server"]

ALONE = ("127.0.0.1", "localhost", "::1")
BACKLOG = 1024  # connections that the system keeps until they are accepted
AT_ONCE = 64  # accepted before the first of them is read: fewer than a client may have
OPEN_FILES = 4096  # for connections, and the archive's and scenes' files
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - only compared with, not bound to


class ServeError(GeoHashRSError, OSError):
    """The page cannot be served."""


def run_server(
    folder: Path,
    *,
    archive: Archive | None = None,
    host: str = "127.0.0.1",
    port: int = PORT,
    base_map: str | None = None,
    attribution: str | None = None,
    folders: Sequence[Path] = (),
    remote_scenes: bool = False,
    device: str = "cpu",
    say: Callable[[str], None],
) -> None:
    """Serve the page of an archive until interrupted.

    Args:
        folder: The archive.
        archive: It, if it is open already because it is not in a folder.
        host: Address to listen on; any but 127.0.0.1 lets others on the network search.
        port: Port to listen on; 0 picks a free one.
        base_map: URL template of raster tiles.
        attribution: Credit line of the base map.
        folders: Draw only scenes below these. None given draws all plain raster files of this
            machine that the archive names if only this machine can ask for them, otherwise none.
        remote_scenes: Whether to draw scenes from wherever the archive says.
        device: Device that runs the network.
        say: Called with lines that report the page's address.

    Raises:
        ServeError: If the extra ``serve`` is not installed, or the port is taken.
        GeoHashRSError: If the archive cannot be opened.
    """
    try:
        import uvicorn  # noqa: F401 - named first if it is missing

        from geohash_rs.serve.app import create_app, maplibre_files

        maplibre_files()
    except ImportError as error:
        msg = f"{error.name} is not installed; run: python -m pip install 'geohash-rs[serve]'"
        raise ServeError(msg) from error
    archive = Archive.open(folder, mode="r") if archive is None else archive
    listening = _listen(host, port)
    shown = [f"[{host}]" if ":" in host else host]
    if host in EVERYWHERE:
        shown = ["localhost", *own_addresses(listening.family)]
    alone = host in ALONE
    permission = Permission(
        remote_scenes=remote_scenes, folders=None if alone and not folders else tuple(folders)
    )
    app = create_app(
        archive,
        permission=permission,
        hosts=[host] if alone else [host, *own_names()],
        any_address=host in EVERYWHERE,
        base_map=base_map,
        attribution=attribution,
        device=device,
    )
    app.connections.most = min(app.connections.most, _allow_open_files() // 2)
    port = listening.getsockname()[1]
    say(
        f"{len(archive):,} tiles of {archive.path} at "
        + " and ".join(f"http://{n}:{port}/" for n in shown)
    )
    say("Open it in a browser; stop with Ctrl-C.")
    if not alone:
        say(f"Listening on {host}: anyone who can reach this machine can search and view scenes.")
    if permission.folders == () and not remote_scenes:
        say("No pictures are drawn; name the folders of scenes that others may see with --scenes.")
    make_server(app, log_level="warning").run(sockets=[listening])


def make_server(app: "Guard", *, log_level: str) -> "uvicorn.Server":
    """Return a server whose connections the application limits.

    Args:
        app: The application.
        log_level: What uvicorn prints, such as "warning".
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            for listening in sockets or []:
                listening.listen(BACKLOG)  # asyncio has reduced it to what it accepts at once

    config = uvicorn.Config(
        app,
        http=_protocol(app.connections),
        ws="none",
        backlog=AT_ONCE,
        proxy_headers=False,  # anyone could claim to be another client
        log_level=log_level,
        access_log=False,
        server_header=False,
    )
    return Server(config)


def _protocol(connections: "Connections") -> "type[asyncio.Protocol]":
    """Return uvicorn's protocol with limited connections; it limits the size of a head itself."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Limited(H11Protocol):
        refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self.refused = not connections.admit(transport)
            if not self.refused:
                super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            if not self.refused:
                connections.heard(self.transport)
                super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            if not self.refused:
                connections.lost(self.transport)
                super().connection_lost(exc)

        def pause_writing(self) -> None:
            connections.lags(self.transport, lagging=True)
            super().pause_writing()

        def resume_writing(self) -> None:
            connections.lags(self.transport, lagging=False)
            super().resume_writing()

    return Limited


def _allow_open_files() -> int:
    """Raise this process's limit of open files as far as needed and allowed; return it."""
    if os.name == "nt":  # has no such limit
        return OPEN_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    if soft == endless or soft >= OPEN_FILES:
        return OPEN_FILES
    soft = OPEN_FILES if hard == endless else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def _listen(host: str, port: int) -> socket.socket:
    """Listen on the port.

    Raises:
        ServeError: If that fails.
    """
    try:
        family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        msg = f"cannot listen on {host}:{port} ({error.strerror}); choose another --port."
        raise ServeError(msg) from error
    return listening
