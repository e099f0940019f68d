"""Take over the segments of archives that other processes made of a part of the work."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

from geohash_rs.errors import HasherMismatchError, TileTableError
from geohash_rs.store.commit import Writer
from geohash_rs.store.compaction import merge_small_segments
from geohash_rs.store.disk.durable import sync_folder, writing
from geohash_rs.store.disk.hasher_file import other_hasher
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["adopt_parts"]


def adopt_parts(
    writer: Writer,
    parts: Sequence[tuple[Path, Manifest]],
    *,
    scenes: Sequence[SceneRecord],
    replace_scenes: Collection[str],
) -> None:
    """Move the segments of whole archives into this one and commit them all at once.

    Args:
        writer: Holds the write lock of the archive that takes over.
        parts: Folder and state of each archive; on the same file system, with tile ids that were
            reserved here and without removed tiles.
        scenes: Records of the scenes that the tiles come from; their present tiles are removed in
            the same commit.
        replace_scenes: More scenes whose present tiles are removed.

    Raises:
        HasherMismatchError: If a part was made by another hasher.
        TileTableError: If a part's ids were not reserved here, or tiles of it were removed.
        ArchiveWriteError: If a segment cannot be moved; the archive is then as before.
    """
    for folder, manifest in parts:
        _check_part(folder, manifest, writer.manifest)
    # Another process may have added a scene since this work began.
    renewed = {record.scene for record in scenes}
    writer.remove_scenes({*renewed, *replace_scenes})
    home = writer.folder / "segments"
    with writing(home):
        home.mkdir(exist_ok=True)
        sync_folder(writer.folder)
    for folder, manifest in parts:
        for entry in manifest.segments:
            name = writer.next_name()
            target = writer.fresh(home / name)
            with writing(target):
                (folder / "segments" / entry.name).rename(target)
            moved = dataclasses.replace(entry, name=name)
            segments = sorted((*writer.manifest.segments, moved), key=lambda item: item.first_id)
            writer.update(segments=tuple(segments))
    writer.log_scenes(scenes, removed=[name for name in replace_scenes if name not in renewed])
    writer.commit()
    merge_small_segments(writer)


def _check_part(folder: Path, part: Manifest, home: Manifest) -> None:
    """Check that an archive can be taken over.

    Raises:
        HasherMismatchError: If it was made by another hasher.
        TileTableError: If its ids are not this archive's to give, or tiles of it were removed.
    """
    mine, theirs = (state.hasher.fingerprint if state.hasher else None for state in (home, part))
    if (mine, home.num_bits) != (theirs, part.num_bits):
        raise HasherMismatchError(other_hasher(folder, mine or "none", theirs or "none"))
    if part.next_id > home.next_id or any(entry.num_removed for entry in part.segments):
        msg = (
            f"{folder} cannot be taken over: its tile ids were not reserved with reserve_ids, "
            "or tiles of it were removed; add it again from its scenes."
        )
        raise TileTableError(msg)
