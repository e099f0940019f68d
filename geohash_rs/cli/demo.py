"""``geohash-rs demo``: a first search, offline, in under a minute."""

from pathlib import Path

import click

from geohash_rs.cli.terminal import echo

__all__ = ["demo_command"]


@click.command("demo")
@click.argument(
    "folder",
    metavar="[DIR]",
    default="geohash-demo",
    type=click.Path(path_type=Path),
)
@click.option(
    "--patch",
    type=click.Choice(["town", "forest", "fields", "river", "coast", "industry"]),
    default="town",
    show_default=True,
    help="Kind of place to search for.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the landscape to invent."
)
def demo_command(folder: Path, patch: str, seed: int) -> None:
    """Invent a coast, index it and search it with a patch, without data or network.

    Writes scenes, an archive, matches.geojson and a picture to DIR, by default geohash-demo.
    """
    from geohash_rs.demo.run import run_demo

    run_demo(folder, patch=patch, seed=seed, say=lambda text: echo(*text.split("\n")), progress=True)
