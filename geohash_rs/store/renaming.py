"""Rename scenes in one commit: the tables that name them are written again."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from geohash_rs.errors import SceneError
from geohash_rs.store.commit import Writer
from geohash_rs.store.disk.durable import sync_folder, write_file, writing
from geohash_rs.store.disk.manifest import SegmentEntry
from geohash_rs.store.disk.plain import plain_folder, plain_path
from geohash_rs.store.disk.records import SceneRecord, is_same_record
from geohash_rs.store.orphans import collect_garbage
from geohash_rs.store.recoding import check_segment, share_file
from geohash_rs.store.scene_counts import count_tiles
from geohash_rs.store.segment.arrays import serialise_arrays
from geohash_rs.store.segment.columns import check_texts
from geohash_rs.store.segment.layout import INDEX, MOST_TEXT, TILES
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.segment.write import index_texts, write_tiles

__all__ = ["check_distinct", "rename_scenes"]

NAMED = 5  # scenes named in a message
REPLACED = ("scene_", "page_", "source_page_")  # arrays of the index that say where a name is


def rename_scenes(
    writer: Writer,
    names: Mapping[str, str],
    *,
    scenes: Sequence[tuple[SceneRecord | None, SceneRecord]] = (),
) -> int:
    """Rename scenes in one commit; see `CodeStore.rename_scenes`.

    Args:
        writer: Holds the write lock; has no uncommitted changes.
        names: The new name of each scene.
        scenes: Former and new record of scenes.

    Returns:
        The number of live tiles whose scene has another name now.

    Raises:
        SceneError: If two scenes would have the same name.
        TileTableError: If a new name is too long or has a zero byte.
    """
    counts = count_tiles(writer.snapshot)
    known = {*counts, *writer.snapshot.records}
    names = {old: new for old, new in names.items() if old != new and old in known}
    if not names:
        return 0
    check_texts(pa.array(list(names.values()), pa.string()), "scene", most=MOST_TEXT)
    check_distinct(writer.folder, names, taken=known - names.keys())
    entries = []
    for segment in writer.snapshot.segments:
        named = names.keys() & set(segment.texts("scene"))
        entries.append(_renamed(writer, segment, names) if named else segment.entry)
    writer.update(segments=tuple(entries))
    present = writer.snapshot.records
    records = {
        new: dataclasses.replace(present[old], scene=new)
        for old, new in names.items()
        if old in present
    }
    owners = {new: old for old, new in names.items()}
    for before, record in scenes:
        old = owners.get(record.scene)
        # another process may have removed the scene, or indexed it again, since `before` was read
        if old is not None and is_same_record(before, present.get(old)):
            records[record.scene] = record
    removed = sorted((names.keys() & present.keys()) - records.keys())
    writer.log_scenes(list(records.values()), removed=removed)
    writer.commit()
    collect_garbage(writer.snapshot)
    return sum(counts.get(old, 0) for old in names)


def check_distinct(folder: Path, names: Mapping[str, str], *, taken: set[str]) -> None:
    """Check that no two scenes get the same name.

    Args:
        folder: The archive.
        names: The new name of each scene that gets one.
        taken: Names of the archive's other scenes.

    Raises:
        SceneError: If they would.
    """
    owners: dict[str, str] = {}
    doubles = []
    for old, new in names.items():
        if new in taken or new in owners:
            doubles.append(f"{new} (from {old})")
        owners[new] = old
    if doubles:
        more = f" and {len(doubles) - NAMED} more" if len(doubles) > NAMED else ""
        msg = (
            f"{folder} already has a scene named {', '.join(doubles[:NAMED])}{more}, and "
            "two scenes cannot have one name. If it was indexed again after it was moved, remove "
            "one of the two with 'geohash-rs remove --scene', then run this again."
        )
        raise SceneError(msg)


def _renamed(writer: Writer, segment: Segment, names: Mapping[str, str]) -> SegmentEntry:
    """Write the table and the index of a segment with other names, next to its other files.

    Raises:
        ArchiveCorruptError: If a file is damaged.
    """
    entry = segment.entry
    check_segment(writer.folder, entry)  # damage must not be copied under a valid checksum
    table = _with_names(segment.read_blocks(0, segment.num_blocks), names)
    arrays = {key: segment.index[key] for key in segment.index if not key.startswith(REPLACED)}
    old = plain_folder(plain_folder(writer.folder, "segments"), entry.name)
    new = writer.fresh(old.parent / writer.next_name())
    with writing(new):
        new.mkdir()
    tiles, pages = write_tiles(new, table, entry.bounds)
    arrays |= index_texts(table.column("scene"), "scene") | pages
    written = {TILES: tiles, INDEX: write_file(new / INDEX, serialise_arrays(arrays))}
    for file in entry.files:
        if file.name not in written:
            share_file(plain_path(old, file.name), new / file.name, file)
    with writing(new):
        sync_folder(new)
    files = tuple(written.get(file.name, file) for file in entry.files)
    return dataclasses.replace(entry, name=new.name, files=files)


def _with_names(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """Replace names in the column of scenes; rows that were removed are renamed, too."""
    table = table.unify_dictionaries()
    place = table.column_names.index("scene")
    column = table.column(place).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    texts = [names.get(text, text) for text in column.dictionary.to_pylist()]
    distinct = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    numbers = np.array([distinct[text] for text in texts], np.int32)
    rows = pa.array(numbers[np.asarray(column.indices)])
    renamed = pa.DictionaryArray.from_arrays(rows, pa.array(list(distinct), pa.string()))
    return table.set_column(place, table.schema.field(place), renamed)
