"""Run by the Python that has PyQGIS: use the plugin as a user does, and write what happened."""

import json
import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path

from desktop import Desktop, wait
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSettings,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QMimeData, QPointF, Qt, QTimer, QUrl
from qgis.PyQt.QtGui import QColor, QDropEvent, QImage

unzipped, program, scenes, patch, archive, wheel, folder = sys.argv[1:]
out = Path(folder)
sys.path.insert(0, unzipped)
application = QgsApplication([], True, f"{folder}/profile")
application.initQgis()

import askew
import geohash_rs_qgis
import looks
from geohash_rs_qgis import places
from geohash_rs_qgis import program as programs

report = {}
desktop = Desktop()
settings = QgsSettings()
settings.clear()
plugin = geohash_rs_qgis.classFactory(desktop)
plugin.initGui()
desktop.window.show()
dock, form, canvas = plugin.dock, plugin.dock.form, desktop.canvas
project = QgsProject.instance()
layers = [QgsRasterLayer(str(path), path.stem) for path in sorted(Path(scenes).glob("*.tif"))]
project.addMapLayers(layers)
QgsApplication.processEvents()
searches, problems, gaps = [], [], []
dock.search.found.connect(searches.append)
dock.asked.found.connect(searches.append)


def said():
    return form.message.text()


def after(act, seconds=60):
    """Do something, wait until its search has been answered, and return the matches' facts."""
    number, begun = len(searches), time.monotonic()
    form.say("")
    act()
    wait(lambda: len(searches) > number or "color" in form.message.styleSheet(), seconds)
    took.append(time.monotonic() - begun)
    return [one["properties"] for one in searches[-1]] if len(searches) > number else said()


def refused(act, seconds=60):
    """Do something that cannot work, and return the message."""
    form.say("")
    act()
    wait(said, seconds)
    return said()


def look_at(layer, crs, rotation=0.0):
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem(crs))
    there = QgsCoordinateTransform(layer.crs(), canvas.mapSettings().destinationCrs(), project)
    canvas.setRotation(rotation)
    canvas.setExtent(there.transformBoundingBox(layer.extent()))
    desktop.draw()


def corners_of(matched, number=0):
    """Return the corners of a match on the canvas, px."""
    ring = matched[number]["geometry"]["coordinates"][0]
    there = QgsCoordinateTransform(places.lonlat(), canvas.mapSettings().destinationCrs(), project)
    pixels = [desktop.pixel(there.transform(QgsPointXY(*point))) for point in ring]
    xs, ys = zip(*pixels, strict=True)
    return (min(xs), min(ys)), (max(xs), max(ys))


took = []
west = next(layer for layer in layers if layer.name() == "coast_west_20230514")
form.layer.setLayer(west)

# a program that is not there, or is another
settings.setValue(programs.SETTING, f"{folder}/nothing here")
report["no_program"] = refused(lambda: dock.open_archive(scenes))
for name, answer in (("older", "geohash-rs, version 9.9.1"), ("other", "hello")):
    fake = out / name
    fake.write_text(f"#!/bin/sh\necho '{answer}'\n")
    fake.chmod(0o755)
    settings.setValue(programs.SETTING, str(fake))
    report[f"{name}_program"] = refused(lambda: dock.open_archive(scenes))
settings.setValue(programs.SETTING, program)
report["not_open"] = refused(lambda: form.view.click())
report["no_folder"] = refused(lambda: dock.open_archive(f"{folder}/no archive"))
report["not_an_archive"] = refused(lambda: dock.open_archive(scenes))

# index a folder: cancel, then with progress
report["indexed"] = []
form.index.click()
wait(lambda: hasattr(dock, "indexing"))
indexing = dock.indexing
indexing.scenes.setFilePath(scenes)
report["suggested"] = indexing.archive.filePath()
indexing.archive.setFilePath(archive)
indexing.options["--tile-size"].setText("64")
indexing.start.click()
wait(lambda: indexing.what.text() != "Starting...", 120)
indexing.cancel.click()
wait(lambda: indexing.start.isEnabled(), 60)
report["cancelled"] = indexing.what.text()
shown = []
indexing.progress.valueChanged.connect(shown.append)
indexing.start.click()
wait(indexing.start.isEnabled, 240)
report["index_said"], report["progress"] = indexing.what.text(), shown
report["index_words"] = indexing.command_words()[1:]
indexing.reject()
begun = time.monotonic()
wait(lambda: dock.server.is_running() and "tiles of" in form.about.text(), 120)
report["opened"], report["opening_s"] = form.about.text(), time.monotonic() - begun
report["recent"] = settings.value("geohash_rs/archives", [], type=list)

# rectangles, in the layer's CRS and in another, upright and rotated
last = [time.monotonic()]


def tick():
    gaps.append(time.monotonic() - last[0])
    last[0] = time.monotonic()


ticker = QTimer()
ticker.timeout.connect(tick)
for name, crs, turned in (
    ("first", "EPSG:32632", 0),
    ("again", "EPSG:32632", 0),
    ("mercator", "EPSG:3857", 0),
    ("lonlat", "EPSG:4326", 0),
    ("rotated", "EPSG:32632", 30),
):
    look_at(west, crs, turned)
    form.rectangle.click()
    dock.search.at_point((11.953, 54.104), {}, lambda tile: report.update(tile=tile))
    wait(lambda: "tile" in report)
    start, end = corners_of([report.pop("tile")])
    middle = (start[0] + end[0]) // 2, (start[1] + end[1]) // 2
    if turned:
        start, end = (middle[0] - 30, middle[1] - 30), (middle[0] + 30, middle[1] + 30)
    took, gaps = [], []
    last[0] = time.monotonic()
    ticker.start(5)
    found = after(partial(desktop.drag, start, end))
    ticker.stop()
    report[f"rectangle_{name}"] = {
        "found": found,
        "seconds": took[-1],
        "longest_gap": max(gaps, default=0),
    }
look_at(west, "EPSG:32632")
layer = dock.results.layer()
report["layer"] = looks.facts_of(layer) | {"layers": len(project.mapLayers()) - len(layers)}
wait(lambda: not form.strip.missing_pictures(), 60)
report["pictures"] = form.strip.count()
report["kept_pictures"] = [Path(row["picture"]).is_file() for row in layer.getFeatures()]
report["same_place"] = looks.same_place(project, out)
desktop.picture(out / "rectangle.png")

before = canvas.extent().width()
form.strip.visited.emit(form.strip.tile_ids()[0])
report["visited"] = canvas.extent().width() / before
look_at(west, "EPSG:32632")

# judge, and search again
ids = form.strip.tile_ids()
form.strip.select(ids[3:6])
report["selected"] = sorted(row["tile_id"] for row in layer.selectedFeatures()) == sorted(ids[3:6])
form.wrong.click()
form.strip.select(ids[1:3])
form.right.click()
form.strip.select([])
report["verdicts"] = sorted(str(row["verdict"]) for row in layer.getFeatures() if row["verdict"])
report["wrong"] = ids[3:6]
report["judged"] = after(form.again.click)
wait(lambda: not form.strip.missing_pictures(), 60)
desktop.picture(out / "judged.png")

# tiles: the date decides
there = QgsCoordinateTransform(places.lonlat(), canvas.mapSettings().destinationCrs(), project)
spot = desktop.pixel(there.transform(QgsPointXY(11.953, 54.104)))
form.tile.click()
report["tile"] = after(lambda: desktop.click(spot))
report["choices"] = [form.tiles.itemText(row) for row in range(form.tiles.count())]
form.tiles.setCurrentIndex(1)
report["other_tile"] = after(lambda: form.tiles.activated.emit(1))
form.first.setText("2023-05"), form.last.setText("2023-05")
report["tile_in_may"] = after(lambda: desktop.click(spot))
report["choices_in_may"] = [form.tiles.itemText(row) for row in range(form.tiles.count())]
form.first.setText("1999"), form.last.setText("1999-12-31")
report["tile_in_1999"] = after(lambda: desktop.click(spot))
form.first.setText("yesterday"), form.last.clear()
report["bad_time"] = after(form.again.click)
form.first.clear()
canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
report["no_tile"] = after(lambda: dock.search_point(QgsPointXY(0, 0)))
look_at(west, "EPSG:32632")

# a file, dropped
mime = QMimeData()
mime.setUrls([QUrl.fromLocalFile(patch)])
drop = QDropEvent(
    QPointF(5, 5),
    Qt.DropAction.CopyAction,
    mime,
    Qt.MouseButton.LeftButton,
    Qt.KeyboardModifier.NoModifier,
)
report["dropped"] = after(lambda: dock.dropEvent(drop))
form.distinct.setChecked(True)
form.k.setValue(5)
report["distinct"] = after(form.again.click)
form.bands.setText("2,2,2")
report["other_bands"] = after(lambda: dock.search_file(patch))
form.bands.setText("7")
report["no_such_band"] = after(lambda: dock.search_file(patch))
form.bands.clear()
form.nodata.setText("dark")
report["bad_nodata"] = after(form.view.click)
form.nodata.clear()
report["whole_view"] = after(form.view.click)

# where: a rectangle, and the view
form.draw_where.click()
spot = desktop.pixel(west.extent().center())
desktop.drag((spot[0] - 60, spot[1] - 60), (spot[0] + 60, spot[1] + 60))
form.k.setValue(1000)
report["where_index"] = form.where.currentData()
region = QgsGeometry.fromPolygonXY([dock._where[0]])  # noqa: SLF001 - where it was drawn
report["somewhere"] = len(after(lambda: dock.search_file(patch)))
there = QgsCoordinateTransform(places.lonlat(), canvas.mapSettings().destinationCrs(), project)
report["somewhere_outside"] = 0
for row in dock.results.layer().getFeatures():
    shape = row.geometry()
    shape.transform(there)
    report["somewhere_outside"] += not region.intersects(shape)
form.where.setCurrentIndex(0)
report["anywhere"] = len(after(form.again.click))
form.k.setValue(24)


# across 180 degrees, at a pole, in other CRSs
report["regions"], report["no_crs"] = askew.regions(project), askew.without_crs(project)
report["columns"], report["box_of_match"] = askew.columns(project), askew.box_of_match()

# a layer without a file: pictures of a map server
tiles = out / "xyz" / "0" / "0"
tiles.mkdir(parents=True)
picture = QImage(256, 256, QImage.Format.Format_RGB32)
picture.fill(QColor(40, 90, 50))
picture.save(str(tiles / "0.png"))
url = QUrl.fromLocalFile(str(out / "xyz")).toString() + "/{z}/{x}/{y}.png"
server = QgsRasterLayer(f"type=xyz&url={url}&zmin=0&zmax=0", "map server", "wms")
project.addMapLayer(server)
form.layer.setLayer(server)
report["map_server"] = {"valid": server.isValid()}
canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
canvas.setExtent(QgsRectangle(1325486, 7184689, 1335688, 7194915))
desktop.draw()
form.rectangle.click()
report["map_server"]["found"] = after(lambda: desktop.drag((300, 300), (400, 400)))
silent = QgsRasterLayer(server.source().replace("/xyz/", "/none/"), "silent", "wms")
project.addMapLayer(silent)
form.layer.setLayer(silent)
report["silent_server"] = after(lambda: desktop.drag((300, 300), (400, 400)))

# and layers in memory: a file, and a formula
gdal.FileFromMemBuffer("/vsimem/town.tif", Path(patch).read_bytes())
memory = QgsRasterLayer("/vsimem/town.tif", "memory")
formula = QgsRasterLayer(
    f"?crs={memory.crs().authid()}&extent={askew.text(memory.extent())}&width={memory.width()}"
    f'&height={memory.height()}&formula="town@1" * 1&town:uri={patch}&town:provider=gdal',
    "formula",
    "virtualraster",
)
for one, bands in ((memory, ""), (formula, "1,1,1")):
    project.addMapLayer(one)
    form.layer.setLayer(one)
    form.bands.setText(bands)
    look_at(one, one.crs().authid())
    found = after(lambda one=one: dock.search_rectangle(desktop.corners(one.extent())))
    report[one.name()] = {"valid": one.isValid(), "found": found}
form.bands.clear()
form.layer.setLayer(west)
report["of_file"] = after(lambda: dock.search_file(patch))

# a rectangle outside the layer, a tiny one, and a layer whose file is gone
look_at(west, "EPSG:32632")
box = QgsRectangle(0, 0, 1000, 1000)
report["outside"] = after(lambda: dock.search_rectangle(desktop.corners(box)))
centre = west.extent().center()
box = QgsRectangle(centre.x(), centre.y(), centre.x() + 0.01, centre.y() + 0.01)
report["tiny"] = after(lambda: dock.search_rectangle(desktop.corners(box)))
shutil.copy(patch, out / "gone.tif")
gone = QgsRasterLayer(str(out / "gone.tif"), "gone")
project.addMapLayer(gone)
(out / "gone.tif").unlink()
form.layer.setLayer(gone)
canvas.setDestinationCrs(gone.crs())
report["gone"] = after(lambda: dock.search_rectangle(desktop.corners(gone.extent())))
form.layer.setLayer(None)
report["no_layer"] = after(lambda: dock.search_rectangle(desktop.corners(gone.extent())))
report["no_file"] = after(lambda: dock.search_file(str(out / "gone.tif")))
form.layer.setLayer(west)

# the layer of matches is removed by hand
project.removeMapLayer(dock.results.layer().id())
after(lambda: dock.search_file(patch))
report["remade"] = dock.results.layer().featureCount()

# save
after(lambda: dock.search_file(patch))
before = len(project.mapLayers())
dock.save_matches(f"{folder}/kept")
wait(lambda: len(project.mapLayers()) > before)
kept = next(one for one in project.mapLayers().values() if one.name() == "kept")
report["saved"] = {
    "count": kept.featureCount(),
    "fields": [field.name() for field in kept.fields()],
    "renderer": type(kept.renderer()).__name__,
}
query = QgsVectorLayer(f"{folder}/kept.gpkg|layername=matches_query", "query", "ogr")
report["saved_query"] = [one["example"] for one in query.getFeatures()]
desktop.picture(out / "saved.png")

# Processing
registry = QgsApplication.processingRegistry()
report["algorithms"] = sorted(one.id() for one in registry.providerById("geohash_rs").algorithms())

# the archive vanishes, and the program ends
Path(archive).rename(f"{archive}-moved")
report["vanished"] = after(form.again.click)
report["vanished_tile"] = after(lambda: dock.search_point(canvas.extent().center()))
Path(f"{archive}-moved").rename(archive)
report["back"] = after(form.again.click)
dock.server._command._process.kill()  # noqa: SLF001 - as a crash would end it
report["crashed"] = refused(lambda: None)
report["after_crash"] = refused(form.again.click)

# an archive that the server does not open, as in a database: each search is a command
dock.asked.open([program], archive)
dock._opened_database(archive)  # noqa: SLF001 - a database would need a server of its own
form.where.setCurrentIndex(0)
form.k.setValue(6)
report["asked"] = after(lambda: dock.search_file(patch), 120)
wait(lambda: not form.strip.missing_pictures(), 10)
ids = form.strip.tile_ids()
form.strip.mark("wrong", ids[:2])
form.first.setText("2023-09")
canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
dock.set_where(desktop.corners(west.extent()))
report["asked_wrong"] = ids[:2]
report["asked_again"] = after(form.again.click, 120)
canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
report["asked_point"] = after(lambda: dock.search_point(QgsPointXY(11.953, 54.104)), 120)
form.first.setText("yesterday")
report["asked_bad_time"] = after(form.again.click, 120)
form.first.clear()
before = len(project.mapLayers())
after(form.again.click, 120)
dock.save_matches(f"{folder}/asked.gpkg")
report["asked_saved"] = len(project.mapLayers()) - before
dock.asked.close()
form.where.setCurrentIndex(0)

# install the program, from a wheel that says its version
settings.setValue(programs.SETTING, "")
form.install.click()
dialog = next(one for one in dock.children() if type(one).__name__ == "Installing")
wait(lambda: dialog.start.isEnabled() or "No Python" in dialog.what.text())
report["install_offers"] = dialog.commands.toPlainText()
dialog.package.setText(wheel)
dialog.start.click()
wait(lambda: form.program.text() or "failed" in dialog.what.text(), 120)
report["install_log"] = dialog.log.toPlainText()[-2000:]
report["installed"] = settings.value(programs.SETTING, "")
report["profile"] = QgsApplication.qgisSettingsDirPath()
found = []
programs.find(lambda words, problem: found.append([words, problem]), dock)
wait(lambda: found)
report["found_installed"] = found[0]

report["unreadable"] = askew.unreadable(out / "older")

report["imported"] = sorted({"torch", "geohash_rs", "rasterio"} & set(sys.modules))
plugin.unload()
report["left"] = [len(desktop.bar), len(desktop.menu), registry.providerById("geohash_rs") is None]
plugin.initGui()  # as the plugin manager does after an update
report["loaded_again"] = [[len(desktop.bar), len(desktop.menu)]]
plugin.unload()
report["loaded_again"].append([len(desktop.bar), len(desktop.menu)])
(out / "report.json").write_text(json.dumps(report, default=str), encoding="utf-8")
project.clear()
QgsApplication.processEvents()
sys.stdout.flush()
os._exit(0)  # PyQGIS may crash when Python deletes its windows
