"""Read footprints out of a column of geometries, or lay them around centres."""

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError

from geohash_rs.embeddings.faults import Faults, Mask
from geohash_rs.embeddings.numbers import plain
from geohash_rs.embeddings.squares import squares_around
from geohash_rs.errors import SceneError, one_line
from geohash_rs.footprints.projection import names_file, projection_of
from geohash_rs.footprints.rings import split_at_antimeridian
from geohash_rs.footprints.shapes import lonlat_polygons
from geohash_rs.store.segment.layout import MOST_FOOTPRINT
from geohash_rs.store.segment.shapes import lonlat_crs
from geohash_rs.store.segment.wkb import check_wkb

__all__ = ["Placing", "check_units", "is_lonlat", "read_crs"]

GeometryArray = npt.NDArray[np.object_]

POINT, POLYGON, MULTIPOINT, MULTIPOLYGON = 0, 3, 4, 6  # of shapely.get_type_id
NATIVE = ("point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon")
HUGE = 1e30  # whose squares and sums overflow
WIDE = 180.0  # degrees: a footprint that seems wider lies across the antimeridian


@dataclass(frozen=True, kw_only=True)
class Placing:
    """How rows get their footprints.

    Attributes:
        columns: The column of geometries; or two, the longitude and latitude of centres.
        encoding: "wkb" or a GeoArrow layout; None for centres.
        crs: CRS of the coordinates.
        footprint_m: Side of the square around a point, m; None if points have no footprint.
        confirmed: Whether the user names the CRS, so that small coordinates are not questioned.
    """

    columns: tuple[str, ...]
    encoding: str | None
    crs: CRS
    footprint_m: float | None
    confirmed: bool = False

    def shapes(self, batch: pa.RecordBatch, faults: Faults) -> GeometryArray:
        """Read geometries or centres as they are.

        Args:
            batch: n rows.
            faults: Receives the rows without one, or with one that cannot be read.

        Returns:
            Shapely geometries in the CRS, None where a row is left out, shape (n,).
        """
        named = " and ".join(map(repr, self.columns))
        if self.encoding is None:
            lon, lat = (_floats(batch.column(name)) for name in self.columns)
            faults.leave_out(~(np.isfinite(lon) & np.isfinite(lat)), f"without a centre in {named}")
            points = np.full(len(lon), None, dtype=object)
            points[~faults.bad] = shapely.points(lon[~faults.bad], lat[~faults.bad])
            return points
        column = batch.column(self.columns[0])
        missing = column.is_null().to_numpy(zero_copy_only=False)
        faults.leave_out(missing, f"without a geometry in {named}")
        if self.encoding == "wkb":
            shapes, unsafe = _from_wkb(plain(column))
        else:
            shapes, unsafe = _from_native(column, self.encoding), np.zeros(len(column), np.bool_)
        lost = shapely.is_missing(shapes)
        faults.leave_out(unsafe | (lost & ~missing), f"whose geometry in {named} cannot be read")
        faults.leave_out(shapely.is_empty(shapes), f"with an empty geometry in {named}")
        lost = ~_are_numbers(shapes)
        reason = f"with NaN, infinite or far too large coordinates in {named}"
        faults.leave_out(lost, reason)
        shapes[lost] = None  # GEOS raises an error for some
        return shapes

    def footprints(self, batch: pa.RecordBatch, faults: Faults) -> GeometryArray:
        """Read or lay footprints.

        Args:
            batch: n rows.
            faults: Receives the rows that have none.

        Returns:
            Polygons and multipolygons in longitude and latitude, split at the antimeridian, None
            where a row is left out, shape (n,).
        """
        shapes = self.shapes(batch, faults)
        if self.crs.is_projected and not self.confirmed:
            self._find_degrees(shapes, faults)
        kinds = shapely.get_type_id(shapes)
        points, areas = np.isin(kinds, (POINT, MULTIPOINT)), np.isin(kinds, (POLYGON, MULTIPOLYGON))
        if self.footprint_m is None:
            reason = "with a point, which needs footprint_m=METRES"
            faults.leave_out(points, reason)
        faults.leave_out(~(points | areas), "whose geometry is neither an area nor a point")
        found = np.full(len(shapes), None, dtype=object)
        rows = np.flatnonzero(points & ~faults.bad)
        if len(rows) and self.footprint_m is not None:
            self._lay(shapes, rows, found, faults)
        rows = np.flatnonzero(areas & ~faults.bad)
        if len(rows):
            found[rows] = self._placed(shapes[rows], rows, faults)
        found[faults.bad] = None
        return found

    def _find_degrees(self, shapes: GeometryArray, faults: Faults) -> None:
        """Leave out degrees that are said to be metres: a place far outside the CRS's area."""
        area = self.crs.area_of_use
        bounds = shapely.bounds(shapes)
        rows = np.flatnonzero(_in_degrees(bounds) & ~faults.bad)
        if area is None or not len(rows):
            return
        centres = (bounds[rows, :2] + bounds[rows, 2:]) / 2
        lon, lat = projection_of(self.crs).to_lonlat(centres).T
        east = (lon - area.west) % 360 <= (area.east - area.west) % 360
        whole = area.east - area.west >= 360
        inside = (east | whole) & (lat >= area.south) & (lat <= area.north)
        reason = (
            f"with coordinates that look like degrees, since in {self.crs.name!r}, in "
            f"{self.crs.axis_info[0].unit_name}s, they are outside its area (crs=... decides)"
        )
        _leave_out(faults, rows[~inside], reason)

    def _lay(
        self,
        shapes: GeometryArray,
        rows: npt.NDArray[np.int64],
        found: GeometryArray,
        faults: Faults,
    ) -> None:
        """Lay squares around points."""
        xy = shapely.get_coordinates(shapely.centroid(shapes[rows]))
        lonlat = projection_of(self.crs).to_lonlat(xy)
        good = np.isfinite(lonlat).all(axis=1)
        if self.crs.is_projected:
            good &= projection_of(self.crs).on_earth(xy, lonlat, slack=1.0)
        else:
            good &= (np.abs(xy) <= [360.0, 90.0]).all(axis=1)
        _leave_out(faults, rows[~good], "whose centre is outside the Earth")
        if good.any():
            found[rows[good]] = squares_around(lonlat[good], float(self.footprint_m or 0))

    def _placed(
        self, shapes: GeometryArray, rows: npt.NDArray[np.int64], faults: Faults
    ) -> GeometryArray:
        """Bring areas to longitude and latitude, and repair what can be repaired."""
        shapes = shapely.force_2d(shapes) if shapely.has_z(shapes).any() else shapes.copy()
        broken = np.flatnonzero(~shapely.is_valid(shapes))
        if len(broken):
            shapes[broken] = [_repaired(shape) for shape in shapes[broken]]
            lost = shapely.is_empty(shapes) | shapely.is_missing(shapes)
            shapes[lost] = None
            _leave_out(faults, rows[lost], "whose footprint has no area")
            mended = np.zeros_like(faults.bad)
            mended[rows[broken]] = True
            faults.mend(mended, "whose footprint crossed itself, which is repaired")
        bounds = shapely.bounds(shapes)
        if is_lonlat(self.crs):
            found, off = _as_lonlat(shapes, bounds)
        else:
            found, off = _reprojected(shapes, self.crs)
        _leave_out(faults, rows[off], "whose footprint is outside the Earth")
        sizes = 16 * shapely.get_num_coordinates(found) + 64
        _leave_out(faults, rows[sizes > MOST_FOOTPRINT], "whose footprint has too many corners")
        return found


def read_crs(said: Any) -> CRS:  # noqa: ANN401 - anything that pyproj takes
    """Read a CRS that a file or a user states.

    Args:
        said: PROJJSON, WKT, "EPSG:32633", or anything else that pyproj takes.

    Returns:
        The CRS.

    Raises:
        SceneError: If it is not one, or has no place on the Earth.
    """
    try:
        crs = None if isinstance(said, str) and names_file(said) else CRS.from_user_input(said)
    except (CRSError, ValueError, TypeError) as error:
        msg = f"its CRS {str(said)[:80]!r} cannot be read ({one_line(error)}); pass crs=..."
        raise SceneError(msg) from error
    if crs is None:
        msg = f"its CRS {str(said)[:80]!r} names a file, which is not opened; pass crs=..."
        raise SceneError(msg)
    projection_of(crs)
    return crs


def is_lonlat(crs: CRS) -> bool:
    """Return whether coordinates in a CRS are longitude and latitude on WGS 84."""
    return bool(crs.equals(lonlat_crs(), ignore_axis_order=True)) or crs.to_authority() == (
        "OGC",
        "CRS84",
    )


def check_units(shapes: GeometryArray, crs: CRS, *, what: str) -> None:
    """Check that coordinates are of the kind that their CRS says.

    Args:
        shapes: Some geometries, None where there is none.
        crs: The CRS that the file states.
        what: The columns and a verb, for the message, such as "'lon' and 'lat' hold".

    Raises:
        SceneError: If all are degrees although the CRS is projected, or the reverse.
    """
    bounds = shapely.bounds(shapes)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    if not len(bounds):
        return
    degrees = _in_degrees(bounds)
    low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    span = f"x from {low[0]:.10g} to {high[0]:.10g}, y from {low[1]:.10g} to {high[1]:.10g}"
    if crs.is_projected and degrees.all():
        msg = (
            f"{what} coordinates that look like degrees ({span}), but its CRS is "
            f"{crs.name!r}, in {crs.axis_info[0].unit_name}s; if they are longitude and latitude, "
            'pass crs="EPSG:4326", otherwise pass the same CRS as crs=... to confirm it.'
        )
        raise SceneError(msg)
    if not crs.is_projected and not degrees.any():
        msg = (
            f"{what} coordinates that are not degrees ({span}), but its CRS is {crs.name!r}; "
            'pass the CRS that they are in, such as crs="EPSG:32633".'
        )
        raise SceneError(msg)


def _in_degrees(bounds: npt.NDArray[np.float64]) -> Mask:
    low, high = np.array([-360.0, -90.0] * 2), np.array([360.0, 90.0] * 2)
    found: Mask = np.asarray(((bounds >= low) & (bounds <= high)).all(axis=1))
    return found


def _leave_out(faults: Faults, rows: npt.NDArray[np.int64], reason: str) -> None:
    marked = np.zeros_like(faults.bad)
    marked[rows] = True
    faults.leave_out(marked, reason)


def _floats(column: pa.Array) -> npt.NDArray[np.float64]:
    values = plain(column).cast(pa.float64())
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _from_wkb(column: pa.Array) -> tuple[GeometryArray, Mask]:
    """Decode WKB, and mark what is not read, since it could end the process."""
    values = np.array(column.to_pylist(), dtype=object)
    unsafe = np.zeros(len(values), np.bool_)
    for row, value in enumerate(values):
        if value is not None and not _is_flat(value):
            try:
                check_wkb([value])
            except ValueError:
                unsafe[row], values[row] = True, None
    with np.errstate(invalid="ignore"):  # NaN among the coordinates is found later
        return np.asarray(shapely.from_wkb(values, on_invalid="ignore"), dtype=object), unsafe


def _are_numbers(shapes: GeometryArray) -> Mask:
    """Return which shapes have only finite coordinates of a sensible size."""
    corners, owners = shapely.get_coordinates(shapes, return_index=True)
    found = np.ones(len(shapes), np.bool_)
    found[owners[~(np.abs(corners) < HUGE).all(axis=1)]] = False
    return found


def _is_flat(value: bytes) -> bool:
    """Return whether a WKB is a point or a polygon, which hold no other geometry."""
    if len(value) < 5 or len(value) > MOST_FOOTPRINT:
        return False
    kind = int.from_bytes(value[1:5], "little" if value[0] == 1 else "big") & 0x1FFFFFFF
    return value[0] in (0, 1) and kind % 1000 in (1, 3) and kind < 4000


def _from_native(column: pa.Array, encoding: str) -> GeometryArray:
    """Decode a column in a GeoArrow layout.

    Raises:
        SceneError: If the layout is unknown, or is another.
    """
    if encoding not in NATIVE:
        msg = f"geometries are encoded as {encoding!r}, which is not read; write them as WKB."
        raise SceneError(msg)
    try:
        field = pa.field(
            "geometry",
            plain(column).type,
            metadata={"ARROW:extension:name": f"geoarrow.{encoding}"},
        )
        table = pa.Table.from_arrays([plain(column)], schema=pa.schema([field]))
        return np.asarray(gpd.GeoDataFrame.from_arrow(table).geometry.array, dtype=object)
    except (ValueError, TypeError, pa.ArrowException) as error:
        msg = f"geometries said to be encoded as {encoding!r} are not ({one_line(error)})."
        raise SceneError(msg) from error


def _repaired(shape: Any) -> Any:  # noqa: ANN401 - shapely's
    """Return the areas of a repaired shape without its lines and points; None if there are none."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            shape = shapely.make_valid(shape)
    except shapely.errors.GEOSException:  # such as of coordinates near the largest number
        return None
    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return shape
    return shapely.union_all([p for p in shapely.get_parts(shape) if p.geom_type == "Polygon"])


def _as_lonlat(
    shapes: GeometryArray, bounds: npt.NDArray[np.float64]
) -> tuple[GeometryArray, Mask]:
    """Split degrees at the antimeridian where needed; all other footprints stay bit for bit."""
    inside = _in_degrees(bounds)
    off: Mask = np.asarray(~inside)
    found = shapes.copy()
    found[off] = None
    beyond = np.flatnonzero(inside & ((bounds[:, 0] < -180) | (bounds[:, 2] > 180)))
    if len(beyond):
        found[beyond] = lonlat_polygons(shapes[beyond], lonlat_crs())
    wide = inside & (bounds[:, 2] - bounds[:, 0] > WIDE)
    for row in np.flatnonzero(wide & (shapely.get_type_id(shapes) == POLYGON)):
        found[row] = split_at_antimeridian(shapely.get_coordinates(shapes[row].exterior)[:-1])
    return found, off


def _reprojected(shapes: GeometryArray, crs: CRS) -> tuple[GeometryArray, Mask]:
    """Bring areas to longitude and latitude, one by one only if some have no place."""
    off = np.zeros(len(shapes), np.bool_)
    try:
        return lonlat_polygons(shapes, crs), off
    except SceneError:
        found = np.full(len(shapes), None, dtype=object)
        for row in range(len(shapes)):
            try:
                found[row] = lonlat_polygons(shapes[row : row + 1], crs)[0]
            except SceneError:
                off[row] = True
        return found, off
