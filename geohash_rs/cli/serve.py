"""``geohash-rs serve``: search on a map."""

import re
from pathlib import Path

import click

__all__ = ["serve_command"]


def _base_map(context: click.Context, option: click.Parameter, url: str | None) -> str | None:
    """Check that the page's map fills in all of a template.

    Raises:
        UsageError: If it does not.
    """
    fields = set(re.findall(r"\{(.*?)\}", url or ""))
    filled = {"z", "x", "y"} <= fields <= {"z", "x", "y", "ratio"}  # ratio: "@2x" on fine screens
    if url is not None and not (url.startswith(("https://", "http://")) and filled):
        msg = (
            f"--base-map is {url!r}; give a URL with {{z}}, {{x}}, {{y}} and, at most, {{ratio}}, such as "
            "https://HOST/{z}/{x}/{y}.png; for {s} write one of the servers' names."
        )
        raise click.UsageError(msg, context)
    return url


@click.command("serve")
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; any other lets the network in.")
@click.option("--base-map", metavar="URL", callback=_base_map, help="Raster tiles under the footprints, such as https://HOST/{z}/{x}/{y}.png; none by default.")
@click.option("--attribution", help="Who is to be named for the base map.")
@click.option("--device", default="cpu", show_default=True, help="Where the network runs.")
def serve_command(archive: Path, port: int, host: str, base_map: str | None, attribution: str | None, device: str) -> None:
    """Show ARCHIVE on a map in the browser, to search it by clicking and dropping GeoTIFFs."""
    from geohash_rs.serve.server import run_server

    run_server(archive, host=host, port=port, base_map=base_map, attribution=attribution, device=device, say=click.echo)
