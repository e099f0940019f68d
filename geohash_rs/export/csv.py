"""CSV tables with the footprint as WKT in longitude and latitude."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import shapely

from geohash_rs.export.geojson import json_values
from geohash_rs.export.lonlat import lonlat_geometries
from geohash_rs.export.plain_text import plain_cell

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["write_csv"]


def write_csv(frames: Iterator["GeoDataFrame"], path: Path, _layer: str) -> int:
    """Write tables one after another as CSV.

    Spreadsheets open such files, and run cells that begin like a formula: an apostrophe goes before
    those, and control characters are escaped.

    Args:
        frames: Tables with the same columns.
        path: File to write.

    Returns:
        The number of rows written.
    """
    import pandas as pd

    count = 0
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        for number, frame in enumerate(frames):
            table = pd.DataFrame(frame.drop(columns=frame.geometry.name))
            for name in table.columns:
                if table[name].dtype.kind == "M":
                    table[name] = pd.Series(json_values(table[name]), table.index, dtype=object)
                elif table[name].dtype.kind not in "biuf":
                    table[name] = table[name].map(_cell)
            table.columns = [plain_cell(str(name)) for name in table.columns]
            table["WKT"] = shapely.to_wkt(lonlat_geometries(frame), rounding_precision=-1)
            table.to_csv(file, index=False, header=number == 0)
            count += len(frame)
    return count


def _cell(value: object) -> object:
    return plain_cell(value) if isinstance(value, str) else value
