"""Decide whether the compiled loops are worth loading, and check that they work here."""

import functools
import warnings
from typing import ClassVar

import numpy as np

from geohash_rs.codes import code_words
from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.store.search.keys import ID_BITS, NO_KEY
from geohash_rs.store.search.weighing import NOT_WEIGHED, weighing_of
from geohash_rs.store.search.weights import BitWeights

__all__ = ["Spent", "compiling_pays", "numba_works"]

WEIGHING = 8  # times as long as a distance takes NumPy for a cost


class Spent:
    """The work that this process did without the compiled loops, which are slow to load.

    Attributes:
        comparisons: Pairs of codes compared so far.
        most: Pairs that take NumPy about as long as loading the loops takes, measured by
            tests/benchmarks/first_query.py. Past it, the loops are loaded.
    """

    comparisons: ClassVar[int] = 0
    most: ClassVar[float] = 1 << 25


def compiling_pays(comparisons: int, *, num_bytes: int, weighed: bool = False) -> bool:
    """Return whether compiled loops should do some work, rather than NumPy.

    A process that searches a small archive a few times never imports Numba, and one that searches
    a lot spends at most about twice as long as with the better choice.

    Args:
        comparisons: The work, in pairs of codes to compare; it is added to what was spent.
        num_bytes: Bytes of a code.
        weighed: Whether bits have weights.

    Returns:
        Whether loading them pays or has paid, and Numba works.
    """
    Spent.comparisons += comparisons * (WEIGHING if weighed else 1)
    return Spent.comparisons > Spent.most and numba_works(num_bytes, weighed=weighed)


@functools.cache
def numba_works(num_bytes: int = 8, *, weighed: bool = False) -> bool:
    """Return whether Numba compiles the scan and the result is right.

    If not, warn once; search then uses NumPy, which gives the same answers several times slower.

    Args:
        num_bytes: Bytes of a code; the loops are compiled for each length.
        weighed: Whether bits have weights; the loops are compiled once without and once with.
    """
    try:
        _check(num_bytes, weighed=weighed)
    except Exception as error:  # noqa: BLE001 - search must work whatever breaks Numba
        warnings.warn(
            f"Numba does not work here ({error!r}); search falls back to NumPy, which gives the "
            "same answers but is several times slower. Reinstall numba to fix it.",
            GeoHashRSWarning,
            stacklevel=2,
        )
        return False
    return True


def _check(num_bytes: int, *, weighed: bool) -> None:
    """Compile or load the kernel for codes of a length and check that it finds the nearest.

    Raises:
        RuntimeError: If it gives a wrong answer.
    """
    from geohash_rs.store.search import kernels  # noqa: PLC0415 - slow to import
    from geohash_rs.store.search.row_filters import NO_TESTS, frozen  # noqa: PLC0415 - as above

    codes = np.zeros((3, num_bytes), np.uint8)
    codes[[0, 2], -1] = 7, 3
    ones = BitWeights(code=codes[1], weights=np.ones(8 * num_bytes, np.uint16))
    words = code_words(codes)
    heaps, nothing = np.full((1, 2), NO_KEY, np.uint64), np.zeros(1, np.int64)
    tests = NO_TESTS._replace(partial=frozen(np.zeros(1, np.uint8)))
    tests = tests._replace(edge=tests.partial)
    limits, any_order = np.full(1, 8 * num_bytes + 1, np.int64), False
    rows = (
        frozen(words.reshape(-1)),
        (0,) * words.shape[1],
        words[1].copy(),
        weighing_of(ones) if weighed else NOT_WEIGHED,
        np.zeros(1, np.int64),
        tests,
        frozen(np.empty(0, np.uint32)),
    )
    kernels.scan(*rows, np.uint64(0), limits, heaps, any_order, np.empty(0, np.uint64), nothing)
    expected = [1, (2 << ID_BITS) | 2]
    if sorted(heaps[0].tolist()) != expected:
        msg = f"the compiled kernel found {sorted(heaps[0].tolist())} instead of {expected}"
        raise RuntimeError(msg)
