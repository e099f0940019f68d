"""Scenes as an archive records them, and their tiles, without any pixels."""

import geopandas as gpd
import numpy as np
import pandas as pd
from affine import Affine

from geohash_rs.footprints.windows import footprints
from geohash_rs.scenes.grids import TileGrids
from geohash_rs.store.disk.records import SceneRecord

UTM = "EPSG:32633"


class Header:
    """What a grid needs of a scene."""

    def __init__(self, record):
        self.name, self.crs = record.scene, record.crs
        self.width, self.height = record.width, record.height
        self.transform = Affine(*record.transform)


def record_of(scene="a.tif", *, width=640, height=640, crs=UTM, transform=None, **settings):
    """Make a record as indexing does; 10 m pixels at 15 degrees east unless told."""
    given = Affine(10, 0, 500_000, 0, -10, 5_400_000) if transform is None else transform
    cut = {"tile_size": 64, "stride": 64, "edges": "shift", "max_nodata": 0.5, "resolution": None}
    return SceneRecord(
        scene=scene,
        width=width,
        height=height,
        crs=crs,
        transform=tuple(given)[:6],
        settings={**cut, **settings},
    )


def tiles_of(record, *, day="2023-05-14T10:30Z"):
    """Lay the tiles of a record as indexing does, with footprints and a score."""
    header = Header(record)
    windows = TileGrids.of_settings(record.settings).tiles(header, 0)[:, 1:]
    frame = gpd.GeoDataFrame(
        {
            "scene": record.scene,
            "col": windows[:, 0],
            "row": windows[:, 1],
            "width": windows[:, 2],
            "height": windows[:, 3],
            "datetime": pd.Series(pd.to_datetime([day] * len(windows), utc=True)),
            "score": 0.5,
        },
        geometry=footprints(header.transform, windows, crs=record.crs),
        crs="EPSG:4326",
    )
    if record.settings["resolution"] is not None:
        frame.insert(5, "tile_size", TileGrids.of_settings(record.settings).tile_size)
    return frame


def chosen(tiles, pick):
    """Choose tiles by (column, row) of a regular grid of 64 px."""
    places = {(int(c), int(r)) for c, r in pick}
    mine = [(c // 64, r // 64) in places for c, r in zip(tiles["col"], tiles["row"], strict=True)]
    return tiles[np.array(mine)].reset_index(drop=True)
