"""Run by the Python that has PyQGIS: time rectangles until the matches are styled, and drawn."""

import json
import os
import random
import sys
import time

from desktop import Desktop, wait
from qgis.core import Qgis, QgsApplication, QgsProject, QgsRasterLayer, QgsSettings

unzipped, program, archive, raster, count, profile = sys.argv[1:]
sys.path.insert(0, unzipped)
application = QgsApplication([], True, profile)
application.initQgis()

import geohash_rs_qgis
from geohash_rs_qgis import program as programs

desktop = Desktop()
QgsSettings().setValue(programs.SETTING, program)
plugin = geohash_rs_qgis.classFactory(desktop)
plugin.initGui()
desktop.window.show()
dock, form = plugin.dock, plugin.dock.form
layer = QgsRasterLayer(raster, "layer")
QgsProject.instance().addMapLayer(layer)
QgsApplication.processEvents()
desktop.canvas.setDestinationCrs(layer.crs())
desktop.canvas.setExtent(layer.extent())
form.layer.setLayer(layer)
found = []
dock.search.found.connect(found.append)  # after the dock itself, which shows them

begun = time.monotonic()
dock.open_archive(archive)
wait(lambda: "tiles of" in form.about.text() or "color" in form.message.styleSheet(), 300)
opened = time.monotonic() - begun
form.rectangle.click()
desktop.draw()
chosen = random.Random(0)
(left, top), (right, bottom) = (
    desktop.pixel(corner) for corner in desktop.corners(layer.extent())[::2]
)
styled, drawn = [], []
for _ in range(int(count)):
    x, y = chosen.randint(left, right - 80), chosen.randint(top, bottom - 80)
    number, begun = len(found), time.monotonic()
    desktop.drag((x, y), (x + 70, y + 70))
    wait(lambda n=number: len(found) > n or "color" in form.message.styleSheet(), 120)
    if len(found) == number:
        sys.exit(form.message.text())
    styled.append(time.monotonic() - begun)
    desktop.draw()
    drawn.append(time.monotonic() - begun)
facts = {"qgis": Qgis.version(), "archive": form.about.text(), "opened": opened}
facts |= {"styled": styled, "drawn": drawn, "load": os.getloadavg(), "cores": os.cpu_count()}
plugin.unload()
sys.stdout.write(json.dumps(facts))
sys.stdout.flush()
os._exit(0)  # PyQGIS may crash when Python deletes its windows
