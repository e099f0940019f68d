"""A strip of pictures of matches, which can be marked right or wrong."""

from osgeo import gdal
from qgis.PyQt.QtCore import QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QIcon, QImage, QPainter, QPen, QPixmap
from qgis.PyQt.QtWidgets import QAbstractItemView, QListView, QListWidget, QListWidgetItem

SIDE = 96  # px
MOST_KEPT = 2000  # pictures
RIGHT, WRONG = "right", "wrong"
LOOKS = {RIGHT: ("#1a9850", "✓"), WRONG: ("#d73027", "✗"), "": ("#999999", "")}
TILE = Qt.ItemDataRole.UserRole


class Strip(QListWidget):
    """Pictures of matches, best first.

    Signals:
        marked: The verdicts have changed.
        visited: A match was double-clicked; its tile id.
        pictured: A picture has come; its tile id and the picture, QImage.
    """

    marked = pyqtSignal()
    visited = pyqtSignal(object)
    pictured = pyqtSignal(object, QImage)

    def __init__(self, parent=None):
        """Start empty."""
        super().__init__(parent)
        self.verdicts = {}  # tile id -> RIGHT or WRONG, kept from search to search
        self._pictures = {}
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setIconSize(QSize(SIDE, SIDE))
        self.setSpacing(4)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.itemDoubleClicked.connect(lambda item: self.visited.emit(item.data(TILE)))

    def show_matches(self, features):
        """Show matches, still without pictures.

        Args:
            features: Features of the server's GeoJSON, best first.
        """
        self.clear()
        if len(self._pictures) > MOST_KEPT:
            self._pictures = {}
        for one in features:
            facts = one["properties"]
            day = (facts.get("datetime") or "")[:10]
            item = QListWidgetItem(f"{facts['rank']} · {facts['distance']} bits\n{day}")
            item.setData(TILE, facts["tile_id"])
            item.setToolTip(f"{facts.get('scene_name') or ''}\ntile {facts['tile_id']}")
            item.setTextAlignment(Qt.AlignmentFlag.AlignHCenter)
            self.addItem(item)
            self._draw(item)

    def start_over(self):
        """Forget everything, for another archive."""
        self.clear()
        self.verdicts, self._pictures = {}, {}

    def missing_pictures(self):
        """Return the tile ids that have no picture yet, best first."""
        return [tile_id for tile_id in self.tile_ids() if tile_id not in self._pictures]

    def tile_ids(self):
        """Return the tile ids of all pictures, best first."""
        return [self.item(row).data(TILE) for row in range(self.count())]

    def selected_ids(self):
        """Return the tile ids of the selected pictures."""
        return [item.data(TILE) for item in self.selectedItems()]

    def select(self, tile_ids):
        """Select the pictures of tiles, and no others."""
        wanted = set(tile_ids)
        for row in range(self.count()):
            self.item(row).setSelected(self.item(row).data(TILE) in wanted)

    def set_picture(self, tile_id, content):
        """Show the picture of a tile.

        Args:
            tile_id: The tile.
            content: A WebP file, bytes.
        """
        picture = picture_of(content)
        if picture is not None:
            self._pictures[tile_id] = picture
            self.pictured.emit(tile_id, picture)
            self._draw_all({tile_id})

    def explain(self, tile_id, problem):
        """Say in the tooltip why a tile has no picture.

        Args:
            tile_id: The tile.
            problem: The reason.
        """
        for row in range(self.count()):
            if self.item(row).data(TILE) == tile_id:
                self.item(row).setToolTip(problem)

    def mark(self, verdict, tile_ids=None):
        """Mark tiles right, wrong, or ("") neither.

        Args:
            verdict: RIGHT, WRONG or "".
            tile_ids: The tiles; None takes the selected pictures.
        """
        ids = self.selected_ids() if tile_ids is None else list(tile_ids)
        for tile_id in ids:
            if verdict:
                self.verdicts[tile_id] = verdict
            else:
                self.verdicts.pop(tile_id, None)
        self._draw_all(set(ids))
        self.marked.emit()

    def forget(self):
        """Remove all verdicts."""
        ids = set(self.verdicts)
        self.verdicts = {}
        self._draw_all(ids)
        self.marked.emit()

    def of(self, verdict):
        """Return the tile ids with a verdict, in the order in which they were marked."""
        return [tile_id for tile_id, found in self.verdicts.items() if found == verdict]

    def keyPressEvent(self, event):  # noqa: N802 - the name of Qt
        """Mark the selected pictures with the keys R, W and Delete."""
        keys = {Qt.Key.Key_R: RIGHT, Qt.Key.Key_W: WRONG, Qt.Key.Key_Delete: ""}
        if event.key() in keys:
            self.mark(keys[event.key()])
        else:
            super().keyPressEvent(event)

    def _draw_all(self, tile_ids):
        for row in range(self.count()):
            if self.item(row).data(TILE) in tile_ids:
                self._draw(self.item(row))

    def _draw(self, item):
        tile_id = item.data(TILE)
        colour, sign = LOOKS[self.verdicts.get(tile_id, "")]
        drawn = QPixmap(SIDE, SIDE)
        drawn.fill(QColor("#e8e8e8"))
        painter = QPainter(drawn)
        picture = self._pictures.get(tile_id)
        if picture is not None:
            painter.drawImage(drawn.rect(), picture)
        painter.setPen(QPen(QColor(colour), 5 if sign else 1))
        painter.drawRect(drawn.rect().adjusted(0, 0, -1, -1))
        if sign:
            painter.fillRect(SIDE - 24, 0, 24, 24, QColor(colour))
            painter.setPen(QColor("white"))
            font = painter.font()
            font.setPixelSize(18)
            painter.setFont(font)
            painter.drawText(SIDE - 18, 18, sign)
        painter.end()
        item.setIcon(QIcon(drawn))


def picture_of(content):
    """Decode a picture by Qt, or by GDAL if this Qt has no WebP; None if neither can.

    Args:
        content: The file, bytes.
    """
    picture = QImage.fromData(content)
    if not picture.isNull():
        return picture
    path = "/vsimem/geohash_rs/picture.webp"
    gdal.FileFromMemBuffer(path, bytes(content))
    try:
        opened = gdal.OpenEx(path, gdal.OF_RASTER, ["WEBP"])
        if opened is None or opened.RasterCount < 3:
            return None
        width, height = opened.RasterXSize, opened.RasterYSize
        pixels = opened.ReadRaster(band_list=[1, 2, 3], buf_pixel_space=3, buf_band_space=1)
        return QImage(pixels, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
    except RuntimeError:  # GDAL raises where another plugin asked it to, and always from 4.0
        return None
    finally:
        gdal.Unlink(path)
