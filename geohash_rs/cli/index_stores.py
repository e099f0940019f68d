"""The part of ``geohash-rs index`` for Zarr stores of vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geohash_rs.cli.adding import add_and_report, all_are, given_options
from geohash_rs.cli.options import echo_json, in_options
from geohash_rs.cli.terminal import echo

if TYPE_CHECKING:
    from geohash_rs.archive import Archive
    from geohash_rs.indexing.report import AddReport

__all__ = ["are_stores_given", "index_stores"]

FIT = (
    "scenes", "archive", "hasher", "keep_vectors", "tile_size", "max_nodata", "model", "device", "checksum",
    "dry_run", "strict", "as_json", "always",
)  # fmt: skip


def are_stores_given(paths: Sequence[str]) -> bool:
    """Return whether the paths of a command are Zarr stores rather than scenes or tables.

    Args:
        paths: Files, folders or URIs.

    Returns:
        Whether they are.

    Raises:
        UsageError: If some are and others are not, or options are given that do not apply.
    """
    from geohash_rs.embeddings.zarr_groups import is_zarr

    stores = all_are(paths, is_zarr, noun="a Zarr store")
    unfit = [flag for name, flag in given_options().items() if name not in FIT]
    if stores and unfit:
        msg = f"{', '.join(unfit)} does not apply to Zarr stores; leave it out"
        raise click.UsageError(msg, click.get_current_context())
    return stores


def index_stores(
    paths: Sequence[str],
    archive: Path | None,
    *,
    options: dict[str, Any],
    how: dict[str, Any],
    checks: dict[str, Any],
    as_json: bool,
) -> int:
    """Add Zarr stores to an archive, or list what would be added.

    Args:
        paths: Folders or URIs.
        archive: The archive; None for a dry run.
        options: tile_size, max_nodata and model, as for `Archive.add`.
        how: Hasher of a new archive and whether it keeps vectors, as for `open_or_create`.
        checks: The settings device, checksum, strict and progress, as for `Archive.add`.
        as_json: Print the report as JSON.

    Returns:
        Exit code: 1 if a store could not be added.
    """
    said = {name: value for name, value in options.items() if value is not None}
    if archive is None:
        return _preview(paths, said, strict=bool(checks["strict"]), as_json=as_json)

    def add(target: "Archive") -> "AddReport":
        return target.add(list(paths), **checks, **said)

    return add_and_report(archive, add, how=how, as_json=as_json, noun="store")


def _preview(paths: Sequence[str], said: dict[str, Any], *, strict: bool, as_json: bool) -> int:
    """List what would be read, without writing anything."""
    from geohash_rs.embeddings.stores import StoreSettings, open_stores
    from geohash_rs.indexing.report import AddReport

    report = AddReport()
    side = said.pop("tile_size", (None,))
    if len(side) > 1:
        raise click.UsageError(f"--tile-size {','.join(map(str, side))}: a Zarr store has tiles of one size", click.get_current_context())
    found = open_stores(list(paths), StoreSettings(tile_size=side[0], **said), report, strict=strict)
    rows = [
        {
            "group": one.key,
            "tiles": one.num_rows,
            "tile_size": one.tile_size,
            "dimensions": one.embedding.dimensions,
            "model": one.embedding.model,
            "version": one.embedding.version,
        }
        for one in found
    ]
    if as_json:
        left = [{"store": path, "reason": in_options(reason)} for path, reason in report.skipped]
        echo_json({"groups": rows, "left_out": left})
        return 1 if report.skipped else 0
    for row in rows:
        echo(f"{row['tiles']:>10} tiles of {row['tile_size']} px at most  {row['group']}")
    for path, reason in report.skipped:
        echo(f"left out  {path}: {in_options(reason)}")
    return 1 if report.skipped else 0
