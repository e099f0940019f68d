"""GeoPackage: a layer of multipolygons in the table's CRS and one of the query, styled for QGIS."""

import base64
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from geohash_rs.errors import ExportError
from geohash_rs.export.changed import changed_text
from geohash_rs.export.examples import examples_of
from geohash_rs.export.qgis_style import (
    PICTURE_COLUMN,
    REASON_COLUMN,
    example_style,
    match_style,
    store_style,
)
from geohash_rs.export.row_pictures import read_pictures, warn_of

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from geohash_rs.pictures.permission import Permission

__all__ = ["check_layers", "check_not_open", "query_layer", "write_geopackage"]

MATCH = ("rank", "distance", "tile_id", "datetime", "scene", "col", "row", "width", "height")
MOST_PICTURES = 1000
PICTURE_SIZE = 128  # px
SIDE_FILES = ("-wal", "-shm", "-journal")  # of SQLite, while the file is open
POLYGONS = {"driver": "GPKG", "geometry_type": "MultiPolygon", "promote_to_multi": True}
STYLES = "layer_styles"  # table in which QGIS keeps styles
LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def write_geopackage(
    frames: Iterator["GeoDataFrame"],
    path: Path,
    layer: str,
    *,
    permission: "Permission | None" = None,
    shown: "Callable[[GeoDataFrame], GeoDataFrame] | None" = None,
) -> int:
    """Write tables one after another to one layer, and the query of matches to another.

    Matches get a QGIS style that colours them by distance and shows their pictures as map tips; up
    to `MOST_PICTURES` matches include their pictures in a column. Warns if pictures cannot be read,
    or show scenes that were changed since they were indexed.

    Args:
        frames: Tables with the same columns and CRS. The first one has the query's examples, if
            any.
        path: File to write.
        layer: Name of the layer.
        permission: What pictures may be read from; None allows plain raster files of this machine.
        shown: Returns a table as it is written, once its pictures were read from the scenes that it
            names; None writes it unchanged.

    Returns:
        The number of features written.
    """
    import pyogrio

    from geohash_rs.store.search.regions import EXAMPLES  # it imports geopandas

    count = 0
    distances: list[int] = []
    pictures = False
    examples = None
    reasons: list[str] = []
    changed = ""
    for number, frame in enumerate(frames):
        table = frame
        examples = examples_of(frame) if number == 0 else examples
        if number == 0 and set(MATCH) <= set(frame.columns) and len(frame) <= MOST_PICTURES:
            table, reasons = _with_pictures(frame, permission)
            changed = changed_text(frame, permission)
            pictures = PICTURE_COLUMN in table.columns
        elif pictures:
            table = frame.assign(**{PICTURE_COLUMN: None})
        table = shown(table) if shown else table
        pyogrio.write_dataframe(table, path, layer=layer, append=number > 0, **POLYGONS)
        count += len(frame)
        if set(MATCH) <= set(frame.columns) and len(frame):
            distances += [int(frame["distance"].min()), int(frame["distance"].max())]
    if distances:
        style = match_style(min(distances), max(distances), pictures=pictures)
        store_style(path, layer, style)
    if examples is not None:
        table = _examples_table(examples, permission)
        table = shown(table) if shown else table
        layer = query_layer(layer)
        pyogrio.write_dataframe(
            table, path, layer=layer, append=True, DESCRIPTION=EXAMPLES, **POLYGONS
        )
        store_style(path, layer, example_style(), name="query", about="what was searched with")
        reasons += table[REASON_COLUMN].dropna().tolist()
    warn_of(reasons, changed=changed)
    return count


def query_layer(layer: str) -> str:
    """Return the name of the layer that shows what the matches in a layer were searched with."""
    return f"{layer}_query"


def _examples_table(examples: "GeoDataFrame", permission: "Permission | None") -> "GeoDataFrame":
    """Add columns to the examples of a query: a picture each, or why there is none."""
    rows = examples.drop(columns=examples.geometry.name).to_dict("records")
    some = rows[:MOST_PICTURES]
    read = read_pictures(some, size=PICTURE_SIZE, permission=permission)
    none = [None] * (len(rows) - len(some))
    return examples.assign(
        **{
            PICTURE_COLUMN: [*(webp and _jpeg_uri(webp) for webp in read.webp), *none],
            REASON_COLUMN: [*(reason or None for reason in read.reasons), *none],
        }
    )


def check_not_open(path: Path) -> None:
    """Check that no program has a GeoPackage open, before it is replaced.

    SQLite would take the side files of the old file for those of the new one and damage both.

    Args:
        path: The file, which need not exist.

    Raises:
        ExportError: If a side file is next to it, or another program reads or writes it.
    """
    left = [side for end in SIDE_FILES if Path(side := f"{path}{end}").exists()]
    if left:
        msg = (
            f"{path} is open in another program, such as QGIS, or was when that crashed: "
            f"{Path(left[0]).name} is next to it. Close it there (after a crash, open and close it "
            "once) or write to another file."
        )
        raise ExportError(msg)
    if path.is_file() and _is_locked(path):
        msg = (
            f"{path} is open in another program, which holds a lock on it; close it there or "
            "write to another file."
        )
        raise ExportError(msg)


def check_layers(path: Path, *layers: str) -> None:
    """Check that a GeoPackage holds nothing but the layers that will be replaced.

    Args:
        path: The file, which need not exist.
        *layers: Names of those layers; queries of matches are replaced with them.

    Raises:
        ExportError: If it has other layers.
    """
    import pyogrio

    from geohash_rs.store.search.regions import holds_examples  # it imports geopandas

    if not path.is_file():
        return
    with suppress(pyogrio.errors.DataSourceError):  # what is not a GeoPackage is replaced
        names = {str(name) for name, _ in pyogrio.list_layers(path)} - {*layers, STYLES}
        ours = {query_layer(layer) for layer in layers}
        others = [n for n in sorted(names) if n not in ours or not holds_examples(path, n)]
        if others:
            msg = (
                f"{path} also holds the layers {', '.join(others)}, which would be lost; write to "
                "another file."
            )
            raise ExportError(msg)


def _is_locked(path: Path) -> bool:
    address = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=0, isolation_level=None)) as file:
            file.execute("BEGIN EXCLUSIVE")
            file.execute("ROLLBACK")
    except sqlite3.Error as error:  # what is not a database or not to be written can be replaced
        return error.sqlite_errorcode in LOCKED
    return False


def _with_pictures(
    frame: "GeoDataFrame", permission: "Permission | None"
) -> tuple["GeoDataFrame", list[str]]:
    """Add a column of pictures as data URIs, unless no scene can be read.

    Returns:
        The table, and for each row why there is no picture, empty where there is one.
    """
    rows = frame.drop(columns=frame.geometry.name).to_dict("records")
    read = read_pictures(rows, size=PICTURE_SIZE, permission=permission)
    pictures = [webp and _jpeg_uri(webp) for webp in read.webp]
    if not any(pictures) or PICTURE_COLUMN in frame.columns:
        return frame, [*read.reasons]
    return frame.assign(**{PICTURE_COLUMN: pictures}), [*read.reasons]


def _jpeg_uri(webp: bytes) -> str:
    """Convert a picture to JPEG, which QGIS shows on every platform."""
    from PIL import Image

    target = BytesIO()
    Image.open(BytesIO(webp)).convert("RGB").save(target, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(target.getvalue()).decode("ascii")
