"""The formats for tables of footprints, chosen by file extension."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from geohash_rs.errors import ArchiveWriteError, ExportError, GeoHashRSError, one_line
from geohash_rs.export.csv import write_csv
from geohash_rs.export.geojson import geojson_features, write_geojson
from geohash_rs.export.geopackage import check_layers, check_not_open, write_geopackage
from geohash_rs.export.geoparquet import write_geoparquet
from geohash_rs.export.html import write_html
from geohash_rs.store.disk.durable import replacing
from geohash_rs.store.disk.locks import WRITE_LOCK
from geohash_rs.store.disk.manifest_file import MANIFEST

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = [
    "ENDINGS",
    "check_ending",
    "check_output",
    "check_place",
    "geojson_features",
    "reporting",
    "unfinished",
    "write",
    "write_batches",
]

Writer = Callable[[Iterator["GeoDataFrame"], Path, str], int]
WITH_PICTURES = (".gpkg", ".html")

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
PARTS = ("segments", WRITE_LOCK)  # of an archive, next to its manifest
ARCHIVE_DEPTH = 3  # folders: archive/segments/NAME


def write(
    frame: "GeoDataFrame",
    path: str | os.PathLike[str],
    *,
    layer: str | None = None,
    remote_scenes: bool = False,
) -> None:
    """Write a table of footprints to one file, in the format of its extension.

    The file appears complete or not at all: an existing file is kept until the new one is
    complete. A GeoPackage with other layers and files in the folder of an archive are not replaced.

    - `.geojson`, `.json`: GeoJSON (RFC 7946), always in longitude and latitude (EPSG:4326), rings
      counterclockwise, footprints split at the antimeridian, dates as RFC 3339 strings,
      coordinates in full precision.
    - `.gpkg`: GeoPackage in the table's CRS, one layer of multipolygons.
    - `.parquet`: GeoParquet 1.1 in the table's CRS.
    - `.csv`: CSV with the footprint in longitude and latitude in a column `WKT`, where GDAL and
      QGIS look for it.
    - `.html`: one self-contained page with pictures of the tiles and a map.

    Args:
        frame: Footprints and attributes.
        path: File to write; its folder must exist.
        layer: Name of the layer in a GeoPackage; by default the file name without its extension.
        remote_scenes: Whether pictures may be read from whatever the table names, such as URLs.
            Otherwise only plain raster files of this machine are drawn.

    Raises:
        ExportError: If the extension is unknown, the table has no CRS or a column that the format
            cannot hold, the file cannot be written, it lies in an archive, or the GeoPackage has
            other layers or is open in another program.
    """
    write_batches([frame], path, layer=layer, remote_scenes=remote_scenes)


def write_batches(
    frames: Iterable["GeoDataFrame"],
    path: str | os.PathLike[str],
    *,
    layer: str | None = None,
    remote_scenes: bool = False,
) -> int:
    """Write tables one after another to one file, with only one in memory at a time.

    Args:
        frames: Tables with the same columns and the same CRS; at least one, which may be empty.
        path: File to write, as for `write`.
        layer: As for `write`.
        remote_scenes: As for `write`.

    Returns:
        The number of rows written.

    Raises:
        ExportError: As for `write`, and if there is no table.
        GeoHashRSError: As raised while iterating over the tables.
    """
    layer = layer or Path(path).stem
    batches = iter(frames)
    first = next(batches, None)
    if first is None:
        msg = f"there is no table to write to {path}; pass at least one, which may be empty."
        raise ExportError(msg)
    tables = map(_check_footprints, chain([first], batches))
    with unfinished(path, layers=(layer,)) as (draft, ending):
        return _writer(ending, remote_scenes=remote_scenes)(tables, draft, layer)


@contextlib.contextmanager
def unfinished(
    path: str | os.PathLike[str], *, layers: Sequence[str]
) -> Iterator[tuple[Path, str]]:
    """Provide a file to write to, which replaces the one at a path once it is complete.

    Args:
        path: File to write; its folder must exist.
        layers: Layers of a GeoPackage that are replaced.

    Yields:
        The file, and the extension that chooses its format.

    Raises:
        ExportError: As for `write`.
    """
    target = Path(path)
    if target.is_symlink():  # it stays one
        target = Path(os.path.realpath(path))
    check_output(target)
    ending = target.suffix.lower()
    is_geopackage = ending == ".gpkg"
    with reporting(target):
        if is_geopackage:
            check_not_open(target)
            check_layers(target, *layers)
        with replacing(target) as draft:
            yield draft, ending
            if is_geopackage:  # it may have been opened meanwhile
                check_not_open(target)


@contextlib.contextmanager
def reporting(target: Path) -> Iterator[None]:
    """Report whatever fails while a file is written as an error of its export.

    Args:
        target: The file.

    Yields:
        Nothing.

    Raises:
        ExportError: If the file cannot be written or may not be durable.
        GeoHashRSError: Passed on unchanged.
    """
    try:
        yield
    except ArchiveWriteError as error:  # the file was written but may not be durable
        raise ExportError(error.strerror) from error
    except GeoHashRSError:
        raise
    except (TypeError, ValueError, NotImplementedError) as error:  # of pyarrow, pyogrio or JSON
        msg = (
            f"cannot write {target}: {one_line(error).rstrip('.')}; nothing was changed. Convert "
            "the columns to numbers, text or dates that the format can hold."
        )
        raise ExportError(msg) from error
    except (OSError, RuntimeError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        msg = (
            f"cannot write {target}: {reason.rstrip('.')}; nothing was changed. "
            "Free disk space or choose a folder that you may write to."
        )
        raise ExportError(msg) from error


def _writer(ending: str, *, remote_scenes: bool) -> Writer:
    writer: Callable[..., int] = WRITERS[ending]
    if ending not in WITH_PICTURES:
        return writer
    from geohash_rs.pictures.permission import Permission  # it imports rasterio

    return partial(writer, permission=Permission(remote_scenes=remote_scenes))


def check_ending(path: str | os.PathLike[str]) -> str:
    """Return a file's extension if it is supported.

    Args:
        path: File to write later.

    Returns:
        The extension in lower case, one of `ENDINGS`.

    Raises:
        ExportError: If no format has this extension.

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


def check_output(
    path: str | os.PathLike[str], *, inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Check a file that is to be written, to fail before any work is done.

    Args:
        path: The file.
        inputs: Files that are read meanwhile.

    Raises:
        ExportError: If no format has its extension, or it is an input, a folder, in a folder that
            does not exist, or in an archive.
    """
    check_ending(path)
    check_place(path, inputs=inputs)
    if Path(path).is_dir():
        msg = f"{os.fspath(path)} is a folder; pass the path of a file, such as out.gpkg in it."
        raise ExportError(msg)


def check_place(
    path: str | os.PathLike[str], *, inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Check that something may be written at a path, whatever its format.

    Args:
        path: File or folder to write.
        inputs: Files that are read meanwhile.

    Raises:
        ExportError: If it is an input, or lies in an archive or a folder that does not exist.
    """
    real = Path(os.path.realpath(path))
    if any(real == Path(os.path.realpath(name)) for name in inputs):
        msg = f"{os.fspath(path)} is an input of this search; write the result to another file."
        raise ExportError(msg)
    for folder in real.parents[:ARCHIVE_DEPTH]:
        if (folder / MANIFEST).is_file() and any((folder / name).exists() for name in PARTS):
            msg = f"{os.fspath(path)} lies in the archive {folder}; write to another folder."
            raise ExportError(msg)
    if not real.parent.is_dir():
        msg = f"the folder {Path(path).parent} does not exist; create it to write a file there."
        raise ExportError(msg)


def _check_footprints(frame: "GeoDataFrame") -> "GeoDataFrame":
    """Check that a table has a CRS and holds only polygons.

    Raises:
        ExportError: If it has no CRS, or geometries other than polygons.
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
            f"the table holds {', '.join(sorted(others))}, but footprints are polygons; "
            "write those rows with geopandas' own to_file."
        )
        raise ExportError(msg)
    return frame
