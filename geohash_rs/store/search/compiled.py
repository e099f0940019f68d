"""Check whether the compiled loops work on this machine."""

import functools
import warnings

import numpy as np

from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.store.search.keys import ID_BITS, NO_KEY

__all__ = ["numba_works"]


@functools.cache
def numba_works() -> bool:
    """Return whether Numba compiles the scan and the result is right.

    If not, warn once; search then uses NumPy, which gives the same answers several times slower.
    """
    try:
        _check()
    except Exception as error:  # noqa: BLE001 - search must work whatever breaks Numba
        warnings.warn(
            f"Numba does not work here ({error!r}); search falls back to NumPy, which gives the "
            "same answers but is several times slower. Reinstall numba to fix it.",
            GeoHashRSWarning,
            stacklevel=2,
        )
        return False
    return True


def _check() -> None:
    """Compile or load the kernel for 64-bit codes and check that it finds the nearest.

    Raises:
        RuntimeError: If it gives a wrong answer.
    """
    from geohash_rs.store.search import kernels  # noqa: PLC0415 - slow to import
    from geohash_rs.store.search.row_filters import NO_TESTS, frozen  # noqa: PLC0415 - as above

    codes = np.array([7, 0, 3], np.uint64)
    heaps, nothing = np.full((1, 2), NO_KEY, np.uint64), np.zeros(1, np.int64)
    tests = NO_TESTS._replace(partial=frozen(np.zeros(1, np.uint8)))
    tests = tests._replace(edge=tests.partial)
    limits, any_order = np.full(1, 65, np.int64), False
    rows = (
        frozen(codes),
        (0,),
        codes[1:2].copy(),
        np.zeros(1, np.int64),
        tests,
        frozen(np.empty(0, np.uint32)),
    )
    kernels.scan(*rows, np.uint64(0), limits, heaps, any_order, np.empty(0, np.uint64), nothing)
    expected = [1, (2 << ID_BITS) | 2]
    if sorted(heaps[0].tolist()) != expected:
        msg = f"the compiled kernel found {sorted(heaps[0].tolist())} instead of {expected}"
        raise RuntimeError(msg)
