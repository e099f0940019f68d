"""Turn what a user points at into marks: tile ids, patches, places, shapes of a vector layer."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from geohash_rs.concepts.mark import Mark, check_marks
from geohash_rs.errors import ConceptError, RegionError, TileNotFoundError
from geohash_rs.footprints.projection import WGS84
from geohash_rs.retrieval.at_shapes import first_at
from geohash_rs.retrieval.image_queries import ImageQueries
from geohash_rs.retrieval.query import Query, check_hasher, query_of_point
from geohash_rs.store.search.filters import parse_region
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.regions import read_shapes, shapes_of_frame
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable, bits_of

__all__ = ["Shown", "marks_of_tiles", "new_marks", "tiles_of_shapes"]

LAYERS = (".gpkg", ".geojson", ".json", ".shp", ".fgb", ".kml", ".gml", ".parquet", ".wkt")
MIN_SHARE = 0.5  # of a tile that a polygon must cover to mark it
AT_ONCE = 1 << 16  # tiles whose footprints are in memory

Shown: TypeAlias = (
    int
    | str
    | Path
    | tuple[float, float]
    | BaseGeometry
    | gpd.GeoDataFrame
    | gpd.GeoSeries
    | Iterable[Any]
    | None
)


def new_marks(
    archive: ImageQueries,
    *,
    right: Shown,
    wrong: Shown,
    layer: str | None = None,
    where: Where | None = None,
    device: str = "cpu",
) -> tuple[list[Mark], str | None]:
    """Make marks of what a user shows.

    What can be shown is a tile id; the path of a patch, or of a vector layer; a longitude and
    latitude; a shapely geometry in longitude and latitude; a table of geometries; or several of
    these. A point marks the tile that a query at this point takes. A polygon marks all tiles of
    which it covers half, or, if there is none, the tile that a query at its middle takes.

    Args:
        archive: The archive.
        right: What is right.
        wrong: What is wrong.
        layer: Layer of a vector file that has several.
        where: Limits on the tiles that a place or a shape marks, such as a time.
        device: Device that hashes patches.

    Returns:
        One mark for each tile, in the order given, those that are right first; and the fingerprint
        of the hasher that made their codes.

    Raises:
        ConceptError: If something is not one of these, a layer marks no tile, or a tile is both
            right and wrong.
        GeoHashRSError: As `ImageQueries.query` raises for patches, points and tiles.
    """

    def hashed(item: Any) -> Any:  # noqa: ANN401 - see `Shown`
        is_patch = isinstance(item, str | Path) and not _is_layer(item)
        if not is_patch:
            return item
        from geohash_rs.retrieval.patch_query import hash_patch  # noqa: PLC0415 - slow to import

        return hash_patch(archive, item, stretch=True, device=device)

    # before the state is held: hashing takes long
    kinds = ((True, right), (False, wrong))
    shown = {kind: list(map(hashed, _several(each))) for kind, each in kinds}
    with archive.one_state() as still:
        patches = [one for each in shown.values() for one in each if isinstance(one, Query)]
        check_hasher(still, patches)
        found = [
            mark
            for kind, each in shown.items()
            for mark in _marks_of(still, each, right=kind, layer=layer, where=where or Where())
        ]
        hasher = still.hasher_fingerprint
    if any(mark.right for mark in found):
        check_marks(found)  # that none is both, while it is known what was said now
    return found, hasher


def _marks_of(
    archive: Searchable, shown: Sequence[Any], *, right: bool, layer: str | None, where: Where
) -> list[Mark]:
    """Make marks of one kind; all tiles are looked up at once."""
    parts = [
        one if isinstance(one, Query) else _tiles_of(archive, one, layer=layer, where=where)
        for one in shown
    ]
    ids = [part for part in parts if not isinstance(part, Query)]
    unique = np.unique(np.concatenate([np.empty(0, np.int64), *ids]))
    tiles = {mark.tile: mark for mark in marks_of_tiles(archive, unique, right=right)}
    found: dict[tuple[int | None, str, bytes], Mark] = {}
    for part in parts:
        if isinstance(part, Query):
            marks = _of_patch(part, right=right)
        else:
            marks = [tiles[tile] for tile in part.tolist()]
        found.update({mark.key: mark for mark in marks})
    return list(found.values())


def _several(shown: Any) -> list[Any]:  # noqa: ANN401 - one thing, several or None
    """Return the things that are shown.

    Raises:
        ConceptError: If it is not clear whether two numbers are tile ids or a place.
    """
    if shown is None:
        return []
    if isinstance(shown, tuple) and len(shown) == 2 and all(map(_is_whole, shown)):
        first, second = (int(number) for number in shown)
        msg = (
            f"({first}, {second}) may be two tiles or a place; pass [{first}, {second}] for the "
            f"tiles, or ({first}.0, {second}.0) for longitude and latitude."
        )
        raise ConceptError(msg)
    one = isinstance(shown, str | Path | BaseGeometry | gpd.GeoDataFrame | gpd.GeoSeries)
    if one or _is_pair(shown) or not isinstance(shown, Iterable):
        return [shown]
    return list(shown)


def _is_whole(item: object) -> bool:
    return isinstance(item, int | np.integer) and not isinstance(item, bool)


def _is_pair(item: object) -> bool:
    """Return whether something is a longitude and latitude rather than two tile ids."""
    return isinstance(item, tuple) and len(item) == 2 and any(isinstance(x, float) for x in item)


def _is_layer(item: str | Path) -> bool:
    return Path(item).suffix.lower() in LAYERS


def _of_patch(query: Query, *, right: bool) -> list[Mark]:
    source = str(query.source).rstrip(",")
    place = None if query.footprint is None else _centre(query.footprint)
    codes = dict.fromkeys(bytes(code) for code in query.codes)
    return [Mark(right=right, code=code, source=source, place=place) for code in codes]


def marks_of_tiles(archive: Searchable, ids: npt.NDArray[np.int64], *, right: bool) -> list[Mark]:
    """Make marks of tiles.

    Args:
        archive: The archive.
        ids: Their ids, int64, shape (tiles,).
        right: Whether they are right or wrong.

    Returns:
        One mark for each tile, in the order given.

    Raises:
        TileNotFoundError: If the archive has no such tile.
    """
    if not len(ids):
        return []
    tiles, codes = archive.tiles(ids), archive.codes(ids)
    rows = zip(ids.tolist(), codes, tiles["scene"], tiles.geometry.to_numpy(), strict=True)
    return [
        Mark(
            right=right,
            code=bytes(code),
            tile=tile,
            source=str(scene),
            place=None if shape is None or shape.is_empty else _centre(shape),
        )
        for tile, code, scene, shape in rows
    ]


def _centre(shape: BaseGeometry) -> tuple[float, float]:
    parts = getattr(shape, "geoms", None)
    point = shapely.centroid(shape if parts is None else max(parts, key=shapely.area))
    return round(float(point.x), 7), round(float(point.y), 7)


def _tiles_of(
    archive: Searchable,
    item: Any,  # noqa: ANN401 - see `Shown`
    *,
    layer: str | None,
    where: Where,
) -> npt.NDArray[np.int64]:
    """Return the ids of the tiles that one thing marks.

    Raises:
        ConceptError: If it is not a thing that marks tiles.
        TileNotFoundError: If no tile can have this id.
    """
    if _is_whole(item):
        if not 0 <= item < 2**63:
            msg = f"{archive.path} has no tile with id {item}; ids are in the column tile_id."
            raise TileNotFoundError(msg, missing=[item])
        return np.array([item], dtype=np.int64)
    if isinstance(item, str | Path):
        try:
            table = read_shapes(item, layer=layer, what="marks")
        except RegionError as error:
            raise ConceptError(str(error)) from error
        return tiles_of_shapes(archive, table, name=str(item), where=where)
    if isinstance(item, gpd.GeoDataFrame | gpd.GeoSeries):
        return tiles_of_shapes(archive, item, name="the layer of marks", where=where)
    if isinstance(item, BaseGeometry):
        one = gpd.GeoSeries([item], crs=WGS84)
        return tiles_of_shapes(archive, one, name="the shape", where=where)
    if isinstance(item, tuple | list) and len(item) == 2:
        query = query_of_point(archive, item, where=where)
        return np.array([query.source], dtype=np.int64)
    msg = (
        f"{item!r} does not mark a tile; pass a tile id, the path of a patch or a vector layer, "
        "(longitude, latitude), or a shapely geometry."
    )
    raise ConceptError(msg)


def tiles_of_shapes(
    archive: Searchable,
    table: gpd.GeoDataFrame | gpd.GeoSeries,
    *,
    name: str,
    where: Where,
) -> npt.NDArray[np.int64]:
    """Find the tiles that the shapes of a layer mark.

    Args:
        archive: The archive, in one state.
        table: Points or polygons in any CRS.
        name: Name of the layer for messages.
        where: Limits on the tiles.

    Returns:
        Ids, ascending, int64, shape (tiles,).

    Raises:
        ConceptError: If there is no geometry, no CRS, or no shape meets a tile.
    """
    shapes = _lonlat_shapes(table, name)
    region = shapely.union_all(shapes)
    nothing = np.zeros((1, bits_of(archive) // 8), np.uint8)
    everything = Limits(k=None, max_distance=bits_of(archive))
    inside = dataclasses.replace(where, region=parse_region(region), within=False)
    found = archive.find(nothing, limits=everything, where=inside)
    ids = np.sort(found.ids[0][found.ids[0] >= 0])
    if not len(ids):
        msg = (
            f"no shape of {name} meets a tile of {archive.path}; its bounds are "
            f"{_bounds(region)} in longitude and latitude. Compare with 'geohash-rs info'."
        )
        raise ConceptError(msg)
    marked, large = [np.empty(0, np.int64)], np.zeros(len(shapes), dtype=bool)
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        footprints = archive.tiles(part).geometry.to_numpy()
        tree = shapely.STRtree(footprints)
        shape, tile = tree.query(shapes, predicate="intersects")
        covered = shapely.area(shapely.intersection(shapes[shape], footprints[tile]))
        enough = covered >= MIN_SHARE * shapely.area(footprints)[tile]
        marked.append(part[tile[enough]])
        large[shape[enough]] = True
    around = first_at(archive, shapely.point_on_surface(shapes[~large]), where=where)
    return np.unique(np.concatenate([*marked, around[around >= 0]]))


def _lonlat_shapes(table: gpd.GeoDataFrame | gpd.GeoSeries, name: str) -> npt.NDArray[np.object_]:
    """Return the points and polygons of a layer in longitude and latitude.

    Raises:
        ConceptError: If there is none, or one has no place on the Earth.
    """
    if not isinstance(table, gpd.GeoDataFrame | gpd.GeoSeries):
        msg = f"{name} holds no geometry; pass a layer of points or polygons."
        raise ConceptError(msg)
    try:
        shapes = shapely.get_parts(shapes_of_frame(table, name=name))
    except RegionError as error:
        raise ConceptError(str(error)) from error
    kinds = sorted({shape.geom_type for shape in shapes} - {"Point", "Polygon"})
    if kinds:
        msg = f"{name} holds {', '.join(kinds)}; marks are points or polygons."
        raise ConceptError(msg)
    return np.asarray(shapes, dtype=object)


def _bounds(region: BaseGeometry) -> Sequence[float]:
    return [round(float(value), 4) for value in region.bounds]
