"""Tiles for the tests of the archive."""

import geopandas as gpd
import numpy as np
import shapely


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
