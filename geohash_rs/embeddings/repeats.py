"""Find rows of a table that were there before, with 8 bytes of memory for each row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Repeats", "row_digests"]

Mask = npt.NDArray[np.bool_]
Digests = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Repeats:
    """The rows seen so far, as 64-bit digests.

    That two different rows of a million share one has a chance of 1 in 37 million.

    Attributes:
        total: The sum of the digests, which is that of the same rows in any order.
    """

    def __init__(self, *, most: int | None = None) -> None:
        """Start without any.

        Args:
            most: Rows to remember, of 8 bytes each; None remembers all.
        """
        self.total = 0
        self._most = most
        self._runs: list[Digests] = []  # sorted, each less than half as long as the one before

    def find(self, digests: Digests, wanted: Mask) -> Mask:
        """Mark rows that were there before, and remember the others.

        Args:
            digests: From `row_digests`, uint64, shape (n,).
            wanted: Rows to look at, bool, shape (n,).

        Returns:
            Bool, shape (n,).
        """
        found = np.zeros(len(digests), np.bool_)
        places = np.flatnonzero(wanted)
        own, firsts = np.unique(digests[places], return_index=True)
        found[places] = True
        found[places[firsts]] = False
        known = np.zeros(len(own), np.bool_)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, own), len(run) - 1)
            known |= run[at] == own
        found[places[firsts[known]]] = True
        room = None if self._most is None else max(0, self._most - sum(map(len, self._runs)))
        self._remember(own[~known][:room])
        return found

    def _remember(self, own: Digests) -> None:
        if not len(own):
            return
        self.total = (self.total + int(own.sum(dtype=np.uint64))) % (1 << 64)
        self._runs.append(own)
        while len(self._runs) > 1 and 2 * len(self._runs[-1]) > len(self._runs[-2]):
            last = self._runs.pop()
            self._runs[-1] = np.union1d(self._runs[-1], last)


def row_digests(parts: Sequence[npt.NDArray[Any]]) -> Digests:
    """Mix the numbers of each row to one (multiply-add of odd factors, then SplitMix64's finish).

    Args:
        parts: Arrays of 4 or 8 bytes a number, shape (n, numbers), whose bits make a row.

    Returns:
        uint64, shape (n,).

    References:
        Steele et al., Fast splittable pseudorandom number generators, 2014,
        https://doi.org/10.1145/2660193.2660195
    """
    found = np.zeros(len(parts[0]), np.uint64)
    first = 1
    with np.errstate(over="ignore"):
        for part in parts:
            wide = np.ascontiguousarray(part)
            even = (wide.shape[1] * wide.itemsize) % 8 == 0
            numbers = wide.view(np.uint64 if even else np.uint32)
            last = first + numbers.shape[1]
            factors = _finish(np.arange(first, last, dtype=np.uint64) * GOLDEN) | np.uint64(1)
            found += np.einsum("ij,j->i", numbers.astype(np.uint64, copy=False), factors)
            first = last
        return _finish(found)


def _finish(values: Digests) -> Digests:
    for shift, factor in zip((30, 27), MIX, strict=True):
        values = (values ^ (values >> np.uint64(shift))) * factor
    found: Digests = values ^ (values >> np.uint64(31))
    return found
