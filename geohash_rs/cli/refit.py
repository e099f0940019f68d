"""``geohash-rs refit``: fit the hasher of an archive to all that it holds."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from geohash_rs.cli.options import backbone_options, echo_json, remote_scenes_option
from geohash_rs.cli.terminal import echo

if TYPE_CHECKING:
    from geohash_rs.indexing.refit_report import RefitPlan

__all__ = ["refit_command"]


@click.command("refit")
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--hasher", help="general-BITS, itq-BITS or lsh-BITS to fit, perhaps with other bits; or the name of a shipped hasher or a .safetensors file.  [default: the archive's own, fitted again]")
@backbone_options
@click.option("--items", multiple=True, metavar="ITEMS.json", help="STAC items from which scenes were indexed, if only they say what the bands show, their scale, or which files make one scene; can be repeated.")
@click.option("--asset", help="Asset of these items that was read.  [default: as for index]")
@click.option("--batch-size", type=click.IntRange(min=1), help="Largest number of tiles to read at once; fewer if they are large.  [default: 512]")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that read scenes; 0 reads in a thread.")
@click.option("--device", default="cpu", show_default=True, help="Device that runs the network, such as cuda.")
@remote_scenes_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def refit_command(
    archive: Path,
    hasher: str | None,
    backbone: str | None,
    weights: str | None,
    layers: tuple[str, ...],
    items: tuple[str, ...],
    asset: str | None,
    batch_size: int | None,
    workers: int,
    device: str,
    remote_scenes: bool,
    as_json: bool,
) -> None:
    """Fit the hasher to all scenes of an archive, and hash every tile again.

    Use it when an archive has grown beyond the scenes on which its hasher was fitted, or to change
    the hasher or the number of bits. Tile ids, footprints, dates and labels stay. Codes and hasher
    change in one step at the end; until then, searches see the former ones. Run an interrupted
    refit again, and it resumes where it was.
    """
    from dataclasses import asdict

    from geohash_rs.archive import Archive

    def announce(plan: "RefitPlan") -> None:
        if not as_json:
            echo(str(plan))

    opened = Archive.open(archive)
    if asset is not None and not items:
        msg = "--asset says which asset of STAC items was read; pass them with --items."
        raise click.UsageError(msg)
    if items:
        from geohash_rs.scenes.dataset import Scenes

        Scenes.from_stac(*items, asset=asset)  # what items say is remembered in this process
    report = opened.refit(
        hasher,
        backbone=backbone,
        weights=weights,
        stages=layers,
        batch_size=batch_size,
        workers=workers,
        device=device,
        progress=not as_json,
        remote_scenes=remote_scenes,
        announce=announce,
    )
    if as_json:
        echo_json({**asdict(report), "archive": str(archive)})
        return
    new, old = report.fingerprint[:8], (report.former or "unknown")[:8]
    if report.fingerprint == report.former:
        echo(f"{archive} has the codes of {report.hasher} ({new}) already; nothing was changed.")
        return
    echo(
        f"{report.num_tiles} tiles of {report.num_scenes} scenes have new codes by {report.hasher} ({new}) "
        f"instead of {old}: {report.num_bits} bits, {report.num_codes} distinct codes."
    )
    echo("Codes, links with a patch and published copies made before no longer fit this archive.")
