"""CodeStore: packed codes and their tiles in a folder, searched exactly."""

import json
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

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
from geohash_rs.store.disk.manifest import (
    HasherEntry,
    KeepVectors,
    Manifest,
    VectorsEntry,
    new_commit,
)
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.recoding import CodesOf, switch_codes
from geohash_rs.store.renaming import rename_scenes
from geohash_rs.store.search.filters import parse_names
from geohash_rs.store.searchable import Codes, Ids
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.snapshot import Answers, Snapshot
from geohash_rs.store.verification import VerifyReport, verify_archive

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["CodeStore"]


class CodeStore(Answers):
    """Codes and tiles in a folder. Make one with `create` or `open`.

    A search sees the state that was opened or last written through this object; `refresh` picks up
    what other processes wrote, and `snapshot` returns a state that never changes. Several threads
    may search at once, even while one of them writes or refreshes.

    Every method that writes raises ArchiveReadOnlyError if the archive was opened for reading,
    ArchiveLockedError if another process is writing, and ArchiveWriteError if the write fails; the
    archive is then unchanged.

    Args:
        path: The folder.
        manifest: The state to start from.
        mode: "r" to read, "a" to read and write.
        pin: Keeps the state's files from being deleted.
        files: Finds the archive's files; None looks in the folder.
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
        keep_vectors: KeepVectors = "none",
        attrs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make an empty archive.

        Args:
            path: A folder that does not exist yet, or holds nothing but the remains of an
                interrupted creation.
            num_bits: Bits per code; optional when a hasher is given or pending.
            hasher: The hasher whose codes it will hold.
            pending_hasher: The kind of hasher still to be fitted, such as "general-64".
            keep_vectors: Whether every tile comes with the feature vector from which its code was
                made, and how it is kept: "float16" (two bytes a number), "int8" (one byte, and four
                for a scale of the vector) or "none".
            attrs: Values to keep in the manifest, JSON.

        Returns:
            The archive, open for writing.

        Raises:
            ArchiveExistsError: If the path exists and is not empty.
            ArchiveLockedError: If another process is making an archive there.
            ArchiveWriteError: If the folder cannot be made.
            CodeLengthError: If `num_bits` cannot be packed or differs from the hasher's.
            QueryError: If neither bits nor a hasher are given, `keep_vectors` is unknown, JSON
                cannot hold `attrs`, or the hasher's fingerprint cannot be part of a file name.
        """
        if keep_vectors not in ("none", "float16", "int8"):
            msg = f"keep_vectors is {keep_vectors!r}, but it must be 'none', 'float16' or 'int8'."
            raise QueryError(msg)
        if hasher is None and num_bits is None and pending_hasher is None:
            msg = "a new archive needs num_bits, hasher or pending_hasher; try num_bits=64."
            raise QueryError(msg)
        if num_bits is not None:
            check_num_bits(num_bits)
        manifest = Manifest(
            commit=new_commit(),
            num_bits=num_bits,
            pending_hasher=pending_hasher,
            vectors=None
            if keep_vectors == "none"
            else VectorsEntry(kind=keep_vectors, rotated=keep_vectors == "int8"),
            attrs=_as_json(attrs or {}),
        )
        create_folder(Path(path), manifest, hasher=hasher)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, mode: Literal["r", "a"] = "a") -> Self:
        """Open an archive; its files are mapped on first use.

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
        """Open an archive whose files may lie outside its folder.

        Args:
            files: Finds its files.
            mode: As in `open`; "a" only if the files lie in the folder.

        Returns:
            The archive. Raises the errors of `open`.
        """
        pin = ReaderPin(files.folder)
        return cls(files.folder, files.read_manifest(), mode=mode, pin=pin, files=files)

    def close(self) -> None:
        """Release the opened state, so that files only it needs can be deleted."""
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
        """Move to the newest state, which includes what other processes wrote.

        Raises:
            ArchiveCorruptError: If the manifest is damaged.
        """
        with self._moving:  # a commit by another thread waits until this state is in place
            pin = ReaderPin(self.path)
            manifest = self._files.read_manifest()
            known = self._snapshot.segments
            self._snapshot = Snapshot.of(
                self.path, manifest, pin=pin, known=known, files=self._files
            )

    def _follow(self, snapshot: Snapshot) -> None:
        """Move to a state that this object wrote; the caller holds the write lock."""
        with self._moving:
            self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        """Return this object's current state, to run several queries against it.

        Returns:
            A state that stays the same while other threads refresh or write through this object.
        """
        return self._snapshot

    @property
    def manifest(self) -> Manifest:
        """The state that this object sees."""
        return self._snapshot.manifest

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of the state that this object sees, ordered by tile id."""
        return self._snapshot.segments

    def verify(self) -> VerifyReport:
        """Read every file, compare checksums and counts, and look for stray files.

        Returns:
            What is damaged and what is intact.
        """
        return verify_archive(self.path)

    def set_hasher(self, data: bytes, *, fingerprint: str, num_bits: int) -> None:
        """Store the hasher that makes this archive's codes.

        Args:
            data: Content of its safetensors file.
            fingerprint: Identifies the hasher.
            num_bits: Bits per code.

        Raises:
            HasherMismatchError: If the archive holds codes from another hasher, or another process
                has stored one since this object was opened or refreshed.
            CodeLengthError: If the archive holds codes of another length.
            QueryError: If the fingerprint cannot be part of a file name.
        """
        seen = self.manifest.hasher
        with self._writer() as writer:
            new = HasherFile(data=data, fingerprint=fingerprint, num_bits=num_bits)
            state = writer.manifest
            settled = state.num_tiles or state.hasher != seen
            if settled and state.hasher and state.hasher.fingerprint != fingerprint:
                raise HasherMismatchError(other_hasher(self.path, state, fingerprint))
            writer.manifest = with_hasher(self.path, state, new)
            writer.commit()

    def update_attrs(self, values: Mapping[str, Any]) -> None:
        """Add values to the manifest's attrs, or replace them.

        Args:
            values: Values by name, JSON; existing names are replaced. Keys of nested dicts become
                text, as in JSON.

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
        tiles: "gpd.GeoDataFrame",
        *,
        vectors: npt.ArrayLike | None = None,
        scenes: Sequence[SceneRecord] = (),
        replace_scenes: Collection[str] = (),
        fingerprint: str | None = None,
    ) -> npt.NDArray[np.int64]:
        """Add codes and their tiles in one commit: all or, after a crash, none.

        Args:
            codes: Packed codes, uint8, shape (n, bits / 8).
            tiles: n rows: scene (text), geometry (any CRS) and, where known, col, row, width,
                height (px), datetime, datetime_end (no zone means UTC), label (text),
                tile_size (px, of windows that were resampled to this side), source (text, up to
                8,192 bytes, such as the URI of the image from which a code was made).
            vectors: The feature vectors from which the codes were made, float, shape (n, length);
                required if the archive keeps vectors, otherwise None. All vectors of an archive
                have one length.
            scenes: Records of the scenes the tiles come from.
            replace_scenes: Scenes whose current tiles are removed in the same commit.
            fingerprint: Identifies the hasher that made the codes.

        Returns:
            Ids of the tiles, int64, shape (n,), in the order given.

        Raises:
            CodeLengthError: If the codes have another number of bits than the archive.
            TileTableError: If codes and tiles differ in number, or a column is wrong.
            QueryError: If `replace_scenes` is a single string, or the archive has no hasher yet.
            HasherMismatchError: If another hasher made the archive's codes.
            VectorError: If vectors are missing or not wanted, or have another shape, length or
                type, or hold numbers that are not finite or too large to keep.
        """
        from geohash_rs.store.segment.tiles import tiles_from_frame

        replaced = parse_names(replace_scenes, what="replace_scenes")
        if self.num_bits is None:
            msg = (
                f"{self.path} has no hasher yet ({self.pending_hasher} will be fitted when scenes "
                "are added), so it cannot take codes; call set_hasher first."
            )
            raise QueryError(msg)
        codes = check_codes(codes, num_bits=self.num_bits)
        if len(codes) != len(tiles):
            msg = f"there are {len(codes)} codes but {len(tiles)} tiles; pass one code per tile."
            raise TileTableError(msg)
        table = tiles_from_frame(tiles)
        with self._writer() as writer:
            known = writer.manifest.hasher
            if fingerprint is not None and known is not None and known.fingerprint != fingerprint:
                raise HasherMismatchError(other_hasher(self.path, writer.manifest, fingerprint))
            if fingerprint is not None and known is None:
                writer.update(hasher=HasherEntry(file=None, fingerprint=fingerprint))
            if replaced:
                writer.remove_scenes(replaced)
            ids = writer.add(codes, table, vectors=None if vectors is None else np.asarray(vectors))
            renewed = {record.scene for record in scenes}
            writer.log_scenes(scenes, removed=sorted(replaced - renewed))
            writer.commit()
            merge_small_segments(writer)
        return ids

    def reserve_ids(self, count: int) -> int:
        """Reserve tile ids for tiles that other processes make and `adopt` takes in.

        Args:
            count: Number of ids.

        Returns:
            The first id; none of them is assigned to any other tile.

        Raises:
            ArchiveCorruptError: If there are not as many left.
        """
        with self._writer() as writer:
            first = writer.take_ids(count)
            writer.commit()
        return first

    def adopt(
        self,
        parts: Sequence["CodeStore"],
        *,
        replace_scenes: Collection[str] = (),
    ) -> None:
        """Move the tiles of partial archives into this one, in one commit.

        Their segments are moved, not copied, so the parts are unusable afterwards.

        Args:
            parts: Archives of the same hasher on the same file system, without removed tiles,
                whose tile ids were reserved here.
            replace_scenes: Scenes whose current tiles are removed in the same commit.

        Raises:
            HasherMismatchError: If a part was made by another hasher.
            TileTableError: If a part's ids were not reserved here, or it has removed tiles.
            VectorError: If a part keeps vectors in another form.
            QueryError: If `replace_scenes` is a single string.
        """
        replaced = parse_names(replace_scenes, what="replace_scenes")
        with self._writer() as writer:
            adopt_parts(
                writer,
                [(part.path, part.manifest) for part in parts],
                scenes=[record for part in parts for record in part.scenes()],
                replace_scenes=replaced,
            )

    def replace_codes(
        self, hasher: HasherFile, codes_of: CodesOf, *, scenes: Sequence[SceneRecord] = ()
    ) -> bool:
        """Replace the hasher and the codes of all tiles in one commit; all else stays.

        Tiles keep their ids, and their feature vectors if the archive keeps them, so the new hasher
        must compute the same features. A process that has the archive open keeps the former state
        until it refreshes, or for good if its search is running.

        Args:
            hasher: The new hasher, perhaps with another number of bits.
            codes_of: Returns the new codes of some live rows of a segment; None if it lacks one.
            scenes: New records of scenes, such as with other bands.

        Returns:
            Whether there was a code for every tile; otherwise the archive is unchanged.

        Raises:
            ArchiveCorruptError: If a file of a segment is damaged; the archive is unchanged.
            QueryError: If the hasher's fingerprint cannot be part of a file name.
        """
        with self._writer() as writer:
            return switch_codes(writer, hasher, codes_of, scenes=scenes)

    def rename_scenes(
        self,
        names: Mapping[str, str],
        *,
        scenes: Sequence[tuple[SceneRecord | None, SceneRecord]] = (),
    ) -> int:
        """Rename scenes in one commit; all else about their tiles stays.

        Tables that name these scenes are written again; codes and vectors are not.

        Args:
            names: The new name of each scene; scenes that the archive does not have are ignored.
            scenes: Former record (None if it has none) and new record of these scenes, the new one
                under the new name. A scene whose record is no longer the former one, since another
                process wrote meanwhile, keeps its present one, as do scenes that are not listed.

        Returns:
            The number of tiles whose scene has another name now.

        Raises:
            ArchiveCorruptError: If a file to be written again is damaged.
            SceneError: If two scenes would have the same name; nothing is changed.
            TileTableError: If a new name is too long or has a zero byte.
        """
        with self._writer() as writer:
            return rename_scenes(writer, names, scenes=scenes)

    def remove_scenes(self, scenes: Collection[str]) -> int:
        """Remove all tiles and records of the given scenes.

        Args:
            scenes: Paths or URIs as in the tiles' column `scene`.

        Returns:
            The number of tiles removed; 0 if the archive has no such scene.

        Raises:
            QueryError: If `scenes` is a single string.
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
            ids: Tile ids; an id may repeat.

        Returns:
            The number of tiles removed.

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
        """Merge small segments, drop removed rows for good and delete unused files.

        Tile ids do not change. A process that has the archive open keeps its state; a later
        `compact` deletes the files of that state.

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
    """Return values as JSON reads them back, which is what the manifest's checksum covers.

    Raises:
        QueryError: If JSON cannot hold a value.
    """
    try:
        return dict(json.loads(json.dumps(dict(values))))
    except (TypeError, ValueError) as error:
        msg = f"attrs {dict(values)!r} cannot be stored as JSON: {error}; pass numbers and text."
        raise QueryError(msg) from error
