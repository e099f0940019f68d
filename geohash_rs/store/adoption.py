"""Adopt the segments of archives that other processes built."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

from geohash_rs.errors import HasherMismatchError, TileTableError, VectorError
from geohash_rs.store.commit import Writer
from geohash_rs.store.compaction import merge_small_segments
from geohash_rs.store.disk.durable import sync_folder, writing
from geohash_rs.store.disk.hasher_file import other_hasher
from geohash_rs.store.disk.manifest import Manifest, VectorsEntry
from geohash_rs.store.disk.plain import plain_folder
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
        writer: Holds the write lock of the adopting archive.
        parts: Folder and manifest of each archive, on the same file system, with tile ids reserved
            here and no removed tiles.
        scenes: Records of the scenes that the tiles come from; their current tiles are removed in
            the same commit.
        replace_scenes: Further scenes whose current tiles are removed.

    Raises:
        HasherMismatchError: If a part was made by another hasher.
        TileTableError: If a part's ids were not reserved here, or it has removed tiles.
        VectorError: If a part keeps its vectors in another form.
        ArchiveWriteError: If a segment cannot be moved; the archive is then unchanged.
    """
    for folder, manifest in parts:
        _check_part(folder, manifest, writer)
        writer.update(vectors=_common_form(folder, manifest, writer.manifest))
        if manifest.tile_sizes:
            writer.update(tile_sizes=True)
        if manifest.sources:
            writer.update(sources=True)
    # Another process may have added one of these scenes since this run started.
    renewed = {record.scene for record in scenes}
    writer.remove_scenes({*renewed, *replace_scenes})
    home = plain_folder(writer.folder, "segments")
    with writing(home):
        home.mkdir(exist_ok=True)
        sync_folder(writer.folder)
    for folder, manifest in parts:
        for entry in manifest.segments:
            name = writer.next_name()
            target = writer.fresh(home / name)
            with writing(target):
                plain_folder(folder / "segments", entry.name).rename(target)
            moved = dataclasses.replace(entry, name=name)
            segments = sorted((*writer.manifest.segments, moved), key=lambda item: item.first_id)
            writer.update(segments=tuple(segments))
    writer.log_scenes(scenes, removed=[name for name in replace_scenes if name not in renewed])
    writer.commit()
    merge_small_segments(writer)


def _check_part(folder: Path, part: Manifest, writer: Writer) -> None:
    """Check that an archive can be adopted.

    Raises:
        HasherMismatchError: If it was made by another hasher.
        TileTableError: If its ids were not reserved in this archive, or it has removed tiles.
    """
    home = writer.manifest
    mine, theirs = (state.hasher.fingerprint if state.hasher else None for state in (home, part))
    if (mine, home.num_bits) != (theirs, part.num_bits):
        raise HasherMismatchError(other_hasher(writer.folder, home, theirs or "none"))
    if part.next_id > home.next_id or any(entry.num_removed for entry in part.segments):
        msg = (
            f"{folder} cannot be adopted: its tile ids were not reserved with reserve_ids, "
            "or it has removed tiles; index its scenes again."
        )
        raise TileTableError(msg)


def _common_form(folder: Path, part: Manifest, home: Manifest) -> VectorsEntry | None:
    """Return the form of the vectors of an archive and of one to be adopted.

    Raises:
        VectorError: If they differ.
    """
    if not part.segments:
        return home.vectors
    mine, theirs = home.vectors, part.vectors
    if mine is not None and theirs is not None and mine.length is None:
        mine = dataclasses.replace(mine, length=theirs.length)
    if mine != theirs:
        msg = (
            f"{folder} cannot be adopted: it keeps {_shown(theirs)}, but the archive keeps "
            f"{_shown(mine)}; index its scenes again."
        )
        raise VectorError(msg)
    return mine


def _shown(form: VectorsEntry | None) -> str:
    return "no vectors" if form is None else f"{form.kind} vectors of {form.length} numbers"
