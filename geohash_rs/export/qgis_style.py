"""Store QGIS styles in a GeoPackage: matches, their query, areas and regions."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

__all__ = [
    "PICTURE_COLUMN",
    "REASON_COLUMN",
    "area_style",
    "example_style",
    "match_style",
    "region_style",
    "store_style",
]

PICTURE_COLUMN = "picture"
REASON_COLUMN = "no_picture"  # why there is none
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
REGISTERED = "SELECT 1 FROM gpkg_contents WHERE table_name = 'layer_styles'"
INSERT = """INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,
  f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner)
  VALUES ('', '', ?, ?, ?, ?, '', 1, ?, '')"""

RIGHT, WRONG = "15,99,118", "23,33,43"
EXAMPLE_TIP = """<b>[% "example" %]</b>, [% if("positive", 'searched with', 'unlike this') %]<br>
[% coalesce(replace(format_date("datetime", 'yyyy-MM-dd HH:mm'), ' 00:00', '') || ', ', '') %]
[% coalesce(file_name("scene"), '') %]<br>
[% coalesce('<img src="' || "picture" || '" width="160">', "no_picture", '') %]"""
TIP = """<b>[% "rank" %]: [% "distance" %] bits</b><br>
[% coalesce(replace(format_date("datetime", 'yyyy-MM-dd HH:mm'), ' 00:00', ''), 'no date') %],
tile [% "tile_id" %]<br>
[% file_name("scene") %]<br>"""
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
        ranges.append(_range(number, low - (number == 0) * 0.5, high, label))
        symbols.append(_symbol(number, _colour(number / max(len(classes) - 1, 1))))
    tip = escape(TIP + (PICTURE if pictures else ""))
    hidden = f'<column name="{PICTURE_COLUMN}" type="field" hidden="1" width="-1"/>'
    return _qml(
        _graduated("distance", ranges=ranges, symbols=symbols, order="rank"),
        label="rank",
        colour="160,15,60,255",
        tip=tip,
        hidden=hidden if pictures else "",
    )


def example_style() -> str:
    """Return the style of a layer of what was searched with, in QGIS's format.

    Returns:
        QML for QGIS 3.22 and later: dashed outlines, with what they are.
    """
    kinds = (('"positive"', "searched with", RIGHT), ('not "positive"', "unlike this", WRONG))
    rules, symbols = [], []
    for number, (kind, label, colour) in enumerate(kinds):
        rules.append(
            f'<rule key="{{{number}}}" filter={quoteattr(kind)} symbol="{number}" label="{label}"/>'
        )
        symbols.append(_symbol(number, colour, fill=0, width="0.8", line="dash"))
    renderer = (
        '<renderer-v2 type="RuleRenderer" symbollevels="0" enableorderby="0" forceraster="0">'
        f'<rules key="{{root}}">{"".join(rules)}</rules>'
        f"<symbols>{''.join(symbols)}</symbols></renderer-v2>"
    )
    hidden = f'<column name="{PICTURE_COLUMN}" type="field" hidden="1" width="-1"/>'
    return _qml(
        renderer, label="example", colour=f"{RIGHT},255", tip=escape(EXAMPLE_TIP), hidden=hidden
    )


def area_style(scores: Sequence[float], *, dated: bool) -> str:
    """Return the style of a layer of areas in QGIS's format: coloured by score, labelled by size.

    Args:
        scores: The least and the highest mean score in the layer.
        dated: Whether areas have a date.

    Returns:
        QML for QGIS 3.22 and later.
    """
    least, most = min(scores), max(scores)
    number = CLASSES if most - least > 1e-3 else 1
    edges = [least + (most - least) * n / number for n in range(number + 1)]
    ranges, symbols = [], []
    for place, (start, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        margin = 1e-6  # the least and the highest belong to a class
        low, high = start - margin * (place == 0), end + margin * (place == number - 1)
        label = f"score {start:.2f} to {end:.2f}"
        ranges.append(_range(place, round(low, 9), round(high, 9), label))
        symbols.append(_symbol(place, _colour(1 - (place + 1) / number), fill=120, width="0.3"))
    date = """ on [% format_date("date", 'yyyy-MM-dd') %]""" if dated else ""
    tip = (
        f"""<b>area [% "area" %]: [% format_number("area_km2", 3) %] km²</b>{date}<br>"""
        """score [% format_number("score", 2) %], [% "tiles" %] tiles<br>"""
    )
    return _qml(
        _graduated("score", ranges=ranges, symbols=symbols, order="area"),
        label="format_number(&quot;area_km2&quot;, 2) || ' km²'",
        colour="90,20,40,255",
        tip=escape(tip),
        hidden="",
        is_expression=True,
    )


def region_style(most: float) -> str:
    """Return the style of a layer of regions: outlined, tinted by the share that areas cover.

    Args:
        most: The largest share in the layer, 0 to 1.

    Returns:
        QML for QGIS 3.22 and later.
    """
    edges = [most * n / CLASSES for n in range(CLASSES + 1)] if most > 0 else [0.0, 1.0]
    ranges, symbols = [], []
    for place, (start, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        low, high = (start if place else -1e-9), end * (1 + 1e-9)
        label = f"{100 * start:.3g} to {100 * end:.3g} %"
        ranges.append(_range(place, low, high, label))
        fill = 0 if most <= 0 else round(15 + 75 * place / (CLASSES - 1))
        symbols.append(_symbol(place, "23,135,156", fill=fill, width="0.4"))
    tip = (
        """<b>[% "region" %]</b><br>[% format_number("area_km2", 3) %] km² """
        """in [% "areas" %] areas, [% format_number(100 * "share", 3) %] % of it<br>"""
    )
    return _qml(
        _graduated("share", ranges=ranges, symbols=symbols, order="area_km2"),
        label="&quot;region&quot; || '\n' || format_number(&quot;area_km2&quot;, 2) || ' km²'",
        colour="10,60,70,255",
        tip=escape(tip),
        hidden="",
        is_expression=True,
    )


def _graduated(attribute: str, *, ranges: Sequence[str], symbols: Sequence[str], order: str) -> str:
    return (
        f'<renderer-v2 type="graduatedSymbol" attr="{attribute}" graduatedMethod="GraduatedColor" '
        'symbollevels="0" enableorderby="1" forceraster="0">'
        f"<ranges>{''.join(ranges)}</ranges><symbols>{''.join(symbols)}</symbols>"
        f'<orderby><orderByClause asc="0" nullsFirst="0">"{order}"</orderByClause></orderby>'
        "</renderer-v2>"
    )


def _qml(
    renderer: str,
    *,
    label: str,
    colour: str,
    tip: str,
    hidden: str,
    is_expression: bool = False,
) -> str:
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22.0" styleCategories="Symbology|Labeling|MapTips|AttributeTable" '
        'labelsEnabled="1">\n'
        f"{renderer}\n"
        '<labeling type="simple"><settings calloutType="simple">'
        f'<text-style fieldName="{label}" isExpression="{int(is_expression)}" fontSize="9" '
        f'textColor="{colour}" fontWeight="75" namedStyle="Bold">'
        '<text-buffer bufferDraw="1" bufferSize="1" bufferColor="255,255,255,255"/></text-style>'
        '<placement placement="1" priority="10"/><rendering obstacle="0" fontLimitPixelSize="0"/>'
        "</settings></labeling>\n"
        f"<mapTip>{tip}</mapTip>\n"
        f"<attributetableconfig><columns>{hidden}</columns></attributetableconfig>\n</qgis>\n"
    )


def store_style(
    path: Path,
    layer: str,
    style: str,
    *,
    name: str = "matches by distance",
    about: str = "near matches are red",
) -> None:
    """Store a style in a GeoPackage as the default of one of its layers.

    Args:
        path: The file.
        layer: The layer's name.
        style: QML.
        name: Name of the style.
        about: What it shows.
    """
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(CREATE)
        if not file.execute(REGISTERED).fetchone():
            file.execute(REGISTER)
        column = file.execute(
            "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
        ).fetchone()
        file.execute(INSERT, (layer, column[0] if column else "geom", name, style, about))


def _edges(least: int, most: int) -> list[int]:
    """Divide a range of distances into up to five classes of whole bits."""
    number = max(1, min(CLASSES, most - least))
    return [least + round((most - least) * n / number) for n in range(number + 1)]


def _range(number: int, low: float, high: float, label: str) -> str:
    return (
        f'<range lower="{low}" upper="{high}" symbol="{number}" label={quoteattr(label)} '
        'render="true"/>'
    )


def _colour(share: float) -> str:
    """Return the colour at a share of the way from near to far, "red,green,blue"."""
    return ",".join(str(round(a + (b - a) * share)) for a, b in zip(NEAR, FAR, strict=True))


def _symbol(
    number: int, colour: str, *, fill: int = 40, width: str = "0.66", line: str = "solid"
) -> str:
    values = {
        "color": f"{colour},{fill}",
        "outline_color": f"{colour},255",
        "outline_style": line,
        "outline_width": width,
        "outline_width_unit": "MM",
        "style": "solid",
    }
    properties = "".join(f'<prop k="{name}" v="{value}"/>' for name, value in values.items())
    return (
        f'<symbol type="fill" name="{number}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="SimpleFill" enabled="1" pass="0" locked="0">{properties}</layer></symbol>'
    )
