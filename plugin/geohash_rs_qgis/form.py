"""The widgets of the dock, and what is entered in them."""

from qgis.core import Qgis, QgsMapLayerProxyModel
from qgis.gui import QgsCollapsibleGroupBox, QgsMapLayerComboBox
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from .strip import Strip

EVERYWHERE, VIEW, DRAWN = "everywhere", "view", "drawn"
RASTERS = getattr(Qgis, "LayerFilter", QgsMapLayerProxyModel).RasterLayer  # moved in QGIS 3.34
ALL_SIZES = "all"


class FormError(Exception):
    """A field holds what cannot be used; the message says which."""


class Form(QWidget):
    """All widgets of the dock; it knows nothing of searching."""

    def __init__(self, parent=None):
        """Make the widgets."""
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        for part in (self._archive(), self._query(), self._limits(), self._program()):
            layout.addWidget(part)
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.setMaximumHeight(8)
        self.busy.hide()
        self.strip = Strip()
        self.strip.setMinimumHeight(150)
        layout.addWidget(self.message)
        layout.addWidget(self.busy)
        layout.addWidget(self.strip, 1)
        layout.addLayout(self._marks())

    def _archive(self):
        box = group("Archive")
        self.archive = QComboBox()
        self.archive.setEditable(True)
        self.archive.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.archive.lineEdit().setPlaceholderText(
            "folder, s3://bucket/archive or postgresql://..."
        )
        self.archive.setMinimumContentsLength(12)
        self.browse, self.open = QPushButton("..."), QPushButton("Open")
        self.browse.setMaximumWidth(30)
        self.browse.setToolTip("Choose the folder of an archive")
        self.index = QPushButton("Index a folder...")
        self.remote = QCheckBox("Read pictures from addresses in the archive")
        self.remote.setToolTip("Only if you trust the archive's author: it names what is read.")
        self.about = QLabel("No archive is open.")
        self.about.setWordWrap(True)
        grid = QGridLayout(box)
        grid.addWidget(self.archive, 0, 0, 1, 2)
        grid.addWidget(self.browse, 0, 2)
        grid.addWidget(self.open, 1, 0)
        grid.addWidget(self.index, 1, 1)
        grid.addWidget(self.remote, 2, 0, 1, 3)
        grid.addWidget(self.about, 3, 0, 1, 3)
        return box

    def _query(self):
        box = group("Search with")
        self.layer = QgsMapLayerComboBox()
        self.layer.setFilters(RASTERS)
        self.rectangle = tool("Rectangle", "Draw a rectangle on the layer")
        self.view = QPushButton("View")
        self.view.setToolTip("The layer's pixels in the whole view of the map")
        self.tile = tool("Tile", "Click a tile of the archive, of the dates in When")
        self.file = QPushButton("File...")
        self.file.setToolTip("A GeoTIFF; you can also drop it on this panel")
        row = QHBoxLayout()
        for button in (self.rectangle, self.view, self.tile, self.file):
            row.addWidget(button)
        self.bands, self.nodata = QLineEdit(), QLineEdit()
        self.bands.setPlaceholderText("as the archive's; such as 4,3,2")
        self.nodata.setPlaceholderText("the layer's own; such as 0")
        self.tiles = QComboBox()
        self.tiles.setToolTip("All tiles at the place that you clicked")
        self.tiles.hide()
        form = QFormLayout(box)
        form.addRow("Layer", self.layer)
        form.addRow(row)
        form.addRow(self.tiles)
        form.addRow("Its bands", self.bands)
        form.addRow("Its nodata", self.nodata)
        return box

    def _limits(self):
        box = group("Find")
        self.where = QComboBox()
        self.where.addItem("everywhere", EVERYWHERE)
        self.where.addItem("in the view", VIEW)
        self.where.addItem("in a rectangle", DRAWN)
        self.draw_where = tool("Draw", "Draw the rectangle in which to search")
        self.first, self.last = QLineEdit(), QLineEdit()
        self.first.setPlaceholderText("from 2023-05-01")
        self.last.setPlaceholderText("to 2023-09")
        self.k, self.most = QSpinBox(), QSpinBox()
        self.k.setRange(1, 1000)
        self.k.setValue(24)
        self.most.setRange(-1, 1024)
        self.most.setValue(-1)
        self.most.setSpecialValueText("any")
        self.distinct = QCheckBox("Distinct")
        self.distinct.setToolTip("No two matches overlap")
        self.elsewhere = QCheckBox("Elsewhere")
        self.elsewhere.setToolTip("No match overlaps what you search with")
        self.size = QComboBox()
        self.size.addItem(ALL_SIZES, None)
        form = QFormLayout(box)
        form.addRow("Where", side_by_side(self.where, self.draw_where))
        form.addRow("When", side_by_side(self.first, self.last))
        form.addRow("Matches", side_by_side(self.k, QLabel("up to, bits"), self.most))
        form.addRow("Tile size", side_by_side(self.size, self.distinct, self.elsewhere))
        return box

    def _program(self):
        box = group("Program")
        box.setCollapsed(True)
        self.program = QLineEdit()
        self.program.setPlaceholderText("found by itself; or the path of geohash-rs")
        self.install = QPushButton("Install...")
        row = QHBoxLayout(box)
        row.addWidget(self.program)
        row.addWidget(self.install)
        self.program_box = box
        return box

    def _marks(self):
        self.right, self.wrong = QPushButton("✓ Right"), QPushButton("✗ Wrong")
        self.forget, self.again = QPushButton("No marks"), QPushButton("Search again")
        self.save = QPushButton("Save...")
        self.right.setToolTip("Find more like the selected pictures (key R)")
        self.wrong.setToolTip("Find fewer like the selected pictures (key W)")
        self.forget.setToolTip("Remove all marks")
        self.save.setToolTip("Write the matches with their pictures to a GeoPackage, and open it")
        grid = QGridLayout()
        for number, button in enumerate((self.right, self.wrong, self.forget)):
            grid.addWidget(button, 0, number)
        grid.addWidget(self.again, 1, 0, 1, 2)
        grid.addWidget(self.save, 1, 2)
        return grid

    def limits(self):
        """Return k, distances, times, sizes and overlaps as the server's request names them."""
        first, last = self.first.text().strip() or None, self.last.text().strip() or None
        size = self.size.currentData()
        return {
            "k": self.k.value(),
            "max_distance": self.most.value() if self.most.value() >= 0 else None,
            "time": [first, last] if first or last else None,
            "tile_sizes": None if size is None else [size],
            "distinct": self.distinct.isChecked(),
            "exclude_overlap": self.elsewhere.isChecked(),
        }

    def nodata_value(self):
        """Return the value of missing pixels, or None.

        Raises:
            FormError: If the field holds no number.
        """
        text = self.nodata.text().strip()
        try:
            return float(text) if text else None
        except ValueError as error:
            raise FormError(f"Nodata is {text!r}, but it must be a number, such as 0.") from error

    def show_sizes(self, sizes):
        """Offer the tile sizes of an archive.

        Args:
            sizes: px, ascending.
        """
        before = self.size.currentData()
        self.size.clear()
        self.size.addItem(ALL_SIZES, None)
        for size in sizes:
            self.size.addItem(f"{size} px", size)
        self.size.setCurrentIndex(max(0, self.size.findData(before)))

    def say(self, text, *, wrong=False):
        """Show a message under the fields.

        Args:
            text: The message.
            wrong: Whether something went wrong.
        """
        self.message.setStyleSheet("color: #b00020" if wrong else "")
        self.message.setText(text)


def group(title):
    """Return a group of fields that can be collapsed."""
    made = QgsCollapsibleGroupBox(title)
    made.setSaveCollapsedState(False)
    return made


def tool(text, tip):
    """Return a button that stays pressed while its map tool is in use."""
    made = QPushButton(text)
    made.setCheckable(True)
    made.setToolTip(tip)
    return made


def side_by_side(*widgets):
    """Return a row of widgets."""
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
