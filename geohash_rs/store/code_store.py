"""CodeStore: packed codes and their tiles in a folder, searched exactly."""

import json
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geohash_rs.codes import check_codes, check_num_bits
from geohash_rs.errors import ArchiveReadOnlyError, HasherMismatchError, QueryError, TileTableError
from geohash_rs.store.adoption import adopt_parts
from geohash_rs.store.commit import Writer, open_writer
from geohash_rs.store.compaction import compact_segments, merge_small_segments
from geohash_rs.store.creation import create_folder
from geohash_rs.store.disk.files import ArchiveFiles, FolderFiles
from geohash_rs.store.disk.hasher_file import HasherFile, other_hasher, with_hasher
from geohash_rs.store.disk.locks import ReaderPin
from geohash_rs.store.disk.manifest import HasherEntry, Manifest, new_commit
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.search.filters import parse_names
from geohash_rs.store.searchable import Codes, Ids
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.segment.tiles import tiles_from_frame
from geohash_rs.store.snapshot import Answers, Snapshot
from geohash_rs.store.verification import VerifyReport, verify_archive

__all__ = ["CodeStore"]


class CodeStore(Answers):
    """Codes and tiles in a folder. Make one with `create` or `open`.

    A search sees the state that was opened or last written through this object; `refresh` moves
    on to what other processes wrote, and `snapshot` returns a state that stays as it is. To ask
    from several threads is safe, also while one of them writes or refreshes.

    All that writes raises ArchiveReadOnlyError if the archive was opened for reading,
    ArchiveLockedError if another process is writing, and ArchiveWriteError if it cannot be written;
    the archive is then as before.

    Args:
        path: The folder.
        manifest: The state to start from.
        mode: "r" to read, "a" to read and write.
        pin: Keeps the state's files from being deleted.
        files: Where its files are found; in the folder if None.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        *,
        mode: Literal["r", "a"],
        pin: ReaderPin,
        files: ArchiveFiles | None = None,
    ) -> None:
        self.path = path
        self.mode = mode
        self._files = FolderFiles(path) if files is None else files
        self._snapshot = Snapshot.of(path, manifest, pin=pin, files=self._files)
        self._moving = threading.Lock()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        num_bits: int | None = None,
        hasher: HasherFile | None = None,
        pending_hasher: str | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make an empty archive.

        Args:
            path: A folder that does not exist yet, or is empty but for what an interrupted
                creation has left.
            num_bits: Bits of a code; may be left out when a hasher is given or still to be fitted.
            hasher: The hasher whose codes it will hold.
            pending_hasher: The kind of hasher still to be fitted, such as "general-64".
            attrs: Anything to be remembered that JSON can hold.

        Returns:
            The archive, open for writing.

        Raises:
            ArchiveExistsError: If something is there already.
            ArchiveLockedError: If another process is making an archive there.
            ArchiveWriteError: If the folder cannot be made.
            CodeLengthError: If `num_bits` cannot be packed or is not the hasher's.
            QueryError: If neither bits nor hasher are given, JSON cannot hold `attrs`, or the
                hasher's fingerprint cannot be part of a file's name.
        """
        if hasher is None and num_bits is None and pending_hasher is None:
            msg = "a new archive needs num_bits, hasher or pending_hasher; pass num_bits=64, say."
            raise QueryError(msg)
        if num_bits is not None:
            check_num_bits(num_bits)
        manifest = Manifest(
            commit=new_commit(),
            num_bits=num_bits,
            pending_hasher=pending_hasher,
            attrs=_as_json(attrs or {}),
        )
        create_folder(Path(path), manifest, hasher=hasher)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, mode: Literal["r", "a"] = "a") -> Self:
        """Open an archive; files are mapped when first needed.

        Args:
            path: The folder.
            mode: "r" refuses to write; "a" takes the write lock only while it writes.

        Returns:
            The archive.

        Raises:
            ArchiveNotFoundError: If the folder is not an archive.
            ArchiveFormatError: If a newer version of this package wrote it.
            ArchiveCorruptError: If its manifest is damaged.
            QueryError: If the mode is unknown.
        """
        if mode not in ("r", "a"):
            msg = f"mode is {mode!r}, but it must be 'r' (read) or 'a' (read and write)."
            raise QueryError(msg)
        return cls.over(FolderFiles(Path(path)), mode=mode)

    @classmethod
    def over(cls, files: ArchiveFiles, *, mode: Literal["r", "a"] = "r") -> Self:
        """Open an archive whose files may lie elsewhere than in its folder.

        Args:
            files: Its files.
            mode: As in `open`; "a" only where they are in the folder.

        Returns:
            The archive; errors are those of `open`.
        """
        pin = ReaderPin(files.folder)
        return cls(files.folder, files.read_manifest(), mode=mode, pin=pin, files=files)

    def close(self) -> None:
        """Let go of the opened state, so that files it alone needs may be deleted."""
        self._snapshot.pin.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {self.num_bits} bits, {len(self)} tiles)"

    def refresh(self) -> None:
        """Move on to the newest state, with what other processes wrote.

        Raises:
            ArchiveCorruptError: If the manifest is damaged.
        """
        with self._moving:  # what another thread commits after the reading comes after it
            pin = ReaderPin(self.path)
            manifest = self._files.read_manifest()
            known = self._snapshot.segments
            self._snapshot = Snapshot.of(
                self.path, manifest, pin=pin, known=known, files=self._files
            )

    def _follow(self, snapshot: Snapshot) -> None:
        """Move on to a state that this object has written; the write lock is held."""
        with self._moving:
            self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        """Return the state that this object is in now, to ask it several questions.

        Returns:
            A state that stays as it is while other threads refresh this object or write with it.
        """
        return self._snapshot

    @property
    def manifest(self) -> Manifest:
        """The state that this object sees."""
        return self._snapshot.manifest

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of the state that this object sees, in the order of their tile ids."""
        return self._snapshot.segments

    def verify(self) -> VerifyReport:
        """Read every file, compare checksums and counts, and look for files that do not belong.

        Returns:
            What is damaged and what is still good.
        """
        return verify_archive(self.path)

    def set_hasher(self, data: bytes, *, fingerprint: str, num_bits: int) -> None:
        """Keep the hasher that makes this archive's codes.

        Args:
            data: Content of its safetensors file.
            fingerprint: What identifies it.
            num_bits: Bits of its codes.

        Raises:
            HasherMismatchError: If the archive holds codes of another hasher.
            CodeLengthError: If the archive holds codes of another length.
            QueryError: If the fingerprint cannot be part of a file's name.
        """
        with self._writer() as writer:
            new = HasherFile(data=data, fingerprint=fingerprint, num_bits=num_bits)
            state = writer.manifest
            if state.num_tiles and state.hasher and state.hasher.fingerprint != fingerprint:
                raise HasherMismatchError(
                    other_hasher(self.path, state.hasher.fingerprint, fingerprint)
                )
            writer.manifest = with_hasher(self.path, state, new)
            writer.commit()

    def update_attrs(self, values: Mapping[str, Any]) -> None:
        """Remember more values, JSON, in the manifest.

        Args:
            values: Names and values; the same names are replaced. Keys inside of them become text,
                as in JSON.

        Raises:
            QueryError: If JSON cannot hold a value.
        """
        new = _as_json(values)
        with self._writer() as writer:
            writer.update(attrs={**writer.manifest.attrs, **new})
            writer.commit()

    def add_codes(
        self,
        codes: Codes,
        tiles: gpd.GeoDataFrame,
        *,
        scenes: Sequence[SceneRecord] = (),
        replace_scenes: Collection[str] = (),
        fingerprint: str | None = None,
    ) -> npt.NDArray[np.int64]:
        """Add codes and their tiles in one commit: all of it or, after a crash, none.

        Args:
            codes: Packed codes, uint8, shape (n, bits / 8).
            tiles: n rows: scene (text), geometry (any CRS) and, where known, col, row, width,
                height (px), datetime, datetime_end (no zone means UTC), label (text).
            scenes: Records of the scenes the tiles come from.
            replace_scenes: Scenes whose present tiles are removed in the same commit.
            fingerprint: The hasher that made the codes.

        Returns:
            Ids of the tiles, int64, shape (n,), in the order given.

        Raises:
            CodeLengthError: If the codes have another number of bits than the archive.
            TileTableError: If codes and tiles differ in number, or a column is wrong.
            QueryError: If `replace_scenes` is one text, or the archive has no hasher yet.
            HasherMismatchError: If another hasher made the archive's codes.
        """
        replaced = parse_names(replace_scenes, what="replace_scenes")
        if self.num_bits is None:
            msg = (
                f"{self.path} has no hasher yet ({self.pending_hasher} is to be fitted when scenes "
                "are added), so it takes no codes; call set_hasher first."
            )
            raise QueryError(msg)
        codes = check_codes(codes, num_bits=self.num_bits)
        if len(codes) != len(tiles):
            msg = f"there are {len(codes)} codes but {len(tiles)} tiles; give one code a tile."
            raise TileTableError(msg)
        table = tiles_from_frame(tiles)
        with self._writer() as writer:
            known = writer.manifest.hasher
            if fingerprint is not None and known is not None and known.fingerprint != fingerprint:
                raise HasherMismatchError(other_hasher(self.path, known.fingerprint, fingerprint))
            if fingerprint is not None and known is None:
                writer.update(hasher=HasherEntry(file=None, fingerprint=fingerprint))
            if replaced:
                writer.remove_scenes(replaced)
            ids = writer.add(codes, table)
            renewed = {record.scene for record in scenes}
            writer.log_scenes(scenes, removed=sorted(replaced - renewed))
            writer.commit()
            merge_small_segments(writer)
        return ids

    def reserve_ids(self, count: int) -> int:
        """Keep tile ids free for tiles that other processes make, for `adopt`.

        Args:
            count: How many ids.

        Returns:
            The first of them; they are never given to anything else.

        """
        with self._writer() as writer:
            first = writer.manifest.next_id
            writer.update(next_id=first + count)
            writer.commit()
        return first

    def adopt(
        self,
        parts: Sequence["CodeStore"],
        *,
        replace_scenes: Collection[str] = (),
    ) -> None:
        """Take over the tiles of archives that were made of a part of the work, in one commit.

        Their segments are moved, not copied, so the parts are of no use afterwards.

        Args:
            parts: Archives of the same hasher on the same file system, without removed tiles,
                whose tile ids were reserved here.
            replace_scenes: Scenes whose present tiles are removed in the same commit.

        Raises:
            HasherMismatchError: If a part was made by another hasher.
            TileTableError: If a part's ids were not reserved here, or tiles of it were removed.
            QueryError: If `replace_scenes` is one text.
        """
        replaced = parse_names(replace_scenes, what="replace_scenes")
        with self._writer() as writer:
            adopt_parts(
                writer,
                [(part.path, part.manifest) for part in parts],
                scenes=[record for part in parts for record in part.scenes()],
                replace_scenes=replaced,
            )

    def remove_scenes(self, scenes: Collection[str]) -> int:
        """Remove every tile of some scenes, and their records.

        Args:
            scenes: Paths or URIs as in the tiles' column `scene`.

        Returns:
            How many tiles were removed; 0 when the archive has no such scene.

        Raises:
            QueryError: If `scenes` is one text.
        """
        gone = parse_names(scenes, what="scenes")
        with self._writer() as writer:
            count = writer.remove_scenes(gone)
            writer.log_scenes((), removed=sorted(gone & writer.snapshot.records.keys()))
            writer.commit()
        return count

    def remove_tiles(self, ids: Ids) -> int:
        """Remove tiles.

        Args:
            ids: Tile ids; the same id may occur twice.

        Returns:
            How many tiles were removed.

        Raises:
            TileNotFoundError: If an id has no tile; nothing is removed then.
        """
        wanted = np.unique(np.asarray(ids, dtype=np.int64))
        with self._writer() as writer:
            found = list(writer.snapshot.locate(wanted))
            count = sum(writer.remove_rows(segment, rows) for segment, _, rows in found)
            writer.commit()
        return count

    def compact(self) -> None:
        """Merge small segments, drop removed rows for good and delete what is left over.

        Tile ids stay as they are. A process that has the archive open keeps its state; the files
        of that state are deleted by a later `compact`.

        Raises:
            ArchiveCorruptError: If a file to be merged is damaged; nothing is lost.
        """
        with self._writer() as writer:
            compact_segments(writer)

    def _writer(self) -> AbstractContextManager[Writer]:
        if self.mode == "r":
            msg = f"{self.path} was opened with mode='r'; open it with mode='a' to write."
            raise ArchiveReadOnlyError(msg)
        return open_writer(self.path, known=self._snapshot.segments, follow=self._follow)


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they will be read back: the manifest's checksum is of those.

    Raises:
        QueryError: If JSON cannot hold one.
    """
    try:
        return dict(json.loads(json.dumps(dict(values))))
    except (TypeError, ValueError) as error:
        msg = f"attrs {dict(values)!r} cannot be kept as JSON: {error}; pass numbers and text."
        raise QueryError(msg) from error
