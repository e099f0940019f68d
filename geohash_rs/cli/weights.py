"""``geohash-rs weights``: list the hashers that can be used by name."""

import click

from geohash_rs.cli.options import echo_json
from geohash_rs.cli.terminal import echo

__all__ = ["weights_command"]


@click.command("weights")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def weights_command(as_json: bool) -> None:
    """List shipped hashers, and the training-free ones that are fitted on your own scenes."""
    from geohash_rs.hashing.shipped import list_hashers

    rows = list_hashers()
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        echo(f"{row['name']:<16}  {row['num_bits']!s:>5} bits  {row['about']}")
