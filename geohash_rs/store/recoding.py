"""Replace the code of every tile of an archive: part by part, and then all in one commit."""

import contextlib
import dataclasses
import os
import re
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import ArchiveCorruptError, ArchiveFormatError
from geohash_rs.store.commit import Writer
from geohash_rs.store.disk.durable import (
    FileEntry,
    remove_tree,
    replacing,
    sync_folder,
    verify_file,
    write_file,
    writing,
)
from geohash_rs.store.disk.hasher_file import HasherFile, with_hasher
from geohash_rs.store.disk.manifest import SegmentEntry
from geohash_rs.store.disk.plain import plain_folder, plain_path
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.orphans import collect_garbage
from geohash_rs.store.segment.arrays import map_arrays, serialise_arrays
from geohash_rs.store.segment.layout import BLOCK, CODES
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.segment.windows import WINDOW, window_numbers

__all__ = [
    "ROW_BYTES",
    "CodeParts",
    "CodesOf",
    "bytes_to_write",
    "can_link",
    "check_segment",
    "share_file",
    "switch_codes",
    "tile_keys",
]

CodesOf = Callable[[Segment, npt.NDArray[np.int64]], npt.NDArray[np.uint8] | None]

PART_NAME = re.compile(r"(?P<number>[0-9]{8})-(?P<crc>[0-9a-f]{8})")
ROW_BYTES = 16  # of a tile in a part, next to its code: its id and its key
CHUNK = 1 << 22
ODD = np.array(  # spread windows over all keys
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64
)

Ids = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


class CodeParts:
    """New codes that were made so far, in files of a folder; each is written once and durable.

    A code is found by its tile's id and key, so it is never taken for that of another tile, or of
    the same tile after its scene has changed.

    Args:
        folder: The folder; it exists.
        num_bits: Bits per code.
    """

    def __init__(self, folder: Path, num_bits: int) -> None:
        self.folder = folder
        self.num_bits = num_bits
        self._parts: list[dict[str, npt.NDArray[Any]]] = []
        self._next = 0
        for path in sorted(folder.iterdir()):
            if (found := PART_NAME.fullmatch(path.name)) is None:
                continue
            self._next = max(self._next, int(found["number"]) + 1)
            if (part := self._read(path, int(found["crc"], 16))) is None:
                remove_tree(path)  # its tiles are hashed again
            else:
                self._parts.append(part)

    def _read(self, path: Path, crc: int) -> dict[str, npt.NDArray[Any]] | None:
        """Map a part; None if it is damaged."""
        try:
            verify_file(path, FileEntry(name=path.name, size=path.stat().st_size, crc32=crc))
            part = map_arrays(path)
            ids, keys, codes = part["ids"], part["keys"], part["codes"]
        except (ArchiveCorruptError, ArchiveFormatError, KeyError):
            return None
        count = len(ids)
        shapes = ids.shape, keys.shape, codes.shape
        right = shapes == ((count,), (count,), (count, self.num_bits // 8))
        types = ids.dtype == np.int64, keys.dtype == np.uint64, codes.dtype == np.uint8
        return part if count and right and all(types) else None

    def add(self, ids: Ids, keys: Keys, codes: npt.NDArray[np.uint8]) -> None:
        """Write the codes of some tiles; they survive a crash from now on.

        Args:
            ids: Tile ids, shape (n,).
            keys: Their keys, as from `tile_keys`, shape (n,).
            codes: Their codes, shape (n, bits / 8).

        Raises:
            ArchiveWriteError: If they cannot be written.
        """
        if not len(ids):
            return
        order = np.argsort(ids)
        part: dict[str, npt.NDArray[Any]]
        part = {"ids": ids[order], "keys": keys[order], "codes": codes[order]}
        content = b"".join(bytes(piece) for piece in serialise_arrays(part))
        path = self.folder / f"{self._next:08d}-{zlib.crc32(content):08x}"
        with writing(path), replacing(path) as draft:
            write_file(draft, [content])
        self._next += 1
        self._parts.append(part)

    def find(self, ids: Ids, keys: Keys) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Look up the codes of tiles.

        Args:
            ids: Tile ids, shape (n,).
            keys: Their keys, shape (n,).

        Returns:
            The codes, shape (n, bits / 8), and which of them are known, shape (n,).
        """
        codes = np.zeros((len(ids), self.num_bits // 8), np.uint8)
        known = np.zeros(len(ids), bool)
        for part in self._parts if len(ids) else ():
            have = part["ids"]
            if have[0] > ids.max() or have[-1] < ids.min():
                continue
            places = np.minimum(np.searchsorted(have, ids), len(have) - 1)
            here = (have[places] == ids) & (part["keys"][places] == keys)
            codes[here] = part["codes"][places[here]]
            known |= here
        return codes, known


def tile_keys(segment: Segment, rows: Ids, scenes: Mapping[str, int]) -> Keys:
    """Return numbers that differ if tiles are other windows, or windows of other scenes.

    Args:
        segment: The segment.
        rows: Row numbers, shape (n,).
        scenes: A number below 2**64 for each scene, which changes if the scene changes.

    Returns:
        The keys, uint64, shape (n,); two that should differ are equal once in 2**64.
    """
    numbers = np.array([scenes.get(text, 0) for text in segment.texts("scene")], np.uint64)
    keys = numbers[segment.numbers("scene", rows)]
    for name, odd in zip(WINDOW, ODD, strict=True):
        found = window_numbers(segment.index, name, rows, block=BLOCK)
        value = np.asarray(found.fill_null(-(1 << 31))).astype(np.int64).view(np.uint64)
        keys = (keys ^ value) * odd
        keys ^= keys >> np.uint64(29)
    return keys


def bytes_to_write(segments: Sequence[SegmentEntry], num_bits: int, *, linked: bool) -> int:
    """Return how much the parts and the new segments of a recoding take on the disk.

    Args:
        segments: The segments whose codes are replaced.
        num_bits: Bits per new code.
        linked: Whether the file system links files, so that tables are not copied.

    Returns:
        Bytes.
    """
    parts = sum(entry.num_live for entry in segments) * (num_bits // 8 + ROW_BYTES)
    codes = sum(entry.num_tiles for entry in segments) * num_bits // 8
    tables = sum(f.size for entry in segments for f in entry.files if f.name != CODES)
    return parts + codes + (0 if linked else tables)


def can_link(folder: Path) -> bool:
    """Return whether the file system of a folder gives a file a second name.

    Args:
        folder: The archive.

    Returns:
        Whether it does.

    Raises:
        ArchiveWriteError: If the folder cannot be written.
    """
    place = folder / f"link.{secrets.token_hex(4)}.tmp"  # the name of a draft, if this is killed
    with writing(place):
        place.mkdir()
    try:
        (place / "file").touch()
        os.link(place / "file", place / "second")
    except OSError:
        return False
    else:
        return True
    finally:
        remove_tree(place)


def check_segment(folder: Path, entry: SegmentEntry) -> None:
    """Check the files of a segment that say which tiles it has.

    Args:
        folder: The archive.
        entry: The segment.

    Raises:
        ArchiveCorruptError: If one is damaged.
    """
    for file in entry.files:
        if file.name != CODES:
            verify_file(plain_path(folder, f"segments/{entry.name}/{file.name}"), file)
    if entry.tombstones:
        verify_file(plain_path(folder, f"removed/{entry.tombstones.name}"), entry.tombstones)


def switch_codes(
    writer: Writer, hasher: HasherFile, codes_of: CodesOf, *, scenes: Sequence[SceneRecord] = ()
) -> bool:
    """Replace hasher and codes in one commit; see `CodeStore.replace_codes`.

    Args:
        writer: Holds the write lock; has no uncommitted changes.
        hasher: The new hasher.
        codes_of: As in `CodeStore.replace_codes`.
        scenes: New records of scenes.

    Returns:
        Whether there was a code for every tile.
    """
    entries = []
    for segment in writer.snapshot.segments:
        rows = np.flatnonzero(~segment.removed_rows())
        if (live := codes_of(segment, rows)) is None:
            return False
        codes = np.zeros((len(segment), hasher.num_bits // 8), np.uint8)  # of removed rows too
        codes[rows] = live
        entries.append(_recoded(writer, segment, codes))
    writer.update(segments=tuple(entries), num_bits=None)
    writer.manifest = with_hasher(writer.folder, writer.manifest.refitted(), hasher)
    if (made := writer.manifest.hasher) and made.file:
        writer.fresh(writer.folder / made.file.name)
    writer.log_scenes(scenes)
    writer.commit()
    collect_garbage(writer.snapshot)
    return True


def _recoded(writer: Writer, segment: Segment, codes: npt.NDArray[np.uint8]) -> SegmentEntry:
    """Write a segment with other codes next to the same tables.

    Raises:
        ArchiveCorruptError: If a table is damaged.
    """
    entry = segment.entry
    old = plain_folder(plain_folder(writer.folder, "segments"), entry.name)
    new = writer.fresh(old.parent / writer.next_name())
    with writing(new):
        new.mkdir()
    files = []
    for file in entry.files:
        if file.name == CODES:
            files.append(write_file(new / CODES, [np.ascontiguousarray(codes).data.cast("B")]))
        else:
            files.append(file)
            share_file(plain_path(old, file.name), new / file.name, file)
    with writing(new):
        sync_folder(new)
    return dataclasses.replace(entry, name=new.name, files=tuple(files))


def share_file(source: Path, target: Path, entry: FileEntry) -> None:
    """Link a file, which never changes, to a second name; copy it if the disk has no links.

    Args:
        source: The file.
        target: The second name.
        entry: Size and checksum of the file.

    Raises:
        ArchiveCorruptError: If it is damaged.
        ArchiveWriteError: If it cannot be copied.
    """
    verify_file(source, entry)
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    if write_file(target, _content(source)) != entry:
        msg = f"{source} changed while it was copied; run 'geohash-rs verify' on the archive."
        raise ArchiveCorruptError(msg)


def _content(path: Path) -> Iterator[bytes]:
    """Read a file in pieces."""
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece
