"""``geohash-rs index``: add scenes to an archive."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geohash_rs.cli.adding import add_and_report
from geohash_rs.cli.options import (
    Numbers,
    Sizes,
    backbone_of,
    backbone_options,
    bands_of,
    in_options,
)
from geohash_rs.cli.terminal import ask, can_ask, echo

if TYPE_CHECKING:
    from geohash_rs.indexing.report import AddReport
    from geohash_rs.store.disk.manifest import KeepVectors

__all__ = ["index_command"]


@click.command("index")
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@click.option("--archive", type=click.Path(path_type=Path), help="Archive folder; created if it does not exist.")
@click.option("--hasher", help="Name of a shipped hasher, a .safetensors file, or general-BITS / itq-BITS / lsh-BITS.  [default: general-64]")
@backbone_options
@click.option("--keep-vectors", type=click.Choice(["float16", "int8", "none"]), help="Keep the feature vector of every tile of a new archive, with 2 bytes or 1 byte a number, so that tiles can be hashed again without their pixels.  [default: none, or as the archive was made]")
@click.option("--tile-size", type=Sizes(), help="Columns and rows of a tile, px; several sizes, such as 64,128,256, cut each scene in all of them.  [default: the hasher's, or 64; the several sizes of the archive's scenes if all have the same]")
@click.option("--stride", type=Sizes(), help="Step between tiles, px: one for all tile sizes, or one for each.  [default: the tile size]")
@click.option("--edges", type=click.Choice(["shift", "pad", "drop"]), default="shift", show_default=True, help="If the grid does not fit the scene, shift the last tile inside, pad it with nodata, or drop it.")
@click.option("--max-nodata", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Leave out tiles with a larger share of nodata.")
@click.option("--resolution", type=click.FloatRange(min=0, min_open=True), help="Resample tiles of all scenes to this ground size, m per pixel.  [default: the hasher's, or each scene's own]")
@click.option("--bands", help="One-based indexes or names, such as 4,3,2 or red,green,blue.  [default: those of the hasher, or while it is not fitted, those that most scenes share]")
@click.option("--asset", help="Asset of STAC items to read.  [default: the only asset with the role data, or the only raster]")
@click.option("--nodata", type=float, help="Value of missing pixels.  [default: each file's own]")
@click.option("--value-range", type=Numbers("low,high"), help="The scenes' values that correspond to the lowest and highest that the hasher was made for.  [default: detect and compare]")
@click.option("--date", help="When the scenes were taken, ISO 8601.  [default: STAC item, file name or TIFF tag]")
@click.option("--filename-regex", help="Pattern with a group 'date', or 'start' and 'stop', as in TorchGeo.")
@click.option("--date-format", default="%Y%m%d", show_default=True, help="Date format of these groups.")
@click.option("--embedding", metavar="NAME[:VERSION]", help="What the bands of the rasters are, if they are a published embedding and no picture: alphaearth, tessera:VERSION, presto, copernicus-embed, or raw (as they are).  [default: the archive's, or recognised by band and file names]")
@click.option("--vector-column", help="Of tables of vectors: the column of the vectors.  [default: found by name and type]")
@click.option("--geometry-column", help="Of tables: the column of the footprints, or LON,LAT, two columns with the centres.  [default: as the file says, or found by name]")
@click.option("--time-column", help="Of tables: the column of the dates, or FIRST,LAST, two columns.  [default: found by name and type]")
@click.option("--source-column", help="Of tables: the column that names the image behind each vector.  [default: found by name]")
@click.option("--scale-column", help="Of tables: the column by which vectors of integers are multiplied.  [default: found by name]")
@click.option("--footprint-m", type=click.FloatRange(min=0, min_open=True), help="Of tables with points: the side of the square footprint around each, m.")
@click.option("--crs", help="Of tables: the CRS of the coordinates, such as EPSG:32633.  [default: as the file says]")
@click.option("--model", help="Of tables: the model that made the vectors.  [default: as the file says]")
@click.option("--batch-size", type=click.IntRange(min=1), help="Largest number of tiles to read at once; fewer if they are large.  [default: 512]")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that read scenes; 0 reads in a thread.")
@click.option("--device", default="cpu", show_default=True, help="Device that runs the network, such as cuda.")
@click.option("--checksum", is_flag=True, help="Compare files by checksum, not by size and time, and store checksums.")
@click.option("--engine", metavar="ADDRESS", help="Distribute the scenes over a Ray cluster: local (all cores of this machine), auto, HOST:6379 or ray://HOST:10001.")
@click.option("--replace", is_flag=True, help="Replace the tiles of scenes that the archive has with another tile size or stride, without asking.")
@click.option("--dry-run", is_flag=True, help="Only list what would be read and what would be left out, with reasons; --archive is optional.")
@click.option("--strict", is_flag=True, help="Stop at the first scene that cannot be added.")
@click.option("--progress", "always", is_flag=True, help="Show progress also to a program that reads the output.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def index_command(
    scenes: tuple[str, ...],
    archive: Path | None,
    hasher: str | None,
    backbone: str | None,
    weights: str | None,
    layers: tuple[str, ...],
    keep_vectors: "KeepVectors | None",
    tile_size: tuple[int, ...] | None,
    stride: tuple[int, ...] | None,
    edges: str,
    max_nodata: float,
    resolution: float | None,
    bands: str | None,
    asset: str | None,
    nodata: float | None,
    value_range: tuple[float, float] | None,
    date: str | None,
    filename_regex: str | None,
    date_format: str,
    embedding: str | None,
    vector_column: str | None,
    geometry_column: str | None,
    time_column: str | None,
    source_column: str | None,
    scale_column: str | None,
    footprint_m: float | None,
    crs: str | None,
    model: str | None,
    batch_size: int | None,
    workers: int,
    device: str,
    checksum: bool,
    engine: str | None,
    replace: bool,
    dry_run: bool,
    strict: bool,
    always: bool,
    as_json: bool,
) -> int:
    """Add GeoTIFF scenes (files, folders or URIs, or those of STAC items in .json) to an archive.

    Or tables of vectors that somebody else computed: Parquet files, or folders of them. Or Zarr
    stores of such vectors, by --tile-size, --max-nodata and --model.

    Scenes that the archive already has are skipped, unless their files have changed. The exit code
    is 1 if a scene could not be added; all others are added.
    """
    target_folder = _check_use(archive, engine=engine, workers=workers, dry_run=dry_run)
    from geohash_rs.archive import Archive
    from geohash_rs.cli.index_stores import are_stores_given, index_stores
    from geohash_rs.cli.index_tables import are_tables_given, index_tables, note_tables_among_scenes
    from geohash_rs.scenes.dataset import Scenes
    from geohash_rs.scenes.stac import is_stac_path

    shown = "always" if always else not as_json
    how: dict[str, Any] = {
        "hasher": hasher,
        "backbone": backbone_of(backbone, weights, layers, archive=archive),
        "keep_vectors": keep_vectors,
    }
    if embedding is not None and (are_stores_given(scenes) or are_tables_given(scenes)):
        msg = "--embedding says what the bands of rasters are; name the model of tables and stores of vectors with --model"
        raise click.UsageError(msg, click.get_current_context())
    if are_stores_given(scenes):
        sizes = {"tile_size": tile_size, "max_nodata": max_nodata, "model": model}
        checks = {"device": device, "checksum": checksum, "strict": strict, "progress": shown}
        return index_stores(scenes, target_folder, options=sizes, how=how, checks=checks, as_json=as_json)
    if are_tables_given(scenes):
        options: dict[str, Any] = {"datetime": date, "vector_column": vector_column, "geometry_column": geometry_column}
        options |= {"time_column": time_column, "source_column": source_column, "crs": crs, "model": model}
        options |= {"scale_column": scale_column, "footprint_m": footprint_m}
        checks = {"device": device, "checksum": checksum, "strict": strict, "progress": shown}
        return index_tables(scenes, archive, options=options, how=how, checks=checks, dry_run=dry_run, as_json=as_json)
    note_tables_among_scenes(scenes)
    items = [path for path in scenes if is_stac_path(path)]
    found = Scenes.from_stac(
        *items,
        asset=asset,
        also=[path for path in scenes if path not in items],
        bands=bands_of(bands),
        nodata=nodata,
        value_range=value_range,
        filename_regex=filename_regex,
        date_format=date_format,
        datetime=date,
        strict=strict,
    )
    grid: dict[str, Any] = {
        "tile_size": tile_size,
        "stride": stride,
        "edges": edges,
        "max_nodata": max_nodata,
        "resolution": resolution,
    }
    if target_folder is None:
        from geohash_rs.cli.preview import print_preview

        return print_preview(found, archive, how=how, grid=grid, embedding=embedding, as_json=as_json)
    settings: dict[str, Any] = grid | {
        "embedding": embedding,
        "batch_size": batch_size,
        "device": device,
        "checksum": checksum,
        "strict": strict,
        "progress": shown,
    }

    def add(target: Archive, *, replace: bool = replace) -> "AddReport":
        if engine is None:
            return target.add(found, workers=workers, replace=replace, **settings)
        from geohash_rs.engines.ray.index import index_scenes

        return index_scenes(target, found, address=engine, replace=replace, **settings)

    def add_or_ask(target: Archive) -> "AddReport":
        from geohash_rs.errors import TilesReplacedError

        try:
            return add(target)
        except TilesReplacedError as error:
            if not can_ask():
                raise
            echo(f"geohash-rs: {in_options(str(error))}", err=True)
            ask("Replace them?")
            return add(target, replace=True)

    return add_and_report(target_folder, add_or_ask, how=how, as_json=as_json)


def _check_use(archive: Path | None, *, engine: str | None, workers: int, dry_run: bool) -> Path | None:
    """Return the folder to write to; None for a dry run."""
    context = click.get_current_context()
    if archive is None and not dry_run:
        msg = "Missing option '--archive' (only --dry-run works without it)."
        raise click.UsageError(msg, context)
    if engine is not None and workers:
        msg = f"--workers {workers} is for one machine; with --engine, each core of the cluster is a worker"
        raise click.UsageError(msg, context)
    scheme = archive.parts[0] if archive is not None and archive.parts else ""
    if scheme.endswith(":") and len(scheme) > 2:  # C: is a drive
        msg = f"--archive must be a folder, not {scheme}//...; index into a folder, then copy it there with 'geohash-rs push'"
        raise click.UsageError(msg, context)
    return None if dry_run else archive
