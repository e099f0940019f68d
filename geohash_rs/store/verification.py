"""Check a whole archive: every checksum, every count, every stray file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geohash_rs.errors import ArchiveCorruptError, ArchiveFormatError
from geohash_rs.store.disk.durable import verify_file
from geohash_rs.store.disk.locks import ReaderPin
from geohash_rs.store.disk.manifest import Manifest, SegmentEntry
from geohash_rs.store.disk.manifest_file import MANIFEST, read_manifest
from geohash_rs.store.disk.plain import plain_path
from geohash_rs.store.disk.records import read_scene_logs
from geohash_rs.store.orphans import orphans, unfinished
from geohash_rs.store.segment.read import Segment

__all__ = ["Damage", "VerifyReport", "verify_archive"]


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Something wrong with an archive.

    Attributes:
        file: The file, relative to the archive's folder.
        problem: What is wrong with it and what to do.
        num_tiles: Tiles that cannot be trusted because of it.
    """

    file: str
    problem: str
    num_tiles: int = 0


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """The result of checking an archive.

    Attributes:
        num_tiles: Live tiles that the manifest lists.
        num_good_tiles: Live tiles in undamaged segments.
        num_segments: Segments that the manifest lists.
        num_bytes: Total size of the files that the manifest lists.
        damage: What is wrong; empty for an intact archive.
        orphans: Files and folders that the manifest does not refer to, left by a crash or kept for
            a reader; the next `compact` without readers removes them.
        unfinished: Folders of interrupted refits, which the next `refit` resumes. They stay until
            a refit is complete, or somebody deletes them.
    """

    num_tiles: int
    num_good_tiles: int
    num_segments: int
    num_bytes: int
    damage: tuple[Damage, ...]
    orphans: tuple[str, ...]
    unfinished: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage


def verify_archive(folder: Path) -> VerifyReport:
    """Check every file of an archive, even one that can no longer be opened.

    Args:
        folder: The archive.

    Returns:
        The report.

    Raises:
        ArchiveNotFoundError: If the folder is not an archive.
        ArchiveFormatError: If a newer version of this package wrote it.
    """
    pin = ReaderPin(folder)  # otherwise a concurrent merge would look like missing files
    try:
        return _report(folder)
    finally:
        pin.release()


def _report(folder: Path) -> VerifyReport:
    try:
        manifest = read_manifest(folder)
    except ArchiveCorruptError as error:
        return VerifyReport(
            num_tiles=0,
            num_good_tiles=0,
            num_segments=0,
            num_bytes=0,
            damage=(Damage(file=MANIFEST, problem=str(error)),),
            orphans=(),
        )
    damage = [*_loose_damage(folder, manifest)]
    good = 0
    for entry in manifest.segments:
        found = list(_segment_damage(folder, entry, manifest))
        damage += found
        good += 0 if found else entry.num_live
    return VerifyReport(
        num_tiles=manifest.num_tiles,
        num_good_tiles=good,
        num_segments=len(manifest.segments),
        num_bytes=sum(entry.size for _, entry in manifest.files()),
        damage=tuple(damage),
        orphans=tuple(str(path.relative_to(folder)) for path in orphans(folder, manifest)),
        unfinished=tuple(path.name for path in unfinished(folder, manifest)),
    )


def _loose_damage(folder: Path, manifest: Manifest) -> Iterator[Damage]:
    """Check the hasher and the scene records."""
    if manifest.hasher and manifest.hasher.file:
        entry = manifest.hasher.file
        try:
            verify_file(plain_path(folder, entry.name), entry)
        except ArchiveCorruptError as error:
            yield Damage(file=entry.name, problem=str(error))
    for entry in manifest.scene_logs:
        try:
            plain_path(folder, f"scenes/{entry.name}")
            read_scene_logs(folder / "scenes", [entry])
        except ArchiveCorruptError as error:
            yield Damage(file=f"scenes/{entry.name}", problem=str(error))


def _segment_damage(folder: Path, entry: SegmentEntry, state: Manifest) -> Iterator[Damage]:
    paths = [(f"segments/{entry.name}/{file.name}", file) for file in entry.files]
    if entry.tombstones:
        paths.append((f"removed/{entry.tombstones.name}", entry.tombstones))
    sound = True
    for name, file in paths:
        try:
            verify_file(plain_path(folder, name), file)
        except ArchiveCorruptError as error:
            sound = False
            yield Damage(file=name, problem=str(error), num_tiles=entry.num_live)
    if sound:
        yield from _count_damage(folder, entry, state)


def _count_damage(folder: Path, entry: SegmentEntry, state: Manifest) -> Iterator[Damage]:
    """Compare the counts of intact files with each other.

    Raises:
        ArchiveFormatError: If a newer version of this package wrote them.
    """
    segment = Segment(folder, entry, num_bits=state.num_bits or 0)
    name = f"segments/{entry.name}"
    try:
        rows = {
            "codes": len(segment.codes),
            "index": len(segment.index["boxes"]),
            "tiles": segment.num_parquet_rows,
            "manifest": entry.num_tiles,
        }
        if state.vectors is not None:
            rows["vectors"] = len(segment.vectors(state.vectors).values)
        ids = np.sort(segment.ids_of(np.arange(len(segment))))
        removed = int(segment.removed_rows().sum())
    except ArchiveFormatError:
        raise
    except (ArchiveCorruptError, ValueError) as error:
        yield Damage(file=name, problem=str(error), num_tiles=entry.num_live)
        return
    if len(set(rows.values())) > 1:
        problem = f"{folder / name} has differing row counts {rows}; restore it from a copy."
        yield Damage(file=name, problem=problem, num_tiles=entry.num_live)
    if removed != entry.num_removed:
        problem = (
            f"{folder / name} has {removed} tombstones but the manifest says {entry.num_removed}."
        )
        yield Damage(file=name, problem=problem, num_tiles=entry.num_live)
    if ids[0] != entry.first_id or ids[-1] != entry.last_id or (np.diff(ids) == 0).any():
        problem = (
            f"{folder / name} holds the tile ids {ids[0]} to {ids[-1]}, or one twice, but the "
            f"manifest says {entry.first_id} to {entry.last_id}."
        )
        yield Damage(file=name, problem=problem, num_tiles=entry.num_live)
