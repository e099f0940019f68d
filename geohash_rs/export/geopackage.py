"""GeoPackage: one layer of multipolygons in the CRS of the table."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["write_geopackage"]


def write_geopackage(frames: Iterator["GeoDataFrame"], path: Path, layer: str) -> int:
    """Write tables one after another into one layer.

    Args:
        frames: Tables with the same columns and CRS.
        path: File to write.
        layer: Name of the layer.

    Returns:
        The number of features written.
    """
    import pyogrio

    count = 0
    for number, frame in enumerate(frames):
        pyogrio.write_dataframe(
            frame,
            path,
            layer=layer,
            driver="GPKG",
            geometry_type="MultiPolygon",
            promote_to_multi=True,
            append=number > 0,
        )
        count += len(frame)
    return count
