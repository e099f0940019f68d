"""Keep what was made lately, up to a number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

__all__ = ["ByteCache"]


class ByteCache:
    """The latest used byte strings by key; safe to use from several threads."""

    def __init__(self, max_bytes: int) -> None:
        """Start empty.

        Args:
            max_bytes: Most bytes that are kept.
        """
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Give what is kept under a key, made now if nothing is.

        Args:
            key: What it is known by.
            make: Makes it.

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
        """Give what is kept under a key, or None if nothing is.

        Args:
            key: What it is known by.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)
