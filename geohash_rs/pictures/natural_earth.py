"""Make the file of coastlines and borders from Natural Earth; a command for maintainers.

    python -m geohash_rs.pictures.natural_earth countries-50m.json

`world_lines.md`, next to the file, says where its source comes from.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geohash_rs.pictures.world import FILE, STEP, pack_lines

__all__ = ["make_lines"]

TOLERANCE = 0.0125  # degrees by which a line may move when points are left out
POLE = -89.9  # degrees; Antarctica is closed along it


def make_lines(topology: dict[str, Any]) -> bytes:
    """Make the file from a topology of countries.

    An arc that two countries share is a border, and one that a single country has is a coast.

    Args:
        topology: TopoJSON with an object `countries`, quantised, in degrees.

    Returns:
        The content of the file.
    """
    scale, origin = (np.array(topology["transform"][name]) for name in ("scale", "translate"))
    used: Counter[int] = Counter()
    for country in topology["objects"]["countries"]["geometries"]:
        used.update(set(_arcs(country.get("arcs", []))))
    coasts: list[np.ndarray] = []
    borders: list[np.ndarray] = []
    for number, arc in enumerate(topology["arcs"]):
        line = np.cumsum(np.array(arc), axis=0) * scale + origin
        parts = [_simple(part) for part in _without_seams(line)]
        (coasts if used[number] == 1 else borders).extend(one for one in parts if len(one) > 1)
    return pack_lines(coasts, borders)


def _arcs(nested: list[Any]) -> Iterator[int]:
    """List the arcs of a geometry, whichever way round it uses them."""
    for item in nested:
        if isinstance(item, list):
            yield from _arcs(item)
        else:
            yield item if item >= 0 else ~item


def _without_seams(line: np.ndarray) -> list[np.ndarray]:
    """Cut a line where it jumps across the antimeridian, or follows it or the edge at the pole."""
    edge = np.column_stack([np.abs(line[:, 0]) > 179.99, line[:, 1] < POLE])
    seam = (edge[1:] & edge[:-1]).any(axis=1) | (np.abs(np.diff(line[:, 0])) > 180)
    return np.split(line, np.flatnonzero(seam) + 1)


def _simple(line: np.ndarray) -> np.ndarray:
    """Leave out points that hardly bend a line, or that are the same in steps of the file."""
    if len(line) < 2:
        return line
    few: np.ndarray = shapely.get_coordinates(shapely.simplify(shapely.LineString(line), TOLERANCE))
    steps = np.rint(few / STEP)
    moves = np.any(np.diff(steps, axis=0) != 0, axis=1)
    kept: np.ndarray = few[np.concatenate([[True], moves])]
    return kept


if __name__ == "__main__":
    FILE.write_bytes(make_lines(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
