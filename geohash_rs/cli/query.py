"""``geohash-rs query``: find tiles that look alike."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from geohash_rs.cli.asked import (
    DATABASES,
    Asked,
    check_engine,
    engine_options,
    opened,
    where_of,
    where_options,
)
from geohash_rs.cli.calibrate import read_calibration
from geohash_rs.cli.options import Numbers, bands_of, remote_scenes_option
from geohash_rs.cli.query_server import AUTO, Examples, Limits, answered
from geohash_rs.cli.terminal import echo
from geohash_rs.cli.tile_table import check_pictures, print_tile_at_point, print_tiles
from geohash_rs.errors import GeoHashRSWarning

if TYPE_CHECKING:
    from geohash_rs.retrieval.matches import Matches

__all__ = ["query_command"]

WITH_CRS = (".gpkg", ".parquet")


@click.command("query")
@click.argument("archive", metavar="ARCHIVE|s3://...|postgresql://...", required=False)
@click.argument("patches", metavar="[PATCH]...", nargs=-1)
@click.option("--point", type=Numbers("lon,lat"), help="Search with the archive's tile at this place: of --time, --scene, --label and --tile-size, the smallest, then the latest.")
@click.option("--tile", "tiles", type=int, multiple=True, help="Search with the archive's tile that has this id; can be repeated.")
@click.option("--vector", metavar="FILE.npy|FILE.parquet:ROW", help="Search with the feature vector, or the vectors, in this file, or with that in this row of a table, from 0.")
@click.option("--each", metavar="LAYER|FOLDER", help="Search with each point or polygon of a vector file, or with each GeoTIFF of a folder; the column query says which. --layer chooses its layer.")
@click.option("--id-column", help="Column with the ids of the rows of --each.  [default: number them from 1]")
@click.option("--union", is_flag=True, help="All of --each are examples of one query, with one ranking.")
@click.option("--concept", type=click.Path(path_type=Path), metavar="FILE.concept", help="List the tiles with the highest scores of a concept, see 'geohash-rs learn', instead of those near an example.")
@click.option("--negative", "negatives", multiple=True, metavar="ID|PATCH", help="Tile or patch to avoid: a negative example; can be repeated.")
@click.option("-k", type=click.IntRange(min=1), help="Number of matches.  [default: 20; all if only --max-distance or --precision is set]")
@click.option("--window", type=Numbers("col,row,w,h", whole=True), help="Part of the patch to search with, px.")
@click.option("--bands", help="Bands of the patch: one-based indexes or names, such as 4,3,2.")
@click.option("--value-range", type=Numbers("low,high"), help="The patch's values that correspond to the lowest and highest that the hasher was made for.  [default: detect and compare]")
@click.option("--max-distance", type=click.IntRange(min=0), help="Largest Hamming distance, bits, inclusive.")
@click.option("--precision", type=float, help="Only tiles within the distance up to which this share of tiles can be promised to be right, such as 0.9; needs a calibration.")
@click.option("--calibration", type=click.Path(path_type=Path), metavar="FILE", help="File of 'geohash-rs calibrate'.  [default: ARCHIVE.calibration, if it exists]")
@where_options
@click.option("--exclude-overlap", is_flag=True, help="Leave out tiles that overlap the query.")
@click.option("--distinct", is_flag=True, help="Leave out tiles that overlap a better match.")
@click.option("--ranking", type=click.Choice(["hamming", "asymmetric", "vectors"]), default="hamming", show_default=True, help="asymmetric: give more weight to the bits of the patch that the hasher is sure of. vectors: order the nearest 1,000 tiles by the feature vectors that the archive keeps.")
@engine_options
@click.option("--server", metavar="URL|auto", help="Let a running 'geohash-rs serve' answer, at once. URL: its address; it has the archive, so leave out ARCHIVE; it needs -k with --max-distance. auto: ask the one at the default address, if it serves ARCHIVE and can do what the other options say.")
@click.option("--crs", help="CRS of a .gpkg or .parquet file, such as EPSG:32633; other formats are in longitude and latitude.  [default: EPSG:4326]")
@click.option("--device", default="cpu", show_default=True, help="Device that runs the network, such as cuda.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write: .geojson, .gpkg, .parquet, .csv or .html. Without this option, a table is printed.")
@remote_scenes_option
@click.option("--json", "as_json", is_flag=True, help="Print GeoJSON instead of a table.")
def query_command(
    archive: str | None,
    patches: tuple[str, ...],
    point: tuple[float, ...] | None,
    tiles: tuple[int, ...],
    vector: str | None,
    each: str | None,
    id_column: str | None,
    union: bool,
    concept: Path | None,
    negatives: tuple[str, ...],
    k: int | None,
    window: tuple[int, ...] | None,
    bands: str | None,
    value_range: tuple[float, float] | None,
    max_distance: int | None,
    precision: float | None,
    calibration: Path | None,
    exclude_overlap: bool,
    distinct: bool,
    ranking: str,
    server: str | None,
    crs: str | None,
    device: str,
    output: Path | None,
    remote_scenes: bool,
    as_json: bool,
    **asked: Unpack[Asked],
) -> None:
    """Find the tiles that look like a PATCH (a GeoTIFF), like a place, or like a tile.

    Several patches and tiles are all examples of what to find; --each searches with each of many
    places or patches on its own. From an archive in object storage, only the files that the search
    needs are fetched, to the user's cache folder.
    """
    archive, patches = _archive_and_patches(archive, patches, server)
    examples = {"PATCH": patches, "--tile": tiles, "--point": point, "--vector": vector}
    _check_each(each, {**examples, "--negative": negatives, "--window": window, "--concept": concept}, {"--id-column": id_column, "--union": union})
    if concept is not None:
        others = {**examples, "--negative": negatives, "--max-distance": max_distance, "--exclude-overlap": exclude_overlap, "--calibration": calibration, "--ranking": ranking != "hamming"}
        _check_alone(others)
    else:
        _check_some({**examples, "--each": each})
    some = [*filter(None, [each]), *patches, *(text for text in negatives if not text.isdecimal())]
    _check_patch_options(some, {"--bands": bands, "--value-range": value_range})
    _check_patch_options(patches, {"--window": window})
    check_pictures(output, remote_scenes=remote_scenes)
    if output is not None:
        from geohash_rs.export.formats import check_output

        check_output(output, inputs=[*some, *filter(None, [asked["region"]])])
    _check_crs(crs, output)
    most = 20 if k is None and max_distance is None and precision is None else k
    what: Examples = {"patches": patches, "tiles": tiles, "point": point, "negatives": negatives, "bands": bands}
    limits: Limits = {"k": most, "max_distance": max_distance, "exclude_overlap": exclude_overlap, "distinct": distinct}
    if answered(server, archive, what, limits, asked, output=output, as_json=as_json):
        return
    check_engine(archive, asked)
    layer = asked["layer"]
    asked["layer"] = _layer_of_region(each, asked)
    where = where_of(asked)
    with opened(archive, asked) as searched:
        if concept is not None:
            matches = searched.concept(concept).query(most, precision=precision, distinct=distinct, crs=crs, **where)
        else:
            searched.calibration = read_calibration(archive, calibration)
            options: dict[str, Any] = {
                "k": most,
                "bands": bands_of(bands),
                "value_range": value_range,
                "max_distance": max_distance,
                "precision": precision,
                **where,
                "exclude_overlap": exclude_overlap,
                "ranking": ranking,
                "distinct": distinct,
                "crs": crs,
                "device": device,
            }
            if each is not None:
                matches = searched.query_each(each, layer=layer, id_column=id_column, union=union, **options)
            else:
                wrong = [int(text) if text.isdecimal() else text for text in negatives]
                matches = searched.query(patches, point=point, tile=tiles, vector=vector, negatives=wrong, window=window, **options)
    if point is not None:
        print_tile_at_point(matches)
    if output is not None:
        matches.to_file(output, remote_scenes=remote_scenes)
        of = "" if each is None or union else f" of {matches['query'].nunique()} queries"
        echo(f"{len(matches)} matches{of} written to {output}.", err=True)
    if as_json:
        _print_geojson(matches)
    elif output is None:
        print_tiles(matches, scores=concept is not None)


def _check_each(each: str | None, others: Mapping[str, object], own: Mapping[str, object]) -> None:
    """Check that many queries are not combined with single ones, nor what belongs to them given alone."""
    for option, given in (own if each is None else others).items():
        if given not in (None, (), False):
            msg = f"{option} needs --each" if each is None else f"--each stands for the examples; leave out {option}"
            raise click.UsageError(msg, click.get_current_context())


def _check_crs(crs: str | None, output: Path | None) -> None:
    """Warn of a CRS in which nothing is written."""
    if crs is not None and (output is None or output.suffix.lower() not in WITH_CRS):
        msg = f"--crs {crs} has no effect: only {' and '.join(WITH_CRS)} files are written in it; GeoJSON, CSV and HTML are in longitude and latitude, and a table has no coordinates."
        warnings.warn(msg, GeoHashRSWarning, stacklevel=2)


def _layer_of_region(each: str | None, asked: Asked) -> str | None:
    """Return the layer of the region's file; without a region, --layer is of --each."""
    layer = asked["layer"]
    if each is None or layer is None:
        return layer
    if asked["region"] is not None:
        msg = "--layer may be of --each or of --region; convert one of them to a file with one layer"
        raise click.UsageError(msg, click.get_current_context())
    return None


def _print_geojson(matches: "Matches") -> None:
    from geohash_rs.export.geojson import geojson_features

    features = list(geojson_features(matches))
    lines = [*(f"{feature}," for feature in features[:-1]), *features[-1:]]
    echo('{"type": "FeatureCollection", "features": [', *lines, "]}")


def _archive_and_patches(archive: str | None, patches: tuple[str, ...], server: str | None) -> tuple[str, tuple[str, ...]]:
    """Take the first argument for the archive; for a patch too if the server at an address has the archive."""
    context = click.get_current_context()
    if server in (None, AUTO):
        if archive is None:
            raise click.MissingParameter(ctx=context, param=context.command.params[0])
        if not archive.startswith(DATABASES) and Path(archive).is_file():
            kind = "a GeoTIFF" if archive.lower().endswith((".tif", ".tiff")) else "a file"
            msg = f"{archive} is {kind}, not an archive; put the archive before it"
            raise click.UsageError(msg, context)
        return archive, patches
    if archive is not None and (archive.startswith(DATABASES) or Path(archive).is_dir()):
        msg = f"{archive} is an archive, not a patch, and the server has its own; leave it out, or pass --server {AUTO}"
        raise click.UsageError(msg, context)
    return "", patches if archive is None else (archive, *patches)


def _check_some(examples: Mapping[str, object]) -> None:
    """Check that there is something to search with."""
    if all(value in (None, ()) for value in examples.values()):
        msg = "pass a PATCH.tif, --point, --tile, --vector, --each or --concept to search with"
        raise click.UsageError(msg, click.get_current_context())


def _check_alone(others: Mapping[str, object]) -> None:
    """Check that a concept is not combined with what it stands for."""
    for option, given in others.items():
        if given not in (None, (), False):
            msg = f"--concept stands for the examples and their ranking; leave out {option}"
            raise click.UsageError(msg, click.get_current_context())


def _check_patch_options(patches: Sequence[str], options: Mapping[str, object]) -> None:
    for option, given in options.items():
        if given is not None and not patches:
            msg = f"{option} needs a patch"
            raise click.UsageError(msg, click.get_current_context())
