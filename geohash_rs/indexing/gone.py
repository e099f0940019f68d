"""Find and remove the tiles whose scene no longer exists."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from geohash_rs.errors import QueryError, SceneError
from geohash_rs.scenes.file import scene_key
from geohash_rs.scenes.places import file_of, is_gone
from geohash_rs.scenes.state import checksum_of, state_of
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.scene_counts import count_tiles

__all__ = ["PruneReport", "find_gone", "prune_scenes"]


@dataclass(kw_only=True)
class PruneReport:
    """Which scenes of an archive are gone.

    Attributes:
        gone: Number of tiles by scene whose file is gone, while other scenes of its folder are
            there or the folder was named; these are removed.
        withheld: Number of tiles by scene of each folder of which every scene is gone, as if its
            disk were not there; these stay until the folder is named.
        moved: Present path by scene whose file was renamed or moved to a folder below its own;
            these stay, since indexing the folder again gives them their new name.
        num_there: Scenes whose files are there.
        unchecked: Scenes that are not on this machine, or that the system refuses to look for;
            they do not count as gone.
    """

    gone: dict[str, int] = field(default_factory=dict)
    withheld: dict[str, dict[str, int]] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    num_there: int = 0
    unchecked: list[str] = field(default_factory=list)

    @property
    def num_tiles(self) -> int:
        """Tiles of the scenes that are removed."""
        return sum(self.gone.values())


def find_gone(archive: CodeStore, *, folders: Sequence[str | Path] = ()) -> PruneReport:
    """Find the scenes whose files no longer exist.

    Args:
        archive: The archive.
        folders: Folders of which it is known that their scenes were deleted, and that no disk is
            merely not there.

    Returns:
        The scenes.

    Raises:
        QueryError: If `folders` is a single path.
    """
    if isinstance(folders, str | Path):
        msg = (
            f"gone is {str(folders)!r}, but it must be a list of folders; pass [{str(folders)!r}]."
        )
        raise QueryError(msg)
    snapshot = archive.snapshot()
    counts = count_tiles(snapshot)
    named = [PurePath(scene_key(folder)) for folder in folders]
    report = PruneReport()
    there: set[str] = set()
    gone: dict[str, dict[str, int]] = {}
    for name in dict.fromkeys([*counts, *snapshot.records]):
        path, lost = file_of(name), is_gone(name)
        if path is None or lost is None:
            report.unchecked.append(name)
            continue
        folder = PurePath(path).parent.as_posix()
        if lost:
            gone.setdefault(folder, {})[name] = counts.get(name, 0)
        else:
            report.num_there += 1
            there.add(folder)
    report.moved = _moved(gone, snapshot.records)
    for folder, lost_there in gone.items():
        scenes = {name: count for name, count in lost_there.items() if name not in report.moved}
        if not scenes:
            continue
        above = (PurePath(folder), *PurePath(folder).parents)
        if folder in there or any(one in above for one in named):
            report.gone |= scenes
        else:
            report.withheld[folder] = scenes
    return report


def _moved(
    gone: Mapping[str, Mapping[str, int]], records: Mapping[str, SceneRecord]
) -> dict[str, str]:
    """Find files that are gone under another name, in their folder and below.

    Args:
        gone: Scenes whose file is gone, by folder.
        records: The archive's records by scene.

    Returns:
        Present path of each that was found: a file that is not indexed, of the same size, and of
        the same time or checksum, by which indexing recognises it, too.
    """
    found: dict[str, str] = {}
    for folder, scenes in gone.items():
        lost = [records[name] for name in scenes if name in records and records[name].size]
        if not lost:
            continue
        for path in _files_below(folder, {PurePath(one.scene).suffix for one in lost}):
            if path in records or path in found.values():
                continue
            for record in lost:
                if record.scene not in found and _is_of(path, record):
                    found[record.scene] = path
                    break
    return found


def _files_below(folder: str, endings: set[str]) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            if PurePath(name).suffix in endings:
                yield (PurePath(place) / name).as_posix()


def _is_of(path: str, record: SceneRecord) -> bool:
    """Return whether a file is the one of a record, by its size, and its checksum or time."""
    size, time = state_of([path])
    if size != record.size:
        return False
    if record.checksum is None:
        return time == record.mtime_ns
    try:
        return checksum_of([path]) == record.checksum
    except SceneError:
        return False


def prune_scenes(archive: CodeStore, report: PruneReport) -> int:
    """Remove the scenes that are gone; see `Archive.prune`.

    Args:
        archive: The archive.
        report: From `find_gone`; scenes that were put back meanwhile are kept and counted as there.

    Returns:
        The number of tiles removed.
    """
    for name in [name for name in report.gone if not is_gone(name)]:
        del report.gone[name]
        report.num_there += 1
    return archive.remove_scenes(report.gone) if report.gone else 0
