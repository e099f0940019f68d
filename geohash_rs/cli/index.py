"""``geohash-rs index``: add scenes to an archive."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from geohash_rs.cli.options import (
    Numbers,
    Sizes,
    backbone_of,
    backbone_options,
    bands_of,
    echo_json,
    in_options,
)
from geohash_rs.cli.terminal import echo

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
@click.option("--batch-size", type=click.IntRange(min=1), help="Largest number of tiles to read at once; fewer if they are large.  [default: 512]")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that read scenes; 0 reads in a thread.")
@click.option("--device", default="cpu", show_default=True, help="Device that runs the network, such as cuda.")
@click.option("--checksum", is_flag=True, help="Compare files by checksum, not by size and time, and store checksums.")
@click.option("--engine", metavar="ADDRESS", help="Distribute the scenes over a Ray cluster: local (all cores of this machine), auto, HOST:6379 or ray://HOST:10001.")
@click.option("--dry-run", is_flag=True, help="Only list what would be read and what would be left out, with reasons; --archive is optional.")
@click.option("--strict", is_flag=True, help="Stop at the first scene that cannot be added.")
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
    batch_size: int | None,
    workers: int,
    device: str,
    checksum: bool,
    engine: str | None,
    dry_run: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Add GeoTIFF scenes (files, folders or URIs, or those of STAC items in .json) to an archive.

    Scenes that the archive already has are skipped, unless their files have changed. The exit code
    is 1 if a scene could not be added; all others are added.
    """
    target_folder = _check_use(archive, engine=engine, workers=workers, dry_run=dry_run)
    from dataclasses import asdict
    from typing import Any

    from geohash_rs.archive import Archive, open_or_create, remove_unused
    from geohash_rs.scenes.dataset import Scenes
    from geohash_rs.scenes.stac import is_stac_path
    from geohash_rs.store.creation import is_unused

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
    how: dict[str, Any] = {
        "hasher": hasher,
        "backbone": backbone_of(backbone, weights, layers),
        "keep_vectors": keep_vectors,
    }
    if target_folder is None:
        from geohash_rs.cli.preview import print_preview

        return print_preview(found, archive, how=how, grid=grid, embedding=embedding, as_json=as_json)
    is_new = is_unused(target_folder)
    made = [folder for folder in (target_folder, *target_folder.parents) if not folder.exists()]
    target: Archive = open_or_create(target_folder, **how)
    try:
        settings: dict[str, Any] = grid | {
            "embedding": embedding,
            "batch_size": batch_size,
            "device": device,
            "checksum": checksum,
            "strict": strict,
            "progress": not as_json,
        }
        if engine is None:
            report = target.add(found, workers=workers, **settings)
        else:
            from geohash_rs.engines.ray.index import index_scenes

            report = index_scenes(target, found, address=engine, **settings)
    finally:
        num_tiles, form = target.num_tiles, target.manifest.vectors
        if is_new:
            remove_unused(target, made=made)
    if as_json:
        echo_json({**asdict(report), "archive": str(archive), "archive_tiles": num_tiles})
    else:
        kept = target_folder.exists()
        vectors = f", with {form.kind} vectors of {form.row_bytes:,} bytes each" if form and num_tiles else ""
        _print_report(report, f"{archive} " + (f"holds {num_tiles} tiles{vectors}." if kept else "was not made."))
    for scene, reason in report.skipped:
        echo(f"geohash-rs: skipped {scene}: {in_options(reason)}", err=True)
    return 1 if report.skipped else 0


def _print_report(report: "AddReport", total: str) -> None:
    parts = [f"{report.num_tiles} tiles of {report.num_scenes} scenes added"]
    if report.replaced:
        parts.append(f"{len(report.replaced)} of them replaced")
    if report.num_codes:
        parts.append(f"{report.num_codes} distinct codes")
    if report.unchanged:
        parts.append(f"{len(report.unchanged)} scenes unchanged")
    if report.num_nodata:
        parts.append(f"{report.num_nodata} tiles left out for nodata")
    if report.skipped:
        parts.append(f"{len(report.skipped)} scenes skipped")
    echo(f"{', '.join(parts)}; {total}")
    for note in report.notes:
        echo(in_options(note))


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
