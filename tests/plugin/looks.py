"""Run by the Python that has PyQGIS: how the layer of matches looks, drawn by QGIS."""

from geohash_rs_qgis.matches import fill_layer, make_layer
from qgis.core import (
    QgsApplication,
    QgsDateTimeRange,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsRectangle,
)
from qgis.gui import QgsAttributeForm, QgsGui
from qgis.PyQt.QtCore import QDate, QDateTime, QSize, Qt, QTime
from qgis.PyQt.QtGui import QColor, QImage

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
DAYS = ("2023-05-14T10:56:19Z", "2023-09-18T00:00:00Z")


def facts_of(layer):
    """Return what a layer of matches is made of."""
    labels = layer.labeling().settings()
    return {
        "count": layer.featureCount(),
        "crs": layer.crs().authid(),
        "renderer": type(layer.renderer()).__name__,
        "classes": [one.label() for one in layer.renderer().ranges()],
        "labels": layer.labelsEnabled(),
        "label": [evaluated(layer, labels.fieldName, row) for row in layer.getFeatures()][0],
        "tip": layer.mapTipTemplate(),
    }


def evaluated(layer, expression, row):
    return QgsExpression(expression).evaluate(context_of(layer, row))


def context_of(layer, row):
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(row)
    return context


def same_place(project, folder):
    """Return how two matches of two dates at one place look: the best, then the other.

    Args:
        project: The QGIS project.
        folder: Where pictures may be written, a path.
    """
    layer = make_layer("same place")
    project.addMapLayer(layer, False)
    picture = QImage(96, 96, QImage.Format.Format_RGB32)
    picture.fill(QColor(20, 120, 60))
    picture.save(str(folder / "7.png"))
    properties = [
        {"tile_id": 7, "rank": 1, "distance": 0, "datetime": DAYS[0], "scene_name": "a.tif"},
        {"tile_id": 8, "rank": 2, "distance": 50, "datetime": DAYS[1]},
        {"tile_id": 9, "rank": 3, "distance": 60, "datetime": None},
    ]
    places = (SQUARE, SQUARE, {**SQUARE, "coordinates": [[[5, 5], [6, 5], [6, 6], [5, 5]]]})
    features = [
        {"properties": one, "geometry": place}
        for one, place in zip(properties, places, strict=True)
    ]
    fill_layer(layer, features, {}, folder)
    labels = layer.labeling().settings()
    layer.setLabelsEnabled(False)
    rows = list(layer.getFeatures())
    first, undated = rows[0], rows[2]
    found = {
        "on_top": drawn(layer),
        "in_september": drawn(layer, QDate(2023, 9, 1), QDate(2023, 10, 1)),
        "in_1999": drawn(layer, QDate(1999, 1, 1), QDate(2000, 1, 1)),
        "labels": [evaluated(layer, labels.fieldName, row) for row in rows],
        "tips": [
            QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context_of(layer, row))
            for row in (first, undated)
        ],
        "form": form_of(layer, first, folder),
    }
    project.removeMapLayer(layer.id())
    return found


def drawn(layer, start=None, end=None):
    """Return the colour of the outline, of a time or of all."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(QgsRectangle(-0.1, -0.1, 1.1, 1.1))
    settings.setOutputSize(QSize(240, 240))
    if start is not None:
        times = [QDateTime(day, QTime(0, 0), Qt.TimeSpec.UTC) for day in (start, end)]
        settings.setIsTemporal(True)
        settings.setTemporalRange(QgsDateTimeRange(*times))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    return job.renderedImage().pixelColor(120, 20).name()


def form_of(layer, row, folder):
    """Return how many of some points in the form of a match have its picture's colour."""
    if not QgsGui.editorWidgetRegistry().factories():
        QgsGui.editorWidgetRegistry().initEditors()
    form = QgsAttributeForm(layer, row)
    form.resize(500, 700)
    form.show()
    for _ in range(20):  # until it is laid out
        QgsApplication.processEvents()
    image = form.grab().toImage()
    image.save(str(folder / "form.png"))
    green = QColor(20, 120, 60)
    return sum(
        image.pixelColor(x, y) == green
        for x in range(0, image.width(), 4)
        for y in range(0, image.height(), 4)
    )
