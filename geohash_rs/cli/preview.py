"""Print the result of ``geohash-rs index --dry-run``: what would be read, what not, and why."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from geohash_rs.cli.options import echo_json, in_options
from geohash_rs.cli.terminal import echo

if TYPE_CHECKING:
    from geohash_rs.indexing.scene_imagery import SceneImagery
    from geohash_rs.scenes.dataset import Scenes
    from geohash_rs.scenes.file import SceneFile

__all__ = ["print_preview"]

MOST_ROWS = 200
COLUMNS = ("tiles", "size", "dtype", "crs", "ground", "date", "bands", "scene")


def print_preview(
    scenes: "Scenes",
    archive: Path | None,
    *,
    how: dict[str, Any],
    grid: dict[str, Any],
    embedding: str | None = None,
    as_json: bool,
) -> int:
    """List what would be read, without writing anything.

    Args:
        scenes: The scenes.
        archive: Archive to which they would be added, or None.
        how: Hasher and backbone of a new archive and whether it keeps vectors, as for
            `open_or_create`.
        grid: Settings of the grid, as for `Archive.add`.
        embedding: What the bands of the scenes are, as for `Archive.add`.
        as_json: Print all rows as JSON.

    Returns:
        Exit code: 1 if some scene could not be added.
    """
    from dataclasses import replace

    from geohash_rs.archive import Archive
    from geohash_rs.hashing.fit.by_name import Unfitted
    from geohash_rs.indexing.imagery import imagery_of_scenes
    from geohash_rs.indexing.settings import IndexSettings
    from geohash_rs.opening import check_asked, open_or_create
    from geohash_rs.store.creation import is_unused

    with TemporaryDirectory() as folder:  # for a new archive, deleted at the end
        is_new = archive is None or is_unused(archive)
        if is_new or archive is None:
            target = open_or_create(Path(folder) / "archive", **how)
        else:
            target = Archive.open(archive, mode="r")
            check_asked(target, **how)
        pending = Unfitted.find(target.pending_hasher)
        made = None if target.pending_hasher else target.hasher()
        imagery = imagery_of_scenes(
            target, scenes, made, IndexSettings(), embedding=embedding, **grid
        )
        expected = made or pending
        bands = None if expected is None else expected.bands
        imagery.plan(bands, () if made is None else made.values)
        imagery.leave_out_other_values()
        form = target.manifest.vectors
        target.close()
    scenes, skipped = imagery.scenes, imagery.report.skipped
    left_out = [*skipped, *scenes.containers, *scenes.passed_over]
    left_out += [(path, "a quality layer or preview of a scene") for path in scenes.other_layers]
    reasons = dict(skipped)
    rows = [
        _row(number, file, imagery)
        for number, file in enumerate(scenes.scene_files)
        if file.key not in reasons
    ]
    shown = [(path, in_options(reason)) for path, reason in left_out]
    if as_json:
        fields = ("scene", "reason")
        echo_json({"scenes": rows, "left_out": [dict(zip(fields, r, strict=True)) for r in shown]})
    else:
        _print_rows(rows)
        _print_bounded([f"left out  {path}: {reason}" for path, reason in shown])
        for note in imagery.report.notes:
            echo(in_options(note))
        reading = sum(bool(row["tiles"]) for row in rows)
        echo(
            f"{imagery.num_tiles} tiles of {reading} scenes would be read; {len(rows) - reading} "
            f"scenes are unchanged; {len(left_out)} files are left out."
        )
        if form is not None and made is not None:
            size = replace(form, length=made.num_features).row_bytes
            total = size * imagery.num_tiles / 1e6
            echo(f"Their {form.kind} vectors would take {total:,.1f} MB, {size:,} bytes a tile.")
    return 1 if skipped else 0


def _row(number: int, file: "SceneFile", imagery: "SceneImagery") -> dict[str, Any]:
    from geohash_rs.footprints.windows import ground_pixel

    across, down = ground_pixel(file.transform, file.width, file.height, crs=file.crs)
    dates = [moment.isoformat() for moment in file.dates] if file.dates else None
    return {
        "tiles": int(imagery.counts[number]),
        "size": [file.width, file.height],
        "dtype": file.dtype,
        "crs": file.crs,
        "ground": [round(across, 3), round(down, 3)],
        "date": dates,
        "bands": str(file.choose(imagery.scenes.bands, names=imagery.bands)),
        "scene": file.key,
    }


def _print_rows(rows: list[dict[str, Any]]) -> None:
    """Print rows in aligned columns, as wide as the printed rows need."""
    table = [COLUMNS, *(_cells(row) for row in rows[:MOST_ROWS])]
    widths = [max(len(cells[place]) for cells in table) for place in range(len(COLUMNS) - 1)]
    lines = [
        "  ".join([*(c.ljust(w) for c, w in zip(cells, widths, strict=False)), cells[-1]])
        for cells in table
    ]
    more = [""] * (len(rows) - MOST_ROWS)  # counted, not shown
    _print_bounded([*lines[1:], *more], head=lines[0])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    crs = row["crs"]
    if not crs.startswith("EPSG:"):
        from pyproj import CRS

        crs = CRS.from_user_input(crs).name
    first, last = (moment[:10] for moment in row["date"] or ("-", "-"))
    ground = sorted({f"{size:g}" for size in row["ground"]}, key=float)
    return (
        str(row["tiles"] or "same"),
        "x".join(map(str, row["size"])),
        row["dtype"],
        crs,
        f"{' x '.join(ground)} m",
        first if first == last else f"{first}/{last}",
        row["bands"],
        row["scene"],
    )


def _print_bounded(lines: list[str], *, head: str = "") -> None:
    for line in [head] * bool(head and lines) + lines[:MOST_ROWS]:
        echo(line)
    if len(lines) > MOST_ROWS:
        echo(f"... and {len(lines) - MOST_ROWS} more (--json lists all)")
