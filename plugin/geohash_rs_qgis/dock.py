"""The dock: choose an archive, show it what you mean, judge what it finds."""

from pathlib import Path

from qgis.core import QgsApplication, QgsProject, QgsSettings
from qgis.gui import QgsDockWidget
from qgis.PyQt.QtWidgets import QFileDialog, QScrollArea

from . import places, program
from .asked import DATABASES, CommandSearch
from .form import DRAWN, EVERYWHERE, VIEW, Form, FormError
from .indexing import Indexing
from .installing import Installing
from .matches import geometry_of
from .patches import CutOut, PatchError, drawn_on, read_file
from .places import PlaceError
from .results import Results
from .search import Search
from .server import Server
from .strip import RIGHT, WRONG
from .tools import PointTool, RectangleTool, band, canvas_corners, pixel_size, show

ARCHIVES = "geohash_rs/archives"  # in the user's settings
MOST_RECENT = 12
WRONG_INPUT = (PatchError, PlaceError, FormError)


class Dock(QgsDockWidget):
    """The panel of the plugin."""

    def __init__(self, iface, parent=None):
        """Make the panel.

        Args:
            iface: What QGIS offers to plugins.
            parent: The window that it belongs to.
        """
        super().__init__("geohash_rs", parent)
        self.setObjectName("geohash_rs")
        self.iface, self.canvas = iface, iface.mapCanvas()
        self.form = Form()
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(self.form)
        self.setWidget(scroll)
        self.setAcceptDrops(True)
        self.server = Server(self)
        self.search = Search(self.server.client, self)
        self.asked = CommandSearch(self)  # of a database
        self.results = Results(self.form.strip, self.canvas, self.server.client, self)
        self._notes = []  # what the server said about the patch
        self._task = None
        self._where = None  # corners and CRS of the rectangle in which to search
        self._example_band = band(self.canvas, "#f0206a")
        self._where_band = band(self.canvas, "#2166ac")
        self._choices = []  # tiles at the point that was clicked
        self._tools()
        self._connect()
        form, settings = self.form, QgsSettings()
        form.archive.addItems(settings.value(ARCHIVES, [], type=list))
        form.archive.setEditText("")
        form.program.setText(settings.value(program.SETTING, "", type=str))

    def _tools(self):
        form, canvas = self.form, self.canvas
        self._tool_of = {
            form.rectangle: RectangleTool(canvas, "#f0206a"),
            form.tile: PointTool(canvas),
            form.draw_where: RectangleTool(canvas, "#2166ac"),
        }
        for button, tool in self._tool_of.items():
            tool.setButton(button)
            button.clicked.connect(lambda _, tool=tool: canvas.setMapTool(tool))
        self._tool_of[form.rectangle].drawn.connect(self.search_rectangle)
        self._tool_of[form.tile].clicked.connect(self.search_point)
        self._tool_of[form.draw_where].drawn.connect(self.set_where)

    def _connect(self):
        form, search, server = self.form, self.search, self.server
        form.browse.clicked.connect(self._browse)
        form.open.clicked.connect(lambda: self.open_archive(form.archive.currentText()))
        form.archive.lineEdit().returnPressed.connect(form.open.click)
        form.index.clicked.connect(self._index)
        form.install.clicked.connect(self._install)
        form.program.editingFinished.connect(self._keep_program)
        form.view.clicked.connect(lambda: self.search_rectangle(canvas_corners(self.canvas)))
        form.file.clicked.connect(self._choose_file)
        form.tiles.activated.connect(self._choose_tile)
        form.where.currentIndexChanged.connect(self._where_changed)
        form.right.clicked.connect(lambda: form.strip.mark(RIGHT))
        form.wrong.clicked.connect(lambda: form.strip.mark(WRONG))
        form.forget.clicked.connect(form.strip.forget)
        form.again.clicked.connect(self.search_again)
        form.save.clicked.connect(self._save)
        self.results.failed.connect(self._fail)
        for one in (search, self.asked):
            one.begun.connect(form.busy.show)
            one.found.connect(self._show_matches)
            one.placed.connect(self._show_example)
            one.failed.connect(self._fail)
        search.choices.connect(self._show_choices)
        self.asked.pictured.connect(form.strip.set_picture)
        server.ready.connect(self._opened)
        server.failed.connect(self._server_failed)

    # --- the program and the archive ---

    def open_archive(self, archive):
        """Open an archive: a folder, or an address in object storage or of a database.

        Args:
            archive: The folder or address.
        """
        archive = archive.strip()
        self._reset()
        self.server.close()
        self.asked.close()
        if not archive:
            self._fail("Choose the folder of an archive, or enter its address.")
            return
        if "://" not in archive and not Path(archive).is_dir():
            self._fail(
                f"There is no folder {archive}; choose another, or index a folder of scenes."
            )
            return
        self.form.about.setText(f"Opening {archive}...")
        self.form.busy.show()

        def found(words, problem):
            if words is None:
                self.form.program_box.setCollapsed(False)
                self.form.about.setText("No archive is open.")
                self._fail(problem)
            elif archive.startswith(DATABASES):
                self.asked.open(words, archive, remote_scenes=self.form.remote.isChecked())
                self._opened_database(archive)
            else:
                self.server.open(words, archive, remote_scenes=self.form.remote.isChecked())

        program.find(found, self)

    def _opened_database(self, archive):
        """Say what can be done with an archive that is asked by commands."""
        form = self.form
        form.busy.hide()
        form.about.setText(f"<b>{archive.rpartition('@')[2]}</b>, asked with every search.")
        form.show_sizes([])
        self._allow_patches(patches=True)
        self._remember(archive)
        form.say("Draw a rectangle on a layer. A search of a database takes some seconds.")

    def _opened(self, facts):
        form = self.form
        form.busy.hide()
        time = f", {' to '.join(dict.fromkeys(facts['time']))}" if facts["time"] else ""
        form.about.setText(
            f"<b>{facts['name']}</b>: {facts['num_tiles']:,} tiles of {facts['num_scenes']} "
            f"scenes, {facts['num_bits']} bits{time}"
        )
        form.show_sizes(facts["tile_sizes"])
        self._allow_patches(patches=facts["takes_patches"])
        bands = ", ".join(facts["bands"])
        form.program_box.setCollapsed(True)
        form.say(f"Draw a rectangle on a layer{f' with the bands {bands}' if bands else ''}.")
        if not facts["takes_patches"]:
            form.say("This archive has no hasher that reads pixels; search with its tiles.")
        self._remember(self.server.archive)

    def _allow_patches(self, *, patches):
        for button in (self.form.rectangle, self.form.view, self.form.file):
            button.setEnabled(patches)

    def _remember(self, archive):
        """Offer an archive the next time, unless its address may hold a password."""
        known = QgsSettings().value(ARCHIVES, [], type=list)
        recent = [one for one in dict.fromkeys([archive, *known]) if "@" not in one][:MOST_RECENT]
        QgsSettings().setValue(ARCHIVES, recent)
        self.form.archive.clear()
        self.form.archive.addItems(recent)
        self.form.archive.setEditText(archive)

    def _server_failed(self, problem):
        self.form.about.setText("No archive is open.")
        self._fail(problem)

    def _reset(self):
        self.search.forget()
        self.results.forget()
        self.form.tiles.hide()
        self._example_band.reset()

    def _browse(self):
        folder = QFileDialog.getExistingDirectory(self, "Folder of an archive")
        if folder:
            self.form.archive.setEditText(folder)
            self.open_archive(folder)

    def _keep_program(self):
        QgsSettings().setValue(program.SETTING, self.form.program.text().strip())

    def _install(self):
        dialog = Installing(self)
        dialog.installed.connect(self._installed)
        dialog.open()

    def _installed(self, path):
        self.form.program.setText(path)
        self._keep_program()
        self.form.say("geohash-rs is installed. Open an archive, or index a folder.")

    def _index(self):
        def found(words, problem):
            if words is None:
                self.form.program_box.setCollapsed(False)
                self._fail(problem)
                return
            self.indexing = Indexing(words, self)
            self.indexing.indexed.connect(self._indexed)
            self.indexing.open()

        program.find(found, self)

    def _indexed(self, archive):
        """Open an archive that has new tiles, or let its server see them."""
        if self.server.is_running() and Path(archive) == Path(self.server.archive):
            self.server.refresh()
        else:
            self.open_archive(archive)

    # --- what to search with ---

    def search_rectangle(self, corners):
        """Search with a rectangle of the chosen layer.

        Args:
            corners: Its four corners in the map's CRS, in order.
        """
        if not self._is_ready():
            return
        try:
            drawn = drawn_on(
                self.form.layer.currentLayer(),
                corners,
                self.canvas.mapSettings().destinationCrs(),
                project=QgsProject.instance(),
                step=pixel_size(self.canvas),
                nodata=self.form.nodata_value(),
            )
        except WRONG_INPUT as error:
            self._fail(str(error))
            return
        self._in_use().cancel()
        self.form.busy.show()
        if self._task is not None:
            self._task.forget()
        self._task = CutOut(
            drawn, lambda content: self._search_patch(content, drawn.name), self._fail
        )
        QgsApplication.taskManager().addTask(self._task)

    def search_file(self, path):
        """Search with a GeoTIFF.

        Args:
            path: The file.
        """
        if not self._is_ready():
            return
        try:
            self._search_patch(read_file(path), Path(path).name)
        except PatchError as error:
            self._fail(str(error))

    def search_point(self, place):
        """Search with the archive's tile at a point: of the time and size that are chosen.

        Args:
            place: A point in the map's CRS.
        """
        if not self._is_ready():
            return
        try:
            crs = self.canvas.mapSettings().destinationCrs()
            lonlat = places.point(place, crs, QgsProject.instance())
            if self.asked.is_open():
                self._begin()
                self.asked.with_point(lonlat, self._request(), self.form.strip.verdicts)
                return
            self.search.at_point(lonlat, self.form.limits(), self._search_tile)
        except WRONG_INPUT as error:
            self._fail(str(error))

    def search_again(self):
        """Search again with what was marked, and the limits as they are now."""
        if not self._is_ready():
            return
        try:
            self._in_use().again(self._request(), self.form.strip.verdicts)
        except WRONG_INPUT as error:
            self._fail(str(error))

    def _search_patch(self, content, name):
        try:
            bands = self.form.bands.text().strip() or None
            self.form.tiles.hide()
            self._begin()
            request, verdicts = self._request(), self.form.strip.verdicts
            self._in_use().with_patch(content, name, request, verdicts, bands=bands)
        except WRONG_INPUT as error:
            self._fail(str(error))

    def _search_tile(self, tile):
        try:
            self._begin()
            self.search.with_tile(tile, self._request(), self.form.strip.verdicts)
        except WRONG_INPUT as error:
            self._fail(str(error))

    def _begin(self):
        """Start with something else: marks and notes belong to what was searched before."""
        self.form.strip.verdicts = {}
        self._notes = []

    def _in_use(self):
        return self.asked if self.asked.is_open() else self.search

    def _is_ready(self):
        if self.server.is_running() or self.asked.is_open():
            return True
        self._fail("Open an archive first; if it is opening, wait until its name appears.")
        return False

    def _choose_file(self):
        path, _ = QFileDialog.getOpenFileName(
            self, "GeoTIFF to search with", "", "GeoTIFF (*.tif *.tiff)"
        )
        if path:
            self.search_file(path)

    def _show_choices(self, tiles):
        self._choices = tiles
        self.form.tiles.clear()
        for one in tiles:
            facts = one["properties"]
            day = (facts.get("datetime") or "no date")[:10]
            size = f" · {facts['width']} px" if facts.get("width") else ""
            self.form.tiles.addItem(f"{day} · {facts.get('scene_name') or 'tile'}{size}")
        self.form.tiles.setVisible(len(tiles) > 1)

    def _choose_tile(self, row):
        self._search_tile(self._choices[row])

    def dragEnterEvent(self, event):  # noqa: N802 - names of Qt here and below
        """Accept GeoTIFFs."""
        if _dropped(event):
            event.acceptProposedAction()

    def dropEvent(self, event):  # noqa: N802
        """Search with a GeoTIFF that is dropped."""
        event.acceptProposedAction()
        self.search_file(_dropped(event))

    # --- where ---

    def set_where(self, corners):
        """Search only in a rectangle.

        Args:
            corners: Its four corners in the map's CRS, in order.
        """
        self._where = (corners, self.canvas.mapSettings().destinationCrs())
        show(self._where_band, *self._where)
        self.form.where.setCurrentIndex(self.form.where.findData(DRAWN))

    def _where_changed(self):
        drawn = self.form.where.currentData() == DRAWN
        if drawn and self._where is not None:
            show(self._where_band, *self._where)
        else:
            self._where_band.reset()

    def _request(self):
        """Return the limits of the search.

        Raises:
            PlaceError: If the region has no place on the globe.
        """
        corners, crs = None, self.canvas.mapSettings().destinationCrs()
        chosen = self.form.where.currentData()
        if chosen == VIEW:
            corners = canvas_corners(self.canvas)
        elif chosen == DRAWN:
            if self._where is None:
                raise PlaceError("Draw the rectangle in which to search, or search everywhere.")
            corners, crs = self._where
        region = None
        if chosen != EVERYWHERE:
            region = places.region(corners, crs, QgsProject.instance())
        return {**self.form.limits(), "region": region}

    def _show_example(self, geometry, notes):
        self._notes = notes
        self._example_band.reset()
        if geometry is not None:
            show(self._example_band, geometry_of(geometry), places.lonlat())

    def _show_matches(self, features):
        self.form.busy.hide()
        self.results.show(features, pictures=self.server.is_running())
        if not features:
            self._fail("No tile passes Where, When and the other limits; widen them.")
            return
        count = f"{len(features)} matches. Mark some right or wrong, and search again."
        self.form.say(" ".join([count, *self._notes]))

    def _save(self):
        if not self.results.features:
            self._fail("There are no matches to save; search first.")
            return
        path, _ = QFileDialog.getSaveFileName(
            self, "Save matches", "matches.gpkg", "GeoPackage (*.gpkg)"
        )
        if path:
            self.save_matches(path)

    def save_matches(self, path):
        """Write the matches, their style and pictures to a GeoPackage, and open it as a layer.

        Args:
            path: The file; `.gpkg` is added if it has no ending.
        """

        def write(content):
            self.form.busy.hide()
            try:
                self.form.say(self.results.write(content, path))
            except OSError as error:
                self._fail(f"{path} cannot be written: {error.strerror}.")

        if not self.asked.is_open():
            self.search.export(self.results.features, write)
            return
        try:
            write(self.asked.written())
        except OSError as error:
            self._fail(f"The matches are gone ({error.strerror}); search again.")

    def _fail(self, problem):
        self.form.busy.hide()
        self.form.say(problem, wrong=True)

    def end(self):
        """Stop the server and remove what is drawn on the map, for when the plugin is unloaded."""
        self.search.cancel()
        self.results.end()
        self.server.end()
        self.asked.end()
        if self._task is not None:
            self._task.forget()
        for tool in self._tool_of.values():
            self.canvas.unsetMapTool(tool)
        for outline in (self._example_band, self._where_band):
            self.canvas.scene().removeItem(outline)


def _dropped(event):
    """Return the GeoTIFF that is dragged, a path, or ""."""
    paths = [url.toLocalFile() for url in event.mimeData().urls()]
    found = [path for path in paths if path.lower().endswith((".tif", ".tiff"))]
    return found[0] if len(found) == 1 == len(paths) else ""
