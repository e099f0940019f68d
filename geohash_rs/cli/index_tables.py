"""The part of ``geohash-rs index`` for tables of vectors that somebody else computed."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from geohash_rs.cli.adding import add_and_report, all_are, given_options
from geohash_rs.cli.options import echo_json, in_options
from geohash_rs.cli.terminal import echo

if TYPE_CHECKING:
    from geohash_rs.archive import Archive
    from geohash_rs.embeddings.plan import Planned
    from geohash_rs.indexing.report import AddReport

__all__ = ["are_tables_given", "index_tables", "note_tables_among_scenes"]

OF_TABLES = ("vector_column", "geometry_column", "time_column", "source_column", "scale_column", "footprint_m", "crs", "model")
OF_SCENES = (
    "tile_size", "stride", "edges", "max_nodata", "resolution", "bands", "asset", "nodata", "value_range",
    "filename_regex", "date_format", "replace", "batch_size", "workers", "engine", "embedding", "backbone", "weights", "layers",
)  # fmt: skip
MOST_ROWS = 200


def are_tables_given(paths: Sequence[str]) -> bool:
    """Return whether the paths of a command are tables of vectors rather than scenes.

    Args:
        paths: Files, folders or URIs.

    Returns:
        Whether they are.

    Raises:
        UsageError: If some are and others are not, or options are given that do not apply.
    """
    from geohash_rs.embeddings.inputs import is_table_path

    tables = all_are(paths, is_table_path, noun="a table of vectors")
    unfit = [flag for name, flag in given_options().items() if name in (OF_SCENES if tables else OF_TABLES)]
    if unfit:
        what = "scenes, not for tables of vectors" if tables else "tables of vectors, not for scenes"
        msg = f"{', '.join(unfit)} is for {what}; leave it out"
        raise click.UsageError(msg, click.get_current_context())
    return tables


def note_tables_among_scenes(paths: Sequence[str]) -> None:
    """Name the tables of vectors in folders of scenes, which are not read.

    Args:
        paths: Files, folders or URIs of scenes.
    """
    from geohash_rs.embeddings.inputs import tables_among_scenes

    for path in paths:
        if tables := tables_among_scenes(path):
            more = f" and {len(tables) - 1} more" if len(tables) > 1 else ""
            echo(
                f"geohash-rs: {path} holds scenes, so its Parquet files are not read ({tables[0]}{more}); if they "
                "are tables of vectors, index them in another run, by their own paths.",
                err=True,
            )


def index_tables(
    paths: Sequence[str],
    archive: Path | None,
    *,
    options: dict[str, Any],
    how: dict[str, Any],
    checks: dict[str, Any],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Add tables to an archive, or list what would be added.

    Args:
        paths: Files and folders.
        archive: The archive; None only for a dry run.
        options: What the user says of the tables, as `TableOptions`; None where nothing was said.
        how: Hasher of a new archive and whether it keeps vectors, as for `open_or_create`.
        checks: The settings device, checksum, strict and progress, as for `Archive.add`.
        dry_run: Only list.
        as_json: Print the report as JSON.

    Returns:
        Exit code: 1 if a table could not be added.
    """
    said = {name: value for name, value in options.items() if value is not None}
    if dry_run or archive is None:
        return _preview(paths, archive, said=said, how=how, checks=checks, as_json=as_json)

    def add(target: "Archive") -> "AddReport":
        return target.add(list(paths), **checks, **said)

    return add_and_report(archive, add, how=how, as_json=as_json, noun="table")


def _preview(
    paths: Sequence[str],
    archive: Path | None,
    *,
    said: dict[str, Any],
    how: dict[str, Any],
    checks: dict[str, Any],
    as_json: bool,
) -> int:
    """List what would be read, without writing anything."""
    from dataclasses import replace

    from geohash_rs.archive import Archive
    from geohash_rs.embeddings.inputs import find_tables, open_files
    from geohash_rs.embeddings.notes import sentence_of
    from geohash_rs.embeddings.options import table_settings
    from geohash_rs.embeddings.plan import plan_sources
    from geohash_rs.indexing.report import AddReport
    from geohash_rs.indexing.settings import IndexSettings
    from geohash_rs.opening import check_asked, open_or_create
    from geohash_rs.store.creation import is_unused

    report, settings, strict = AddReport(), IndexSettings(**checks), bool(checks["strict"])
    files = find_tables(paths, report, strict=strict)
    sources = open_files(files, table_settings(said, also={}), report, strict=strict)
    with TemporaryDirectory() as folder:  # for a new archive, deleted at the end
        if archive is None or is_unused(archive):
            target = open_or_create(Path(folder) / "archive", **how)
        else:
            target = Archive.open(archive, mode="r")
            check_asked(target, **how)
        made = None if target.pending_hasher else target.hasher()
        planned = plan_sources(target, sources, made, settings, report)
        form = target.manifest.vectors
        target.close()
    rows = [_row(one) for one in planned]
    if as_json:
        left = [{"table": path, "reason": in_options(reason)} for path, reason in report.skipped]
        echo_json({"tables": rows, "unchanged": report.unchanged, "left_out": left})
        return 1 if report.skipped else 0
    notes: dict[str, list[str]] = {}
    for one in planned:
        for note in one.source.notes:
            notes.setdefault(note, []).append(one.source.name)
    lines = [f"{row['rows']:>10} rows  {row['table']}" for row in rows]
    lines += [f"left out  {path}: {in_options(reason)}" for path, reason in report.skipped]
    said_of_all = [*(sentence_of(names, note) for note, names in notes.items()), *report.notes]
    for line in lines[:MOST_ROWS] + [in_options(note) for note in said_of_all]:
        echo(line)
    if len(lines) > MOST_ROWS:
        echo(f"... and {len(lines) - MOST_ROWS} more (--json lists all)")
    total = sum(row["rows"] for row in rows)
    echo(
        f"{total} rows of {_counted(len(rows))} would be read; {_counted(len(report.unchanged))} "
        f"unchanged; {len(report.skipped)} left out."
    )
    if form is not None and planned:
        size = replace(form, length=planned[0].source.embedding.dimensions).row_bytes
        echo(f"Their {form.kind} vectors would take {size * total / 1e6:,.1f} MB, {size:,} bytes a tile.")
    return 1 if report.skipped else 0


def _counted(number: int) -> str:
    return "1 table" if number == 1 else f"{number} tables"


def _row(one: "Planned") -> dict[str, Any]:
    """Describe a table that would be read."""
    source = one.source
    return {
        "table": source.key,
        "rows": (source.num_rows or 0) - sum(one.before),
        "dimensions": source.embedding.dimensions,
        "model": source.embedding.model,
        "version": source.embedding.version,
        **source.record.settings["vectors"],
    }
