"""Read many queries: the points and polygons of a layer, or the patches of a folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import geopandas as gpd
import numpy as np
import pandas as pd

from geohash_rs.errors import QueryError, RegionError, UnansweredError, one_line
from geohash_rs.store.search.regions import read_shapes

__all__ = ["ManyLike", "Patches", "Shapes", "explain_left_out", "read_many"]

ManyLike: TypeAlias = str | Path | gpd.GeoDataFrame | gpd.GeoSeries | Iterable[str | Path]

MOST_REASONS, MOST_NAMED = 3, 3  # in a message
RASTERS = (".tif", ".tiff", ".vrt", ".jp2", ".img")


@dataclass(frozen=True, kw_only=True, eq=False)
class Shapes:
    """The rows of a layer.

    Attributes:
        name: What the layer is called in messages.
        ids: What the user calls each row, missing where it has no id, shape (n,).
        table: The geometries, in the CRS of the layer, shape (n,).
    """

    name: str
    ids: "pd.Series[Any]"
    table: gpd.GeoSeries


@dataclass(frozen=True, kw_only=True, eq=False)
class Patches:
    """Raster files, each a query.

    Attributes:
        name: What they are called in messages.
        ids: Their file names, or as much of their paths as tells them apart, shape (n,).
        paths: The files.
    """

    name: str
    ids: "pd.Series[Any]"
    paths: Sequence[str | Path]


def read_many(
    queries: ManyLike, *, layer: str | None = None, id_column: str | None = None
) -> Shapes | Patches:
    """Read what a user passes as many queries.

    Args:
        queries: A vector file, a table of geometries, a folder of GeoTIFFs, or several GeoTIFFs.
        layer: Layer of a file that has several.
        id_column: Column with the ids of a layer; None numbers its rows from 1.

    Returns:
        The rows of the layer, or the patches.

    Raises:
        QueryError: If a layer has no such column or an id twice, a layer or a column is named for
            patches, or a patch is listed twice or is not a path.
        RegionError: If a layer cannot be read.
        UnansweredError: If there is no row or patch.
    """
    if isinstance(queries, gpd.GeoDataFrame | gpd.GeoSeries):
        return _rows_of(queries, name="the table of queries", id_column=id_column)
    if isinstance(queries, str | Path) and not _holds_patches(queries):
        table = read_shapes(queries, layer=layer, what="a layer of queries")
        if not isinstance(table, gpd.GeoDataFrame | gpd.GeoSeries):
            msg = f"{queries} holds no geometry; pass a layer of points or polygons."
            raise RegionError(msg)
        return _rows_of(table, name=str(queries), id_column=id_column)
    for option, given in (("layer", layer), ("id_column", id_column)):
        if given is not None:
            msg = f"{option} is {given!r}, but the queries are patches, not the rows of a layer."
            raise QueryError(msg)
    return _patches_of(queries)


def _holds_patches(path: str | Path) -> bool:
    """Return whether a path is one of a raster file, or of a folder that is not a layer.

    A layer is a folder of Parquet files without rasters: patches may lie next to an archive.
    """
    file = Path(path)
    if file.is_dir():
        if file.suffix.lower() == ".gdb":
            return False
        return not any(file.glob("**/*.parquet")) or bool(_rasters_in(file))
    return file.suffix.lower() in RASTERS


def _rasters_in(folder: Path) -> list[str]:
    from geohash_rs.scenes.finding import scene_paths  # noqa: PLC0415 - slow to import

    return scene_paths([folder])


def _patches_of(queries: str | Path | Iterable[str | Path]) -> Patches:
    """List the patches of a folder, or those of a list.

    Raises:
        QueryError: If one is listed twice or is not a path.
        UnansweredError: If there is none.
    """
    name, base = "the list of patches", None
    if isinstance(queries, str | Path):
        name = str(queries)
        base = Path(queries) if Path(queries).is_dir() else None
        queries = [queries]
    if base is not None:
        queries = _rasters_in(base)
    paths = list(queries)
    endings = " ".join(RASTERS)
    if not paths:
        msg = (
            f"{name} holds no raster file ({endings}); pass a folder of GeoTIFFs or a vector layer."
        )
        raise UnansweredError(msg)
    wrong = [path for path in paths if not isinstance(path, str | Path)]
    if wrong:
        msg = f"{name} holds {wrong[0]!r}; pass the paths of raster files ({endings})."
        raise QueryError(msg)
    names = [Path(path).name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) if base is None else str(Path(path).relative_to(base)) for path in paths]
    again = {one for one in names if names.count(one) > 1} if len(set(names)) < len(names) else ()
    if again:
        msg = f"{name} holds {min(again)} more than once; pass each patch once."
        raise QueryError(msg)
    return Patches(name=name, ids=pd.Series(names, dtype="str"), paths=paths)


def _rows_of(
    table: gpd.GeoDataFrame | gpd.GeoSeries, *, name: str, id_column: str | None
) -> Shapes:
    """Take the rows of a layer.

    Raises:
        QueryError: If it has no geometry, no such column, or an id twice.
        UnansweredError: If it has no rows.
    """
    if isinstance(table, gpd.GeoDataFrame) and table.active_geometry_name is None:
        msg = f"{name} has no column of geometries; set one with set_geometry(...)."
        raise QueryError(msg)
    if not len(table):
        msg = f"{name} is empty; pass a layer with points or polygons."
        raise UnansweredError(msg)
    geometry = table.geometry.reset_index(drop=True)
    if id_column is None:
        ids = pd.Series(np.arange(1, len(table) + 1))
    else:
        ids = _ids_of(table, id_column, name)
    return Shapes(name=name, ids=ids, table=geometry)


def _ids_of(table: gpd.GeoDataFrame | gpd.GeoSeries, column: str, name: str) -> "pd.Series[Any]":
    """Return the ids of the rows of a layer.

    Raises:
        QueryError: If there is no such column, or an id twice.
    """
    is_table = isinstance(table, gpd.GeoDataFrame)
    columns = [one for one in table.columns if one != table.geometry.name] if is_table else []
    if column not in columns:
        known = ", ".join(map(str, columns)) or "no columns of attributes"
        msg = f"{name} has no column {column!r} of ids; it has {known}."
        raise QueryError(msg)
    ids: pd.Series[Any] = table[column].reset_index(drop=True)
    if ids.dtype.kind == "f" and (ids.dropna() % 1 == 0).all() and ids.isna().any():
        ids = ids.astype("Int64")  # whole numbers, some of which are missing
    try:
        twice = ids[ids.notna() & ids.duplicated()].unique()
    except TypeError as error:  # lists, of which none can be compared
        msg = f"the column {column!r} of {name} holds no plain values: {one_line(error)}."
        raise QueryError(msg) from error
    if len(twice):
        more = f" and {len(twice) - MOST_NAMED} more" if len(twice) > MOST_NAMED else ""
        shown = ", ".join(map(str, twice[:MOST_NAMED]))
        msg = (
            f"the column {column!r} of {name} holds {shown}{more} more than once; pass a column "
            "whose values differ, or none to number the rows."
        )
        raise QueryError(msg)
    return ids


def explain_left_out(many: Shapes | Patches, reasons: Mapping[int, str], *, num_left: int) -> str:
    """Report how many queries are left out, and why.

    Args:
        many: The queries.
        reasons: The reason of each row that is left out.
        num_left: How many are left.

    Returns:
        A sentence that names the first rows of the first reasons. Reasons that differ only in the
        names of the patches are one.
    """
    rows_by_reason: dict[str, list[int]] = {}
    for row, reason in sorted(reasons.items()):
        rows_by_reason.setdefault(_without_name(many, row, reason), []).append(row)
    said = []
    for reason, rows in list(rows_by_reason.items())[:MOST_REASONS]:
        names = [_called(many, row) for row in rows[:MOST_NAMED]]
        more = f" and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
        said.append(f"{', '.join(names)}{more}: {reason}")
    count = len(rows_by_reason) - MOST_REASONS
    said += [f"{count} more reasons"] if count > 0 else []
    of = f"{len(reasons)} of {len(reasons) + num_left} queries" if num_left else "all queries"
    return f"{of} of {many.name} are left out: {'; '.join(said)}."


def _without_name(many: Shapes | Patches, row: int, reason: str) -> str:
    """Shorten a reason by the name of the patch, by which the sentence begins anyway."""
    if isinstance(many, Shapes):
        return reason
    path = Path(many.paths[row])
    for name in (str(many.paths[row]), str(path.absolute()), path.name):
        reason = reason.replace(f"{name}: ", "").removeprefix(f"{name} ").replace(name, "it")
    return reason


def _called(many: Shapes | Patches, row: int) -> str:
    name = many.ids.iloc[row]
    return f"row {row + 1}" if pd.isna(name) else str(name)
