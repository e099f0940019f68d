"""Draw a rectangle on the map, or click on it."""

from qgis.core import QgsGeometry, QgsPointXY
from qgis.gui import QgsMapTool, QgsRubberBand
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor

SMALLEST = 3  # px on the screen; less is a click


class RectangleTool(QgsMapTool):
    """Draw a rectangle by dragging; upright on the screen, also if the map is rotated.

    Signals:
        drawn: The four corners, a list of QgsPointXY in the map's CRS.
    """

    drawn = pyqtSignal(list)

    def __init__(self, canvas, colour):
        """Prepare the tool.

        Args:
            canvas: The map canvas.
            colour: Of the rectangle's outline, as Qt names it.
        """
        super().__init__(canvas)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self._band = band(canvas, colour)
        self._start = None

    def canvasPressEvent(self, event):  # noqa: N802 - names of QGIS here and below
        """Begin at this corner."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._start = event.pixelPoint()

    def canvasMoveEvent(self, event):  # noqa: N802
        """Show the rectangle so far."""
        if self._start is not None:
            show(self._band, self._corners(event.pixelPoint()))

    def canvasReleaseEvent(self, event):  # noqa: N802
        """End at this corner."""
        start, end = self._start, event.pixelPoint()
        self._start = None
        self._band.reset()
        if start is None:
            return
        if min(abs(end.x() - start.x()), abs(end.y() - start.y())) >= SMALLEST:
            self.drawn.emit(self._corners(end, start))

    def deactivate(self):
        """Forget a rectangle that is not finished."""
        self._start = None
        self._band.reset()
        super().deactivate()

    def _corners(self, end, start=None):
        start = self._start if start is None else start
        places = (
            (start.x(), start.y()),
            (end.x(), start.y()),
            (end.x(), end.y()),
            (start.x(), end.y()),
        )
        return [self.toMapCoordinates(type(end)(x, y)) for x, y in places]


class PointTool(QgsMapTool):
    """Click on the map.

    Signals:
        clicked: The point, QgsPointXY in the map's CRS.
    """

    clicked = pyqtSignal(object)

    def __init__(self, canvas):
        """Prepare the tool.

        Args:
            canvas: The map canvas.
        """
        super().__init__(canvas)
        self.setCursor(Qt.CursorShape.CrossCursor)

    def canvasReleaseEvent(self, event):  # noqa: N802
        """Report where it was clicked."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit(QgsPointXY(event.mapPoint()))


def band(canvas, colour):
    """Return an empty outline over the map.

    Args:
        canvas: The map canvas.
        colour: As Qt names it.
    """
    made = QgsRubberBand(canvas)
    outline = QColor(colour)
    made.setStrokeColor(outline)
    outline.setAlpha(30)
    made.setFillColor(outline)
    made.setWidth(2)
    return made


def show(outline, corners, crs=None):
    """Show a polygon as an outline over the map.

    Args:
        outline: From `band`.
        corners: Its points, or a QgsGeometry.
        crs: Their CRS; None is the map's own.
    """
    shape = corners
    if not isinstance(corners, QgsGeometry):
        shape = QgsGeometry.fromPolygonXY([[*corners, corners[0]]])
    if crs is None:
        outline.setToGeometry(shape, None)
    else:
        outline.setToGeometry(shape, crs)


def canvas_corners(canvas):
    """Return the corners of what a canvas shows, in its CRS; they lie askew if it is rotated."""
    places = canvas.getCoordinateTransform()
    right, low = canvas.width(), canvas.height()
    return [places.toMapCoordinates(x, y) for x, y in ((0, 0), (right, 0), (right, low), (0, low))]


def pixel_size(canvas):
    """Return the size of a pixel on the screen, in units of the map's CRS."""
    return canvas.mapUnitsPerPixel()
