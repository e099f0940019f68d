"""Run by the Python that has PyQGIS: what it offers of a GeoPackage, and how it shows a query."""

import json
import sys

from qgis.core import (
    QgsApplication,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsProviderRegistry,
    QgsRenderContext,
    QgsVectorLayer,
)

path, name = sys.argv[1:]
application = QgsApplication([], False)
application.initQgis()
offered = [layer.name() for layer in QgsProviderRegistry.instance().querySublayers(path)]
layer = QgsVectorLayer(f"{path}|layername={name}", name, "ogr")
drawing = QgsRenderContext()
renderer = layer.renderer().clone()
renderer.startRender(drawing, layer.fields())
shown = []
for feature in layer.getFeatures():
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(feature)
    drawing.setExpressionContext(context)
    shown.append(
        {
            "legend": [
                rule.label() for rule in renderer.rootRule().rulesForFeature(feature, drawing)
            ],
            "tip": QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context),
            "labelled": layer.labelsEnabled() and layer.labeling().settings().fieldName,
        }
    )
renderer.stopRender(drawing)
sys.stdout.write(json.dumps({"offered": offered, "shown": shown}) + "\n")
layer = renderer = None
application.exitQgis()
