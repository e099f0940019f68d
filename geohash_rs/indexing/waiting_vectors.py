"""Feature vectors that wait until their scene is finished: in memory, or on disk if many."""

import tempfile
import weakref
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from geohash_rs.store.disk.durable import writing

__all__ = ["WaitingVectors"]

MOST_BYTES = 64 << 20  # in memory; a scene may have a million tiles of 3 kB


class WaitingVectors:
    """The vectors of one scene, one array per batch.

    Args:
        folder: Where a temporary file may be made, on the disk that will hold the vectors anyway.
            It has no name where the system allows that, so nothing is left of it after a kill.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[npt.NDArray[np.floating]] = []
        self._num_bytes = self._num_rows = self._length = 0
        self._dtype = np.dtype(np.float32)
        self._file: IO[bytes] | None = None

    def append(self, vectors: npt.NDArray[np.floating]) -> None:
        """Add vectors.

        Args:
            vectors: The vectors of a batch, shape (tiles, length), of one type and length.

        Raises:
            ArchiveWriteError: If the temporary file cannot be written.
        """
        self._parts.append(vectors)
        self._num_bytes += vectors.nbytes
        self._num_rows += len(vectors)
        self._dtype, self._length = vectors.dtype, vectors.shape[1]
        if self._num_bytes >= MOST_BYTES:
            self._move_to_disk()

    def joined(self) -> npt.NDArray[np.floating] | None:
        """Return all vectors, mapped if they are on disk; None if there are none.

        Raises:
            ArchiveWriteError: If the temporary file cannot be written.
        """
        if not self._num_rows:
            return None
        if self._file is None:
            return np.concatenate(self._parts)
        self._move_to_disk()
        shape = self._num_rows, self._length
        return np.asarray(np.memmap(self._file, self._dtype, mode="r", shape=shape))

    def _move_to_disk(self) -> None:
        with writing(self._folder):
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - kept
                weakref.finalize(self, self._file.close)  # a failed scene is just let go
            for part in self._parts:
                self._file.write(np.ascontiguousarray(part).data.cast("B"))
            self._file.flush()
        self._parts, self._num_bytes = [], 0
