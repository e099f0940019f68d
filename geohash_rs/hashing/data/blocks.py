"""Split tiles by blocks of ground, so that test tiles are not near training tiles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.errors import TrainingError

__all__ = ["block_numbers", "split_by_blocks"]

Ints = npt.NDArray[np.int64]
KM_PER_DEGREE = 111.32  # of latitude
TOUCH = 0.01  # share of a footprint that neighbours may overlap: edges bend in lon/lat


def block_numbers(footprints: npt.NDArray[np.object_], *, block_km: float) -> Ints:
    """Find the block of ground that contains the centre of each tile.

    Blocks are rows of latitude, cut into pieces that are as wide as they are high.

    Args:
        footprints: Footprints, EPSG:4326, shape (tiles,).
        block_km: Side of a block, km.

    Returns:
        Numbers from 0 without gaps, int64, shape (tiles,).

    Raises:
        TrainingError: If the side is not positive.
    """
    if not 0 < block_km < np.inf:
        msg = f"block_km is {block_km}; it is the side of a block in km, such as 5."
        raise TrainingError(msg)
    centres = shapely.get_coordinates(shapely.centroid(footprints))
    height = block_km / KM_PER_DEGREE
    row = np.floor(centres[:, 1] / height)
    narrowing = np.cos(np.radians(np.clip((row + 0.5) * height, -90, 90)))
    col = np.floor(centres[:, 0] / height * np.maximum(narrowing, 1e-6))
    places = np.column_stack([row, col]).astype(np.int64)
    numbers: Ints = np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)
    return numbers


def split_by_blocks(
    footprints: npt.NDArray[np.object_],
    labels: Sequence[Any] | npt.NDArray[Any],
    *,
    block_km: float,
    fractions: Sequence[float] = (0.6, 0.2),
    seed: int = 0,
) -> list[Ints]:
    """Split tiles into parts on separate ground: all tiles of a block go to one part.

    Blocks are assigned one by one, the largest first, to the part that brings the shares of all
    classes closest to the fractions. A tile that overlaps a tile of a later part, across the edge
    of a block, is left out.

    Args:
        footprints: Footprints, EPSG:4326, shape (tiles,).
        labels: Class of each tile.
        block_km: Side of a block, km.
        fractions: Share of each part except the last, which takes the rest.
        seed: Seed of the order of blocks that have the same number of tiles.

    Returns:
        Sorted indices of each part; there is one part more than fractions.

    Raises:
        TrainingError: If the fractions leave nothing for the last part, or there are fewer blocks
            than parts.
    """
    shares = np.array([*fractions, 1 - sum(fractions)])
    if (shares <= 0).any():
        msg = f"fractions {list(fractions)} leave a part without tiles; try (0.6, 0.2)."
        raise TrainingError(msg)
    blocks = block_numbers(footprints, block_km=block_km)
    count = int(blocks.max()) + 1 if len(blocks) else 0
    if count < len(shares):
        msg = (
            f"{len(blocks)} labelled tiles lie in {count} blocks of {block_km:g} km, too few for "
            f"{len(shares)} parts; use a smaller block_km or more scenes."
        )
        raise TrainingError(msg)
    part_of_block = _assign(blocks, np.asarray(labels), shares, seed)
    part = part_of_block[blocks]
    keep = np.ones(len(blocks), dtype=bool)
    for first in range(len(shares) - 1):
        mine = np.flatnonzero(part == first)
        later = np.flatnonzero((part > first) & keep)
        keep[mine[_overlaps(footprints[mine], footprints[later])]] = False
    return [np.flatnonzero((part == number) & keep) for number in range(len(shares))]


def _assign(
    blocks: Ints, labels: npt.NDArray[Any], shares: npt.NDArray[np.float64], seed: int
) -> Ints:
    """Choose the part of each block, shape (blocks,)."""
    classes, numbers = np.unique(labels.astype(str), return_inverse=True)
    counts = np.zeros((int(blocks.max()) + 1, len(classes)))
    np.add.at(counts, (blocks, numbers.reshape(-1)), 1)
    counts /= counts.sum(axis=0)
    sizes = np.bincount(blocks)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    wanted = np.repeat(shares[:, None], len(classes), axis=1)
    have = np.zeros_like(wanted)
    chosen = np.empty(len(sizes), dtype=np.int64)
    for done, block in enumerate(order.tolist()):
        missing = wanted - have
        # decrease of the squared error, relative to the part's size
        gain = (counts[block] * (2 * missing - counts[block])).sum(axis=1) / shares
        empty = np.flatnonzero(have.sum(axis=1) == 0)
        if len(empty) and len(order) - done <= len(empty):
            gain[have.sum(axis=1) > 0] = -np.inf  # the rest must fill the empty parts
        chosen[block] = int(gain.argmax())
        have[chosen[block]] += counts[block]
    return chosen


def _overlaps(
    footprints: npt.NDArray[np.object_], others: npt.NDArray[np.object_]
) -> npt.NDArray[np.bool_]:
    """Find the footprints that overlap any of the others."""
    found = np.zeros(len(footprints), dtype=bool)
    mine, other = shapely.STRtree(others).query(footprints)
    shared = shapely.area(shapely.intersection(footprints[mine], others[other]))
    smaller = np.minimum(shapely.area(footprints[mine]), shapely.area(others[other]))
    found[mine[shared > TOUCH * smaller]] = True
    return found
