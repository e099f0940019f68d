"""Bring the rows of a layer to longitude and latitude, and find the tiles that each means."""

import dataclasses
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from geohash_rs.errors import GeoHashRSWarning, RegionError, SceneError, one_line
from geohash_rs.footprints.projection import WGS84, projection_of
from geohash_rs.footprints.shapes import lonlat_shape
from geohash_rs.retrieval.at_shapes import MOST_TILES, first_at, seen_in
from geohash_rs.retrieval.examples import place_text, tile_examples
from geohash_rs.retrieval.many import Shapes
from geohash_rs.retrieval.query import Query
from geohash_rs.store.search.filters import parse_region
from geohash_rs.store.search.regions import across_180
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable

__all__ = ["MOST_EXAMPLES", "Places", "place_rows", "queries_of_places"]

POINT, POLYGON, MULTIPOINT, MULTIPOLYGON = 0, 3, 4, 6  # as from `shapely.get_type_id`
AREAS = [POLYGON, MULTIPOLYGON]
MOST_EXAMPLES = 1024  # tiles of one query, as of a patch
RADIANS = np.pi / 180
SWAPPED = "latitude and longitude seem swapped"

GeometryArray = npt.NDArray[np.object_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """The rows of a layer on the globe.

    Attributes:
        shapes: Points and polygons in longitude and latitude; None where there is a reason, shape
            (n,).
        reasons: Why a row cannot be used.
    """

    shapes: GeometryArray
    reasons: dict[int, str] = field(default_factory=dict)

    def rows(self, *kinds: int) -> npt.NDArray[np.int64]:
        """Return the rows with shapes of some kinds."""
        return np.flatnonzero(np.isin(shapely.get_type_id(self.shapes), kinds))

    def leave_out(self, rows: npt.NDArray[np.int64], reason: str) -> None:
        """Leave rows out for a reason."""
        self.shapes[rows] = None
        self.reasons.update(dict.fromkeys(rows.tolist(), reason))


def place_rows(layer: Shapes) -> Places:
    """Bring the rows of a layer to longitude and latitude.

    A layer without CRS is taken as longitude and latitude, with a warning.

    Args:
        layer: Its rows.

    Returns:
        Their places. Left out are rows without id or geometry, those with coordinates that are not
        numbers or are not on the Earth, lines, multipoints of several points, and invalid polygons.
    """
    shapes = shapely.force_2d(np.asarray(layer.table.array, dtype=object))
    places = Places(shapes=shapes)
    missing = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    places.leave_out(np.flatnonzero(missing), "it has no geometry")
    places.leave_out(np.flatnonzero(layer.ids.isna()), "it has no id")
    points, owners = shapely.get_coordinates(shapes, return_index=True)
    wild = np.unique(owners[~np.isfinite(points).all(axis=1)])
    places.leave_out(wild, "its coordinates are not all finite numbers")
    single = shapely.get_num_geometries(shapes) == 1
    shapes[single] = shapely.get_geometry(shapes[single], 0)
    for kind in np.unique(shapely.get_type_id(shapes)):
        if kind in (-1, POINT, *AREAS):
            continue
        rows = places.rows(kind)
        name = shapes[rows[0]].geom_type
        split = "; split it into single points" if kind == MULTIPOINT else ""
        places.leave_out(rows, f"it is a {name}, but queries are points or polygons{split}")
    for row in np.flatnonzero(~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)).tolist():
        why = shapely.is_valid_reason(shapes[row])
        places.leave_out(np.array([row]), f"it is not a valid polygon ({why}); repair it")
    if layer.table.crs is None:
        msg = f"{layer.name} has no CRS, so its coordinates are taken as longitude and latitude."
        warnings.warn(msg, GeoHashRSWarning, stacklevel=4)
    _place_points(places, layer.table.crs)
    _place_polygons(places, layer)
    return places


def _place_points(places: Places, crs: Any) -> None:  # noqa: ANN401 - of pyproj
    rows = places.rows(POINT)
    points = shapely.get_coordinates(places.shapes[rows])
    lonlat = points.copy()
    if crs is None or crs.is_geographic:
        unit = 1.0 if crs is None else crs.axis_info[0].unit_conversion_factor / RADIANS
        degrees = points * unit
        beyond = (np.abs(degrees) > [360.0, 90.0]).any(axis=1)  # PROJ clips latitudes
    else:
        degrees = np.full(points.shape, np.inf)  # not in degrees
        beyond = np.zeros(len(points), dtype=bool)
    if crs is not None and len(points):
        lonlat = projection_of(crs.to_wkt()).to_lonlat(points)
    beyond |= ~np.isfinite(lonlat).all(axis=1) | (np.abs(lonlat) > [360.0, 90.0]).any(axis=1)
    lonlat[:, 0] -= 360.0 * np.sign(lonlat[:, 0]) * (np.abs(lonlat[:, 0]) > 180.0)
    places.shapes[rows] = shapely.points(lonlat)
    what = "longitude -180..180 and latitude -90..90" if crs is None else f"the reach of {crs.name}"
    order = "; x is the longitude" if crs is None or crs.is_geographic else ""
    turned = beyond & (np.abs(degrees) <= [90.0, 180.0]).all(axis=1)
    places.leave_out(rows[beyond & ~turned], f"it lies outside {what}{order}")
    places.leave_out(rows[turned], f"it lies outside {what}{order}; {SWAPPED}")


def _place_polygons(places: Places, layer: Shapes) -> None:
    rows, crs = places.rows(*AREAS), layer.table.crs
    shapes = places.shapes[rows]
    if crs is None or crs.is_geographic:
        shapes = across_180(shapes, layer.name)
    same = crs is None or crs == WGS84
    wkt = None if same else crs.to_wkt()
    for row, shape in zip(rows.tolist(), shapes, strict=True):
        try:
            placed = shape if same else lonlat_shape(shape, wkt)
            places.shapes[row] = parse_region(placed).geometry
        except (RegionError, SceneError, shapely.GEOSException, ValueError) as error:
            why = one_line(error).removeprefix("region ")
            places.leave_out(np.array([row]), f"it cannot be placed: {why}")


def queries_of_places(
    archive: Searchable, places: Places, *, where: Where, with_vectors: bool
) -> list[Query | None]:
    """Make a query of the tiles that each row means.

    A point means the tile that is first there, a polygon the tiles that are seen in it; see
    `first_at` and `seen_in`.

    Args:
        archive: The archive, in one state.
        places: The rows; those that mean no tile are left out of it.
        where: Limits on the tiles; its region is ignored.
        with_vectors: Whether feature vectors are needed to order by.

    Returns:
        A query for each row, None for those left out.
    """
    points, polygons = places.rows(POINT), places.rows(*AREAS)
    first = first_at(archive, places.shapes[points], where=where)
    meant = {row: [tile] for row, tile in zip(points.tolist(), first.tolist(), strict=True)}
    for row, ids in zip(
        polygons.tolist(), seen_in(archive, places.shapes[polygons], where=where), strict=True
    ):
        if ids is None or len(ids) > MOST_EXAMPLES:
            count = f"{len(ids):,}" if ids is not None else f"more than {MOST_TILES:,}"
            reason = (
                f"it holds {count} tiles, but a query takes at most {MOST_EXAMPLES:,}; split it"
            )
            places.leave_out(np.array([row]), reason)
        else:
            meant[row] = ids.tolist() or [-1]
    none = np.array([row for row, ids in meant.items() if ids == [-1]], dtype=np.int64)
    _leave_out_empty(archive, places, none, where)
    meant = {row: ids for row, ids in meant.items() if ids != [-1]}
    return _queries(archive, places, meant, with_vectors=with_vectors)


def _leave_out_empty(
    archive: Searchable, places: Places, rows: npt.NDArray[np.int64], where: Where
) -> None:
    """Leave out rows without a tile; of those with tiles that fail the limits, say so."""
    there = np.zeros(len(rows), dtype=bool)
    if not dataclasses.replace(where, region=None).is_everything:
        is_point = np.isin(rows, places.rows(POINT))
        there[is_point] = first_at(archive, places.shapes[rows[is_point]], where=Where()) >= 0
        seen = seen_in(archive, places.shapes[rows[~is_point]], where=Where())
        there[~is_point] = [ids is None or len(ids) > 0 for ids in seen]
    none = rows[~there]
    swapped = _lies_swapped(archive, places, none)
    places.leave_out(none[~swapped], "no tile of the archive lies there")
    places.leave_out(none[swapped], f"no tile of the archive lies there, but {SWAPPED}")
    limits = "the tiles there do not pass the limits of time, scene, label and tile size"
    places.leave_out(rows[there], limits)


def _lies_swapped(
    archive: Searchable, places: Places, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return which rows have tiles once longitude and latitude are swapped."""
    found = np.zeros(len(rows), dtype=bool)
    shapes = places.shapes[rows]
    west, _, east, _ = shapely.bounds(shapes).T
    fits = np.maximum(np.abs(west), np.abs(east)) <= 90  # longitudes that may be latitudes
    turned = shapely.transform(shapes, lambda lonlat: lonlat[:, ::-1])
    is_point = shapely.get_type_id(shapes) == POINT
    found[fits & is_point] = first_at(archive, turned[fits & is_point], where=Where()) >= 0
    seen = seen_in(archive, turned[fits & ~is_point], where=Where())
    found[fits & ~is_point] = [ids is None or len(ids) > 0 for ids in seen]
    return found


def _queries(
    archive: Searchable, places: Places, meant: dict[int, list[int]], *, with_vectors: bool
) -> list[Query | None]:
    """Look up the codes and footprints of all tiles at once."""
    found: list[Query | None] = [None] * len(places.shapes)
    ids, inverse = np.unique([tile for one in meant.values() for tile in one], return_inverse=True)
    ids = ids.astype(np.int64)
    codes, tiles = archive.codes(ids), archive.tiles(ids)
    vectors = archive.vectors(ids) if with_vectors else None
    footprints, examples = tiles.geometry.to_numpy(), tile_examples(tiles)
    start = 0
    for row, mine in meant.items():
        rows = inverse[start : start + len(mine)]
        start += len(mine)
        shape = places.shapes[row]
        at = f" {place_text(shape.x, shape.y)}" if shape.geom_type == "Point" else ""
        found[row] = Query(
            codes=codes[rows],
            footprint=footprints[rows[0]] if len(rows) == 1 else _joined(footprints[rows]),
            source=mine[0] if len(rows) == 1 else None,
            vectors=None if vectors is None else vectors[rows],
            examples=tuple(
                dataclasses.replace(examples[one], name=f"{examples[one].name}{at}") for one in rows
            ),
        )
    return found


def _joined(footprints: GeometryArray) -> BaseGeometry | None:
    placed = footprints[~shapely.is_missing(footprints)]
    return shapely.union_all(placed) if len(placed) else None
