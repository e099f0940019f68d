"""Run by the Python that has PyQGIS, not by the tests' own: open areas and totals, draw them."""

import json
import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

package, folder = sys.argv[1:]
application = QgsApplication([], False)
application.initQgis()
report, layers = {}, []
for name in ("areas", "totals"):
    layer = QgsVectorLayer(f"{package}|layername={name}", name, "ogr")
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(next(layer.getFeatures()))
    report[name] = {
        "features": layer.featureCount(),
        "classes": [one.label() for one in layer.renderer().ranges()],
        "drawn": [
            layer.renderer().rangeForValue(feature[layer.renderer().classAttribute()]) is not None
            for feature in layer.getFeatures()
        ],
        "tip": QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context),
        "label": QgsExpression(layer.labeling().settings().fieldName).evaluate(context),
    }
    layers.append(layer)
settings = QgsMapSettings()
settings.setLayers(layers)
settings.setDestinationCrs(layers[0].crs())
settings.setExtent(layers[1].extent())
settings.setOutputSize(QSize(600, 600))
settings.setBackgroundColor(QColor("white"))
job = QgsMapRendererParallelJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(f"{folder}/qgis.png")
Path(folder, "report.json").write_text(json.dumps(report), encoding="utf-8")
layer, layers = None, None
application.exitQgis()
