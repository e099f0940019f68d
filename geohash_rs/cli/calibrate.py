"""``geohash-rs calibrate``: find out with labels how often matches are right."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from geohash_rs.cli.asked import (
    Asked,
    archive_argument,
    check_engine,
    engine_options,
    opened,
    options_given,
    where_of,
    where_options,
)
from geohash_rs.cli.terminal import echo

if TYPE_CHECKING:
    import pandas as pd

    from geohash_rs.trust.calibration import Calibration
    from geohash_rs.trust.promise import Promise

__all__ = ["calibrate_command", "read_calibration"]

OF_LABELS = ("column", "labels_layer", "min_share", "block_km")


@click.command("calibrate")
@archive_argument
@click.argument("truth", metavar="[LABELS]", required=False, type=click.Path(path_type=Path))
@click.option("--column", help="Column of the labels with the class.")
@click.option("--concept", type=click.Path(path_type=Path), metavar="FILE.concept", help="Calibrate this concept by its score, rather than queries by distance.")
@click.option("--right", multiple=True, metavar="CLASS", help="Class of the labels that is right for the concept; can be repeated.")
@click.option("--judged", type=click.Path(path_type=Path), metavar="TABLE", help="Table of 'geohash-rs judge --random' with its column right filled in, instead of LABELS.")
@click.option("-k", type=click.IntRange(min=1), help="Number of tiles of that draw.  [default: 60]")
@click.option("--min-score", type=click.FloatRange(0, 1), help="Smallest score of that draw.  [default: 0.5]")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of that draw.  [default: 0]")
@click.option("--labels-layer", help="Layer of LABELS, if it has several.")
@click.option("--min-share", type=float, default=0.5, show_default=True, help="Smallest share of a tile that a class must cover, if labels are polygons.")
@click.option("--block-km", type=float, help="Side of a block of ground, km, whose tiles count as one place.  [default: ten times the side of a tile, at least 1]")
@click.option("--delta", type=float, default=0.1, show_default=True, help="Failure rate of a promise.")
@where_options
@engine_options
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="File to write.  [default: that of the concept, or ARCHIVE.calibration next to the archive]")
def calibrate_command(
    archive: str,
    truth: Path | None,
    column: str | None,
    concept: Path | None,
    right: tuple[str, ...],
    judged: Path | None,
    k: int | None,
    min_score: float | None,
    seed: int | None,
    labels_layer: str | None,
    min_share: float,
    block_km: float | None,
    delta: float,
    output: Path | None,
    **asked: Unpack[Asked],
) -> None:
    """Find out how often the nearest tiles of a query, or the best of a concept, are right.

    LABELS is a vector file of polygons or points with classes. Afterwards 'query --precision 0.9'
    and 'map --precision 0.9' return what can be promised. The archive is not changed. For a
    concept, options such as --time limit the tiles that count; with --judged, pass those of the
    draw.
    """
    _check_options(truth, column, concept, right, judged, drawn={"-k": k, "--min-score": min_score, "--seed": seed})
    check_engine(archive, asked)
    written = output or concept or beside(archive)
    if written is None:
        msg = f"pass -o FILE to write; {archive} is not a folder of this machine"
        raise click.UsageError(msg, click.get_current_context())
    from geohash_rs.export.formats import check_place
    from geohash_rs.store.search.where import Where

    check_place(written, inputs=[path for path in (truth, judged) if path is not None])
    limits = where_of(asked)
    promise: Promise | None
    options: Any = {"column": column, "layer": labels_layer, "min_share": min_share, "block_km": block_km, "delta": delta}
    with opened(archive, asked) as searched:
        if concept is None:
            if limits["within"] or not Where.parse(**limits).is_everything:
                msg = "limits such as --time need --concept; queries are calibrated with all labelled tiles"
                raise click.UsageError(msg, click.get_current_context())
            found = searched.calibrate(truth, **options)
            found.save(written)
            table, said, promise = found.table(), str(found), found.promise
        else:
            loaded = searched.concept(concept)
            if judged is None:
                better = loaded.calibrate(truth, right=right, **options, **limits)
            else:
                from geohash_rs.concepts.judgements import read_judgements

                good, bad = read_judgements(judged)
                better = loaded.checked(right=good, wrong=bad, k=k or 60, min_score=0.5 if min_score is None else min_score, seed=seed or 0, delta=delta, **limits)
            better.save(written)
            table, said, promise = better.table(), str(better), better.promise
    echo(*table.to_string(index=False, na_rep="-").split("\n"))
    echo(f"{said}; written to {written}.", err=True)
    echo(_promised(promise, table, then="query" if concept is None else "map"), err=True)


def _promised(promise: "Promise | None", table: "pd.DataFrame", *, then: str) -> str:
    """Return the most that can be promised, and up to where."""
    import numpy as np

    known = np.zeros(0) if promise is None else promise.promised
    if not len(known) or not known.max():
        return "nothing can be promised with so few labels; label more places, or judge more tiles."
    best = float(known.max())
    row = int(np.flatnonzero(known >= best)[-1])
    first = table.columns[1 if "score" in table.columns else 0]
    return f"most that can be promised: {best:g}, up to {first} {table[first].iloc[row]:g}; pass --precision {best:g} or less to 'geohash-rs {then}'."


def _check_options(
    truth: Path | None,
    column: str | None,
    concept: Path | None,
    right: tuple[str, ...],
    judged: Path | None,
    *,
    drawn: dict[str, object],
) -> None:
    """Check that the options fit each other."""
    given = [name for name, value in drawn.items() if value is not None]
    problem = None
    if (truth is None) == (judged is None):
        problem = "pass LABELS, or --judged for a concept"
    elif judged is not None and concept is None:
        problem = "--judged needs --concept, the one for which the tiles were drawn"
    elif truth is not None and column is None:
        problem = "LABELS need --column, the column with the class"
    elif truth is not None and concept is not None and not right:
        problem = "--concept needs --right CLASS: the class of the labels that is right"
    elif right and (concept is None or truth is None):
        problem = "--right needs LABELS and --concept"
    elif given and judged is None:
        problem = f"{given[0]} needs --judged"
    elif judged is not None and (useless := options_given(OF_LABELS)):
        problem = f"{useless[0]} needs LABELS; --judged names tiles one by one"
    if problem:
        raise click.UsageError(problem, click.get_current_context())


def read_calibration(archive: str, path: Path | None) -> "Calibration | None":
    """Read the calibration of an archive.

    Args:
        archive: The archive's address.
        path: Its file; None looks next to the archive.

    Returns:
        The calibration, or None if none is given and there is none.

    Raises:
        CalibrationError: If the file cannot be used.
    """
    if path is None:
        path = beside(archive)
        if path is None or not path.exists():
            return None
    from geohash_rs.trust.calibration import Calibration

    return Calibration.load(path)


def beside(archive: str) -> Path | None:
    """Return the path of the calibration next to an archive, None if it is not a local folder."""
    if "://" in archive:
        return None
    folder = Path(archive).resolve()
    return folder.with_name(f"{folder.name}.calibration")
