"""Find and remove the tiles whose scene no longer exists."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from geohash_rs.errors import QueryError
from geohash_rs.scenes.file import scene_key
from geohash_rs.scenes.places import file_of, is_gone
from geohash_rs.store.code_store import CodeStore
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
        num_there: Scenes whose files are there.
        unchecked: Scenes that are not on this machine, or that the system refuses to look for;
            they do not count as gone.
    """

    gone: dict[str, int] = field(default_factory=dict)
    withheld: dict[str, dict[str, int]] = field(default_factory=dict)
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
    for folder, scenes in gone.items():
        above = (PurePath(folder), *PurePath(folder).parents)
        if folder in there or any(one in above for one in named):
            report.gone |= scenes
        else:
            report.withheld[folder] = scenes
    return report


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
