"""Show matches as a layer: coloured by distance, numbered by rank, with map tips."""

import json

from qgis.core import (
    QgsFeature,
    QgsFillSymbol,
    QgsGeometry,
    QgsGraduatedSymbolRenderer,
    QgsJsonUtils,
    QgsPalLayerSettings,
    QgsRendererRange,
    QgsTextBufferSettings,
    QgsTextFormat,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
)
from qgis.PyQt.QtGui import QColor

FIELDS = (
    ("rank", "integer"),
    ("distance", "integer"),
    ("similarity", "double"),
    ("tile_id", "int8"),
    ("scene_name", "string"),
    ("datetime", "string"),
    ("scene", "string"),
    ("verdict", "string"),
)
CLASSES = 5
NEAR, FAR = (0xF0, 0x20, 0x6A), (0xFF, 0xC4, 0x6B)
TIP = (
    '<b>[% "rank" %]: [% "distance" %] bits</b><br>'
    '[% left("datetime", 10) %], tile [% "tile_id" %]<br>[% "scene_name" %]'
)


def make_layer(name):
    """Return an empty layer of matches in memory, in EPSG:4326.

    Args:
        name: The layer's name.
    """
    fields = "&".join(f"field={field}:{kind}" for field, kind in FIELDS)
    return QgsVectorLayer(f"MultiPolygon?crs=EPSG:4326&{fields}", name, "memory")


def fill_layer(layer, features, verdicts):
    """Replace the matches of a layer, and its style.

    Args:
        layer: From `make_layer`.
        features: Features of the server's GeoJSON, best first.
        verdicts: "right" or "wrong" of marked tiles, by tile id.
    """
    rows = []
    for one in features:
        facts = {**one["properties"], "verdict": verdicts.get(one["properties"]["tile_id"])}
        row = QgsFeature(layer.fields())
        row.setAttributes([facts.get(field) for field, _ in FIELDS])
        row.setGeometry(geometry_of(one["geometry"]))
        rows.append(row)
    layer.dataProvider().truncate()
    layer.dataProvider().addFeatures(rows)
    layer.updateExtents()
    style(layer, [one["properties"]["distance"] for one in features])
    layer.triggerRepaint()


def geometry_of(geojson):
    """Return a GeoJSON geometry as QGIS's own."""
    if geojson is None:
        return QgsGeometry()
    feature = {"type": "Feature", "properties": {}, "geometry": geojson}
    (found,) = QgsJsonUtils.stringToFeatureList(json.dumps(feature))
    geometry = found.geometry()
    geometry.convertToMultiType()
    return geometry


def style(layer, distances):
    """Colour a layer by distance, number it by rank, and add map tips.

    Args:
        layer: The layer.
        distances: Those of its matches, bits.
    """
    ranges = []
    edges = class_edges(min(distances, default=0), max(distances, default=0))
    for number, (low, high) in enumerate(zip(edges[:-1], edges[1:])):
        first = low if number == 0 else low + 1
        label = f"{first} to {high} bits" if first < high else f"{high} bits"
        lower = low - 0.5 if number == 0 else low
        ranges.append(QgsRendererRange(lower, high, symbol(number, len(edges) - 1), label))
    renderer = QgsGraduatedSymbolRenderer("distance", ranges)
    layer.setRenderer(renderer)
    layer.setMapTipTemplate(TIP)
    text = QgsTextFormat()
    text.setSize(9)
    text.setColor(QColor(160, 15, 60))
    halo = QgsTextBufferSettings()
    halo.setEnabled(True)
    halo.setSize(1)
    text.setBuffer(halo)
    labels = QgsPalLayerSettings()
    labels.fieldName = "rank"
    labels.setFormat(text)
    layer.setLabeling(QgsVectorLayerSimpleLabeling(labels))
    layer.setLabelsEnabled(True)


def class_edges(least, most):
    """Divide a range of distances into up to five classes of whole bits."""
    number = max(1, min(CLASSES, most - least))
    return [least + round((most - least) * n / number) for n in range(number + 1)]


def symbol(number, count):
    """Return the fill of a class: near ones red, far ones yellow, the ground shows through."""
    share = number / max(count - 1, 1)
    colour = ",".join(str(round(a + (b - a) * share)) for a, b in zip(NEAR, FAR))
    return QgsFillSymbol.createSimple(
        {"color": f"{colour},40", "outline_color": f"{colour},255", "outline_width": "0.66"}
    )
