"""Open an archive for adding, make it if it does not exist, or remove it if it stayed empty."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from geohash_rs.archive import Archive
from geohash_rs.errors import (
    ArchiveExistsError,
    ArchiveNotFoundError,
    GeoHashRSError,
    HasherMismatchError,
    VectorError,
)
from geohash_rs.hashing.fit.asked import method_and_bits, name_with_backbone
from geohash_rs.hashing.fit.backbone_choice import BackboneChoice
from geohash_rs.hashing.fit.by_name import Unfitted
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.shipped import load_hasher
from geohash_rs.indexing.writer import when_free
from geohash_rs.store.creation import is_unused
from geohash_rs.store.disk.locks import no_readers, write_lock
from geohash_rs.store.disk.manifest import KeepVectors
from geohash_rs.store.disk.manifest_file import MANIFEST, read_manifest

__all__ = ["check_asked", "open_or_create", "remove_unused"]


def open_or_create(
    path: str | Path,
    *,
    hasher: Hasher | str | Path | None = None,
    backbone: BackboneChoice | None = None,
    keep_vectors: KeepVectors | None = None,
) -> Archive:
    """Open an archive for adding, or create it if it does not exist.

    Args:
        path: The folder.
        hasher: As in `Archive.create`; None keeps the hasher of an existing archive.
        backbone: The backbone of a hasher that is to be fitted; None keeps that of an existing
            archive.
        keep_vectors: As in `Archive.create`; None accepts what an existing archive does.

    Returns:
        The archive.

    Raises:
        VectorError: If the existing archive keeps vectors in another way.
        HasherError: If the hasher does not take another backbone.
        HasherMismatchError: If the existing archive was made with another hasher.
        ArchiveNotFoundError: If the folder holds something else.
    """
    folder = Path(path)
    while True:
        if is_unused(folder):
            made = hasher if backbone is None else name_with_backbone(hasher, backbone)
            created = _create(folder, made, keep_vectors=keep_vectors or "none")
            if created is not None:
                return created
        try:
            archive = Archive.open(folder)
            break
        except ArchiveNotFoundError:
            if not is_unused(folder):  # otherwise its maker has removed it at this moment
                raise
    check_asked(archive, hasher=hasher, backbone=backbone, keep_vectors=keep_vectors)
    return archive


def check_asked(
    archive: Archive,
    *,
    hasher: Hasher | str | Path | None,
    backbone: BackboneChoice | None,
    keep_vectors: KeepVectors | None,
) -> None:
    """Check that an existing archive is as asked.

    Args:
        archive: The archive.
        hasher: As in `open_or_create`.
        backbone: As in `open_or_create`.
        keep_vectors: As in `open_or_create`.

    Raises:
        HasherError: If the hasher does not take another backbone.
        HasherMismatchError: If the archive was made with another hasher.
        VectorError: If it keeps vectors in another way.
    """
    if keep_vectors not in (None, archive.keep_vectors):
        msg = (
            f'{archive.path} was made with keep_vectors="{archive.keep_vectors}", not '
            f'keep_vectors="{keep_vectors}"; leave that out, or make another archive.'
        )
        raise VectorError(msg)
    if backbone is not None:
        known = archive.pending_hasher
        if known is None and archive.hasher_file is not None:
            known = archive.hasher().name
        hasher = name_with_backbone(hasher or method_and_bits(known), backbone)
    if hasher is not None and hasher != archive.pending_hasher:
        _check_same_hasher(archive, hasher)


def _check_same_hasher(archive: Archive, hasher: Hasher | str | Path) -> None:
    """Check that an archive was made with a hasher.

    Raises:
        HasherMismatchError: If it was made with another one.
    """
    name = "" if isinstance(hasher, Hasher) else str(hasher)
    asked = hasher if isinstance(hasher, Hasher) else None
    if (unfitted := Unfitted.find(hasher)) is not None:
        name = unfitted.name
        if unfitted.pending == archive.pending_hasher:
            return
        if archive.hasher_file is not None and archive.hasher().name == name:
            return  # it was fitted under that name
    elif not isinstance(hasher, Hasher):
        asked = load_hasher(hasher)
    if asked is None or asked.fingerprint != archive.hasher_fingerprint:
        raise HasherMismatchError(_not_the_same(archive, asked, name))


def _not_the_same(archive: Archive, asked: Hasher | None, name: str) -> str:
    """Return the message for an archive whose hasher is not the one that was asked for."""
    known = archive.pending_hasher or archive.hasher().name
    mine = _with_fingerprint(known, archive.hasher_fingerprint)
    theirs = _with_fingerprint(asked.name, asked.fingerprint) if asked else name
    if asked and asked.fingerprint in {one.fingerprint for one in archive.manifest.former}:
        return (
            f"{archive.path} was made with the hasher {theirs} before it was refitted to {mine}; "
            "leave out --hasher and --backbone."
        )
    return (
        f"{archive.path} was made with the hasher {mine}, not {theirs}; leave out --hasher "
        "and --backbone, make another archive, or change the hasher of this one with 'geohash-rs "
        "refit'."
    )


def _with_fingerprint(name: str, fingerprint: str | None) -> str:
    """Add the fingerprint's start, which distinguishes versions of a hasher with one name."""
    return f"{name} ({fingerprint[:8]})" if fingerprint else name


def _create(
    folder: Path, hasher: Hasher | str | Path | None, *, keep_vectors: KeepVectors
) -> Archive | None:
    """Create an archive; return None if another process creates it at this moment.

    Raises:
        ArchiveExistsError: If the folder holds something else.
    """
    try:
        return when_free(lambda: Archive.create(folder, hasher=hasher, keep_vectors=keep_vectors))
    except ArchiveExistsError:
        if not (folder / MANIFEST).exists():
            raise
        return None


def remove_unused(archive: Archive, *, made: Sequence[Path]) -> None:
    """Remove a newly made archive that stayed empty, so that its hasher does not bind a retry.

    It is kept if anything was added to it, or if another process has it open, which may be about to
    add its first tiles.

    Args:
        archive: The archive; this function closes it.
        made: Folders that did not exist before, innermost first; they are removed if empty.
    """
    archive.close()
    with (
        contextlib.suppress(GeoHashRSError, OSError),
        write_lock(archive.path),
        no_readers(archive.path) as alone,
    ):
        now, mine = read_manifest(archive.path), archive.manifest
        touched = (now.generation, now.commit) != (mine.generation, mine.commit)
        if touched or now.segments or now.scene_logs or not alone:
            return
        (archive.path / MANIFEST).unlink()  # first, so that the lock's next holder finds no archive
        for path in archive.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    with contextlib.suppress(OSError):
        for folder in made:
            folder.rmdir()
