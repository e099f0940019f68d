"""Draw tiles at random, and check that all that were drawn have been judged."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import CalibrationError

__all__ = ["drawn", "judged"]

Ids = npt.NDArray[np.int64]


def drawn(ids: Ids, *, seed: int) -> npt.NDArray[np.intp]:
    """Order tiles at random, in the same way however they are given.

    Args:
        ids: Tile ids, shape (tiles,).
        seed: Seed.

    Returns:
        Positions, shape (tiles,).
    """
    chance = np.random.default_rng(seed).permutation(len(ids))
    return np.argsort(ids, kind="stable")[chance]


def judged(order: Ids, *, right: Iterable[int], wrong: Iterable[int]) -> npt.NDArray[np.bool_]:
    """Check that the first tiles of a draw were judged, all of them.

    Args:
        order: Tile ids in the order of the draw, shape (tiles,).
        right: Ids of tiles that are right.
        wrong: Ids of tiles that are wrong.

    Returns:
        Whether each of the first tiles is right, shape (judged,).

    Raises:
        CalibrationError: If a tile is both, is not among the first, or none was judged.
    """
    good, bad = set(right), set(wrong)
    if both := good & bad:
        msg = f"tile {min(both)} was judged both right and wrong; leave one of the two out."
        raise CalibrationError(msg)
    count = len(good) + len(bad)
    first = order[:count].tolist()
    if others := (good | bad) - set(first):
        missing = [tile for tile in first if tile not in good and tile not in bad]
        msg = (
            f"tile {min(others)} is not one of the first {count} tiles that were drawn"
            + (f", and tile {missing[0]} was not judged" if missing else "")
            + "; judge all that Concept.check returns, with the same seed, score and limits."
        )
        raise CalibrationError(msg)
    if not count:
        msg = "no tile was judged; judge those that Concept.check returns."
        raise CalibrationError(msg)
    return np.array([tile in good for tile in first], dtype=bool)
