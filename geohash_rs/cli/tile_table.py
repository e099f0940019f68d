"""Print tiles as a table on the terminal."""

from pathlib import Path

import click

from geohash_rs.cli.terminal import echo

__all__ = ["check_pictures", "print_tile_at_point", "print_tiles"]

SHOWN = ["rank", "distance", "tile_id", "scene", "col", "row", "datetime"]


def check_pictures(output: Path | None, *, remote_scenes: bool) -> None:
    """Check that pictures are written if they may be read from anywhere.

    Args:
        output: File to write, if any.
        remote_scenes: Whether scenes may be read from anywhere.

    Raises:
        click.UsageError: If the format has no pictures.
    """
    if remote_scenes and (output is None or output.suffix.lower() not in (".html", ".gpkg")):
        msg = "--remote-scenes needs -o with a format that has pictures: .html or .gpkg"
        raise click.UsageError(msg, click.get_current_context())


def print_tiles(tiles: object, *, scores: bool = False) -> None:
    """Print a table of tiles.

    Args:
        tiles: Matches.
        scores: Whether their similarity is a score to show.
    """
    import pandas as pd

    from geohash_rs.store.segment.tiles import sizes_of_tiles

    frame = pd.DataFrame(tiles)  # type: ignore[call-overload]  # a frame
    sizes = pd.Series(sizes_of_tiles(frame), frame.index).astype("Int64")
    shown = SHOWN if sizes.nunique() < 2 else [*SHOWN[:-1], "tile_size", SHOWN[-1]]
    shown = [shown[0], *(["score"] if scores else []), *shown[1:]]
    if "precision" in frame.columns:
        shown = [shown[0], "precision", *shown[1:]]
    shown = ["query", *shown] if "query" in frame.columns else shown
    if frame["col"].isna().all():  # of vectors that somebody else computed
        shown = [name for name in shown if name not in ("col", "row")]
    if "source" in frame.columns:
        frame["source"] = frame["source"].map(_last_part, na_action="ignore")
        shown = [*shown, "source"]
    frame = frame.assign(tile_size=sizes, score=frame["similarity"].round(3))[shown]
    if frame.empty:
        echo("no matches; widen the region, time or distance.", err=True)
        return
    names = frame["scene"].map(_last_part)
    echo(*frame.assign(scene=names).to_string(index=False, na_rep="-").split("\n"))


def print_tile_at_point(tiles: object) -> None:
    """Print to the error output which tile a search by point used.

    Args:
        tiles: Matches.
    """
    import pandas as pd

    examples = pd.DataFrame(getattr(tiles, "examples", None))
    at_point = examples["tile_id"].notna() & examples["example"].str.contains(" at ", regex=False)
    for one in examples[at_point].itertuples():
        moment = "no date" if pd.isna(one.datetime) else f"{one.datetime:%Y-%m-%d %H:%M:%S} UTC"  # type: ignore[str-bytes-safe]
        echo(f"Searching with {one.example}: {_last_part(str(one.scene))}, {moment.removesuffix(' 00:00:00 UTC')}.", err=True)


def _last_part(address: str) -> str:
    from geohash_rs.export.plain_text import plain_text

    return plain_text(address.rsplit("/", 1)[-1])
