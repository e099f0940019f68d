"""The areas of a concept as the page's map draws them."""

from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geohash_rs.export.geojson import geojson_features

__all__ = ["DrawnAreas"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnAreas:
    """Dissolved areas, ready to be sent.

    Attributes:
        features: GeoJSON features.
        boxes: (xmin, ymin, xmax, ymax) of each in degrees, shape (areas, 4).
        km2: Area of all of them, km2.
        tiles: Tiles in all of them.
    """

    features: tuple[str, ...]
    boxes: npt.NDArray[np.float64]
    km2: float
    tiles: int

    @classmethod
    def of(cls, areas: gpd.GeoDataFrame) -> "DrawnAreas":
        """Convert areas.

        Args:
            areas: The areas, EPSG:4326.

        Returns:
            What the page needs of them.
        """
        return cls(
            features=tuple(geojson_features(areas)),
            boxes=areas.geometry.bounds.to_numpy(),
            km2=float(areas["area_km2"].sum()),
            tiles=int(areas["tiles"].sum()),
        )

    @property
    def num_bytes(self) -> int:
        """Bytes that they take."""
        return self.boxes.nbytes + sum(map(len, self.features))

    def in_view(self, view: Sequence[float]) -> list[str]:
        """Choose the areas that may meet a view.

        Args:
            view: (minlon, minlat, maxlon, maxlat) as from `parse_view`.

        Returns:
            Their features.
        """
        west, south, east, north = view
        x0, y0, x1, y1 = self.boxes.T
        meets = np.zeros(len(x0), dtype=bool)
        for turn in (-360, 0, 360):  # a view may lie beyond the antimeridian
            meets |= (x0 + turn <= east) & (x1 + turn >= west)
        meets &= (y0 <= north) & (y1 >= south)
        return [self.features[row] for row in np.flatnonzero(meets)]
