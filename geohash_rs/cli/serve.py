"""``geohash-rs serve``: search on a map."""

import os
import re
import signal
import sys
import threading
from _thread import interrupt_main
from pathlib import Path

import click

from geohash_rs.cli.asked import DATABASES
from geohash_rs.cli.options import remote_scenes_option
from geohash_rs.cli.terminal import echo
from geohash_rs.serve.addresses import PORT

__all__ = ["serve_command"]


def _base_map(context: click.Context, option: click.Parameter, url: str | None) -> str | None:
    """Check that the page can fill in all fields of a URL template.

    Raises:
        UsageError: If it cannot.
    """
    fields = set(re.findall(r"\{(.*?)\}", url or ""))
    filled = {"z", "x", "y"} <= fields <= {"z", "x", "y", "ratio"}  # ratio: "@2x" on fine screens
    if url is not None and not (url.startswith(("https://", "http://")) and filled):
        msg = (
            f"--base-map is {url!r}; pass a URL with {{z}}, {{x}}, {{y}} and, at most, {{ratio}}, such as "
            "https://HOST/{z}/{x}/{y}.png. In place of {s}, write the name of one server."
        )
        raise click.UsageError(msg, context)
    return url


def _follow_input() -> None:
    """Interrupt the server when the program that started it closes its input, or is gone."""
    while os.read(sys.stdin.fileno(), 4096):  # without Python's lock, which an exit would wait for
        pass
    interrupt_main()


@click.command("serve")
@click.argument("archive", metavar="ARCHIVE|s3://...")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port to listen on; 0 chooses a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; any other is open to the network.")
@click.option("--base-map", metavar="URL", callback=_base_map, help="Raster tiles under the footprints, such as https://HOST/{z}/{x}/{y}.png; none by default.")
@click.option("--attribution", help="Credit line of the base map.")
@click.option("--scenes", "folders", multiple=True, type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER", help="Draw only scenes below this folder; can be repeated.  [default: all of this machine with the default --host; none with any other]")
@remote_scenes_option
@click.option("--device", default="cpu", show_default=True, help="Device that runs the network, such as cuda.")
@click.option("--attached", is_flag=True, help="Stop as soon as the standard input is closed: for programs that start the server, and may crash.")
def serve_command(archive: str, port: int, host: str, base_map: str | None, attribution: str | None, folders: tuple[Path, ...], remote_scenes: bool, device: str, attached: bool) -> None:
    """Show ARCHIVE on a map in the browser. Search by clicking tiles or dropping GeoTIFFs."""
    if folders and remote_scenes:
        msg = "pass either --scenes, which draws only scenes below a folder, or --remote-scenes, which draws all"
        raise click.UsageError(msg, click.get_current_context())
    if archive.startswith(DATABASES):
        msg = "the page reads an archive in a folder or in object storage; search a database with 'geohash-rs query'"
        raise click.UsageError(msg, click.get_current_context())
    from geohash_rs.serve.server import run_server

    if attached:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's `&` has it ignored
        threading.Thread(target=_follow_input, daemon=True).start()
    remote = None
    if "://" in archive:
        from geohash_rs.engines.cloud.cache import open_archive

        remote = open_archive(archive)
    run_server(Path(archive), archive=remote, host=host, port=port, base_map=base_map, attribution=attribution, folders=folders, remote_scenes=remote_scenes, device=device, say=echo)
