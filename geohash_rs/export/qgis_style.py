"""Store a QGIS style in a GeoPackage: coloured by distance, numbered, with pictures as map tips."""

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

__all__ = ["PICTURE_COLUMN", "match_style", "store_style"]

PICTURE_COLUMN = "picture"
CLASSES = 5
NEAR, FAR = (0xF0, 0x20, 0x6A), (0xFF, 0xC4, 0x6B)

# The table in which QGIS looks for styles. QGIS finds it only if it is registered, so programs that
# list layers show it next to the matches.
CREATE = """CREATE TABLE IF NOT EXISTS layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
  f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
  styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT,
  owner TEXT(30), ui TEXT(30), update_time DATETIME
  DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))"""
REGISTER = """INSERT INTO gpkg_contents (table_name, data_type, identifier, description)
  VALUES ('layer_styles', 'attributes', 'layer_styles', 'how QGIS draws the layer')"""
INSERT = """INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,
  f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner)
  VALUES ('', '', ?, ?, 'matches by distance', ?, '', 1, 'near matches are red', '')"""

TIP = """<b>[% "rank" %]: [% "distance" %] bits</b><br>
[% format_date("datetime", 'yyyy-MM-dd') %], tile [% "tile_id" %]<br>"""
PICTURE = """
<img src="[% "picture" %]" width="160">"""


def match_style(least: int, most: int, *, pictures: bool) -> str:
    """Return the style of a layer of matches in QGIS's format.

    Args:
        least: The smallest distance in the layer, bits.
        most: The largest distance in the layer, bits.
        pictures: Whether the layer has a column of pictures.

    Returns:
        QML for QGIS 3.22 and later.
    """
    edges = _edges(least, most)
    classes = list(zip(edges[:-1], edges[1:], strict=True))
    ranges, symbols = [], []
    for number, (low, high) in enumerate(classes):
        first = low if number == 0 else low + 1
        label = f"{first} to {high} bits" if first < high else f"{high} bits"
        ranges.append(
            f'<range lower="{low - (number == 0) * 0.5}" upper="{high}" symbol="{number}" '
            f"label={quoteattr(label)} render=" + '"true"/>'
        )
        share = number / max(len(classes) - 1, 1)
        colour = ",".join(str(round(a + (b - a) * share)) for a, b in zip(NEAR, FAR, strict=True))
        symbols.append(_symbol(number, colour))
    tip = escape(TIP + (PICTURE if pictures else ""))
    hidden = f'<column name="{PICTURE_COLUMN}" type="field" hidden="1" width="-1"/>'
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22.0" styleCategories="Symbology|Labeling|MapTips|AttributeTable" '
        'labelsEnabled="1">\n'
        '<renderer-v2 type="graduatedSymbol" attr="distance" graduatedMethod="GraduatedColor" '
        'symbollevels="0" enableorderby="1" forceraster="0">'
        f"<ranges>{''.join(ranges)}</ranges><symbols>{''.join(symbols)}</symbols>"
        '<orderby><orderByClause asc="0" nullsFirst="0">"rank"</orderByClause></orderby>'
        "</renderer-v2>\n"
        '<labeling type="simple"><settings calloutType="simple"><text-style fieldName="rank" '
        'isExpression="0" fontSize="9" textColor="160,15,60,255" fontWeight="75" namedStyle="Bold">'
        '<text-buffer bufferDraw="1" bufferSize="1" bufferColor="255,255,255,255"/></text-style>'
        '<placement placement="1" priority="10"/><rendering obstacle="0" fontLimitPixelSize="0"/>'
        "</settings></labeling>\n"
        f"<mapTip>{tip}</mapTip>\n"
        f"<attributetableconfig><columns>{hidden if pictures else ''}</columns>"
        "</attributetableconfig>\n</qgis>\n"
    )


def store_style(path: Path, layer: str, style: str) -> None:
    """Store a style in a GeoPackage as the default of one of its layers.

    Args:
        path: The file.
        layer: The layer's name.
        style: QML.
    """
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(CREATE)
        file.execute(REGISTER)
        column = file.execute(
            "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
        ).fetchone()
        file.execute(INSERT, (layer, column[0] if column else "geom", style))


def _edges(least: int, most: int) -> list[int]:
    """Divide a range of distances into up to five classes of whole bits."""
    number = max(1, min(CLASSES, most - least))
    return [least + round((most - least) * n / number) for n in range(number + 1)]


def _symbol(number: int, colour: str) -> str:
    values = {
        "color": f"{colour},40",
        "outline_color": f"{colour},255",
        "outline_style": "solid",
        "outline_width": "0.66",
        "outline_width_unit": "MM",
        "style": "solid",
    }
    properties = "".join(f'<prop k="{name}" v="{value}"/>' for name, value in values.items())
    return (
        f'<symbol type="fill" name="{number}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="SimpleFill" enabled="1" pass="0" locked="0">{properties}</layer></symbol>'
    )
