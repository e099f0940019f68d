"""Make the folder of a new archive, all at once."""

from pathlib import Path

from geohash_rs.errors import ArchiveExistsError
from geohash_rs.store.disk.durable import writing
from geohash_rs.store.disk.hasher_file import HasherFile, with_hasher
from geohash_rs.store.disk.locks import READ_LOCK, WRITE_LOCK, create_locks, write_lock
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.manifest_file import MANIFEST, commit_manifest

__all__ = ["create_folder", "is_unused"]


def is_unused(folder: Path) -> bool:
    """Return whether an archive can be made in a folder.

    Args:
        folder: A path.

    Returns:
        Whether nothing is there but what an interrupted creation left.
    """
    if not folder.is_dir():
        return not folder.exists()
    names = {path.name for path in folder.iterdir()}
    if WRITE_LOCK not in names:
        return not names
    left = ("hasher-*.safetensors", f"{MANIFEST}.*.tmp")
    return all(
        any(Path(name).match(pattern) for pattern in left)
        for name in names - {WRITE_LOCK, READ_LOCK}
    )


def create_folder(folder: Path, manifest: Manifest, *, hasher: HasherFile | None) -> None:
    """Make an archive in its first state; until that is committed there is none.

    Args:
        folder: Where; nothing is there yet, or an empty folder.
        manifest: The state, without hasher.
        hasher: The hasher to keep with it.

    Raises:
        ArchiveExistsError: If something is there already.
        ArchiveLockedError: If another process is making an archive there.
        ArchiveWriteError: If the folder cannot be made.
        CodeLengthError: If the state is for codes of another length than the hasher's.
        QueryError: If the hasher's fingerprint cannot be part of a file's name.
    """
    if not is_unused(folder):
        msg = f"{folder} exists and is not empty; open it with Archive.open or choose another."
        raise ArchiveExistsError(msg)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        create_locks(folder)
    with write_lock(folder):
        if (folder / MANIFEST).exists():
            msg = f"{folder} was made by another process meanwhile; open it with Archive.open."
            raise ArchiveExistsError(msg)
        commit_manifest(folder, with_hasher(folder, manifest, hasher) if hasher else manifest)
