"""The formats that a table of footprints is written in, each known by the ending of its file."""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from geohash_rs.errors import ArchiveWriteError, ExportError, GeoHashRSError, one_line
from geohash_rs.export.csv import write_csv
from geohash_rs.export.geojson import geojson_features, write_geojson
from geohash_rs.export.geopackage import write_geopackage
from geohash_rs.export.geoparquet import write_geoparquet
from geohash_rs.export.html import write_html
from geohash_rs.store.disk.durable import replacing

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["ENDINGS", "check_ending", "geojson_features", "write", "write_batches"]

Writer = Callable[[Iterator["GeoDataFrame"], Path, str], int]

WRITERS: MappingProxyType[str, Writer] = MappingProxyType(
    {
        ".geojson": write_geojson,
        ".json": write_geojson,
        ".gpkg": write_geopackage,
        ".parquet": write_geoparquet,
        ".csv": write_csv,
        ".html": write_html,
    }
)
ENDINGS = tuple(WRITERS)


def write(frame: "GeoDataFrame", path: str | os.PathLike[str], *, layer: str | None = None) -> None:
    """Write a table of footprints to one file, in the format that its ending names.

    The file appears whole or not at all: an older file of this name stays until the new one is
    complete.

    - `.geojson`, `.json`: GeoJSON after RFC 7946, always longitude and latitude (EPSG:4326), rings
      counterclockwise, footprints over the antimeridian in two parts, dates as RFC 3339 strings,
      coordinates in full precision.
    - `.gpkg`: GeoPackage in the CRS of the table, one layer of multipolygons.
    - `.parquet`: GeoParquet 1.1 in the CRS of the table.
    - `.csv`: comma-separated, the footprint as well-known text in longitude and latitude, in a
      column `WKT`, where GDAL and QGIS look for it.
    - `.html`: one page with pictures of the tiles and a map, both inside of it; it needs nothing
      else.

    Args:
        frame: Footprints and attributes.
        path: File to write; its folder must exist.
        layer: Name of the layer in a GeoPackage, by default the file's name without its ending.

    Raises:
        ExportError: If the ending is unknown, the table has no CRS or a column that the format
            cannot hold, or the file cannot be written.
    """
    write_batches([frame], path, layer=layer)


def write_batches(
    frames: Iterable["GeoDataFrame"], path: str | os.PathLike[str], *, layer: str | None = None
) -> int:
    """Write tables one after another into one file, holding one of them in memory at a time.

    Args:
        frames: Tables with the same columns and the same CRS; at least one, which may be empty.
        path: File to write, as for `write`.
        layer: As for `write`.

    Returns:
        The number of rows written.

    Raises:
        ExportError: As for `write`, and if there is no table at all.
        GeoHashRSError: As going through the tables raises it.
    """
    target = Path(path)
    writer = WRITERS[check_ending(target)]
    batches = iter(frames)
    first = next(batches, None)
    if first is None:
        msg = f"there is no table to write to {target}; give at least one, which may be empty."
        raise ExportError(msg)
    tables = map(_check_footprints, chain([first], batches))
    if target.is_dir():
        msg = f"{target} is a folder; give the name of a file in it, such as {target / 'out'}."
        raise ExportError(msg)
    if not target.parent.is_dir():
        msg = f"the folder {target.parent} does not exist; create it to write {target.name} there."
        raise ExportError(msg)
    try:
        with replacing(target) as unfinished:
            return writer(tables, unfinished, layer or target.stem)
    except ArchiveWriteError as error:  # the file stands, but perhaps not for good
        raise ExportError(error.strerror) from error
    except GeoHashRSError:
        raise
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        msg = (
            f"cannot write {target}: {reason.rstrip('.')}; nothing was changed. "
            "Free space on the disk or choose a place that you may write to."
        )
        raise ExportError(msg) from error


def check_ending(path: str | os.PathLike[str]) -> str:
    """Return the ending of a file if a format has it, before any work is done.

    Args:
        path: File that is to be written.

    Returns:
        The ending in lower case, one of `ENDINGS`.

    Raises:
        ExportError: If no format has this ending.

    >>> check_ending("matches.GeoJSON")
    '.geojson'
    """
    ending = Path(path).suffix.lower()
    if ending not in WRITERS:
        msg = (
            f"cannot tell a format from the ending {ending!r} of {os.fspath(path)}; "
            f"use one of {', '.join(ENDINGS)}."
        )
        raise ExportError(msg)
    return ending


def _check_footprints(frame: "GeoDataFrame") -> "GeoDataFrame":
    """Check that a table holds placed polygons.

    Raises:
        ExportError: If it has no CRS, or other geometries than polygons.
    """
    if frame.crs is None:
        msg = (
            "the table has no CRS, so its footprints cannot be placed; "
            "set one with frame.set_crs(...)."
        )
        raise ExportError(msg)
    others = set(frame.geom_type.dropna()) - {"Polygon", "MultiPolygon"}
    if others:
        msg = (
            f"the table holds {', '.join(sorted(others))} where footprints are polygons; "
            "write those rows with geopandas' own to_file."
        )
        raise ExportError(msg)
    return frame
