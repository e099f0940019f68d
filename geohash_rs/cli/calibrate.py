"""``geohash-rs calibrate``: find out with labels how often matches are right."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from geohash_rs.cli.asked import Engine, archive_argument, check_engine, engine_options, opened
from geohash_rs.cli.terminal import echo

if TYPE_CHECKING:
    from geohash_rs.trust.calibration import Calibration

__all__ = ["calibrate_command", "read_calibration"]


@click.command("calibrate")
@archive_argument
@click.argument("labels", metavar="LABELS", type=click.Path(path_type=Path))
@click.option("--column", required=True, help="Column of the labels with the class.")
@click.option("--layer", help="Layer of that file, if it has several.")
@click.option("--min-share", type=float, default=0.5, show_default=True, help="Smallest share of a tile that a class must cover, if labels are polygons.")
@click.option("--block-km", type=float, help="Side of a block of ground, km, whose tiles count as one place.  [default: ten times the side of a tile, at least 1]")
@click.option("--delta", type=float, default=0.1, show_default=True, help="Failure rate of a promise.")
@engine_options
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="File to write.  [default: ARCHIVE.calibration, next to the archive]")
def calibrate_command(
    archive: str,
    labels: Path,
    column: str,
    layer: str | None,
    min_share: float,
    block_km: float | None,
    delta: float,
    output: Path | None,
    **asked: Unpack[Engine],
) -> None:
    """Find out with LABELS how often the nearest tiles of a query are right.

    LABELS is a vector file of polygons or points with classes. 'geohash-rs query --precision 0.9'
    then returns what can be promised. The archive is not changed.
    """
    check_engine(archive, asked)
    written = output or beside(archive)
    if written is None:
        msg = f"pass -o FILE to write; {archive} is not a folder of this machine"
        raise click.UsageError(msg, click.get_current_context())
    from geohash_rs.export.formats import check_place

    check_place(written, inputs=[labels])
    with opened(archive, asked) as searched:
        found = searched.calibrate(
            labels,
            column=column,
            layer=layer,
            min_share=min_share,
            block_km=block_km,
            delta=delta,
        )
    found.save(written)
    echo(*found.table().to_string(index=False, na_rep="-").split("\n"))
    echo(f"{found}; written to {written}.", err=True)


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
