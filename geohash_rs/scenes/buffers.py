"""Memory for batches, reused once nothing refers to a batch."""

import math
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BufferPool"]

MAX_BUFFERS = 8


class BufferPool:
    """Reusable buffers: fresh pages cost as much as reading plain pixels into them."""

    def __init__(self) -> None:
        """Start with no buffers."""
        self._lent: list[tuple[memoryview, weakref.ref[npt.NDArray[np.uint8]]]] = []

    def lend(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an uninitialised array.

        Its memory is reused once no array, tensor or view of it is left.

        Args:
            shape: Its shape.
            dtype: Its type.

        Returns:
            The array.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        memory = self._free(size)
        # NumPy makes this the base of all views and their views: it lives as long as they do.
        root = np.frombuffer(memory, np.uint8)
        if len(self._lent) < MAX_BUFFERS:
            self._lent.append((memory, weakref.ref(root)))
        return root[:size].view(dtype).reshape(shape)

    def _free(self, size: int) -> memoryview:
        for number, (memory, root) in enumerate(self._lent):
            if root() is None and len(memory) >= size:
                del self._lent[number]
                return memory
        self._lent = [pair for pair in self._lent if pair[1]() is not None]
        return np.empty(size, np.uint8).data  # in large pages, which NumPy requests from Linux
