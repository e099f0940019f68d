"""What was found: the layer of matches, the strip of pictures, and what connects them."""

import tempfile
from pathlib import Path

from qgis.core import QgsCoordinateTransform, QgsCsException, QgsProject, QgsVectorLayer
from qgis.PyQt.QtCore import QObject, pyqtSignal

from .client import abort
from .matches import fill_layer, geometry_of, make_layer
from .places import lonlat, whole_box


class Results(QObject):
    """The matches of the last search.

    Signals:
        failed: What went wrong, in words for the user.
    """

    failed = pyqtSignal(str)

    def __init__(self, strip, canvas, client, parent=None):
        """Start without matches.

        Args:
            strip: Shows their pictures.
            canvas: The map canvas.
            client: Asks the server for pictures.
            parent: What owns it.
        """
        super().__init__(parent)
        self.features = []
        self._strip, self._canvas, self._client = strip, canvas, client
        self._layer_id = ""
        self._replies = []
        self._selecting = False
        self._folder = tempfile.TemporaryDirectory(prefix="geohash-rs-")
        self._pictures = Path(self._folder.name)  # of the archive that is open
        strip.marked.connect(self._verdicts_changed)
        strip.pictured.connect(self._keep_picture)
        strip.itemSelectionChanged.connect(self._select_on_map)
        strip.visited.connect(self._visit)

    def layer(self):
        """Return the layer of matches, or None if there is none (any more)."""
        return QgsProject.instance().mapLayer(self._layer_id) if self._layer_id else None

    def forget(self):
        """Forget the matches, for another archive; the layer stays until the next search."""
        abort(self._replies)
        self.features = []
        self._strip.start_over()
        self._pictures = Path(tempfile.mkdtemp(dir=self._folder.name))

    def end(self):
        """Forget the matches and their pictures, for when the plugin is unloaded."""
        self.forget()
        self._folder.cleanup()

    def show(self, features, *, pictures):
        """Show matches on the map and in the strip.

        Args:
            features: Features of the server's GeoJSON, best first.
            pictures: Whether to ask the server for their pictures.
        """
        self.features = features
        layer = self.layer()
        if layer is None:
            layer = make_layer("Matches")
            layer.selectionChanged.connect(self._select_in_strip)
            QgsProject.instance().addMapLayer(layer)
            self._layer_id = layer.id()
        fill_layer(layer, features, self._strip.verdicts, self._pictures)
        self._strip.show_matches(features)
        abort(self._replies)
        for tile_id in self._strip.missing_pictures() if pictures else []:
            self._ask_picture(tile_id)

    def write(self, content, path):
        """Write the matches to a GeoPackage, and open it as a layer.

        Args:
            content: The GeoPackage, bytes.
            path: The file; `.gpkg` is added if it has no ending.

        Returns:
            What was written, in words for the user.

        Raises:
            OSError: If the file cannot be written.
        """
        target = Path(path) if Path(path).suffix else Path(f"{path}.gpkg")
        target.write_bytes(content)
        layer = QgsVectorLayer(f"{target}|layername=matches", target.stem, "ogr")
        QgsProject.instance().addMapLayer(layer)
        return f"{len(self.features)} matches written to {target}."

    def _ask_picture(self, tile_id):
        reply = self._client.get(
            f"/api/thumbnail/{tile_id}.webp",
            lambda content: self._strip.set_picture(tile_id, content),
            lambda problem: self._strip.explain(tile_id, problem),
            size=96,
        )
        self._replies.append(reply)

    def _keep_picture(self, tile_id, picture):
        picture.save(str(self._pictures / f"{tile_id}.png"))

    def _verdicts_changed(self):
        layer = self.layer()
        if layer is not None:
            fill_layer(layer, self.features, self._strip.verdicts, self._pictures)
            self._select_on_map()  # its features are new

    def _select_on_map(self):
        layer = self.layer()
        if layer is None or self._selecting:
            return
        self._selecting = True
        wanted = set(self._strip.selected_ids())
        layer.selectByIds([row.id() for row in layer.getFeatures() if row["tile_id"] in wanted])
        self._selecting = False

    def _select_in_strip(self):
        layer = self.layer()
        if layer is None or self._selecting:
            return
        self._selecting = True
        self._strip.select([row["tile_id"] for row in layer.selectedFeatures()])
        self._selecting = False

    def _visit(self, tile_id):
        shape = next(
            one["geometry"] for one in self.features if one["properties"]["tile_id"] == tile_id
        )
        crs = self._canvas.mapSettings().destinationCrs()
        try:
            there = QgsCoordinateTransform(lonlat(), crs, QgsProject.instance())
            box = there.transformBoundingBox(whole_box(geometry_of(shape)))
        except QgsCsException:
            self.failed.emit("This match lies outside the area of the map's CRS.")
            return
        box.scale(3)
        self._canvas.setExtent(box)
        self._canvas.refresh()
