"""Label the tiles of scenes by the polygons that cover them."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from geohash_rs.errors import LabelError, RegionError
from geohash_rs.footprints.windows import WGS84
from geohash_rs.store.search.regions import across_180, read_shapes, repaired

__all__ = ["check_labels", "class_shares", "label_tiles", "read_labels"]

POINTS, POLYGONS = {0, 4}, {3, 6}  # shapely's numbers of types, single and multiple


def read_labels(
    path: str | Path, *, column: str, layer: str | None = None, points: bool = False
) -> gpd.GeoDataFrame:
    """Read polygons with their classes.

    Args:
        path: GeoPackage, GeoJSON, GeoParquet or any other vector file that geopandas reads.
        column: Name of the column with the class; numbers become text.
        layer: Layer of a file that has several.
        points: Whether the file may hold points instead of polygons.

    Returns:
        One row per polygon or point: the columns label (text) and geometry, in the file's own CRS.

    Raises:
        LabelError: If the file cannot be read, has several layers and none is chosen, has no CRS,
            no such column, a polygon without a class, or geometries other than polygons.
    """
    try:
        table = read_shapes(path, layer=layer, what="labels")
    except RegionError as error:
        raise LabelError(str(error)) from error
    if not isinstance(table, gpd.GeoDataFrame) or table.empty:
        msg = f"{path} holds no geometry; pass a file of polygons, each with a class."
        raise LabelError(msg)
    return check_labels(table, column=column, name=str(path), points=points)


def check_labels(
    layer: gpd.GeoDataFrame, *, column: str, name: str, points: bool = False
) -> gpd.GeoDataFrame:
    """Convert polygons with their classes to the form of `read_labels`.

    Args:
        layer: The polygons.
        column: Name of the column with the class.
        name: Name of the layer for messages.
        points: As in `read_labels`.

    Returns:
        As `read_labels`.

    Raises:
        LabelError: As `read_labels`.
    """
    if layer.crs is None:
        msg = f"{name} has no CRS, so its polygons cannot be placed; set one, such as EPSG:4326."
        raise LabelError(msg)
    if column not in layer.columns or column == layer.geometry.name:
        known = [str(other) for other in layer.columns if other != layer.geometry.name]
        msg = f"{name} has no column {column!r}; its columns are {', '.join(known) or 'none'}."
        raise LabelError(msg)
    shapes = layer.geometry.to_numpy()
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    kinds = set(np.unique(shapely.get_type_id(shapes[~empty])).tolist())
    if empty.all() or (kinds - POLYGONS and not (points and kinds <= POINTS)):
        found = sorted(set(layer.geometry.geom_type.dropna()) - {"Polygon", "MultiPolygon"})
        allowed = "polygons or points, not both" if points else "polygons"
        msg = f"{name} holds {', '.join(found) or 'nothing'}; labels must be {allowed}."
        raise LabelError(msg)
    without = int((layer[column].isna() & ~empty).sum())
    if without:
        shapes_are = "points" if kinds <= POINTS else "polygons"
        msg = (
            f"{without} of {len(layer)} {shapes_are} of {name} have no {column}; fill the column, "
            "or drop them."
        )
        raise LabelError(msg)
    kept = layer[~empty]
    shapes = repaired(shapely.force_2d(kept.geometry.to_numpy()), name)
    if layer.crs.is_geographic:
        shapes = across_180(shapes, name)
    return gpd.GeoDataFrame(
        {"label": kept[column].astype(str).to_numpy()},
        geometry=shapes,
        crs=layer.crs,
    )


def label_tiles(
    footprints: npt.NDArray[np.object_], labels: gpd.GeoDataFrame, *, min_share: float = 0.5
) -> npt.NDArray[np.object_]:
    """Label each tile with the class that covers most of it.

    Areas are measured in the CRS of the polygons, in which their edges are straight lines. Ground
    that several polygons of a class cover counts once.

    Args:
        footprints: Footprints of the tiles, EPSG:4326, shape (tiles,).
        labels: Polygons, as returned by `read_labels`.
        min_share: Smallest share of the tile that the class must cover, 0 to 1.

    Returns:
        Class of each tile, text, or None if no class covers enough of it; of two classes that cover
        the same share, the first by name. Shape (tiles,).

    Raises:
        LabelError: If the share is not above 0 and at most 1.
    """
    if not 0 < min_share <= 1:
        msg = f"min_share is {min_share}; use a share of a tile above 0 and at most 1."
        raise LabelError(msg)
    result = np.full(len(footprints), None, dtype=object)
    best = class_shares(footprints, labels)
    best = best.sort_values(["tile", "share", "label"], ascending=[True, False, True])
    best = best.drop_duplicates("tile")
    best = best[best["share"] >= min_share * (1 - 1e-9)]
    result[best["tile"].to_numpy()] = best["label"].to_numpy()
    return result


def class_shares(footprints: npt.NDArray[np.object_], labels: gpd.GeoDataFrame) -> pd.DataFrame:
    """Measure how much of each tile each class covers, as `label_tiles` does.

    Args:
        footprints: Footprints of the tiles, EPSG:4326, shape (tiles,).
        labels: Polygons, as returned by `read_labels`.

    Returns:
        One row for each tile and class that meet: tile (index of the footprint), label, share (0 to
        1 of the tile).
    """
    tiles = gpd.GeoSeries(footprints, crs=WGS84).to_crs(labels.crs).to_numpy()
    shapes = labels.geometry.to_numpy()
    tile, polygon = shapely.STRtree(shapes).query(tiles, predicate="intersects")
    parts = pd.DataFrame(
        {
            "tile": tile,
            "label": labels["label"].to_numpy()[polygon],
            "part": shapely.intersection(tiles[tile], shapes[polygon]),
        }
    )
    if parts.empty:
        return parts[["tile", "label"]].assign(share=np.empty(0))
    parts = parts.sort_values(["tile", "label"], kind="stable", ignore_index=True)
    new = (parts[["tile", "label"]] != parts[["tile", "label"]].shift()).any(axis=1)
    starts = np.flatnonzero(new)
    groups = np.split(parts["part"].to_numpy(), starts[1:])
    area = shapely.area([shapely.union_all(group) for group in groups])
    found = parts.iloc[starts][["tile", "label"]].reset_index(drop=True)
    return found.assign(share=area / shapely.area(tiles)[found["tile"].to_numpy()])
