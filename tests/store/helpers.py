"""Tiles for the tests of the archive."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from geohash_rs.errors import ArchiveNotFoundError
from geohash_rs.store.code_store import CodeStore

State = tuple[object, ...]
NOTHING: State = ("no archive",)


def make_grid(count: int, *, scene: str = "scene.tif", west: float = 10.0) -> gpd.GeoDataFrame:
    """Lay square tiles of a tenth of a degree side by side, twenty in a row."""
    row, col = np.divmod(np.arange(count), 20)
    x, y = west + col * 0.1, 50.0 - row * 0.1
    return gpd.GeoDataFrame(
        {
            "scene": scene,
            "col": col * 64,
            "row": row * 64,
            "width": 64,
            "height": 64,
            "datetime": "2023-06-01",
        },
        geometry=shapely.box(x, y - 0.1, x + 0.1, y),
        crs="EPSG:4326",
    )


def make_vectors(store: CodeStore, count: int) -> np.ndarray | None:
    """Make a vector of eight numbers for each tile, if the archive keeps vectors."""
    if store.keep_vectors == "none":
        return None
    return np.random.default_rng(count).normal(size=(count, 8)).astype(np.float32)


def everything(folder: Path) -> State:
    """Read everything that an archive holds, and check it."""
    try:
        store = CodeStore.open(folder, mode="r")
    except ArchiveNotFoundError:
        return NOTHING
    with store:
        report = store.verify()
        assert report.ok, report.damage
        tiles = []
        for frame in store.iter_tiles():
            ids = frame["tile_id"].to_numpy()
            made = store.codes(ids)
            if store.keep_vectors != "none":
                made = np.hstack([made, store.vectors(ids).view(np.uint8)])
            data = map(bytes, made)
            tiles += list(zip(ids.tolist(), frame["scene"], data, strict=True))
        hasher = store.hasher_file.read_bytes() if store.hasher_file else None
        scenes = sorted(record.scene for record in store.scenes())
        state = store.manifest
        return sorted(tiles), scenes, hasher, state.next_id, tuple(state.attrs.items())
