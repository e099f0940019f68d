"""Run by the Python that has PyQGIS: regions and rectangles across 180 degrees and over a pole."""

import struct

from geohash_rs_qgis import patches, places, strip
from geohash_rs_qgis.matches import geometry_of
from osgeo import gdal, osr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsGeometry,
    QgsPointXY,
    QgsRasterLayer,
)

COLUMNS = 360  # of a picture of the world, whose value is its column
BOXES = {
    "plain": ((10, 50, 20, 50, 20, 60, 10, 60), "EPSG:4326"),
    "dateline": ((170, -20, 190, -20, 190, -10, 170, -10), "EPSG:4326"),
    "repeated": ((370, 50, 380, 50, 380, 60, 370, 60), "EPSG:4326"),
    "world": ((-400, -80, 400, -80, 400, 80, -400, 80), "EPSG:4326"),
    "mercator": (
        (18924313, 0, 21150703, 0, 21150703, 1118890, 18924313, 1118890),
        "EPSG:3857",
    ),
    "pacific": ((2226390, 0, 4452780, 0, 4452780, 1118890, 2226390, 1118890), "EPSG:3832"),
    "pole": ((-1e6, -1e6, 1e6, -1e6, 1e6, 1e6, -1e6, 1e6), "EPSG:3031"),
}


def regions(project):
    """Return the boxes of the parts of each region, by name."""
    return {name: area(*box, project) for name, box in BOXES.items()}


def area(box, crs, project):
    found = places.region(points(box), QgsCoordinateReferenceSystem(crs), project)
    parts = found["coordinates"] if found["type"] == "MultiPolygon" else [found["coordinates"]]
    return sorted(edges(QgsGeometry.fromPolygonXY([points(sum(p[0], []))])) for p in parts)


def points(values):
    return [QgsPointXY(x, y) for x, y in zip(values[::2], values[1::2], strict=True)]


def edges(geometry):
    box = geometry.boundingBox()
    return [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]


def columns(project):
    """Return the first and last column read of a world, by CRS of the world and of the canvas.

    The rectangle reaches from 176 degrees east to 172 degrees west.
    """
    found = {}
    for number, world in enumerate(("EPSG:4326", "EPSG:3857")):
        layer = world_layer(f"/vsimem/world{number}.tif", world)
        for crs in ("EPSG:4326", "EPSG:3857", "EPSG:3832"):
            canvas = QgsCoordinateReferenceSystem(crs)
            there = QgsCoordinateTransform(places.lonlat(), canvas, project)
            low, high = (there.transform(QgsPointXY(176, lat)) for lat in (-10, 10))
            right = there.transform(QgsPointXY(174, 0)).x()
            right = low.x() + (low.x() - right) * 6  # 12 degrees further, also beyond the world
            corners = points([low.x(), high.y(), right, high.y(), right, low.y(), low.x(), low.y()])
            drawn = patches.drawn_on(layer, corners, canvas, project=project, step=1)
            found[f"{world} on {crs}"] = first_and_last(patches.cut_out(drawn))
    return found


def world_layer(path, name):
    """Return a layer without a file on disk: a world whose values are its columns."""
    made = gdal.GetDriverByName("GTiff").Create(path, COLUMNS, 180, 1, gdal.GDT_UInt16)
    crs = osr.SpatialReference()
    crs.SetFromUserInput(name)
    made.SetProjection(crs.ExportToWkt())
    side = 180 if name == places.LONLAT else places.WORLD / 2
    made.SetGeoTransform((-side, 2 * side / COLUMNS, 0, side / 2, 0, -side / 180))
    row = struct.pack(f"<{COLUMNS}H", *range(COLUMNS))
    made.GetRasterBand(1).WriteRaster(0, 0, COLUMNS, 180, row * 180)
    del made
    return QgsRasterLayer(path, "world")


def first_and_last(content):
    gdal.FileFromMemBuffer("/vsimem/cut.tif", content)
    cut = gdal.Open("/vsimem/cut.tif")
    row = struct.unpack(f"<{cut.RasterXSize}H", cut.ReadRaster(0, 0, cut.RasterXSize, 1))
    return [row[0], row[-1], list(row) == list(range(row[0], row[-1] + 1))]


def box_of_match():
    """Return the box to zoom to for a match that is cut at 180 degrees."""
    east = [[[179, 0], [180, 0], [180, 1], [179, 1], [179, 0]]]
    west = [[[-180, 0], [-179, 0], [-179, 1], [-180, 1], [-180, 0]]]
    shape = {"type": "MultiPolygon", "coordinates": [east, west]}
    return edges(QgsGeometry.fromRect(places.whole_box(geometry_of(shape))))


def text(box):
    """Return a box as a virtual raster names it."""
    return ",".join(str(edge) for edge in edges(QgsGeometry.fromRect(box)))


def unreadable(path):
    """Return what is said of a file without pixels, while GDAL returns errors and raises them."""
    said = []
    for raising in (False, True):  # which another plugin may choose
        (gdal.UseExceptions if raising else gdal.DontUseExceptions)()
        drawn = patches.Drawn(name="bad", source=str(path), ring=[], wkt="")
        task = patches.CutOut(drawn, said.append, said.append)
        task.finished(task.run())
        said.append(strip.picture_of(b"nothing"))
    return said


def without_crs(project):
    """Return why a map without a CRS gives no region."""
    try:
        places.region([QgsPointXY(0, 0)] * 4, QgsCoordinateReferenceSystem(), project)
    except places.PlaceError as error:
        return str(error)
    return ""
