"""An LRU cache with a limit in bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

__all__ = ["ByteCache"]


class ByteCache:
    """The most recently used byte strings by key; thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        """Start empty.

        Args:
            max_bytes: Most bytes to keep.
        """
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return the bytes of a key, making them if they are not cached.

        Args:
            key: The key.
            make: Makes the bytes.

        Returns:
            The bytes.
        """
        found = self.find(key)
        if found is not None:
            return found
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self.num_bytes += len(made)
            while self.num_bytes > self.max_bytes and self._kept:
                self.num_bytes -= len(self._kept.popitem(last=False)[1])
        return made

    def find(self, key: Hashable) -> bytes | None:
        """Return the cached bytes of a key, or None.

        Args:
            key: The key.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)
