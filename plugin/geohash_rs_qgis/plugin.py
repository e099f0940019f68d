"""Add the dock and the Processing algorithms to QGIS."""

from pathlib import Path

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon

from .dock import Dock
from .provider import Provider

NAME = "geohash_rs"


class Plugin:
    """The plugin, as QGIS calls it."""

    def __init__(self, iface):
        """Keep what QGIS offers; `initGui` adds everything.

        Args:
            iface: QgisInterface.
        """
        self.iface = iface
        self.dock = self.provider = self.action = None

    def initProcessing(self):  # noqa: N802 - names of QGIS here and below
        """Add the Processing algorithms, also where there is no window."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self):  # noqa: N802
        """Add the dock, and the button and menu entry that show it."""
        self.initProcessing()
        window = self.iface.mainWindow()
        self.dock = Dock(self.iface, window)
        self.action = self.dock.toggleViewAction()  # where QAction is depends on the Qt
        self.action.setIcon(QIcon(str(Path(__file__).with_name("icon.svg"))))
        self.action.setText("Find places that look alike")
        self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.iface.addToolBarIcon(self.action)
        self.iface.addPluginToRasterMenu(NAME, self.action)

    def unload(self):
        """Remove everything, and stop the server."""
        if self.dock is not None:
            self.dock.end()
            self.iface.removeDockWidget(self.dock)
            self.iface.removeToolBarIcon(self.action)
            self.iface.removePluginRasterMenu(NAME, self.action)
            self.dock.deleteLater()
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
        self.dock = self.provider = self.action = None
