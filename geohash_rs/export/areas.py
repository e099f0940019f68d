"""Write areas and their totals: as layers of a GeoPackage, as a page, or as a table."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from geohash_rs.export.area_page import write_page
from geohash_rs.export.formats import unfinished, write
from geohash_rs.export.qgis_style import area_style, region_style, store_style

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from pandas import DataFrame

__all__ = ["AREAS", "TOTALS", "write_areas"]

AREAS, TOTALS = "areas", "totals"  # layers of a GeoPackage


def write_areas(
    areas: "GeoDataFrame",
    totals: "DataFrame",
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
) -> None:
    """Write areas to one file, in the format of its extension.

    - `.gpkg`: the layers ``areas`` and ``totals``, styled for QGIS; totals have the polygons of
      their regions, or are a plain table.
    - `.html`: one self-contained page with a map and both tables.
    - `.geojson`, `.json`, `.parquet`, `.csv`: the areas, as `write` writes any table.

    Without areas the file holds the columns only.

    Args:
        areas: The areas.
        totals: Their totals.
        path: File to write; its folder must exist.
        title: Heading of a page; by default the file name without its extension.

    Raises:
        ExportError: As for `write`, and if a page would hold too many areas.
    """
    if Path(path).suffix.lower() not in (".gpkg", ".html"):
        write(areas, path)
        return
    with unfinished(path, layers=(AREAS, TOTALS)) as (draft, ending):
        if ending == ".html":
            write_page(areas, totals, draft, title=title or Path(path).stem)
        else:
            _write_geopackage(areas, totals, draft)


def _write_geopackage(areas: "GeoDataFrame", totals: "DataFrame", path: Path) -> None:
    import pyogrio

    options = {"driver": "GPKG", "geometry_type": "MultiPolygon", "promote_to_multi": True}
    pyogrio.write_dataframe(areas, path, layer=AREAS, **options)
    if "geometry" in totals.columns:
        pyogrio.write_dataframe(totals, path, layer=TOTALS, append=True, **options)
        most = float(totals["share"].max()) if len(totals) else 0.0
        store_style(
            path,
            TOTALS,
            region_style(most),
            name="regions by share",
            about="the more of a region is covered, the darker it is",
        )
    else:
        pyogrio.write_dataframe(totals, path, layer=TOTALS, driver="GPKG", append=True)
    if len(areas):
        style = area_style(
            (float(areas["score"].min()), float(areas["score"].max())),
            dated="date" in areas.columns,
        )
        store_style(
            path, AREAS, style, name="areas by score", about="areas with high scores are red"
        )
