"""``geohash-rs map``: draw what a concept covers as areas, and its scores as rasters."""

from pathlib import Path
from typing import Unpack

import click

from geohash_rs.cli.asked import (
    Asked,
    archive_argument,
    check_engine,
    engine_options,
    opened,
    where_of,
    where_options,
)
from geohash_rs.cli.terminal import echo

__all__ = ["map_command"]

MOST_PRINTED = 40  # rows of totals


@click.command("map")
@archive_argument
@click.argument("concept", type=click.Path(path_type=Path), metavar="FILE.concept")
@click.option("--precision", type=float, help="Draw as much as can be drawn with this precision promised, such as 0.9; the concept must be calibrated.")
@click.option("--min-score", type=click.FloatRange(0, 1), help="Draw tiles from this score on.  [default: 0.5 without --precision]")
@click.option("--dates", type=click.Choice(["apart", "merged"]), default="apart", show_default=True, help="apart: areas of each day by themselves. merged: ground that is found on any day.")
@click.option("--min-area", type=click.FloatRange(min=0), default=0.0, show_default=True, metavar="KM2", help="Leave out areas, and fill gaps in areas, that are smaller than this.")
@click.option("--by", type=click.Path(path_type=Path), metavar="LAYER", help="Polygons to cut areas at and to sum up by, such as districts: a vector file that says its CRS.")
@click.option("--by-layer", help="Layer of that file, if it has several.")
@click.option("--by-column", metavar="NAME", help="Column of that file with the names.  [default: number the polygons]")
@click.option("--raster", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", help="Also write the scores of all tiles to this folder: a GeoTIFF for each scene, one pixel a tile.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write: .gpkg, styled for QGIS and with a layer of totals, .geojson, .parquet, .csv or .html. Without this option, the totals are printed.")
@where_options
@engine_options
def map_command(
    archive: str,
    concept: Path,
    precision: float | None,
    min_score: float | None,
    dates: str,
    min_area: float,
    by: Path | None,
    by_layer: str | None,
    by_column: str | None,
    raster: Path | None,
    output: Path | None,
    **asked: Unpack[Asked],
) -> None:
    """Draw the ground that a concept covers as areas with their size.

    Tiles that overlap count each ground once. The totals are printed: of each day, and of each
    region with --by. Of several tile sizes in a scene only the smallest is drawn; --tile-size
    chooses another.
    """
    given = [option for option, value in (("--by-layer", by_layer), ("--by-column", by_column)) if value is not None]
    if given and by is None:
        msg = f"{given[0]} needs --by"
        raise click.UsageError(msg, click.get_current_context())
    check_engine(archive, asked)
    from geohash_rs.export.formats import check_output, check_place

    if output is not None:
        check_output(output, inputs=[concept, *([] if by is None else [by])])
    if raster is not None:
        check_place(raster / "raster.tif" if raster.is_dir() else raster)
    limits = where_of(asked)
    with opened(archive, asked) as searched:
        loaded = searched.concept(concept)
        areas = loaded.map(precision=precision, min_score=min_score, dates=dates, min_area_km2=min_area, by=by, by_layer=by_layer, by_column=by_column, **limits)
        written = [] if raster is None else loaded.rasters(raster, **limits)
    if written:
        echo(f"{len(written)} score raster{'s' * (len(written) > 1)} written to {raster}.", err=True)
    if output is not None:
        areas.to_file(output)
        echo(f"{len(areas)} area{'s' * (len(areas) != 1)} written to {output}.", err=True)
    if len(areas):  # else a warning has said so
        _print_totals(areas.totals)


def _print_totals(totals: object) -> None:
    import pandas as pd

    from geohash_rs.export.plain_text import plain_text

    frame = pd.DataFrame(totals).drop(columns="geometry", errors="ignore")  # type: ignore[call-overload]  # a frame
    if "date" in frame.columns:
        frame["date"] = frame["date"].dt.strftime("%Y-%m-%d")
    if "region" in frame.columns:
        frame["region"] = frame["region"].map(lambda name: plain_text(str(name)))
    if "share" in frame.columns:
        frame["share"] = frame["share"].map("{:.2%}".format)
    echo(*frame.head(MOST_PRINTED).to_string(index=False, na_rep="-", float_format="{:,.3f}".format).split("\n"))
    if len(frame) > MOST_PRINTED:
        echo(f"... and {len(frame) - MOST_PRINTED} more rows; write them to a file with -o.", err=True)
