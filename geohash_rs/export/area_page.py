"""A self-contained page of areas: a map next to their totals and sizes, without scripts."""

from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from geohash_rs.errors import ExportError
from geohash_rs.export.html_map import WIDTH, View, graticule
from geohash_rs.export.locator import locator_svg
from geohash_rs.export.lonlat import lonlat_geometries
from geohash_rs.export.plain_text import plain_text

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from shapely.geometry.base import BaseGeometry

__all__ = ["areas_html", "write_page"]

MOST_AREAS = 20_000  # on the map
SMALL, SPOT = 16, 9  # units of the map: smaller areas get a spot of this radius
LISTED = 500  # in the table
SHOWN = 10  # in a notebook cell
LOW, HIGH = (0xFF, 0xC4, 0x6B), (0xF0, 0x20, 0x6A)
HEADINGS = {
    "area": "area",
    "region": "region",
    "date": "date",
    "area_km2": "km²",
    "estimated_km2": "estimated km²",
    "estimated_low": "at least",
    "estimated_high": "at most",
    "areas": "areas",
    "tiles": "tiles",
    "score": "score",
    "precision": "precision",
    "region_km2": "region km²",
    "share": "share",
}


def write_page(areas: "GeoDataFrame", totals: pd.DataFrame, path: Path, *, title: str) -> None:
    """Write areas as one page.

    Args:
        areas: The areas, in any CRS.
        totals: Their totals.
        path: File to write.
        title: Heading of the page.

    Raises:
        ExportError: If there are more than `MOST_AREAS`.
    """
    if len(areas) > MOST_AREAS:
        msg = (
            f"a page can show at most {MOST_AREAS:,} areas, and these are {len(areas):,}; leave "
            "out small ones with min_area_km2, or use another format such as .gpkg."
        )
        raise ExportError(msg)
    title = escape(plain_text(title))
    style = (files("geohash_rs.export") / "html.css").read_text(encoding="utf-8")
    listed = areas.sort_values("area_km2", ascending=False, kind="stable").head(LISTED)
    more = f", the {LISTED} largest" if len(areas) > LISTED else ""
    more_known = len(totals) != 1 or {"region", "estimated_km2"} & set(totals)
    summed = f"<h2>Totals</h2>{_table(totals)}" if more_known else ""
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{style}</style></head>\n"
        f"<body><header><h1>{title}</h1><p>{escape(_summary(areas))}</p></header>\n"
        f"<main>{_figure(areas, totals)}\n<div>{_where(areas)}{summed}<h2>Areas{more}</h2>"
        f"{_table(listed)}</div></main></body></html>\n"
    )
    path.write_text(text, encoding="utf-8", errors="replace")


def _where(areas: "GeoDataFrame") -> str:
    """Draw where on the Earth the areas lie; empty without areas."""
    none = np.empty(0, object)
    located = locator_svg(lonlat_geometries(areas), right=none, wrong=none)
    if located is None:
        return ""
    svg, caption = located
    return f'<figure class="where">{svg}<figcaption>{escape(caption)}</figcaption></figure>'


def areas_html(areas: "GeoDataFrame") -> str | None:
    """Show areas in a notebook cell.

    Args:
        areas: Areas, or some of them.

    Returns:
        HTML without scripts; None if columns of areas are missing.
    """
    if not {"area", "area_km2", "tiles"} <= set(areas.columns):
        return None
    more = f", the first {SHOWN} shown" if len(areas) > SHOWN else ""
    return (
        f"<div><p style='margin:0 0 6px'><b>{escape(_summary(areas))}</b>"
        f"<span style='opacity:.7'>{more}; a GeoDataFrame</span></p>"
        f"{_table(areas.head(SHOWN))}</div>"
    )


def _summary(areas: "GeoDataFrame") -> str:
    if not len(areas):
        return "No areas."
    tiles = int(areas["tiles"].sum())
    text = (
        f"{len(areas):,} area{'s' * (len(areas) > 1)}, {areas['area_km2'].sum():,.4g} km², of "
        f"{tiles:,} tile{'s' * (tiles != 1)}"
    )
    if "date" not in areas.columns or areas["date"].isna().all():
        return text
    days = areas["date"].dropna()
    first, last = f"{days.min():%Y-%m-%d}", f"{days.max():%Y-%m-%d}"
    return f"{text}, {first}" if first == last else f"{text}, {first} to {last}, each day by itself"


def _table(frame: pd.DataFrame) -> str:
    names = [name for name in HEADINGS if name in frame.columns]
    head = "".join(f"<th>{HEADINGS[name]}</th>" for name in names)
    rows = []
    for row in frame[names].to_dict("records"):
        cells = "".join(f"<td>{escape(_cell(name, row[name]))}</td>" for name in names)
        marked = f' id="t{int(row["area"])}"' if "area" in row else ""
        rows.append(f"<tr{marked}>{cells}</tr>\n")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(name: str, value: Any) -> str:  # noqa: ANN401 - a cell of any column
    if pd.isna(value):
        return "-"
    if name == "date":
        return f"{value:%Y-%m-%d}"
    if name in ("area_km2", "region_km2"):
        return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
    if name in ("score", "precision"):
        return f"{value:.2f}"
    if name == "share":
        return f"{100 * value:.3g} %"
    return plain_text(str(value)) if name == "region" else f"{value:,}"


def _figure(areas: "GeoDataFrame", totals: pd.DataFrame) -> str:
    """Draw the map: regions below, areas above, the later dates on top."""
    shapes = lonlat_geometries(areas)
    regions: list[tuple[str, Any]] = []
    if "geometry" in totals.columns:
        distinct = totals.drop_duplicates("region")
        regions = list(zip(distinct["region"], distinct["geometry"], strict=True))
    view = View.around(shapes if len(shapes) else np.array([s for _, s in regions], dtype=object))
    if view is None:
        return "<figure><figcaption>There are no areas to map.</figcaption></figure>"
    parts = [graticule(view)]
    parts += [
        f'<path class="region" d="{view.outline(shape)}"><title>{escape(plain_text(str(name)))}'
        "</title></path>"
        for name, shape in regions
    ]
    for row, shape in zip(areas.drop(columns="geometry").to_dict("records"), shapes, strict=True):
        score = 0.5 if pd.isna(row["score"]) else float(row["score"])
        mixed = [round(a + (b - a) * score) for a, b in zip(LOW, HIGH, strict=True)]
        colour = "#" + "".join(f"{value:02x}" for value in mixed)
        date = f", {row['date']:%Y-%m-%d}" if "date" in row and not pd.isna(row["date"]) else ""
        about = f"area {row['area']}: {_cell('area_km2', row['area_km2'])} km²{date}"
        parts.append(
            f'<a href="#t{row["area"]}"><title>{escape(about)}</title><path class="area" '
            f'd="{view.outline(shape)}" fill="{colour}" stroke="{colour}"/>'
            f"{_spot(shape, view, colour)}</a>\n"
        )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {view.height}" role="img" '
        f'aria-label="Map of the areas">{"".join(parts)}</svg>'
        "<figcaption>Areas, redder with a higher score; small ones are spots; Web Mercator."
        "</figcaption></figure>"
    )


def _spot(shape: "BaseGeometry", view: View, colour: str) -> str:
    """Mark an area that could not be seen."""
    corners = view.draw(shapely.get_coordinates(shape))
    if np.ptp(corners, axis=0).max() >= SMALL:
        return ""
    x, y = (corners.min(axis=0) + corners.max(axis=0)) / 2
    return f'<circle class="spot" cx="{x:.1f}" cy="{y:.1f}" r="{SPOT}" fill="{colour}"/>'
