"""Cut a rectangle of a raster layer, wherever its pixels come from, out as a small GeoTIFF."""

import math
import uuid
from dataclasses import dataclass
from pathlib import Path

from osgeo import gdal, osr
from qgis.core import Qgis, QgsGeometry, QgsRasterLayer, QgsTask
from qgis.PyQt.QtGui import QImage

from .places import PlaceError, dense_ring, near, transform_of, transform_ring

MOST_BYTES = 60 * 2**20  # of pixels; the server takes files of 64 MB
MOST_SIDE = 2048  # px of a picture asked from a map server
UPRIGHT = 1.5  # a window may have that much more area than what was drawn
WAY = "COMPRESS=DEFLATE", "ZLEVEL=1"


class PatchError(Exception):
    """A rectangle cannot be searched with; the message says why and what to do."""


@dataclass
class Drawn:
    """A rectangle on a layer, ready to be read in another thread.

    Attributes:
        name: The layer's name.
        source: What GDAL opens, or "" if only the layer's own provider can read it.
        ring: The rectangle in the layer's CRS, closed, QgsPointXY.
        wkt: The layer's CRS.
        provider: A copy of the layer's provider if there is no source, otherwise None.
        step: Size of a pixel to ask the provider for, in units of the CRS, if it has none itself.
        nodata: Value of missing pixels, or None for the layer's own.
    """

    name: str
    source: str
    ring: list
    wkt: str
    provider: object = None
    step: float = 0.0
    nodata: float = None


def drawn_on(layer, corners, crs, *, project, step, nodata=None):
    """Prepare a rectangle of a layer.

    Args:
        layer: A raster layer.
        corners: The four corners that were drawn, in order.
        crs: Their CRS.
        project: The QGIS project.
        step: Size of a pixel on the screen, in units of this CRS.
        nodata: Value of missing pixels, or None for the layer's own.

    Returns:
        What `cut_out` reads.

    Raises:
        PatchError: If the layer has no pixels there.
        PlaceError: If the rectangle has no place in the layer's CRS.
    """
    if not isinstance(layer, QgsRasterLayer) or not layer.isValid():
        raise PatchError(
            "Choose a raster layer to draw on; the layer has no pixels to search with."
        )
    source = layer.source() if layer.providerType() == "gdal" else ""
    path = source.partition("|")[0]
    missing = path if source and _is_path(path) and not Path(path).exists() else ""
    if missing:
        msg = (
            f"The file of the layer {layer.name()} is gone: {missing}. Put it back, or choose "
            "another layer."
        )
        raise PatchError(msg)
    ring = transform_ring(dense_ring(corners), transform_of(crs, layer.crs(), project))
    extent = layer.extent()
    ring = near(ring, layer.crs(), extent)
    box = QgsGeometry.fromPolygonXY([ring]).boundingBox()
    if not extent.isEmpty() and not box.intersects(extent):
        raise PatchError(
            f"The rectangle lies outside the layer {layer.name()}; draw it on the layer."
        )
    wide = math.hypot(corners[1].x() - corners[0].x(), corners[1].y() - corners[0].y())
    scale = box.width() / wide if wide else 1.0
    return Drawn(
        name=layer.name(),
        source=source,
        ring=ring,
        wkt=layer.crs().toWkt(),
        provider=None if source else layer.dataProvider().clone(),
        step=step * scale,
        nodata=nodata,
    )


def cut_out(drawn):
    """Read the pixels of a rectangle; may be called in any thread.

    Args:
        drawn: From `drawn_on`.

    Returns:
        A GeoTIFF, bytes.

    Raises:
        PatchError: If they cannot be read.
    """
    return _of_source(drawn) if drawn.source else _of_provider(drawn)


def read_file(path):
    """Return the bytes of a file that is dropped as the patch.

    Raises:
        PatchError: If it cannot be read or is too large.
    """
    try:
        size = Path(path).stat().st_size
        if size > MOST_BYTES:
            msg = (
                f"{Path(path).name} has {size / 2**20:,.0f} MB, but a patch may have "
                f"{MOST_BYTES // 2**20}; add it as a layer and draw a rectangle on it."
            )
            raise PatchError(msg)
        return Path(path).read_bytes()
    except OSError as error:
        raise PatchError(f"{path} cannot be read: {error.strerror}.") from error


RUNNING = set()  # tasks, which QGIS does not keep alive for Python


class CutOut(QgsTask):
    """Cut out a rectangle in the background."""

    def __init__(self, drawn, done, failed):
        """Prepare; the task manager of QGIS runs it.

        Args:
            drawn: From `drawn_on`.
            done: Called with the GeoTIFF, in the main thread.
            failed: Called with what went wrong, in the main thread.
        """
        super().__init__(f"geohash_rs: read a rectangle of {drawn.name}", QgsTask.Flag.CanCancel)
        self._drawn, self._done, self._failed = drawn, done, failed
        self._content, self._problem = b"", ""
        RUNNING.add(self)

    def forget(self):
        """Cancel; nothing is called any more, even if the pixels have been read already."""
        self._done = self._failed = lambda _: None
        try:
            self.cancel()
        except RuntimeError:  # QGIS has deleted it: it has ended
            return

    def run(self):
        """Read the pixels; QGIS calls this in another thread."""
        try:
            self._content = cut_out(self._drawn)
        except (PatchError, PlaceError) as error:
            self._problem = str(error)
        except Exception as error:  # noqa: BLE001 - it would end in another thread, unseen
            self._problem = f"{self._drawn.name} cannot be read: {error}"
        return not self._problem

    def finished(self, ok):
        """Pass the result on; QGIS calls this in the main thread."""
        RUNNING.discard(self)
        if self.isCanceled():
            return
        if ok:
            self._done(self._content)
        else:
            self._failed(self._problem)


def _is_path(text):
    return not text.startswith(("/vsi", "<")) and "://" not in text and ":" not in text[2:]


def _of_source(drawn):
    dataset = gdal.Open(drawn.source)
    if dataset is None:
        raise PatchError(f"{drawn.name} cannot be opened: {gdal.GetLastErrorMsg()}")
    forth = gdal.InvGeoTransform(dataset.GetGeoTransform())
    if forth is None:
        raise PatchError(f"{drawn.name} has no place on the map; georeference it first.")
    pixels = [gdal.ApplyGeoTransform(forth, point.x(), point.y()) for point in drawn.ring]
    col, row, width, height = _window(pixels, dataset.RasterXSize, dataset.RasterYSize, drawn.name)
    depth = sum(_item_size(dataset, band) for band in range(1, dataset.RasterCount + 1))
    _check_size(width, height, depth, drawn.name)
    options = {"srcWin": [col, row, width, height], "format": "GTiff", "creationOptions": list(WAY)}
    if drawn.nodata is not None:
        options["noData"] = drawn.nodata
    if not dataset.GetProjection():
        options["outputSRS"] = drawn.wkt
    return _content(lambda path: gdal.Translate(path, dataset, **options), drawn.name)


def _window(pixels, width, height, name):
    """Return the window of a rectangle that may be askew to the pixels: upright, as large.

    Args:
        pixels: The closed ring in pixel coordinates, (column, row).
        width: Columns of the raster.
        height: Rows of the raster.
        name: Of the layer.

    Returns:
        Column, row, width and height, inside the raster.

    Raises:
        PatchError: If less than one pixel is left.
    """
    cols, rows = [one[0] for one in pixels], [one[1] for one in pixels]
    left, right, top, bottom = min(cols), max(cols), min(rows), max(rows)
    area = abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(pixels[:-1], pixels[1:]))) / 2
    box = (right - left) * (bottom - top)
    if box > UPRIGHT * area > 0:
        shrink = (1 - math.sqrt(area / box)) / 2
        left, right = left + (right - left) * shrink, right - (right - left) * shrink
        top, bottom = top + (bottom - top) * shrink, bottom - (bottom - top) * shrink
    col, row = max(0, round(left)), max(0, round(top))
    wide, high = min(width, round(right)) - col, min(height, round(bottom)) - row
    if wide < 1 or high < 1:
        msg = (
            f"The rectangle covers less than one pixel of {name}, or none; draw it larger, on the "
            "layer's pixels."
        )
        raise PatchError(msg)
    return col, row, wide, high


def _of_provider(drawn):
    """Read pixels of a layer without a file, such as a map server's, by the layer's provider."""
    box = QgsGeometry.fromPolygonXY([drawn.ring]).boundingBox()
    provider = drawn.provider
    whole = provider.extent()
    if not whole.isEmpty():
        box = box.intersect(whole)
    step = drawn.step
    if provider.xSize() and provider.ySize() and not whole.isEmpty():
        step = whole.width() / provider.xSize()
    width, height = max(1, round(box.width() / step)), max(1, round(box.height() / step))
    shrink = min(1.0, MOST_SIDE / max(width, height))
    width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
    bands, colours, nodata = _blocks(provider, box, width, height, drawn.name)
    if drawn.nodata is not None:
        nodata = drawn.nodata
    place = (box.xMinimum(), box.width() / width, 0, box.yMaximum(), 0, -box.height() / height)

    def write(path):
        kind = bands[0][0]
        made = gdal.GetDriverByName("GTiff").Create(
            path, width, height, len(bands), kind, list(WAY)
        )
        made.SetGeoTransform(place)
        reference = osr.SpatialReference()
        reference.ImportFromWkt(drawn.wkt)
        made.SetProjection(reference.ExportToWkt())
        for number, (_, content) in enumerate(bands, 1):
            band = made.GetRasterBand(number)
            band.WriteRaster(0, 0, width, height, content, buf_type=kind)
            if colours:
                band.SetColorInterpretation(colours[number - 1])
            if nodata is not None:
                band.SetNoDataValue(nodata)
        return made

    return _content(write, drawn.name)


COLOURS = (gdal.GCI_RedBand, gdal.GCI_GreenBand, gdal.GCI_BlueBand, gdal.GCI_AlphaBand)


def _blocks(provider, box, width, height, name):
    """Read the bands of a provider: GDAL's type and the bytes of each, colours, and nodata.

    Raises:
        PatchError: If it returns no pixels.
    """
    bands, nodata = [], None
    for number in range(1, max(1, provider.bandCount()) + 1):
        block = provider.block(number, box, width, height)
        if block is None or not block.isValid() or block.isEmpty():
            raise PatchError(f"{name} returned no pixels here: {provider.error().summary()}")
        if _is_picture(block.dataType()):
            picture = block.image().convertToFormat(QImage.Format.Format_RGBA8888)
            lines = picture.constBits()
            lines.setsize(picture.sizeInBytes())
            content = bytes(lines)  # 4 bytes a pixel, so lines have no gaps
            if not any(content[3::4]):
                raise PatchError(f"{name} shows nothing here; draw the rectangle elsewhere.")
            return [(gdal.GDT_Byte, content[one::4]) for one in range(4)], COLOURS, None
        _check_size(width, height, block.dataTypeSize() * provider.bandCount(), name)
        kind = block.dataType()  # numbered as GDAL's types
        bands.append((int(getattr(kind, "value", kind)), bytes(block.data())))
        if block.hasNoDataValue():
            nodata = block.noDataValue()
    return bands, (), nodata


def _is_picture(kind):
    return kind in (Qgis.DataType.ARGB32, Qgis.DataType.ARGB32_Premultiplied)


def _item_size(dataset, band):
    return max(1, gdal.GetDataTypeSize(dataset.GetRasterBand(band).DataType) // 8)


def _check_size(width, height, depth, name):
    """Refuse rectangles that are too large to be sent.

    Raises:
        PatchError: If it has too many bytes.
    """
    size = width * height * depth
    if size > MOST_BYTES:
        side = math.floor(math.sqrt(MOST_BYTES / depth))
        msg = (
            f"The rectangle has {width:,} x {height:,} px of {name}, {size / 2**20:,.0f} MB, but "
            f"the limit is {MOST_BYTES // 2**20} MB; draw one of up to {side:,} x {side:,} px."
        )
        raise PatchError(msg)


def _content(write, name):
    """Let a function write a file in memory, and return its bytes.

    Raises:
        PatchError: If it writes none.
    """
    path = f"/vsimem/geohash_rs/{uuid.uuid4().hex}.tif"
    try:
        made = write(path)
        if made is None:
            raise PatchError(f"{name} cannot be read here: {gdal.GetLastErrorMsg()}")
        made.FlushCache()
        del made
        file = gdal.VSIFOpenL(path, "rb")
        size = gdal.VSIStatL(path).size
        content = bytes(gdal.VSIFReadL(1, size, file))
        gdal.VSIFCloseL(file)
    finally:
        gdal.Unlink(path)
    return content
