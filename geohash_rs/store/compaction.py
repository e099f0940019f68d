"""Merge small segments and drop removed rows, to keep opening and search fast."""

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from geohash_rs.errors import ArchiveCorruptError, GeoHashRSWarning
from geohash_rs.store.commit import Writer
from geohash_rs.store.disk.durable import verify_file
from geohash_rs.store.disk.manifest import SegmentEntry, VectorsEntry
from geohash_rs.store.disk.plain import plain_path
from geohash_rs.store.orphans import collect_garbage
from geohash_rs.store.segment.columns import TileTable
from geohash_rs.store.segment.layout import MAX_ROWS
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.segment.shapes import stored_bounds
from geohash_rs.store.segment.vectors import merged
from geohash_rs.store.segment.write import SegmentData, curve_order

__all__ = ["compact_segments", "merge_small_segments"]

FANOUT = 8  # number of segments of similar size at which they are merged
SMALLEST = 512  # most tiles of a segment in the lowest size level


def merge_small_segments(writer: Writer) -> None:
    """Merge segments of similar size once there are many, level by level.

    A tile is rewritten about once per level, so a thousand small additions cost little more than
    one large one and leave few segments.

    This runs after a commit and must not make that commit look failed: a merge that cannot be
    written is left to a later call or to `compact`. A damaged segment is named in a
    `GeoHashRSWarning` and left alone, so that the others can still be merged.

    Args:
        writer: Holds the write lock; has no uncommitted changes.
    """
    merged = False
    damaged: set[str] = set()
    with contextlib.suppress(OSError):  # includes ArchiveWriteError and ArchiveCorruptError
        while group := _crowded_level(
            [entry for entry in writer.manifest.segments if entry.name not in damaged]
        ):
            found = _damage(writer.folder, group)
            for problem in found.values():
                warnings.warn(f"not merged: {problem}", GeoHashRSWarning, stacklevel=3)
            damaged.update(found)
            if found:
                continue
            _merge(writer, group)
            writer.commit()
            merged = True
        if merged:
            collect_garbage(writer.snapshot)


def compact_segments(writer: Writer) -> None:
    """Rewrite every segment that is small or has removed rows, then delete unused files.

    Args:
        writer: Holds the write lock; has no uncommitted changes.

    Raises:
        ArchiveCorruptError: If a segment's file is damaged; earlier merges stand.
        ArchiveWriteError: If a segment cannot be written; earlier merges stand.
    """
    small = [
        entry
        for entry in writer.manifest.segments
        if entry.num_removed or entry.num_tiles <= MAX_ROWS // 2
    ]
    for group in _groups(small):
        if len(group) > 1 or group[0].num_removed:
            for entry in group:
                _verify(writer.folder, entry)
            _merge(writer, group)
            writer.commit()
            collect_garbage(writer.snapshot)
    collect_garbage(writer.snapshot)


def _crowded_level(entries: Sequence[SegmentEntry]) -> list[SegmentEntry]:
    """Return the first segments of the lowest crowded level that fit into one segment."""
    levels: dict[int, list[SegmentEntry]] = {}
    for entry in entries:
        level, size = 0, SMALLEST
        while size < entry.num_live:
            level, size = level + 1, size * FANOUT
        levels.setdefault(level, []).append(entry)
    for level in sorted(levels):
        if len(levels[level]) >= FANOUT:
            group = _groups(levels[level])[0]
            if len(group) >= FANOUT // 2:
                return group
    return []


def _groups(entries: Sequence[SegmentEntry]) -> list[list[SegmentEntry]]:
    """Group consecutive segments that together fit into one."""
    groups: list[list[SegmentEntry]] = []
    total = 0
    for entry in entries:
        if not groups or total + entry.num_live > MAX_ROWS:
            groups.append([])
            total = 0
        groups[-1].append(entry)
        total += entry.num_live
    return groups


def _merge(writer: Writer, group: Sequence[SegmentEntry]) -> None:
    """Replace segments by one segment that holds their live rows.

    The caller has verified their files; otherwise damage would be copied under a valid checksum.

    Raises:
        ArchiveCorruptError: If a segment cannot be read nevertheless.
        ArchiveWriteError: If the segment cannot be written.
    """
    names = {entry.name for entry in group}
    segments = [item for item in writer.snapshot.segments if item.entry.name in names]
    kept = [entry for entry in writer.manifest.segments if entry.name not in names]
    writer.update(segments=tuple(kept))
    if sum(entry.num_live for entry in group):
        writer.write(_joined(segments, writer.manifest.vectors))


def _damage(folder: Path, group: Sequence[SegmentEntry]) -> dict[str, str]:
    """Return what is wrong with each damaged segment, by name."""
    found = {}
    for entry in group:
        try:
            _verify(folder, entry)
        except ArchiveCorruptError as error:
            found[entry.name] = str(error)
    return found


def _verify(folder: Path, entry: SegmentEntry) -> None:
    """Check the files of a segment.

    Raises:
        ArchiveCorruptError: If one is damaged.
    """
    for file in entry.files:
        verify_file(plain_path(folder, f"segments/{entry.name}/{file.name}"), file)
    if entry.tombstones:
        verify_file(plain_path(folder, f"removed/{entry.tombstones.name}"), entry.tombstones)


def _joined(segments: Sequence[Segment], form: VectorsEntry | None) -> SegmentData:
    live = [np.flatnonzero(~segment.removed_rows()) for segment in segments]
    codes = np.concatenate([item.codes[rows] for item, rows in zip(segments, live, strict=True)])
    tables = [
        segment.read_blocks(0, segment.num_blocks).take(pa.array(rows))
        for segment, rows in zip(segments, live, strict=True)
    ]
    table = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    bounds = stored_bounds(table.column("geometry"))
    order = curve_order(bounds)
    table = table.take(pa.array(order))
    ids = np.asarray(table.column("tile_id"))
    tiles = TileTable(table=table.drop_columns(["tile_id"]), bounds=bounds[order])
    vectors = None
    if form is not None:
        sources = np.repeat(np.arange(len(live)), list(map(len, live)))[order]
        stored = [segment.vectors(form) for segment in segments]
        vectors = merged(stored, sources, np.concatenate(live)[order])
    return SegmentData(codes=codes[order], tiles=tiles, ids=ids, vectors=vectors)
