"""Make the folder of a new archive in one step."""

from pathlib import Path

from geohash_rs.errors import ArchiveExistsError
from geohash_rs.store.disk.durable import make_folder, writing
from geohash_rs.store.disk.hasher_file import HasherFile, with_hasher
from geohash_rs.store.disk.locks import READ_LOCK, WRITE_LOCK, create_locks, write_lock
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.manifest_file import MANIFEST, commit_manifest
from geohash_rs.store.disk.plain import made_by_us

__all__ = ["create_folder", "is_unused"]


def is_unused(folder: Path) -> bool:
    """Return whether an archive can be made in a folder.

    Args:
        folder: A path.

    Returns:
        Whether it is missing, empty, or holds only the remains of an interrupted creation.
    """
    if not folder.is_dir():
        return not folder.exists()
    names = {path.name for path in folder.iterdir() if not made_by_us(path)}
    return names <= {WRITE_LOCK, READ_LOCK} and (WRITE_LOCK in names or not any(folder.iterdir()))


def create_folder(folder: Path, manifest: Manifest, *, hasher: HasherFile | None) -> None:
    """Make an archive and commit its first state; before that commit it does not exist.

    Args:
        folder: A folder for which `is_unused` holds.
        manifest: The state, without a hasher.
        hasher: The hasher to store in it.

    Raises:
        ArchiveExistsError: If the folder exists and is not empty.
        ArchiveLockedError: If another process is making an archive there.
        ArchiveWriteError: If the folder cannot be made.
        CodeLengthError: If the state's code length differs from the hasher's.
        QueryError: If the hasher's fingerprint cannot be part of a file name.
    """
    if not is_unused(folder):
        msg = f"{folder} exists and is not empty; open it with Archive.open or choose another path."
        raise ArchiveExistsError(msg)
    with writing(folder):
        make_folder(folder)
        create_locks(folder)
    with write_lock(folder):
        if (folder / MANIFEST).exists():
            msg = f"another process has just created {folder}; open it with Archive.open."
            raise ArchiveExistsError(msg)
        commit_manifest(folder, with_hasher(folder, manifest, hasher) if hasher else manifest)
