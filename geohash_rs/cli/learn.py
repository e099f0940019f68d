"""``geohash-rs learn`` and ``judge``: teach an archive what is meant."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from geohash_rs.cli.asked import (
    Asked,
    archive_argument,
    check_engine,
    engine_options,
    opened,
    said_again,
    where_of,
    where_options,
)
from geohash_rs.cli.options import remote_scenes_option
from geohash_rs.cli.terminal import echo
from geohash_rs.cli.tile_table import check_pictures, print_tiles

if TYPE_CHECKING:
    from geohash_rs.concepts.concept import Concept

__all__ = ["judge_command", "learn_command"]

MARK = "ID|PATCH|LAYER|LON,LAT"


@click.command("learn")
@archive_argument
@click.option("--right", multiple=True, metavar=MARK, help="What is wanted: id of a tile, patch (a GeoTIFF), vector layer of points or polygons, or a place; can be repeated.")
@click.option("--wrong", multiple=True, metavar=MARK, help="What is not wanted, in the same forms; can be repeated.")
@click.option("--judged", multiple=True, type=click.Path(path_type=Path), metavar="TABLE", help="Table of 'geohash-rs judge' with its column right filled in; can be repeated.")
@click.option("--concept", "former", type=click.Path(path_type=Path), metavar="FILE.concept", help="Concept to add these marks to.")
@click.option("--forget", type=int, multiple=True, metavar="ID", help="Tile of that concept whose mark is taken back; can be repeated.")
@click.option("--marks-layer", help="Layer of vector files of marks that have several.")
@click.option("--name", help="What the concept is called.  [default: the name of the file]")
@click.option("--device", default="cpu", show_default=True, help="Device that hashes patches, such as cuda.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.concept", help="File to write.  [default: that of --concept]")
@where_options
@engine_options
def learn_command(
    archive: str,
    right: tuple[str, ...],
    wrong: tuple[str, ...],
    judged: tuple[Path, ...],
    former: Path | None,
    forget: tuple[int, ...],
    marks_layer: str | None,
    name: str | None,
    device: str,
    output: Path | None,
    **asked: Unpack[Asked],
) -> None:
    """Learn what is meant from marks, and write it to a small file, a concept.

    The archive is not changed. Options such as --time limit the tiles that polygons mark.
    """
    written = output or former
    if written is None:
        msg = "pass -o FILE.concept to write, or --concept FILE.concept to add to"
        raise click.UsageError(msg, click.get_current_context())
    if not (right or wrong or judged or forget):
        msg = "pass --right, --wrong or --judged to learn from"
        raise click.UsageError(msg, click.get_current_context())
    if forget and former is None:
        msg = "--forget needs --concept, the concept that holds the mark"
        raise click.UsageError(msg, click.get_current_context())
    if name is not None and former is not None:
        msg = "--name is for a new concept; the one of --concept keeps its name"
        raise click.UsageError(msg, click.get_current_context())
    check_engine(archive, asked)
    from geohash_rs.concepts.judgements import read_judgements
    from geohash_rs.export.formats import check_place

    check_place(written, inputs=[*(text for text in (*right, *wrong) if not text.isdecimal()), *judged])
    marks: dict[str, list[Any]] = {"right": list(map(_mark, right)), "wrong": list(map(_mark, wrong))}
    for table in judged:
        good, bad = read_judgements(table)
        marks["right"] += good
        marks["wrong"] += bad
    limits = where_of(asked)
    with opened(archive, asked) as searched:
        options: Any = {**marks, "layer": marks_layer, "device": device, **limits}
        if former is None:
            concept = searched.learn(name=name or written.stem, **options)
        else:
            concept = searched.concept(former).learn(forget=forget, **options)
        concept.save(written)
    _report(concept, written, archive)


def _mark(text: str) -> Any:  # noqa: ANN401 - an id, a place or a path
    """Read what the command line points at."""
    if text.isascii() and text.isdecimal():
        return int(text)
    lon, comma, lat = text.partition(",")
    if comma:
        try:
            return float(lon), float(lat)
        except ValueError:
            return text
    return text


def _report(concept: "Concept", path: Path, archive: str) -> None:
    echo(f"{concept}; written to {path}.", err=True)
    for note in concept.notes:
        echo(f"note: {note}", err=True)
    echo(f"next: geohash-rs judge {archive} {path} -o next.gpkg, or geohash-rs map {archive} {path} -o areas.gpkg", err=True)


@click.command("judge")
@archive_argument
@click.argument("concept", type=click.Path(path_type=Path), metavar="FILE.concept")
@click.option("-k", type=click.IntRange(min=1), help="Number of tiles.  [default: 8; 60 with --random]")
@click.option("--random", "at_random", is_flag=True, help="Draw tiles at random from the likely ones, to calibrate with: judge every one of them.")
@click.option("--min-score", type=click.FloatRange(0, 1), help="Smallest score of a random tile.  [default: 0.5]")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the random draw.  [default: 0]")
@where_options
@engine_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write: .geojson, .gpkg, .parquet, .csv, with a column right to fill in, or .html, to look at. Without this option, a table is printed.")
@remote_scenes_option
def judge_command(
    archive: str,
    concept: Path,
    k: int | None,
    at_random: bool,
    min_score: float | None,
    seed: int | None,
    output: Path | None,
    remote_scenes: bool,
    **asked: Unpack[Asked],
) -> None:
    """List the tiles whose judgement teaches a concept most.

    Fill in the column right of the file, in QGIS or elsewhere, with true or false, and pass it to
    'geohash-rs learn --judged', or, if the tiles were drawn at random, to 'geohash-rs calibrate
    --judged'.
    """
    if not at_random and (min_score is not None or seed is not None):
        msg = "--min-score and --seed are for tiles drawn with --random"
        raise click.UsageError(msg, click.get_current_context())
    check_pictures(output, remote_scenes=remote_scenes)
    check_engine(archive, asked)
    from geohash_rs.concepts.judgements import to_judge
    from geohash_rs.export.formats import check_output, write

    if output is not None:
        check_output(output, inputs=[concept])
    limits = where_of(asked)
    with opened(archive, asked) as searched:
        loaded = searched.concept(concept)
        if at_random:
            tiles = loaded.check(k or 60, min_score=0.5 if min_score is None else min_score, seed=seed or 0, **limits)
        else:
            tiles = loaded.suggest(k or 8, **limits)
    if output is None:
        print_tiles(tiles, scores=True)
        return
    write(to_judge(tiles), output, remote_scenes=remote_scenes)
    _tell_next(archive, concept, output, asked, draw={"-k": k or 60, "--min-score": 0.5 if min_score is None else min_score, "--seed": seed or 0} if at_random else {}, count=len(tiles))


def _tell_next(archive: str, concept: Path, output: Path, asked: Asked, *, draw: dict[str, float], count: int) -> None:
    """Print how judgements are passed on: a draw is the same only with the same options."""
    said = f"{count} tile{'s' * (count != 1)} to judge written to {output}"
    if output.suffix.lower() == ".html":
        echo(f"{said}; a page is to look at: write .gpkg or .csv as well, to fill in the column right.", err=True)
        return
    words = ["geohash-rs", "calibrate" if draw else "learn", archive, "--concept", str(concept), "--judged", str(output)]
    for option, value in draw.items():
        words += [option, str(value)]
    words += said_again(asked if draw else {name: asked[name] for name in ("engine", "schema", "table")})
    echo(f"{said}; fill in the column right, then: {shlex.join(words)}", err=True)
