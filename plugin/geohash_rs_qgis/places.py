"""Convert what is drawn on a canvas, in any CRS, to longitudes and latitudes."""

import json
import math

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsPointXY,
    QgsRectangle,
)

LONLAT = "EPSG:4326"
WEB = "EPSG:3857"  # of web maps, which repeat the world to the left and the right
WORLD = 2 * math.pi * 6378137  # its width
POINTS = 24  # on each side of a polygon, because straight lines bend between CRSs


class PlaceError(Exception):
    """A place cannot be used; the message says why and what to do."""


def transform_of(source, target, project):
    """Return the transform between two CRSs.

    Raises:
        PlaceError: If one of them is not known.
    """
    for crs, name in ((source, "map"), (target, "layer")):
        if not crs.isValid():
            raise PlaceError(f"The {name} has no CRS; choose one in its properties.")
    return QgsCoordinateTransform(source, target, project)


def lonlat():
    """Return the CRS of longitudes and latitudes."""
    return QgsCoordinateReferenceSystem(LONLAT)


def dense_ring(corners, points=POINTS):
    """Return the corners of a polygon with more points between them; the ring is closed."""
    ring = []
    for number, start in enumerate(corners):
        end = corners[(number + 1) % len(corners)]
        for step in range(points):
            share = step / points
            ring.append(
                QgsPointXY(
                    start.x() + (end.x() - start.x()) * share,
                    start.y() + (end.y() - start.y()) * share,
                )
            )
    return [*ring, ring[0]]


def transform_ring(ring, transform):
    """Transform points; the call says which cannot be.

    Raises:
        PlaceError: If a point has no place in the other CRS.
    """
    try:
        found = [transform.transform(point) for point in ring]
    except QgsCsException as error:
        msg = (
            f"A corner lies where {transform.destinationCrs().authid()} has no coordinates; {error}"
        )
        raise PlaceError(msg) from error
    if not all(math.isfinite(point.x()) and math.isfinite(point.y()) for point in found):
        msg = (
            "A corner lies outside the area of the map's CRS; zoom in, or choose another CRS for "
            "the project."
        )
        raise PlaceError(msg)
    return found


def region(corners, crs, project):
    """Return a polygon of a map as a GeoJSON geometry.

    It may cross the 180th meridian, hold a pole, or lie on a repetition of the world to the left
    or the right of the map.

    Args:
        corners: Points of the polygon, QgsPointXY, in order.
        crs: Their CRS.
        project: The QGIS project, for its choice of transforms.

    Returns:
        A Polygon or a MultiPolygon within 180 degrees west and east.

    Raises:
        PlaceError: If it has no place on the globe.
    """
    if crs.isGeographic():  # nothing bends, and the ring keeps its turns around the world
        points = [(point.x(), point.y()) for point in dense_ring(corners)]
        if crs.authid() != LONLAT:
            moved = transform_ring(
                [QgsPointXY(*_turned(p)) for p in points], _to_lonlat(crs, project)
            )
            points = [(p.x(), p.y()) for p in moved]
    else:
        ring = transform_ring(_in_world(dense_ring(corners), crs), _to_lonlat(crs, project))
        points = [(point.x(), point.y()) for point in ring]
    return json.loads(_within_globe(_unwrapped(points)).asJson(9))


def point(place, crs, project):
    """Return the longitude and latitude of a point of a map.

    Raises:
        PlaceError: If it has no place on the globe.
    """
    (found,) = transform_ring(_in_world([place], crs), _to_lonlat(crs, project))
    return (found.x() + 180) % 360 - 180, found.y()


def _to_lonlat(crs, project):
    return transform_of(crs, lonlat(), project)


def _turned(point):
    return (point[0] + 180) % 360 - 180, point[1]


def _in_world(ring, crs):
    """Move points of a repetition of a web map's world into the world itself."""
    if crs.authid() != WEB:
        return ring
    return [QgsPointXY((p.x() + WORLD / 2) % WORLD - WORLD / 2, p.y()) for p in ring]


def near(ring, crs, extent):
    """Let a ring pass 180 degrees instead of jumping to the other end of the world.

    Args:
        ring: Points in a layer's CRS, QgsPointXY, in order.
        crs: That CRS.
        extent: Of the layer, QgsRectangle; one that is empty counts as the world.

    Returns:
        The points. If the CRS covers the world, they are those of the turn around it that is
        nearest to the layer.
    """
    around = 360 if crs.isGeographic() else WORLD if crs.authid() == WEB else None
    if around is None:
        return ring
    xs = _continuous([point.x() for point in ring], around)
    centre = 0 if extent.isEmpty() else extent.center().x()
    moved = around * round((centre - (min(xs) + max(xs)) / 2) / around)
    return [QgsPointXY(x + moved, point.y()) for x, point in zip(xs, ring)]


def whole_box(geometry):
    """Return the box of a polygon in degrees, beyond 180 if the polygon is cut there.

    Args:
        geometry: QgsGeometry in EPSG:4326; its parts at the other end of the world are moved.
    """
    box = geometry.boundingBox()
    if box.width() <= 180:
        return box
    box = QgsRectangle()
    for part in geometry.asGeometryCollection():
        if part.boundingBox().center().x() < 0:
            part.translate(360, 0)
        box.combineExtentWith(part.boundingBox())
    return box


def _continuous(values, around):
    """Add whole turns, so that no step is longer than half a turn."""
    found = [values[0]]
    for before, after in zip(values[:-1], values[1:]):
        found.append(found[-1] + (after - before + around / 2) % around - around / 2)
    return found


def _unwrapped(points):
    """Let longitudes pass 180 degrees instead of jumping; close a ring around a pole over it.

    Returns:
        A geometry, whose longitudes may lie beyond 180 degrees.
    """
    lons, lats = _continuous([lon for lon, _ in points], 360), [lat for _, lat in points]
    if abs(lons[-1] - lons[0]) > 180:  # once around: it holds a pole
        pole = math.copysign(90.0, sum(lats))
        lons += [lons[-1], lons[0]]
        lats += [pole, pole]
    else:
        lons[-1] = lons[0]  # closed, without the error of the sum
    if max(lons) - min(lons) >= 360:
        return QgsGeometry.fromRect(
            QgsRectangle(-180, max(min(lats), -90), 180, min(max(lats), 90))
        )
    return QgsGeometry.fromPolygonXY([[QgsPointXY(*one) for one in zip(lons, lats)]])


def _within_globe(geometry):
    """Cut a polygon at the 180th meridian, and move each part to where it belongs.

    Raises:
        PlaceError: If nothing of it lies on the globe.
    """
    box = geometry.boundingBox()
    parts = []
    for turn in range(
        math.floor((box.xMinimum() + 180) / 360), math.ceil((box.xMaximum() + 180) / 360)
    ):
        world = QgsGeometry.fromRect(QgsRectangle(360 * turn - 180, -90, 360 * turn + 180, 90))
        part = geometry.makeValid().intersection(world)
        part.translate(-360 * turn, 0)
        parts += [one for one in part.asGeometryCollection() if one.area() > 0]
    if not parts:
        raise PlaceError("The polygon has no area on the globe; draw a larger one, or zoom in.")
    return QgsGeometry.collectGeometry(parts)
