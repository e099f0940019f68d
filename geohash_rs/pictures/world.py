"""Coastlines and borders of the world, coarse enough to travel with the package.

The file holds, compressed by gzip, whole numbers as groups of seven bits, the lowest group first;
the highest bit of a byte says that another follows. For coastlines and then for borders, they are
the number of lines and, for each line, its number of points and their longitudes and latitudes in
turn, in steps of `STEP`, each as the difference from the point before, also across lines, where
0, -1, 1, -2 are written 0, 1, 2, 3.
"""

import functools
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely

__all__ = ["FILE", "STEP", "lines_in", "pack_lines", "unpack_lines"]

FILE = Path(__file__).with_name("world_lines.gz")
STEP = 0.01  # degrees


def lines_in(bounds: tuple[float, float, float, float]) -> list[np.ndarray]:
    """Return the coastlines and land borders in a box, cut at its edges.

    They are simplified, so that they may lie 5 km from where they are.

    Args:
        bounds: West, south, east and north in degrees. West may be greater than east, or east
            beyond 180, if the box crosses the antimeridian.

    Returns:
        Longitudes and latitudes of each line, float64, shape (points, 2), in a range of longitudes
        that does not jump inside the box. Empty if no line lies in it.
    """
    west, south, east, north = bounds
    east += 360 if east < west else 0
    found: list[np.ndarray] = []
    for turn in (-360, 0, 360):
        box = (west - turn, south, east - turn, north)
        tree = _tree()
        near = tree.geometries[np.sort(tree.query(shapely.box(*box)))]
        parts = shapely.get_parts(shapely.clip_by_rect(near, *box))
        lines = parts[shapely.get_type_id(parts) == shapely.GeometryType.LINESTRING]
        found += [shapely.get_coordinates(line) + (turn, 0) for line in lines]
    return found


@functools.cache
def _tree() -> shapely.STRtree:
    coasts, borders = unpack_lines(FILE.read_bytes())
    return shapely.STRtree([shapely.LineString(line) for line in coasts + borders])


def pack_lines(coasts: Sequence[np.ndarray], borders: Sequence[np.ndarray]) -> bytes:
    """Write lines in the file's format.

    Args:
        coasts: Longitudes and latitudes of each coastline, shape (points, 2), degrees.
        borders: Those of each land border.

    Returns:
        The file's content, the same for the same lines.
    """
    numbers: list[np.ndarray] = []
    last = np.zeros((1, 2), dtype=np.int64)
    for lines in (coasts, borders):
        numbers.append(np.array([len(lines)]))
        for line in lines:
            steps = np.rint(np.asarray(line) / STEP).astype(np.int64)
            moves = np.diff(np.vstack([last, steps]), axis=0).ravel()
            numbers += [np.array([len(steps)]), (moves << 1) ^ (moves >> 63)]
            last = steps[-1:]
    return gzip.compress(_groups(np.concatenate(numbers)), 9, mtime=0)


def unpack_lines(content: bytes) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Read lines in the file's format.

    Args:
        content: What `pack_lines` wrote.

    Returns:
        The coastlines and the borders, each line float64 of shape (points, 2), degrees.
    """
    numbers = _numbers(gzip.decompress(content))
    moves = (numbers >> 1) ^ -(numbers & 1)
    at, last = 0, np.zeros(2, dtype=np.int64)
    kinds: list[list[np.ndarray]] = [[], []]
    for lines in kinds:
        count, at = int(numbers[at]), at + 1
        for _ in range(count):
            size, at = int(numbers[at]), at + 1
            steps = last + np.cumsum(moves[at : at + 2 * size].reshape(size, 2), axis=0)
            at, last = at + 2 * size, steps[-1]
            lines.append(steps * STEP)
    return kinds[0], kinds[1]


def _groups(numbers: np.ndarray) -> bytes:
    """Write whole numbers below 2**35 as groups of seven bits."""
    groups: np.ndarray = (numbers[:, None] >> np.arange(0, 35, 7)) & 127
    size = np.where(groups.any(axis=1), 5 - np.argmax(groups[:, ::-1] > 0, axis=1), 1)
    place = np.arange(5)
    groups = np.where(place < size[:, None] - 1, groups | 128, groups)
    return bytes(groups[place < size[:, None]].astype(np.uint8))


def _numbers(content: bytes) -> np.ndarray:
    """Read whole numbers from groups of seven bits."""
    groups = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(groups < 128)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(groups)) - np.repeat(starts, ends - starts + 1)
    values = (groups.astype(np.int64) & 127) << (7 * place)
    return np.add.reduceat(values, starts)
