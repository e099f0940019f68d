"""A window with a map and layers, such as plugins find in QGIS, and ways to use it by code."""

import time

from qgis.core import QgsApplication, QgsLayerTreeModel, QgsPointXY, QgsProject
from qgis.gui import QgsLayerTreeMapCanvasBridge, QgsLayerTreeView, QgsMapCanvas
from qgis.PyQt.QtCore import QPoint, Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QDockWidget, QMainWindow


class Desktop:
    """What a plugin needs of QgisInterface, with a real canvas; its methods have QGIS's names."""

    def __init__(self):
        self.window = QMainWindow()
        self.window.resize(1500, 950)
        self.canvas = QgsMapCanvas()
        self.window.setCentralWidget(self.canvas)
        root = QgsProject.instance().layerTreeRoot()
        self.bridge = QgsLayerTreeMapCanvasBridge(root, self.canvas)
        self.tree = QgsLayerTreeView()
        self.tree.setModel(QgsLayerTreeModel(root, self.window))
        layers = QDockWidget("Layers", self.window)
        layers.setWidget(self.tree)
        self.window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, layers)
        self.menu, self.bar = [], []

    def mapCanvas(self):
        return self.canvas

    def mainWindow(self):
        return self.window

    def addDockWidget(self, area, dock):
        self.window.addDockWidget(area, dock)

    def removeDockWidget(self, dock):
        self.window.removeDockWidget(dock)

    def addToolBarIcon(self, action):
        self.bar.append(action)

    def removeToolBarIcon(self, action):
        self.bar.remove(action)

    def addPluginToRasterMenu(self, name, action):
        self.menu.append((name, action))

    def removePluginRasterMenu(self, name, action):
        self.menu.remove((name, action))

    def drag(self, start, end):
        """Drag the left button over the canvas, from one point to another, px."""
        screen = self.canvas.viewport()
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mousePress(screen, left, none, QPoint(*start))
        QTest.mouseMove(screen, QPoint(*end), 10)
        QTest.mouseRelease(screen, left, none, QPoint(*end), 10)

    def click(self, place):
        """Click the canvas, px."""
        none = Qt.KeyboardModifier.NoModifier
        QTest.mouseClick(self.canvas.viewport(), Qt.MouseButton.LeftButton, none, QPoint(*place))

    def corners(self, box):
        """Return the corners of a box, in order."""
        left, low, right, high = box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()
        places = ((left, high), (right, high), (right, low), (left, low))
        return [QgsPointXY(x, y) for x, y in places]

    def pixel(self, point):
        """Return where a point in the map's CRS is on the canvas, px."""
        place = self.canvas.getCoordinateTransform().transform(point)
        return round(place.x()), round(place.y())

    def draw(self):
        """Draw the map and wait for it."""
        self.canvas.refresh()
        self.canvas.waitWhileRendering()
        QgsApplication.processEvents()

    def picture(self, path):
        """Save a picture of the window."""
        self.draw()
        QgsApplication.processEvents()
        self.window.grab().save(str(path))


def wait(condition, seconds=60):
    """Run the event loop until something is true; return the seconds that it took.

    Raises:
        TimeoutError: If it is not true in time.
    """
    begun = time.monotonic()
    ticker = QTimer()  # lets processEvents return
    ticker.start(5)
    while not condition():
        QgsApplication.processEvents()
        time.sleep(0.001)
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"not true after {seconds} s")
    return time.monotonic() - begun
