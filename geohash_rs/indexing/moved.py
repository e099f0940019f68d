"""Find the scenes of an archive whose files were moved, and name them as they are named now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from geohash_rs.errors import GeoHashRSError, QueryError, SceneError, one_line
from geohash_rs.indexing.records import FORMER, header_of
from geohash_rs.pictures.permission import Permission
from geohash_rs.scenes.file import SceneFile, read_scene_file, scene_key
from geohash_rs.scenes.places import file_of, is_gone, moved_name
from geohash_rs.scenes.remote import is_virtual
from geohash_rs.scenes.state import checksum_of, state_of
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.renaming import check_distinct
from geohash_rs.store.scene_counts import count_tiles

__all__ = ["Problems", "RelocateReport", "compare_with_record", "recognised", "relocate_scenes"]

Problems = Literal["refuse", "leave", "relocate"]

NAMED = 5  # scenes named in a message
DATES = ("datetime", "datetime_end")  # of a header; a file name without a date does not undo one
SUM = "sha256:"


@dataclass(kw_only=True)
class RelocateReport:
    """What relocating scenes did, or would do.

    Attributes:
        num_scenes: Scenes that have a new path.
        num_tiles: Their tiles.
        missing: New paths at which there is no file.
        differing: New paths whose file is another than the one indexed, and why.
        unproven: New paths whose file has the size and grid of the one indexed but another time,
            while no checksum was recorded; it was taken for the same.
        unchecked: New paths that are not on this machine, so that nothing was compared.
        left: Former paths of the scenes that were left as they were.
    """

    num_scenes: int = 0
    num_tiles: int = 0
    missing: list[str] = field(default_factory=list)
    differing: list[tuple[str, str]] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def relocate_scenes(
    archive: CodeStore, old: str, new: str, *, problems: Problems, dry_run: bool
) -> RelocateReport:
    """Rename the scenes that lie under one path to lie under another; see `Archive.relocate`.

    Args:
        archive: The archive.
        old: Folder, file or start of an address under which scenes were indexed.
        new: Where they are now.
        problems: What to do with scenes whose file is missing there or is another.
        dry_run: Whether to change nothing.

    Returns:
        What was done, or would be.

    Raises:
        QueryError: If `problems` is unknown.
        SceneError: If no scene lies under the old path, a file is missing or another and problems
            are refused, or a scene of a new name is already there.
    """
    if problems not in ("refuse", "leave", "relocate"):
        msg = f"problems is {problems!r}, but it must be 'refuse', 'leave' or 'relocate'."
        raise QueryError(msg)
    snapshot = archive.snapshot()
    counts = count_tiles(snapshot)
    known = dict.fromkeys([*counts, *snapshot.records])
    names = _names_under(known, old, new, archive=archive)
    report = RelocateReport()
    records: list[tuple[SceneRecord | None, SceneRecord]] = []
    for before, after in list(names.items()):
        record = snapshot.records.get(before)
        found = _checked(report, record, after)
        if found is not None:
            records.append((record, found))
            continue
        report.left.append(before)
        if problems == "relocate" and record is not None:
            records.append((record, _moved(record, after)))  # of the file that was indexed
    if problems == "relocate":
        report.left = []
    elif report.left and problems == "refuse" and not dry_run:
        raise SceneError(_refusal(report, len(names)))
    if dry_run and problems == "refuse" and report.left:
        return report
    names = {before: after for before, after in names.items() if before not in {*report.left}}
    check_distinct(archive.path, names, taken=known.keys() - names.keys())
    report.num_scenes = len(names)
    report.num_tiles = sum(counts.get(before, 0) for before in names)
    if names and not dry_run:
        report.num_tiles = archive.rename_scenes(names, scenes=records)
    return report


def _names_under(
    scenes: Iterable[str], old: str, new: str, *, archive: CodeStore
) -> dict[str, str]:
    """Return the new names of the scenes under a path.

    Raises:
        SceneError: If there are none.
    """
    scenes = list(scenes)
    if not scenes:
        msg = f"{archive.path} holds no tiles; add scenes with 'geohash-rs index'."
        raise SceneError(msg)
    for place in dict.fromkeys([old, scene_key(old)]):
        start = place.rstrip("/\\") or place
        absolute = start != old.rstrip("/\\") or is_virtual(start) or file_of(start) is not None
        target = (scene_key(new) if absolute else new).rstrip("/\\")
        found = {name: moved_name(name, start, target) for name in scenes}
        names = {name: after for name, after in found.items() if after not in (None, name)}
        if names:
            return {name: after for name, after in names.items() if after is not None}
    folders = sorted({name.rsplit("/", 1)[0] for name in scenes if "/" in name})
    more = f" and {len(folders) - NAMED} more" if len(folders) > NAMED else ""
    known = f"its scenes lie in {', '.join(folders[:NAMED])}{more}" if folders else "it names none"
    msg = f"{archive.path} has no scene under {scene_key(old)}; {known}. Pass one of these paths."
    raise SceneError(msg)


def _checked(report: RelocateReport, record: SceneRecord | None, after: str) -> SceneRecord | None:
    """Compare the file at a new path with the one that was indexed, and note the outcome.

    Returns:
        The record under the new name; None if the file is missing or another.
    """
    known = SceneRecord(scene=after) if record is None else _moved(record, after)
    gone = is_gone(after)
    if gone:
        report.missing.append(after)
        return None
    if gone is None:
        report.unchecked.append(after)
        local = record is not None and file_of(record.scene) is not None
        # of a file, while an address is compared by what its server says
        return replace(known, size=0, mtime_ns=0, checksum=None) if local else known
    try:
        if known.width is None:
            return _compare_file(report, known)
        found, why = compare_with_record(known, _header(known))
    except (GeoHashRSError, OSError) as error:
        found, why = None, one_line(error)
    if found is None:
        report.differing.append((after, why))
    elif why:
        report.unproven.append(after)
    return found


def _moved(record: SceneRecord, after: str) -> SceneRecord:
    """Return the record of a scene under another path."""
    settings = {**record.settings, FORMER: record.scene}
    return replace(record, scene=after, settings=settings)


def recognised(
    files: Sequence[SceneFile], known: Mapping[str, SceneRecord]
) -> list[tuple[str, SceneRecord]]:
    """Find scenes that an archive has under a former path whose file is gone.

    A file is the former one if it has its grid, its size, and its checksum or, if none was
    recorded, its time to the nanosecond.

    Args:
        files: Scenes that are to be indexed.
        known: The archive's records by scene.

    Returns:
        Former path and new record of each.

    Raises:
        SceneError: If a file cannot be read for its checksum.
    """
    new = [file for file in files if file.key not in known and file.size]
    if not new:
        return []
    of_size: dict[int, list[SceneRecord]] = {}
    for record in known.values():
        if record.size and record.width is not None:
            of_size.setdefault(record.size, []).append(record)
    found: dict[str, SceneRecord] = {}
    for file in new:
        alike = [one for one in of_size.get(file.size, ()) if one.scene not in found]
        named = [one for one in alike if one.scene.rsplit("/", 1)[-1] == file.name]
        for record in (*named, *alike):  # those of the same file name first
            if not is_gone(record.scene):
                continue
            same, doubt = compare_with_record(_moved(record, file.key), file)
            if same is not None and not doubt:
                found[record.scene] = same
                break
    return list(found.items())


def _header(record: SceneRecord) -> SceneFile:
    """Read the header of a scene as it was read when it was indexed."""
    permission = Permission()
    permission.check(record.scene)
    with permission.sealed():
        return read_scene_file(record.scene, bands=record.settings.get("bands"))


def _compare_file(report: RelocateReport, record: SceneRecord) -> SceneRecord | None:
    """Compare a file that is not a raster, such as a table of vectors, by its size and time."""
    path = file_of(record.scene) or record.scene
    if not record.size:
        return record
    size, time = state_of([path])
    if size != record.size:
        report.differing.append((record.scene, f"{size} bytes instead of {record.size}"))
        return None
    if time != record.mtime_ns:
        report.unproven.append(record.scene)
    return replace(record, mtime_ns=time)


def compare_with_record(record: SceneRecord, file: SceneFile) -> tuple[SceneRecord | None, str]:
    """Compare a file with the one that a record was made of, whatever the two are named.

    Args:
        record: The record, with the name of the file.
        file: The header of the file.

    Returns:
        The record with the present time of the file, and an empty text if size and time or the
        checksum show that it is the same file, otherwise what is not proven; or None, and in what
        the file differs.

    Raises:
        SceneError: If the file cannot be read for its checksum.
    """
    for name, value in header_of(file).items():
        if name not in DATES and getattr(record, name) != value:
            return None, f"its {name} is {value}, not {getattr(record, name)}"
    if record.size and file.size != record.size:
        return None, f"{file.size} bytes instead of {record.size}"
    now = replace(record, size=file.size, mtime_ns=file.mtime_ns)
    if record.checksum is not None and record.checksum.startswith(SUM):
        same = checksum_of(file.files) == record.checksum
        return (now, "") if same else (None, "its checksum is another")
    if record.size and file.mtime_ns == record.mtime_ns:
        return now, ""
    return replace(now, checksum=None), "its time is another, and no checksum was recorded"


def _refusal(report: RelocateReport, count: int) -> str:
    """Report which scenes cannot be relocated, and what to do."""
    parts = []
    if report.missing:
        parts.append(f"{len(report.missing)} are missing ({_some(report.missing)})")
    if report.differing:
        shown = [f"{name}: {why.rstrip('.')}" for name, why in report.differing]
        parts.append(f"{len(report.differing)} are other files ({_some(shown)})")
    return (
        f"of {count} scenes, {' and '.join(parts)}. Nothing was changed. Put the files there, or "
        'pass problems="leave" to relocate only the others, or problems="relocate" to relocate all.'
    )


def _some(names: list[str]) -> str:
    more = f"; and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return "; ".join(names[:NAMED]) + more
