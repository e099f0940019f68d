"""Find the tiles that are seen where tiles of several dates and sizes lie over each other."""

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_COMPARED", "on_top"]

MOST_COMPARED = 50_000  # tiles to compare
ACROSS = 3  # cells along the side of the smallest tile
MOST_CELLS = 4_000_000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def on_top(boxes: Floats, sizes: Ints, starts: Ints) -> npt.NDArray[np.bool_]:
    """Find the tiles that are not covered by others: by smaller ones, or by later ones of a size.

    Each tile is laid on a grid of cells, about a third of the smallest tile wide; wider if these
    would be more than `MOST_CELLS`. A tile too small to hold the centre of a cell counts as seen
    and covers nothing. Tiles of one size and moment do not cover each other: which of them a click
    takes depends on the place.

    Args:
        boxes: (xmin, ymin, xmax, ymax) of the tiles in degrees, shape (n, 4).
        sizes: Their sizes, px, the largest number where unknown, shape (n,).
        starts: When they were taken, the smallest number where unknown, shape (n,).

    Returns:
        Whether a tile is the topmost at the centre of at least one cell, or holds none, shape (n,).
    """
    order = np.lexsort((starts, -sizes))  # the bottom first
    changes = (np.diff(sizes[order]) != 0) | (np.diff(starts[order]) != 0)
    layers = np.empty(len(boxes), np.int64)
    layers[order] = np.concatenate([[0], np.cumsum(changes)])
    if layers.max() == 0:
        return np.ones(len(boxes), bool)
    tiles, cells = _cells_of(boxes)
    _, cells = np.unique(cells, return_inverse=True)
    highest = np.zeros(cells.max(initial=-1) + 1, np.int64)
    np.maximum.at(highest, cells, layers[tiles])
    seen = np.ones(len(boxes), bool)
    seen[tiles] = False
    seen[tiles[highest[cells] == layers[tiles]]] = True
    return seen


def _cells_of(boxes: Floats) -> tuple[Ints, Ints]:
    """List the cells whose centres lie in each tile: tile numbers, cell numbers."""
    spans = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-9)
    step = spans.min(axis=0) / ACROSS
    step *= max(1.0, np.sqrt((spans / step).prod(axis=1).sum() / MOST_CELLS))
    first = np.ceil(boxes[:, :2] / step - 0.5).astype(np.int64)
    last = np.ceil(boxes[:, 2:] / step - 0.5).astype(np.int64) - 1  # on an edge: of one tile only
    counts = np.maximum(last - first + 1, 0)
    totals = counts.prod(axis=1)
    tiles = np.repeat(np.arange(len(boxes)), totals)
    within = np.arange(totals.sum()) - np.repeat(np.cumsum(totals) - totals, totals)
    columns = first[tiles, 0] + within // counts[tiles, 1]
    rows = first[tiles, 1] + within % counts[tiles, 1]
    height = int(last[:, 1].max() - first[:, 1].min()) + 1
    return tiles, (columns - first[:, 0].min()) * height + rows - first[:, 1].min()
