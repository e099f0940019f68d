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


def judged(drawn: Ids, *, right: Iterable[int], wrong: Iterable[int]) -> npt.NDArray[np.bool_]:
    """Check that all tiles of a draw were judged, and no others.

    Args:
        drawn: Ids of the tiles, shape (tiles,).
        right: Ids of tiles that are right.
        wrong: Ids of tiles that are wrong.

    Returns:
        Whether each of them is right, shape (tiles,).

    Raises:
        CalibrationError: If a tile is both, was not drawn, or was not judged.
    """
    good, bad = set(right), set(wrong)
    if both := good & bad:
        msg = f"tile {min(both)} was judged both right and wrong; leave one of the two out."
        raise CalibrationError(msg)
    tiles = drawn.tolist()
    missing = [tile for tile in tiles if tile not in good and tile not in bad]
    if others := (good | bad) - set(tiles):
        msg = (
            f"tile {min(others)} is not one of the {len(tiles)} that were drawn"
            + (f", and tile {missing[0]} was not judged" if missing else "")
            + "; judge those that Concept.check returns, with the same k, seed, score and limits."
        )
        raise CalibrationError(msg)
    if missing:
        msg = (
            f"{len(missing)} of the {len(tiles)} tiles that were drawn were not judged, such as "
            f"tile {missing[0]}; judge all that Concept.check returns, those that you cannot tell "
            "as wrong, and pass its k."
        )
        raise CalibrationError(msg)
    return np.array([tile in good for tile in tiles], dtype=bool)
