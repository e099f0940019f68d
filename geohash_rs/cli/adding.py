"""Open or make the archive that ``geohash-rs index`` adds to, and print what was added."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from geohash_rs.cli.options import echo_json, in_options
from geohash_rs.cli.terminal import echo

if TYPE_CHECKING:
    from geohash_rs.archive import Archive
    from geohash_rs.indexing.report import AddReport

__all__ = ["add_and_report", "all_are", "given_options"]


def all_are(paths: Sequence[str], is_one: Callable[[str], bool], *, noun: str) -> bool:
    """Return whether all paths of a command are of one kind.

    Args:
        paths: Files, folders or URIs.
        is_one: Returns whether a path is of this kind.
        noun: What such a path is called.

    Returns:
        Whether all are; False if none is.

    Raises:
        UsageError: If some are and others are not.
    """
    found = [path for path in paths if is_one(path)]
    others = [path for path in paths if path not in found]
    if found and others:
        msg = f"{found[0]} is {noun} and {others[0]} is not; index them in two runs"
        raise click.UsageError(msg, click.get_current_context())
    return bool(found)


def given_options() -> dict[str, str]:
    """Return the options that the user gave to the running command.

    Returns:
        The option of each parameter, such as "--tile-size" of tile_size; arguments are included.
    """
    context = click.get_current_context()
    flags = {one.name: one.opts[0] for one in context.command.params if one.name is not None}
    return {
        name: flag
        for name, flag in flags.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }


def add_and_report(
    folder: Path,
    add: "Callable[[Archive], AddReport]",
    *,
    how: dict[str, Any],
    as_json: bool,
    noun: str = "scene",
) -> int:
    """Add to an archive, which is made if it does not exist, and print the report.

    Args:
        folder: The archive.
        add: Adds to it.
        how: Hasher of a new archive and whether it keeps vectors, as for `open_or_create`.
        as_json: Print the report as JSON.
        noun: What the tiles come from.

    Returns:
        Exit code: 1 if something could not be added.
    """
    from dataclasses import asdict

    from geohash_rs.opening import open_or_create, remove_unused
    from geohash_rs.store.creation import is_unused

    is_new = is_unused(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    target = open_or_create(folder, **how)
    try:
        report = add(target)
    finally:
        num_tiles, form = target.num_tiles, target.manifest.vectors
        if is_new:
            remove_unused(target, made=made)
    if as_json:
        echo_json({**asdict(report), "archive": str(folder), "archive_tiles": num_tiles})
    else:
        kept = folder.exists()
        vectors = f", with {form.kind} vectors of {form.row_bytes:,} bytes each" if form and num_tiles else ""
        _print_report(report, f"{folder} " + (f"holds {num_tiles} tiles{vectors}." if kept else "was not made."), noun)
    for scene, reason in report.skipped:
        echo(f"geohash-rs: skipped {scene}: {in_options(reason)}", err=True)
    return 1 if report.skipped else 0


def _print_report(report: "AddReport", total: str, noun: str) -> None:
    def counted(number: int) -> str:
        return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

    parts = [f"{report.num_tiles} tiles of {counted(report.num_scenes)} added"]
    if report.replaced:
        parts.append(f"{len(report.replaced)} of them replaced")
    if report.moved:
        parts.append(f"{counted(len(report.moved))} moved or renamed")
    if report.num_codes:
        parts.append(f"{report.num_codes} distinct codes")
    if report.unchanged:
        parts.append(f"{counted(len(report.unchanged))} unchanged")
    if report.num_nodata:
        parts.append(f"{report.num_nodata} tiles left out for nodata")
    if report.num_left_out:
        parts.append(f"{report.num_left_out} rows left out")
    if report.skipped:
        parts.append(f"{counted(len(report.skipped))} skipped")
    echo(f"{', '.join(parts)}; {total}")
    for note in report.notes:
        echo(in_options(note))
