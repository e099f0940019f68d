"""Read what a map needs of tiles, without their footprints."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from geohash_rs.errors import TileNotFoundError
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable

__all__ = ["WINDOW", "rows_by_scene", "tile_rows", "windows_of"]

WINDOW = ["col", "row", "width", "height"]
COLUMNS = ["tile_id", "scene", *WINDOW, "datetime"]
WORTH = 20  # reading a row among others costs about this much less than looking it up

Ids = npt.NDArray[np.int64]


def tile_rows(archive: Searchable, ids: Ids) -> pd.DataFrame:
    """Return tiles as rows without footprints; many are read in one pass over the archive.

    Args:
        archive: The archive.
        ids: Tile ids, each once, shape (n,).

    Returns:
        n rows in the order of the ids: tile_id, scene, col, row, width, height (px, missing where
        a tile has no window), datetime (UTC).

    Raises:
        TileNotFoundError: If an id has no tile.
    """
    if len(ids) * WORTH < len(archive) or not len(ids):
        return pd.DataFrame(archive.tiles(ids)[COLUMNS])
    wanted = pa.array(np.sort(ids))
    pieces = []
    for piece in archive.rows(Where(), columns=COLUMNS):
        found = piece.filter(pc.is_in(piece.column("tile_id"), wanted)).select(COLUMNS)
        scene = found.column("scene").cast(pa.string())
        pieces.append(found.set_column(1, "scene", scene))
    table = pa.concat_tables(pieces)
    places = pd.Index(table.column("tile_id").to_numpy()).get_indexer(ids)
    if (places < 0).any():
        msg = f"{archive.path} has no tile {int(ids[places < 0][0])}; it may have been removed."
        raise TileNotFoundError(msg)
    frame: pd.DataFrame = table.take(pa.array(places)).to_pandas()
    return frame


def windows_of(tiles: pd.DataFrame) -> Ids:
    """Return the windows of tiles.

    Args:
        tiles: Columns col, row, width, height.

    Returns:
        (col, row, width, height), px, -1 where missing, shape (n, 4).
    """
    columns = [tiles[name].to_numpy(dtype=np.float64, na_value=-1) for name in WINDOW]
    return np.asarray(np.nan_to_num(np.stack(columns, axis=1), nan=-1), dtype=np.int64)


def rows_by_scene(tiles: pd.DataFrame) -> dict[str, Ids]:
    """Group tiles by scene.

    Args:
        tiles: Column scene.

    Returns:
        The rows of each scene, ascending, in the order of their first tiles.
    """
    codes, scenes = pd.factorize(tiles["scene"])
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(scenes)))
    parts = np.split(order, ends[:-1]) if len(scenes) else []
    return dict(zip(scenes, parts, strict=True))
