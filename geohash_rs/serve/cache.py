"""An LRU cache with a limit in bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["ByteCache"]

T = TypeVar("T")

ENTRY_BYTES = 1024  # that a key and the cache's own record of a value take, about


class ByteCache(Generic[T]):
    """The most recently used values by key; thread-safe."""

    def __init__(self, max_bytes: int, size: Callable[[T], int]) -> None:
        """Start empty.

        Args:
            max_bytes: Most bytes to keep.
            size: Returns the bytes that a value takes. Keys are taken to be short.
        """
        self.max_bytes = max_bytes
        self.size = size
        self.num_bytes = 0
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key, making it if it is not cached.

        Args:
            key: The key.
            make: Makes the value.

        Returns:
            The value.
        """
        found = self.find(key)
        if found is not None:
            return found
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self.num_bytes += ENTRY_BYTES + self.size(made)
            while self.num_bytes > self.max_bytes and self._kept:
                self.num_bytes -= ENTRY_BYTES + self.size(self._kept.popitem(last=False)[1])
        return made

    def find(self, key: Hashable) -> T | None:
        """Return the cached value of a key, or None.

        Args:
            key: The key.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)
