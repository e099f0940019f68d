"""Named regions by which areas are totalled, such as the districts of a country."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from geohash_rs.errors import GeoHashRSWarning, RegionError
from geohash_rs.footprints.ground import square_km
from geohash_rs.store.search.regions import read_shapes, shapes_of_frame

__all__ = ["Regions", "regions_of"]

POLYGONS = {3, 6}  # polygon and multipolygon, as GEOS numbers them


@dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """Regions, which may overlap.

    Attributes:
        names: Their names, each once, shape (n,).
        shapes: Valid polygons and multipolygons in longitude and latitude, shape (n,).
        km2: Their own size, square kilometres, shape (n,).
    """

    names: npt.NDArray[np.object_]
    shapes: npt.NDArray[np.object_]
    km2: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.names)


def regions_of(
    by: gpd.GeoDataFrame | str | Path, *, column: str | None = None, layer: str | None = None
) -> Regions:
    """Read regions from a table or file of polygons in any CRS.

    Args:
        by: The table, or a file that `read_region` reads; either must have a CRS.
        column: Column with their names; rows of one name are one region, and a row without a name
            is called by its number, from 1. None numbers all.
        layer: Layer of a file that has several.

    Returns:
        The regions, in the order of the rows.

    Raises:
        RegionError: If the file cannot be read or has no CRS, there is no such column, no polygon
            or something else than polygons, or a polygon cannot be placed.
    """
    frame, name = (by, "by") if isinstance(by, gpd.GeoDataFrame) else (None, str(by))
    if frame is None:
        read = read_shapes(by, layer=layer, what="regions")
        frame = read if isinstance(read, gpd.GeoDataFrame) else None
        if frame is None and isinstance(read, gpd.GeoSeries):
            frame = gpd.GeoDataFrame(geometry=read)
    if frame is None or frame.active_geometry_name is None or frame.empty:
        msg = f"{name} holds no geometry; pass a file of polygons, such as GeoJSON or GeoPackage."
        raise RegionError(msg)
    if frame.crs is None:
        msg = f"{name} has no CRS, so its polygons cannot be placed; set one, such as EPSG:4326."
        raise RegionError(msg)
    names = _names(frame, column, name)
    shapes = np.asarray(frame.geometry.array, dtype=object)
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    if not there.all():
        msg = (
            f"{int((~there).sum())} of {len(there)} regions of {name} have no geometry and are "
            f"left out, first {names[~there][0]!r}."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=2)
        names, shapes, frame = names[there], shapes[there], frame[there]
    kinds = set(shapely.get_type_id(shapes).tolist())
    if not kinds <= POLYGONS or not kinds:
        others = sorted({shape.geom_type for shape in shapes} - {"Polygon", "MultiPolygon"})
        msg = f"{name} holds {', '.join(others) or 'no geometry'}, but regions are polygons."
        raise RegionError(msg)
    shapes = shapes_of_frame(frame, name=name)
    codes, distinct = pd.factorize(names)
    if len(distinct) < len(names):
        whole = [shapely.union_all(shapes[codes == code]) for code in range(len(distinct))]
        shapes = np.array(whole, dtype=object)
    return Regions(names=np.asarray(distinct, dtype=object), shapes=shapes, km2=square_km(shapes))


def _names(frame: gpd.GeoDataFrame, column: str | None, name: str) -> npt.NDArray[np.object_]:
    """Return a name for each row.

    Raises:
        RegionError: If there is no such column.
    """
    numbers = np.array([str(number) for number in range(1, len(frame) + 1)], dtype=object)
    if column is None:
        return numbers
    if column not in frame.columns or column == frame.active_geometry_name:
        others = [str(one) for one in frame.columns if one != frame.active_geometry_name]
        msg = f"{name} has no column {column!r}; its columns are {', '.join(others) or 'none'}."
        raise RegionError(msg)
    given = frame[column]
    texts = given.map(str, na_action="ignore").to_numpy(dtype=object)
    missing = given.isna().to_numpy() | np.array([not str(text).strip() for text in texts])
    return np.where(missing, numbers, texts)
