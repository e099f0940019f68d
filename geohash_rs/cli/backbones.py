"""``geohash-rs backbones``: list networks that can be a hasher's backbone."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click

from geohash_rs.cli.options import echo_json
from geohash_rs.cli.terminal import echo

if TYPE_CHECKING:
    from geohash_rs.hashing.known_backbones import KnownBackbone

__all__ = ["backbones_command"]

MOST_ROWS = 60
MOST_BANDS = 4  # named in a row; of more, their number
NUMBER = re.compile(r"[+-]?\d+")
HEAD = ("name", "bands", "sensor", "ground", "weights", "input", "licence", "from")


@click.command("backbones")
@click.argument("pattern", required=False, default="", metavar="[PART OF A NAME]")
@click.option("--bands", metavar="N|NAMES", help="Those that take images of so many bands, or of bands such as red,green,blue,nir.")
@click.option("--sensor", default="", metavar="NAME", help="Those trained on images of a sensor, such as sentinel2, sentinel1 or landsat8, and those of photographs.")
@click.option("--gsd", type=click.FloatRange(min=0, min_open=True), help="Those trained on pixels of about this ground size, m, or of an unknown one.")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known as JSON, with the addresses of the weights.")
def backbones_command(pattern: str, bands: str | None, sensor: str, gsd: float | None, as_json: bool) -> None:
    """List networks for 'index --backbone', from what timm and TorchGeo state; nothing is fetched.

    PART OF A NAME, such as dinov2 or resnet, lists all networks of timm with it; without one, some
    that are widely used. "?" is what nobody states.
    """
    from geohash_rs.hashing.known_backbones import known_backbones

    asked = bands is not None or sensor or gsd is not None
    rows = known_backbones(pattern, bands=_bands_of(bands), sensor=sensor, gsd=gsd)
    if as_json:
        echo_json([row.to_dict() for row in rows if row.fits_file])
        return
    listed = rows if pattern or asked else [row for row in rows if row.origin != "torchgeo"]
    shown = list(islice((row for row in listed if row.fits_file), MOST_ROWS))
    _print_rows(shown)
    if len(listed) > len(shown) == MOST_ROWS:
        echo(f"... and up to {len(listed) - MOST_ROWS} more (--json lists all)")
    if not shown:
        echo("no backbone is known for that; leave out some of the options.")
    if bands is not None and any(row.origin != "torchgeo" for row in shown):
        echo("Weights of photographs are adapted to other bands: to red, green, blue and nir, or else by repeating their filters.")
    counted = Counter(row.sensor for row in rows if row.origin == "torchgeo")
    if len(listed) < len(rows):
        parts = ", ".join(f"{count} of {name}" for name, count in sorted(counted.items()))
        echo(f"More with --sensor: {parts} (TorchGeo). More of timm with a part of their name, such as resnet.")


def _bands_of(text: str | None) -> int | Sequence[str] | None:
    """Read a number of bands, or their names."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    count = int(parts[0]) if len(parts) == 1 and NUMBER.fullmatch(parts[0]) else None
    if count is None and all(parts):
        return parts
    if count is None or count < 1:
        msg = f"{text!r} is not a number of bands from 1 on, or names of bands such as red,green,blue"
        raise click.BadParameter(msg, param_hint="--bands")
    return count


def _print_rows(rows: "Sequence[KnownBackbone]") -> None:
    """Print rows in aligned columns."""
    table = [HEAD, *map(_cells, rows)] if rows else []
    widths = [max(len(cells[place]) for cells in table) for place in range(len(HEAD))] if rows else []
    for cells in table:
        echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _cells(row: "KnownBackbone") -> tuple[str, ...]:
    named = ",".join(row.bands) if 0 < len(row.bands) <= MOST_BANDS else str(row.in_chans)
    count = row.num_parameters
    return (
        row.name,
        named,
        row.sensor or "photographs",
        "?" if row.gsd is None else f"{row.gsd:g} m",
        "?" if count is None else f"{count / 1e6:.1f} M",
        "?" if row.input_size is None else f"{row.input_size} px",
        row.licence or "?",
        row.hub,
    )
