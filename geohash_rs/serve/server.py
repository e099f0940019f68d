"""Run the page on this machine until interrupted."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from geohash_rs.archive import Archive
from geohash_rs.errors import GeoHashRSError
from geohash_rs.pictures.permission import Permission
from geohash_rs.serve.addresses import own_addresses, own_names

__all__ = ["ServeError", "run_server"]

ALONE = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - only compared with, not bound to


class ServeError(GeoHashRSError, OSError):
    """The page cannot be served."""


def run_server(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
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
        import uvicorn

        from geohash_rs.serve.app import create_app, maplibre_files

        maplibre_files()
    except ImportError as error:
        msg = f"{error.name} is not installed; run: python -m pip install 'geohash-rs[serve]'"
        raise ServeError(msg) from error
    archive = Archive.open(folder, mode="r")
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
    port = listening.getsockname()[1]
    say(
        f"{len(archive):,} tiles of {folder} at "
        + " and ".join(f"http://{n}:{port}/" for n in shown)
    )
    say("Open it in a browser; stop with Ctrl-C.")
    if not alone:
        say(f"Listening on {host}: anyone who can reach this machine can search and view scenes.")
    if permission.folders == () and not remote_scenes:
        say("No pictures are drawn; name the folders of scenes that others may see with --scenes.")
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])


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
        listening.listen(1024)
    except OSError as error:
        msg = f"cannot listen on {host}:{port} ({error.strerror}); choose another --port."
        raise ServeError(msg) from error
    return listening
