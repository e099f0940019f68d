"""Show the marks of a concept as the examples of its matches."""

import re
from collections.abc import Sequence
from pathlib import PurePath

import geopandas as gpd
import numpy as np

from geohash_rs.concepts.mark import Mark, tiles_by_id
from geohash_rs.retrieval.examples import Example, examples_frame, tile_examples
from geohash_rs.store.searchable import Searchable

__all__ = ["examples_of_marks"]

PATCH = re.compile(r"(.+), window (\d+),(\d+),(\d+),(\d+)", re.DOTALL)  # the source of a mark


def examples_of_marks(archive: Searchable, marks: Sequence[Mark]) -> gpd.GeoDataFrame:
    """Describe marks as examples.

    Args:
        archive: One state of the archive.
        marks: Marks of it.

    Returns:
        A row for each tile and patch that is marked, those that are right first; columns as in
        `examples_frame`.
    """
    ids = sorted(tiles_by_id(archive, (mark.tile for mark in marks if mark.tile is not None)))
    rows = archive.tiles(np.array(ids, dtype=np.int64))
    tiles = dict(zip(ids, tile_examples(rows), strict=True))
    kinds: dict[bool, dict[str | int, Example]] = {True: {}, False: {}}
    for mark in marks:
        if mark.tile is not None and mark.tile in tiles:
            kinds[mark.right][mark.tile] = tiles[mark.tile]
        else:
            kinds[mark.right].setdefault(mark.source, _of_source(mark.source))
    return examples_frame(list(kinds[True].values()), list(kinds[False].values()))


def _of_source(source: str) -> Example:
    """Describe a mark that has no tile: of a patch, a vector, or a tile that was removed."""
    patch = PATCH.fullmatch(source)
    if patch is None:
        return Example(name=PurePath(source).name or "a mark")
    col, row, width, height = map(int, patch.groups()[1:])
    return Example(name=PurePath(patch[1]).name, scene=patch[1], window=(col, row, width, height))
