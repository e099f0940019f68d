"""Scenes that an archive has already: under a former path, or with tiles of another size."""

from collections.abc import Mapping, Sequence
from typing import Any

from geohash_rs.errors import TilesReplacedError
from geohash_rs.indexing.moved import recognised
from geohash_rs.indexing.notes import regrid_note
from geohash_rs.indexing.writer import when_free
from geohash_rs.scenes.file import SceneFile
from geohash_rs.scenes.grids import recorded_grids
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord, is_same_record

__all__ = ["Moved", "check_grids", "find_moved", "rename_moved"]

Moved = tuple[SceneRecord, SceneRecord]  # a scene's record in the archive, and that of its new path


def find_moved(
    archive: CodeStore, files: Sequence[SceneFile], known: Mapping[str, SceneRecord]
) -> list[Moved]:
    """Find scenes of an archive whose files were moved or renamed.

    Args:
        archive: The archive; it is not changed.
        files: Scenes that are to be indexed.
        known: The archive's records by scene.

    Returns:
        Former and new record of each; none of a scene whose new path the archive has already.

    Raises:
        SceneError: If a file cannot be read for its checksum.
    """
    found = recognised(files, known)
    taken = archive.scene_names() if found else ()
    return [(known[old], record) for old, record in found if record.scene not in taken]


def rename_moved(archive: CodeStore, moved: Sequence[Moved]) -> set[str]:
    """Rename the scenes that `find_moved` found.

    Args:
        archive: The archive.
        moved: Former and new record of each scene.

    Returns:
        New paths of those that are to be indexed like any other, since another process removed the
        scene or indexed it again after it was found.

    Raises:
        ArchiveLockedError: If another process keeps writing.
        SceneError: If another process has just indexed a scene under its new path.
    """
    names = {before.scene: record.scene for before, record in moved}
    when_free(lambda: archive.rename_scenes(names, scenes=moved))
    present = archive.snapshot().records
    return {
        record.scene for _, record in moved if not is_same_record(record, present.get(record.scene))
    }


def check_grids(
    files: Sequence[SceneFile],
    known: Mapping[str, SceneRecord],
    settings: Mapping[str, Any],
    *,
    replace: bool,
) -> list[str]:
    """Report scenes that an archive has with tiles of another size or stride.

    Args:
        files: Scenes that are to be read.
        known: The archive's records by scene.
        settings: With which they are to be cut.
        replace: Whether their tiles may be replaced.

    Returns:
        A sentence for a user; none if there are no such scenes.

    Raises:
        TilesReplacedError: If there are and they must not be replaced.
    """
    now = recorded_grids(settings)
    old = [record for file in files if (record := known.get(file.key)) is not None]
    old = [record for record in old if recorded_grids(record.settings) not in ([], now)]
    old = [record for record in old if record.num_tiles]
    if not old:
        return []
    note = regrid_note(
        [record.scene for record in old],
        num_tiles=sum(record.num_tiles for record in old),
        before=recorded_grids(old[0].settings),
        now=now,
    )
    if not replace:
        raise TilesReplacedError(note)
    return [note]
