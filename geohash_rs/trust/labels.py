"""Label the tiles of an archive by polygons or points, and divide the ground into blocks."""

import dataclasses
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from geohash_rs.errors import CalibrationError, GeoHashRSWarning, LabelError
from geohash_rs.footprints.windows import WGS84
from geohash_rs.hashing.data.blocks import block_numbers
from geohash_rs.hashing.data.polygons import POINTS, check_labels, class_shares, read_labels
from geohash_rs.store.search.filters import parse_region
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable

__all__ = ["Labelled", "label_archive", "outside_blocks"]

BLOCK_TILES, SMALLEST_BLOCK_KM = 10, 1.0  # default side of a block: tiles, but at least this
KM_PER_DEGREE = 111.32
OVERLAP = 1.01  # shares of a tile that add up to more than this contradict each other
MARGIN = 0.02  # share by which the box around labels grows, since edges bend between CRSs


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Tiles of known classes; all arrays have shape (tiles,).

    Attributes:
        ids: Tile ids, int64, ascending.
        labels: Their classes, text, object.
        blocks: Numbers of their blocks of ground, int64.
        footprints: Their footprints, EPSG:4326, object.
        block_km: Side of a block, km.
        num_contradicting: Tiles that were left out because labels contradict each other there.
    """

    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.object_]
    blocks: npt.NDArray[np.int64]
    footprints: npt.NDArray[np.object_]
    block_km: float
    num_contradicting: int

    def away_from(self, places: Iterable[tuple[float, float]]) -> npt.NDArray[np.bool_]:
        """Find the tiles in blocks of ground that hold none of some places.

        Args:
            places: Longitudes and latitudes, degrees.

        Returns:
            Whether each tile is one, shape (tiles,).
        """
        points = np.asarray(shapely.points(np.array([*places], dtype=float).reshape(-1, 2)))
        ground = np.concatenate([self.footprints, points])
        blocks = block_numbers(ground, block_km=self.block_km)
        count = len(self.ids)
        return outside_blocks(blocks[:count], blocks[count:])


def outside_blocks(
    blocks: npt.NDArray[np.int64], taught: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Find the tiles that may calibrate: those in blocks of ground that have taught nothing.

    What was marked is known better than other places, and so are its neighbours, and the same
    ground on other dates.

    Args:
        blocks: Number of the block of each tile, shape (tiles,).
        taught: Numbers of the blocks that hold a mark.

    Returns:
        Whether each tile is one, shape (tiles,).
    """
    return ~np.isin(blocks, taught)


def label_archive(
    archive: Searchable,
    labels: gpd.GeoDataFrame | str | Path,
    *,
    column: str,
    layer: str | None = None,
    min_share: float = 0.5,
    block_km: float | None = None,
    where: Where | None = None,
) -> Labelled:
    """Label the tiles of an archive.

    Args:
        archive: One state of the archive; removed tiles do not count.
        labels: Polygons, which label the tiles of which they cover enough, or points, which label
            the tiles that they lie in; each with a class. A file, or a table.
        column: Column with the class.
        layer: Layer of a file that has several.
        min_share: Smallest share of a tile that a class must cover, above 0 and at most 1.
        block_km: Side of a block of ground, km. None uses ten times the side of a typical tile, but
            at least 1 km: neighbours are alike, and so count as one.
        where: Limits on the tiles.

    Returns:
        The labelled tiles.

    Raises:
        LabelError: If the labels cannot be read or used, cover no tile, or contradict each other
            in most tiles.
        CalibrationError: If ``block_km`` is not above 0.
    """
    if not 0 < min_share <= 1:
        msg = f"min_share is {min_share}; use a share of a tile above 0 and at most 1."
        raise LabelError(msg)
    if block_km is not None and not 0 < block_km < np.inf:
        msg = f"block_km is {block_km}; it is the side of a block of ground in km, such as 5."
        raise CalibrationError(msg)
    if isinstance(labels, gpd.GeoDataFrame):
        given = check_labels(labels, column=column, name="the table", points=True)
    else:
        given = read_labels(labels, column=column, layer=layer, points=True)
    ids, footprints = _tiles_near(archive, given, where or Where())
    found = _classes(footprints, given, min_share=min_share)
    contradicted = found["tile"].duplicated(keep=False)
    kept = found[~contradicted].sort_values("tile")
    num_contradicting = int(found.loc[contradicted, "tile"].nunique())
    _check(archive, given, len(kept), num_contradicting, num_near=len(ids))
    rows = kept["tile"].to_numpy()
    shapes = footprints[rows]
    side = _typical_side(shapes)
    usual = round(max(BLOCK_TILES * side, SMALLEST_BLOCK_KM), 3)
    chosen = usual if block_km is None else float(block_km)
    return Labelled(
        ids=ids[rows],
        labels=kept["label"].to_numpy(dtype=object),
        blocks=block_numbers(shapes, block_km=chosen),
        footprints=shapes,
        block_km=chosen,
        num_contradicting=num_contradicting,
    )


def _tiles_near(
    archive: Searchable, labels: gpd.GeoDataFrame, where: Where
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.object_]]:
    """Read ids, ascending, and footprints of the tiles in the box around the labels."""
    west, south, east, north = labels.to_crs(WGS84).total_bounds.tolist()
    across, up = (max(MARGIN * size, 0.01) for size in (east - west, north - south))
    west, south, east, north = west - across, south - up, east + across, north + up
    fits = west >= -180 and east <= 180 and south > -90 and north < 90
    if where.region is None and fits:  # otherwise all tiles are compared with the labels
        where = dataclasses.replace(where, region=parse_region((west, south, east, north)))
    ids, shapes = [np.empty(0, np.int64)], [np.empty(0, object)]
    for piece in archive.rows(where, columns=["tile_id", "geometry"]):
        placed = shapely.from_wkb(piece["geometry"].to_numpy(zero_copy_only=False))
        there = ~shapely.is_missing(placed)
        ids.append(piece["tile_id"].to_numpy()[there])
        shapes.append(placed[there])
    found = np.concatenate(ids)
    order = np.argsort(found)
    return found[order].astype(np.int64), np.concatenate(shapes)[order]


def _classes(
    footprints: npt.NDArray[np.object_], labels: gpd.GeoDataFrame, *, min_share: float
) -> pd.DataFrame:
    """Find the classes of tiles: columns tile and label; several rows contradict each other."""
    if set(np.unique(shapely.get_type_id(labels.geometry.to_numpy())).tolist()) <= POINTS:
        points = labels.to_crs(WGS84).geometry.to_numpy()
        point, tile = shapely.STRtree(footprints).query(points, predicate="intersects")
        pairs = pd.DataFrame({"tile": tile, "label": labels["label"].to_numpy()[point]})
        return pairs.drop_duplicates()
    shares = class_shares(footprints, labels)
    shares = shares[shares["share"] >= min_share * (1 - 1e-9)]
    shares = shares.sort_values(["tile", "share", "label"], ascending=[True, False, True])
    total = shares.groupby("tile")["share"].transform("sum")
    first = ~shares["tile"].duplicated()
    return shares.loc[first | (total > OVERLAP), ["tile", "label"]]


def _check(
    archive: Searchable, labels: gpd.GeoDataFrame, found: int, contradicting: int, *, num_near: int
) -> None:
    """Refuse labels that say nothing about the archive.

    Raises:
        LabelError: If they cover no tile, or contradict each other in most tiles.
    """
    if not found and not contradicting:
        bounds = [round(value, 4) for value in labels.to_crs(WGS84).total_bounds.tolist()]
        msg = (
            f"the labels label no tile of {archive.path}: they lie in {bounds} (lon/lat), where "
            f"{num_near} tiles lie; check their CRS and place, or use a smaller min_share."
        )
        raise LabelError(msg)
    if contradicting:
        msg = (
            f"{contradicting} of {found + contradicting} labelled tiles have labels of several "
            "classes that contradict each other"
        )
        if contradicting > found:
            msg += "; mend the labels, or choose a column with one class for each place."
            raise LabelError(msg)
        warnings.warn(f"{msg}; they are left out.", GeoHashRSWarning, stacklevel=4)


def _typical_side(footprints: npt.NDArray[np.object_]) -> float:
    """Return the side of a typical tile, km."""
    middle = shapely.get_y(shapely.centroid(footprints))
    areas = shapely.area(footprints) * np.cos(np.radians(np.clip(middle, -89, 89)))
    return float(np.sqrt(np.median(areas)) * KM_PER_DEGREE)
