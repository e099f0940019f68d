"""Print tiles as a table on the terminal."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from geohash_rs.cli.terminal import echo
from geohash_rs.export.plain_text import scene_name, scene_names

__all__ = ["check_pictures", "print_matches", "print_tile_at_point", "print_tiles"]

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
        frame["source"] = frame["source"].map(scene_name, na_action="ignore")
        shown = [*shown, "source"]
    frame = frame.assign(tile_size=sizes, score=frame["similarity"].round(3))[shown]
    frame = frame.assign(scene=frame["scene"].map(scene_names(frame["scene"])))
    print_rows({name: [None if pd.isna(cell) else cell for cell in frame[name]] for name in shown})


def print_matches(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of the matches of a server, as `print_tiles` prints the same.

    Args:
        rows: For each its columns and values, as in GeoJSON.
    """
    widths = [[row[side] for side in ("width", "height") if row[side] is not None] for row in rows]
    sizes = [row.get("tile_size", max(sides, default=None)) for row, sides in zip(rows, widths, strict=True)]
    columns = {name: [row[name] for row in rows] for name in SHOWN}
    columns["scene"] = list(map(scene_names(columns["scene"]).__getitem__, columns["scene"]))
    columns["datetime"] = [None if text is None else datetime.fromisoformat(text) for text in columns["datetime"]]
    moments = columns.pop("datetime")
    if len({size for size in sizes if size is not None}) > 1:
        columns["tile_size"] = sizes
    columns["datetime"] = moments
    if all(col is None for col in columns["col"]):
        del columns["col"], columns["row"]
    if any("source" in row for row in rows):
        columns["source"] = [row["source"] and scene_name(row["source"]) for row in rows]
    print_rows(columns)


def print_rows(columns: Mapping[str, Sequence[object]]) -> None:
    """Print a table, without pandas, which takes longer to import than a query.

    Args:
        columns: The values of each column by name, all as many; None prints as "-".
    """
    if not next(iter(columns.values()), ()):
        echo("no matches; widen the region, time or distance.", err=True)
        return
    cells = [[name, *("-" if value is None else str(value) for value in values)] for name, values in columns.items()]
    widths = [max(map(len, column)) for column in cells]
    for row in zip(*cells, strict=True):
        echo("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))


def print_tile_at_point(tiles: object) -> None:
    """Print to the error output which tile a search by point used.

    Args:
        tiles: Matches.
    """
    from geohash_rs.retrieval.examples import tile_at_point

    if said := tile_at_point(getattr(tiles, "examples", None)):
        echo(said, err=True)
