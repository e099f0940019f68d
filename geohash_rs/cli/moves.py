"""``geohash-rs remove``, ``relocate`` and ``prune``: scenes that go or move."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geohash_rs.cli.options import echo_json
from geohash_rs.cli.terminal import ask, can_ask, echo

if TYPE_CHECKING:
    from geohash_rs.indexing.gone import PruneReport
    from geohash_rs.indexing.moved import Problems, RelocateReport

__all__ = ["prune_command", "relocate_command", "remove_command"]

MOST_ROWS = 50  # scenes listed; --json lists all

archive_argument = click.argument("archive", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("remove")
@archive_argument
@click.option("--scene", "scenes", multiple=True, help="Path of a scene, or its file name; can be repeated.")
@click.argument("others", nargs=-1, metavar="")
@json_option
def remove_command(archive: Path, scenes: tuple[str, ...], others: tuple[str, ...], as_json: bool) -> None:
    """Remove the scenes named by --scene from an archive, with all their tiles."""
    if others or not scenes:
        msg = f"pass each scene with --scene, such as --scene {others[0] if others else 'NAME'}"
        raise click.UsageError(msg, click.get_current_context())
    from geohash_rs.archive import Archive
    from geohash_rs.errors import SceneError
    from geohash_rs.store.search.scene_names import full_names

    opened = Archive.open(archive)
    keys = full_names(scenes, lambda: {*opened.scene_names(), *(one.scene for one in opened.scenes())}, what="--scene")
    removed = opened.remove_scenes(keys)
    if removed == 0:
        msg = f"{archive} has no tile of {', '.join(keys)}; see 'geohash-rs info --json' for its scenes."
        raise SceneError(msg)
    if as_json:
        echo_json({"removed": removed, "archive_tiles": opened.num_tiles})
    else:
        echo(f"{removed} tiles removed; {archive} holds {opened.num_tiles} tiles.")


@click.command("relocate")
@archive_argument
@click.argument("old")
@click.argument("new")
@click.option("--problems", type=click.Choice(["refuse", "leave", "relocate"]), default="refuse", show_default=True, help="If a file is missing under NEW or is another one: refuse all, leave those scenes as they are, or relocate them, too.")
@click.option("--dry-run", is_flag=True, help="Only report what would be done.")
@json_option
def relocate_command(archive: Path, old: str, new: str, problems: "Problems", dry_run: bool, as_json: bool) -> int:
    """Find scenes under another path, since their files were moved.

    OLD is the folder, file or start of an address under which scenes were indexed, NEW is where
    they are now. Tile ids, codes, labels and dates stay.
    """
    from geohash_rs.archive import Archive

    opened = Archive.open(archive, mode="r" if dry_run else "a")
    report = opened.relocate(old, new, problems=problems, dry_run=dry_run)
    refused = dry_run and problems == "refuse" and bool(report.left)
    if as_json:
        echo_json({**asdict(report), "dry_run": dry_run})
        return 1 if refused else 0
    _list([f"missing  {name}" for name in report.missing])
    _list([f"another file  {name}: {why}" for name, why in report.differing])
    if refused:
        echo(f"{_scenes(len(report.left))} missing or another file, so nothing would be relocated; see --problems.", err=True)
        return 1
    _print_relocated(report, new, dry_run=dry_run)
    return 0


def _print_relocated(report: "RelocateReport", new: str, *, dry_run: bool) -> None:
    would = " would be" if dry_run else ""
    echo(f"{_scenes(report.num_scenes)} with {report.num_tiles} tiles{would} relocated to {new}.")
    if report.left:
        echo(f"{_scenes(len(report.left))} left as they were.")
    if report.unproven:
        echo(f"{_scenes(len(report.unproven))} of the same size and grid, but another time, were taken for the same: no checksum was recorded to compare, such as {report.unproven[0]}.", err=True)
    if report.unchecked:
        echo(f"{_scenes(len(report.unchecked))} not compared, since they are not on this machine, such as {report.unchecked[0]}.", err=True)


@click.command("prune")
@archive_argument
@click.option("--gone", multiple=True, metavar="FOLDER", help="Folder of which you know that all its scenes were deleted; can be repeated. Without it, scenes stay if their whole folder is missing, since a disk may not be mounted.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@json_option
def prune_command(archive: Path, gone: tuple[str, ...], yes: bool, dry_run: bool, as_json: bool) -> int:
    """Remove the tiles of scenes whose files no longer exist, after listing them.

    If files were renamed or moved, run 'geohash-rs index' first, which gives their tiles the new
    path. Those that still lie in their folder or below it are listed as moved and kept.

    The exit code is 1 if scenes were kept because their whole folder is missing.
    """
    from geohash_rs.archive import Archive
    from geohash_rs.indexing.gone import prune_scenes

    opened = Archive.open(archive, mode="r" if dry_run else "a")
    report = opened.prune(gone=gone, dry_run=True)
    if not as_json:
        _list([f"gone  {name} ({count} tiles)" for name, count in report.gone.items()])
        _list([f"moved  {name}, now {now}" for name, now in report.moved.items()])
    removed = 0
    if report.gone and not dry_run:
        if not yes and not can_ask():
            msg = "cannot ask without a terminal; pass --yes to remove them, or --dry-run to list them only"
            raise click.UsageError(msg, click.get_current_context())
        if not yes:
            ask(f"Remove {report.num_tiles} tiles of {_scenes(len(report.gone))} from {archive}?")
        removed = prune_scenes(opened, report)
    _print_kept(report)
    if as_json:
        echo_json({**asdict(report), "removed": removed, "archive_tiles": opened.num_tiles})
    elif dry_run:
        echo(f"{report.num_tiles} tiles of {_scenes(len(report.gone))} would be removed; the files of {_scenes(report.num_there)} are there.")
    else:
        echo(f"{removed} tiles removed; {archive} holds {opened.num_tiles} tiles; the files of {_scenes(report.num_there)} are there.")
    return 1 if report.withheld else 0


def _print_kept(report: "PruneReport") -> None:
    """Report which scenes do not count as gone, although nobody saw them."""
    if report.moved:
        echo(f"kept {_scenes(len(report.moved))} that moved; 'geohash-rs index' gives {'its' if len(report.moved) == 1 else 'their'} tiles the new path", err=True)
    for folder, scenes in report.withheld.items():
        echo(f"kept {sum(scenes.values())} tiles of {_scenes(len(scenes))}: every scene of {folder} is missing, as if its disk were not there. If they were deleted, pass --gone {folder}", err=True)
    if report.unchecked:
        echo(f"not checked: {_scenes(len(report.unchecked))} that cannot be looked for on this machine, such as {report.unchecked[0]}", err=True)


def _scenes(count: int) -> str:
    return "1 scene" if count == 1 else f"{count} scenes"


def _list(lines: list[str]) -> None:
    for line in lines[:MOST_ROWS]:
        echo(line)
    if len(lines) > MOST_ROWS:
        echo(f"... and {len(lines) - MOST_ROWS} more (--json lists all)")
