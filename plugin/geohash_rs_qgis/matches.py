"""Show matches as a layer: coloured by distance, best on top, with dates, pictures and map tips."""

import json

from qgis.core import (
    Qgis,
    QgsEditorWidgetSetup,
    QgsFeature,
    QgsFeatureRequest,
    QgsFillSymbol,
    QgsGeometry,
    QgsGraduatedSymbolRenderer,
    QgsJsonUtils,
    QgsPalLayerSettings,
    QgsProperty,
    QgsRendererRange,
    QgsTextBufferSettings,
    QgsTextFormat,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
)
from qgis.PyQt.QtCore import QDateTime, Qt
from qgis.PyQt.QtGui import QColor

FIELDS = (
    ("rank", "integer"),
    ("distance", "integer"),
    ("similarity", "double"),
    ("tile_id", "int8"),
    ("scene_name", "string"),
    ("datetime", "datetime"),
    ("scene", "string"),
    ("verdict", "string"),
    ("picture", "string"),
)
CLASSES = 5
NEAR, FAR = (0xF0, 0x20, 0x6A), (0xFF, 0xC4, 0x6B)
DAY = "format_date(\"datetime\", 'yyyy-MM-dd')"
WITH_DAY = f"concat(\"rank\", '\\n' || {DAY})"  # the rank alone where there is no date
HERE = (  # the other matches at the place of the one on top, which are of other dates or sizes
    "aggregate(@layer_id, 'concatenate', "
    f"concat(\"rank\", ' (' || {DAY} || ')'), "
    "\"rank\" <> attribute(@parent, 'rank') and intersects(centroid($geometry), "
    "geometry(@parent)), ', ', \"rank\")"
)
IMAGE = '\'<br><img src="file:///\' || "picture" || \'" width="160">\''
TIP = (
    '<b>[% "rank" %]: [% "distance" %] bits</b><br>'
    f'[% concat({DAY} || \', \') %]tile [% "tile_id" %]<br>[% "scene_name" %]'
    f"[% coalesce('<br>Also here: ' || nullif({HERE}, ''), '') %]"
    f"[% if(file_exists(\"picture\"), {IMAGE}, '') %]"
)
PICTURE = {"DocumentViewer": 1, "DocumentViewerHeight": 192, "FileWidget": False}  # an image


def make_layer(name):
    """Return an empty layer of matches in memory, in EPSG:4326.

    Its form shows the picture, and QGIS's temporal controller shows the matches of a time.

    Args:
        name: The layer's name.
    """
    fields = "&".join(f"field={field}:{kind}" for field, kind in FIELDS)
    layer = QgsVectorLayer(f"MultiPolygon?crs=EPSG:4326&{fields}", name, "memory")
    picture = layer.fields().indexOf("picture")
    layer.setEditorWidgetSetup(picture, QgsEditorWidgetSetup("ExternalResource", PICTURE))
    table = layer.attributeTableConfig()
    table.update(layer.fields())
    table.setColumnHidden(picture, True)
    layer.setAttributeTableConfig(table)
    times = layer.temporalProperties()
    times.setMode(Qgis.VectorTemporalMode.FeatureDateTimeInstantFromField)
    times.setStartField("datetime")
    return layer


def fill_layer(layer, features, verdicts, pictures):
    """Replace the matches of a layer, and its style.

    Args:
        layer: From `make_layer`.
        features: Features of the server's GeoJSON, best first.
        verdicts: "right" or "wrong" of marked tiles, by tile id.
        pictures: The folder of their pictures, named by tile id; they may come later.
    """
    rows = []
    for one in features:
        facts = dict(one["properties"])
        facts["verdict"] = verdicts.get(facts["tile_id"])
        facts["datetime"] = moment_of(facts.get("datetime"))
        facts["picture"] = (pictures / f"{facts['tile_id']}.png").as_posix()
        row = QgsFeature(layer.fields())
        row.setAttributes([facts.get(field) for field, _ in FIELDS])
        row.setGeometry(geometry_of(one["geometry"]))
        rows.append(row)
    layer.dataProvider().truncate()
    layer.dataProvider().addFeatures(rows)
    layer.updateExtents()
    style(layer, [one["properties"] for one in features])
    layer.triggerRepaint()


def moment_of(text):
    """Return a date such as "2023-05-14T10:56:19Z" as QGIS's own; None if there is none."""
    return QDateTime.fromString(text, Qt.DateFormat.ISODate) if text else None


def geometry_of(geojson):
    """Return a GeoJSON geometry as QGIS's own."""
    if geojson is None:
        return QgsGeometry()
    feature = {"type": "Feature", "properties": {}, "geometry": geojson}
    (found,) = QgsJsonUtils.stringToFeatureList(json.dumps(feature))
    geometry = found.geometry()
    geometry.convertToMultiType()
    return geometry


def style(layer, matches):
    """Colour a layer by distance, with the best on top, label it, and add map tips.

    Labels have the rank, and the date if there are several. Where labels overlap, the best stays.

    Args:
        layer: The layer.
        matches: Their properties, as the server names them.
    """
    distances = [one["distance"] for one in matches]
    ranges = []
    edges = class_edges(min(distances, default=0), max(distances, default=0))
    for number, (low, high) in enumerate(zip(edges[:-1], edges[1:])):
        first = low if number == 0 else low + 1
        label = f"{first} to {high} bits" if first < high else f"{high} bits"
        lower = low - 0.5 if number == 0 else low
        ranges.append(QgsRendererRange(lower, high, symbol(number, len(edges) - 1), label))
    renderer = QgsGraduatedSymbolRenderer("distance", ranges)
    worst_first = QgsFeatureRequest.OrderByClause("rank", False)
    renderer.setOrderBy(QgsFeatureRequest.OrderBy([worst_first]))
    renderer.setOrderByEnabled(True)
    layer.setRenderer(renderer)
    layer.setMapTipTemplate(TIP)
    days = {(one.get("datetime") or "")[:10] for one in matches}
    layer.temporalProperties().setIsActive(any(days))
    layer.setLabeling(QgsVectorLayerSimpleLabeling(labels(len(matches), dated=len(days) > 1)))
    layer.setLabelsEnabled(True)


def labels(count, *, dated):
    """Return what labels show and how.

    Args:
        count: The number of matches.
        dated: Whether they show the date.
    """
    text = QgsTextFormat()
    text.setSize(9)
    text.setColor(QColor(160, 15, 60))
    halo = QgsTextBufferSettings()
    halo.setEnabled(True)
    halo.setSize(1)
    text.setBuffer(halo)
    made = QgsPalLayerSettings()
    made.fieldName = WITH_DAY if dated else "rank"
    made.isExpression = dated
    made.setFormat(text)
    priority = QgsProperty.fromExpression(f'10 - 10 * "rank" / {max(count, 1)}')
    made.dataDefinedProperties().setProperty(QgsPalLayerSettings.Property.Priority, priority)
    return made


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
