"""Fit a hasher on all that an archive holds, and hash every tile again."""

import errno
import hashlib
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import ArchiveWriteError, HasherError, HasherMismatchError, VectorError
from geohash_rs.hashing.fit.by_name import Unfitted, keep_backbone, method_of, shares_features
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.shipped import load_hasher
from geohash_rs.indexing.add import TRACE_TILES
from geohash_rs.indexing.archived_scenes import ArchivedScenes
from geohash_rs.indexing.new_codes import count_missing, hash_missing
from geohash_rs.indexing.refit_report import RefitPlan, RefitReport
from geohash_rs.indexing.report import check_fit
from geohash_rs.indexing.settings import IndexSettings
from geohash_rs.indexing.tile_sources import PixelSource, TileSource, VectorSource, required
from geohash_rs.indexing.writer import when_free
from geohash_rs.store.code_counts import count_codes
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.locks import write_lock
from geohash_rs.store.disk.manifest import VectorsEntry
from geohash_rs.store.orphans import unfinished
from geohash_rs.store.recoding import (
    ROW_BYTES,
    CodeParts,
    bytes_to_write,
    can_link,
    check_segment,
    tile_keys,
)
from geohash_rs.store.refit_folder import RefitFolder, remove_refits
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.snapshot import Snapshot

__all__ = ["Announce", "refit_archive"]

SPARE = 4 << 20  # bytes for manifests, records and what the file system adds

Rows = npt.NDArray[np.int64]
Announce = Callable[[RefitPlan], None]


def refit_archive(
    archive: CodeStore,
    own: Hasher | None,
    hasher: Hasher | str | Path | None,
    settings: IndexSettings,
    *,
    announce: Announce | None = None,
) -> RefitReport:
    """Hash every tile of an archive with another hasher; see `Archive.refit`.

    Args:
        archive: The archive, open for writing.
        own: Its hasher, or None if its codes were made elsewhere.
        hasher: As in `Archive.refit`.
        settings: How to read and hash.
        announce: As in `Archive.refit`.

    Returns:
        What was done.

    Raises:
        ArchiveLockedError: If another process is refitting the archive.
        ArchiveWriteError: If the disk has too little room.
        HasherError: If there is nothing to fit, or too few tiles.
        HasherMismatchError: If another process refits the archive meanwhile.
        SceneError: If tiles cannot be read again.
        VectorError: If the archive keeps feature vectors that the new hasher does not compute.
    """
    return _Refit(archive, own, hasher, settings).run(announce)


class _Refit:
    """The steps of a refit: check, fit or resume, hash what is missing, switch."""

    def __init__(
        self,
        archive: CodeStore,
        own: Hasher | None,
        hasher: Hasher | str | Path | None,
        settings: IndexSettings,
    ) -> None:
        self.archive, self.own, self.settings = archive, own, settings
        kept = archive.keep_vectors != "none"
        self.made, self.unfitted = _asked(own, hasher, kept=kept, device=settings.device)
        self.name = next(one.name for one in (self.made, self.unfitted, own) if one is not None)
        self.num_hashed = 0

    def run(self, announce: Announce | None) -> RefitReport:
        archive = self.archive
        archive.refresh()
        state = archive.snapshot()
        former = archive.hasher_fingerprint
        source = self._source(state)
        if self.made is not None and self.made.fingerprint == former:
            return self._report(self.made, source, former)
        _check_free(state)
        folder, fitted_on = self._resumable(state, source)
        self._announce(state, source, folder, announce)
        if self.made is not None:
            new = self.made
        elif folder is not None:
            new = Hasher.from_bytes(folder.hasher_bytes(), device=self.settings.device)
        else:
            new = self._fit(state, source)
        if new.fingerprint == former:
            return self._report(new, source, former)
        _check_same_features(archive, self.own, new)
        file = HasherFile(data=new.to_bytes(), fingerprint=new.fingerprint, num_bits=new.num_bits)
        folder = RefitFolder.begin(archive.path, file, asked=self.asked, fitted_on=fitted_on)
        source.check(new)
        if isinstance(source, PixelSource) and source.num_tiles >= TRACE_TILES:
            new.accelerate()
        with folder.alone():
            parts = CodeParts(folder.path, new.num_bits)
            while True:
                self.num_hashed += hash_missing(
                    state.segments, source, new, parts, settings=self.settings
                )
                del state  # or it would keep the former files from being deleted
                if self._switch(file, source, parts, former):
                    break
                archive.refresh()  # another process has written meanwhile
                _check_hasher(archive, former)
                state = archive.snapshot()
                source = self._source(state)
                source.check(new)
        remove_refits(archive.path, [folder.path, *unfinished(archive.path, archive.manifest)])
        if self.made is not None:  # others were fitted on all of this
            check_fit(archive)
        return self._report(new, source, former)

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that the new hasher expects."""
        given = self.made or self.unfitted
        bands = given.bands if given is not None else None
        return tuple(bands or (self.own.bands if self.own else ()))

    @property
    def num_bits(self) -> int:
        """Bits of the new codes."""
        return next(one.num_bits for one in (self.made, self.unfitted, self.own) if one is not None)

    def _source(self, state: Snapshot) -> TileSource:
        """Check the files that say which tiles a state has, and what they are hashed from.

        Raises:
            HasherError: If they are codes of vectors that were not kept.
        """
        for entry in state.manifest.segments:
            check_segment(state.folder, entry)
        form = state.manifest.vectors
        if form is not None and self.own is not None:
            _check_length(state.folder, form, self.own)
        if form is not None and self._vectors_serve():
            own = required(self.own)
            turns = self.made is None and own.embedding is None and self._method(own) == "general"
            return VectorSource(state, form, self.settings, turns=turns)
        if form is not None and self.unfitted is not None:
            _refuse_other_features(state.folder, self.unfitted.name)
        if self.made is not None:
            _check_same_features(self.archive, self.own, self.made)
        if self.own is not None and not self.own.reads_pixels:
            msg = (
                f"{state.folder} holds codes of vectors but not the vectors, so they cannot be "
                'hashed again; index the vectors into a new archive, with keep_vectors="int8" if '
                "its hasher may change."
            )
            raise HasherError(msg)
        scenes = ArchivedScenes(
            state,
            self.settings,
            bands=self.bands,
            same_bands=self.own is not None and self.bands == self.own.bands,
            resolution=self.made.resolution if self.made else None,
            embedding=given.pixels if (given := self.made or self.own) is not None else None,
        )
        return PixelSource(scenes)

    def _vectors_serve(self) -> bool:
        """Return whether the new hasher needs the features that the archive's own one computes."""
        own, new = self.own, self.made or self.own
        if own is None or new is None or {*own.views, *new.views} != {"identity"}:
            return False
        if self.unfitted is not None:
            return shares_features(own, self.unfitted)
        return new.extractor.equals(own.extractor)

    def _method(self, own: Hasher) -> str:
        """Return the method by which the new hasher is fitted."""
        return method_of(own) if self.unfitted is None else self.unfitted.method

    def _fit(self, state: Snapshot, source: TileSource) -> Hasher:
        """Fit the hasher on a sample of all tiles.

        Raises:
            HasherError: If there are no tiles.
        """
        if not source.num_tiles:
            msg = f"{state.folder} has no tiles to fit a hasher on; add scenes first."
            raise HasherError(msg)
        return source.fit(state.segments, self.own, self.unfitted)

    @property
    def asked(self) -> str:
        """What was asked for, by which a later run knows whether it is asked for again."""
        if self.made is not None:
            return self.made.fingerprint
        own = self.own.fingerprint if self.own is not None and self.unfitted is None else ""
        return f"fit {self.name} {own}".rstrip()

    def _resumable(self, state: Snapshot, source: TileSource) -> tuple[RefitFolder | None, str]:
        """Find what an interrupted run left; remove what was fitted on another state.

        Returns:
            The folder, or None; and what identifies the scenes and tiles of this state.
        """
        basis = "" if self.made else _basis(state, source)
        mine = [
            f for f in RefitFolder.all_of(state.folder, state.manifest) if f.asked == self.asked
        ]
        fitting = [folder for folder in mine if folder.fitted_on == basis]
        remove_refits(state.folder, [folder.path for folder in mine if folder not in fitting])
        return (fitting[0] if fitting else None), basis

    def _announce(
        self,
        state: Snapshot,
        source: TileSource,
        folder: RefitFolder | None,
        announce: Announce | None,
    ) -> None:
        """Report what is going to be done, unless the disk has too little room.

        Raises:
            ArchiveWriteError: If it has.
        """
        entries = state.manifest.segments
        need = bytes_to_write(entries, self.num_bits, linked=can_link(state.folder))
        need += 2 * self._size_of_file(state) + SPARE
        done = 0
        if folder is not None:
            parts = CodeParts(folder.path, folder.num_bits)
            done = source.num_tiles - count_missing(state.segments, source, parts)
            need -= done * (self.num_bits // 8 + ROW_BYTES)
        free = shutil.disk_usage(state.folder).free
        plan = RefitPlan(
            archive=state.folder,
            hasher=self.name,
            num_bits=self.num_bits,
            num_tiles=source.num_tiles,
            num_done=done,
            num_scenes=source.num_scenes,
            source=source.name,
            fits=self.made is None and folder is None,
            num_bytes=need,
            num_free=free,
        )
        if need > free:
            msg = (
                f"cannot refit {state.folder}: it needs {need:,} bytes on the disk, which has "
                f"{free:,} free. Nothing was changed; make room, then repeat the call."
            )
            raise ArchiveWriteError(errno.ENOSPC, msg)
        if announce is not None:
            announce(plan)

    def _size_of_file(self, state: Snapshot) -> int:
        """Return the size of the new hasher's file, bytes; before it is fitted, about."""
        if self.made is not None:
            return len(self.made.to_bytes())
        own = state.manifest.hasher
        return max(SPARE, own.file.size if own and own.file else 0)

    def _switch(
        self, file: HasherFile, source: TileSource, parts: CodeParts, former: str | None
    ) -> bool:
        """Commit the new codes; return False if tiles or another hasher came in between."""
        digests = source.digests()

        def codes_of(segment: Segment, rows: Rows) -> npt.NDArray[np.uint8] | None:
            if self.archive.hasher_fingerprint != former:  # of the state to be replaced
                return None
            codes, known = parts.find(segment.ids_of(rows), tile_keys(segment, rows, digests))
            return codes if known.all() else None

        return when_free(lambda: self.archive.replace_codes(file, codes_of, scenes=source.renewed))

    def _report(self, new: Hasher, source: TileSource, former: str | None) -> RefitReport:
        return RefitReport(
            num_tiles=source.num_tiles,
            num_scenes=source.num_scenes,
            num_hashed=self.num_hashed,
            num_codes=count_codes(self.archive).num_codes,
            num_bits=new.num_bits,
            hasher=new.name,
            fingerprint=new.fingerprint,
            former=former,
            fitted_on=new.notes.get("fitted_on"),
        )


def _asked(
    own: Hasher | None, hasher: Hasher | str | Path | None, *, kept: bool, device: str
) -> tuple[Hasher | None, Unfitted | None]:
    """Return the hasher that was asked for, or the one to fit; neither fits the own one again.

    Raises:
        HasherError: If none was asked for and the archive has none.
        HasherNotFoundError: If the hasher is not found.
    """
    if hasher is None:
        method_of(required(own))
        return None, None
    if isinstance(hasher, Hasher):
        return hasher, None
    if (unfitted := Unfitted.find(hasher)) is not None:
        if unfitted.bands is None and own is None:
            msg = (
                f"the archive holds codes made elsewhere, so nothing says on which bands to fit "
                f"{unfitted.name}; pass a hasher file."
            )
            raise HasherError(msg)
        return None, keep_backbone(unfitted, own, always=kept)
    return load_hasher(hasher, device=device), None


def _basis(state: Snapshot, source: TileSource) -> str:
    """Identify what a hasher is fitted on: the scenes as recorded, and their live tiles."""
    digest = hashlib.sha256()
    for name, number in sorted(source.digests().items()):
        digest.update(f"{name} {number}\n".encode())
    for segment in state.segments:
        ids = np.sort(segment.ids_of(np.flatnonzero(~segment.removed_rows())))
        digest.update(ids.tobytes())
    return digest.hexdigest()


def _check_hasher(archive: CodeStore, former: str | None) -> None:
    """Check that no other process has changed the hasher.

    Raises:
        HasherMismatchError: If one has.
    """
    now = archive.hasher_fingerprint
    if now != former:
        msg = (
            f"another process has refitted {archive.path} to the hasher {(now or 'none')[:16]} "
            "meanwhile, so it was not refitted again; repeat the call if it should be."
        )
        raise HasherMismatchError(msg)


def _check_free(state: Snapshot) -> None:
    """Check that no other process is refitting the archive.

    Raises:
        ArchiveLockedError: If one is.
    """
    with ExitStack() as locks:
        for path in unfinished(state.folder, state.manifest):
            locks.enter_context(write_lock(path))


def _check_same_features(archive: CodeStore, own: Hasher | None, new: Hasher) -> None:
    """Check that the feature vectors that an archive keeps are those of a new hasher."""
    if archive.keep_vectors != "none" and (own is None or not own.extractor.equals(new.extractor)):
        _refuse_other_features(archive.path, new.name)


def _check_length(archive: Path, form: VectorsEntry, own: Hasher) -> None:
    """Check that vectors are as long as the features of an archive's hasher.

    Raises:
        VectorError: If they are not.
    """
    length = own.num_features
    if form.length not in (None, length):
        msg = (
            f"{archive} keeps vectors of {form.length} numbers, but its hasher computes {length} "
            "features; they are not its features. Index the scenes into a new archive."
        )
        raise VectorError(msg)


def _refuse_other_features(archive: Path, name: str) -> NoReturn:
    """Raise an error that says why a hasher does not go with the vectors of an archive.

    Raises:
        VectorError: Always.
    """
    msg = (
        f"{archive} keeps the feature vectors of its hasher, but {name} computes others, from "
        "another network or other preprocessing; index the scenes into a new archive with that "
        "hasher."
    )
    raise VectorError(msg)
