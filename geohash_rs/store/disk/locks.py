"""Allow one writer at a time, and keep files that a reader may still open."""

import contextlib
import gc
import os
import socket
import weakref
from collections.abc import Iterator
from pathlib import Path

import portalocker
from portalocker import LockFlags
from portalocker.exceptions import AlreadyLocked, LockException

from geohash_rs.errors import ArchiveCorruptError, ArchiveLockedError, ArchiveReadOnlyError
from geohash_rs.store.disk.plain import open_plain

__all__ = ["READ_LOCK", "WRITE_LOCK", "ReaderPin", "create_locks", "no_readers", "write_lock"]

WRITE_LOCK = "write.lock"
READ_LOCK = "readers.lock"
ALONE = LockFlags.EXCLUSIVE | LockFlags.NON_BLOCKING


def create_locks(folder: Path) -> None:
    """Make the lock files of a new archive, for readers that may not write to its folder.

    Args:
        folder: The archive.

    Raises:
        ArchiveCorruptError: If one is there but is a link or not a plain file.
        OSError: If the folder cannot be written.
    """
    for name in (WRITE_LOCK, READ_LOCK):
        os.close(open_plain(folder / name, os.O_RDWR | os.O_CREAT))


@contextlib.contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """Hold the archive's write lock; the system frees it even if the process is killed.

    On a file system without locks nothing is held: let only one process write at a time.

    Args:
        folder: The archive.

    Yields:
        Nothing.

    Raises:
        ArchiveLockedError: If another writer holds it.
        ArchiveReadOnlyError: If the folder cannot be written.
        ArchiveCorruptError: If the lock file is a link or not a plain file.
    """
    path = folder / WRITE_LOCK
    try:
        handle = open_plain(path, os.O_RDWR | os.O_CREAT)
    except ArchiveCorruptError:  # also an OSError
        raise
    except OSError as error:
        msg = (
            f"{folder} cannot be written ({error.strerror}); copy the archive to a folder that "
            "you may write to, or open it with mode='r'."
        )
        raise ArchiveReadOnlyError(error.errno or 0, msg) from error
    try:
        if _lock(handle, ALONE) is False:
            holder = os.pread(handle, 200, 1).decode(errors="replace") if os.name != "nt" else ""
            msg = (
                f"{folder} is being written by {holder.strip() or 'another process'}; wait until "
                "it has finished, then repeat the call. Searches still work."
            )
            raise ArchiveLockedError(msg)
        if os.name != "nt":  # Windows locks are mandatory: no other handle could read the name
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"\nprocess {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        _unlock(handle)


class ReaderPin:
    """A shared lock that keeps files of the opened snapshot from being deleted.

    Freed by `release`, by garbage collection, or by the system when the process ends. If the lock
    file cannot be opened, the pin holds nothing; on a read-only disk nothing is deleted anyway.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hold()

    def _hold(self) -> None:
        self._release: weakref.finalize[[int, int], ReaderPin] | None = None
        try:
            handle = open_plain(self._folder / READ_LOCK, os.O_RDONLY)
        except ArchiveCorruptError:  # also an OSError
            raise
        except OSError:
            return
        _lock(handle, LockFlags.SHARED)  # waits for `no_readers` of another process to end
        self._release = weakref.finalize(self, _unlock_own, handle, os.getpid())

    def release(self) -> None:
        """Release the lock; files of the snapshot may be deleted from now on."""
        if self._release is not None:
            self._release()
            self._release = None

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """Release the lock for a moment, to see whether others read.

        Only for the holder of the write lock, so that nobody else deletes files in between.

        Yields:
            Nothing.
        """
        self.release()
        try:
            yield
        finally:
            self._hold()


@contextlib.contextmanager
def no_readers(folder: Path) -> Iterator[bool]:
    """Keep readers out of the archive for a moment, if none has it open.

    Args:
        folder: The archive; its write lock is held.

    Yields:
        True if nobody reads, so files of older snapshots may be deleted; False also on a file
        system without locks.
    """
    handle = open_plain(folder / READ_LOCK, os.O_RDWR | os.O_CREAT)
    try:
        alone = _lock(handle, ALONE)
        if alone is False:  # Numba leaves reference cycles that may keep a dropped pin alive
            gc.collect()
            alone = _lock(handle, ALONE)
        yield bool(alone)
    finally:
        _unlock(handle)


def _unlock(handle: int) -> None:
    """Free a lock and close its file.

    Closing alone would not free it while a forked process still has the file open.
    """
    with contextlib.suppress(LockException):  # the file system may have no locks
        portalocker.unlock(handle)
    os.close(handle)


def _unlock_own(handle: int, process: int) -> None:
    """Free a lock, but only in the process that took it: a fork shares it."""
    if os.getpid() == process:
        _unlock(handle)
    else:
        os.close(handle)


def _lock(handle: int, flags: LockFlags) -> bool | None:
    """Take a lock: True if taken, False if another process holds it, None without lock support.

    Uses flock on POSIX and LockFile on Windows, where a shared lock needs pywin32. Lustre mounted
    without `flock`, some NFS and some FUSE file systems do not support locks.
    """
    try:
        portalocker.lock(handle, flags)
    except AlreadyLocked:
        return False
    except LockException:
        return None
    return True
