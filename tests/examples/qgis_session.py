"""Run by the Python that has PyQGIS, not by the tests' own: index, query, open, draw."""

import importlib.util
import json
import sys
import threading
import time
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

examples, scenes, patch, program, folder = sys.argv[1:]
application = QgsApplication([], False)
application.initQgis()


def script(name):
    spec = importlib.util.spec_from_file_location(name, Path(examples) / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def algorithm(name, kind):
    made = getattr(script(name), kind)()
    made.initAlgorithm({})
    return made


def call(made, parameters):
    results, ok = made.run(parameters, QgsProcessingContext(), QgsProcessingFeedback())
    return results if ok else None


archive = f"{folder}/archive"
indexed = call(
    algorithm("geohash_rs_index", "IndexScenes"),
    {"SCENES": scenes, "ARCHIVE": archive, "PROGRAM": program, "TILE_SIZE": 64},
)
found = call(
    algorithm("geohash_rs_query", "FindSimilar"),
    {"ARCHIVE": archive, "PATCH": patch, "K": 12, "PROGRAM": program, "OUTPUT": f"{folder}/m.gpkg"},
)
refused = call(
    algorithm("geohash_rs_query", "FindSimilar"),
    {"ARCHIVE": archive, "K": 12, "PROGRAM": program, "OUTPUT": f"{folder}/none.gpkg"},
)
feedback = QgsProcessingFeedback()
threading.Timer(1, feedback.cancel).start()
before = time.monotonic()
silent = "import time; print('begun', flush=True); time.sleep(100)"
script("geohash_rs_index").run([sys.executable, "-c", silent], feedback)
seconds = time.monotonic() - before
layer = QgsVectorLayer(f"{folder}/m.gpkg|layername=m", "matches", "ogr")
context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
context.setFeature(next(layer.getFeatures()))
settings = QgsMapSettings()
settings.setLayers([layer])
settings.setDestinationCrs(layer.crs())
extent = layer.extent()
extent.scale(1.2)
settings.setExtent(extent)
settings.setOutputSize(QSize(900, 500))
settings.setBackgroundColor(QColor("white"))
job = QgsMapRendererParallelJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(f"{folder}/qgis.png")
report = {
    "indexed": indexed is not None,
    "found": found is not None,
    "refused": refused is None,
    "seconds": seconds,
    "told": feedback.textLog(),
    "features": layer.featureCount(),
    "renderer": type(layer.renderer()).__name__,
    "labels": [one.label() for one in getattr(layer.renderer(), "ranges", list)()],
    "tip": QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context),
}
Path(folder, "report.json").write_text(json.dumps(report), encoding="utf-8")
layer = None
application.exitQgis()
