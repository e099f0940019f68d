"""Recognise tables of vectors among what is to be added, and open them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from geohash_rs._compat import embedding_table
from geohash_rs.embeddings.arrow import ArrowRows, as_arrow, with_vectors
from geohash_rs.embeddings.opening import open_table
from geohash_rs.embeddings.options import TableSettings
from geohash_rs.embeddings.parquet import ParquetRows
from geohash_rs.embeddings.repeats import Repeats
from geohash_rs.embeddings.tables import TableSource
from geohash_rs.errors import SceneError
from geohash_rs.indexing.report import AddReport
from geohash_rs.scenes.file import scene_key
from geohash_rs.scenes.finding import SCENE_ENDINGS
from geohash_rs.scenes.folders import FolderSearch, shown_name
from geohash_rs.scenes.remote import is_virtual

__all__ = [
    "are_tables",
    "find_tables",
    "is_table_path",
    "open_files",
    "open_tables",
    "tables_among_scenes",
]

ENDINGS = (".parquet", ".geoparquet", ".gpq", ".pq", ".parq")


def is_table_path(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of a Parquet file, or of a folder of tables and not of scenes.

    Args:
        path: The path.
    """
    text = os.fspath(path)
    if not Path(text).is_dir():
        return text.lower().endswith(ENDINGS)
    tables, others = _inside(text)
    return bool(tables) and not others


def tables_among_scenes(path: str | os.PathLike[str]) -> list[str]:
    """List the Parquet files of a folder that also holds scenes, which are read instead of them.

    Args:
        path: The path of anything.

    Returns:
        Their paths; none if it is not such a folder.
    """
    text = os.fspath(path)
    tables, others = _inside(text) if Path(text).is_dir() else ([], False)
    return tables if others else []


def _inside(folder: str) -> tuple[list[str], bool]:
    """Return the Parquet files in a folder, and whether it also holds scenes."""
    wanted = (*ENDINGS, *SCENE_ENDINGS)
    search = FolderSearch(wanted=lambda name: name.lower().endswith(wanted))
    found = sorted(search.files(folder))
    tables = [name for name in found if _is_table(name)]
    return tables, len(tables) < len(found)


def are_tables(data: object) -> bool:
    """Return whether `open_tables` takes something: paths, tables, or vectors with their tiles.

    Args:
        data: What is to be added to an archive.
    """
    if isinstance(data, str | os.PathLike):
        return True
    if isinstance(data, list | tuple) and data:
        return _is_pair(data) or all(isinstance(one, str | os.PathLike) for one in data)
    frame = isinstance(data, pd.DataFrame) or hasattr(data, "__arrow_c_stream__")
    return frame or embedding_table(data) is not None


def open_tables(
    data: Any,  # noqa: ANN401 - see `are_tables`
    settings: TableSettings,
    report: AddReport,
    *,
    folder: Path,
    strict: bool,
) -> list[TableSource]:
    """Open tables of vectors.

    Args:
        data: A path or several, a table, a TorchGeo dataset that holds one, or vectors with a
            GeoDataFrame.
        settings: What the user says.
        report: Receives what cannot be opened.
        folder: The archive, where streams are written to a temporary file.
        strict: Raise an error instead.

    Returns:
        The tables, files in the order of their paths.

    Raises:
        SceneError: If there is no table, or with ``strict``, if one cannot be opened.
    """
    if isinstance(data, str | os.PathLike):
        data = [data]
    if isinstance(data, list | tuple) and not _is_pair(data):
        return open_files(find_tables(data, report, strict=strict), settings, report, strict=strict)
    if _is_pair(data):
        table, column = with_vectors(data[0], as_arrow(data[1], folder=folder))
        return [_in_memory(table, replace(settings, vector_column=column))]
    if (found := embedding_table(data)) is not None:
        frame, root = found
        table, key = as_arrow(frame, folder=folder), scene_key(root)
        if Path(root).is_file():  # pandas forgets what the file says about its vectors
            said = pq.read_schema(root).metadata or {}
            kept = {k: v for k, v in said.items() if k == b"emb"}
            table = table.replace_schema_metadata({**(table.schema.metadata or {}), **kept})
        return [_in_memory(table, replace(settings, name=settings.name or key))]
    return [_in_memory(as_arrow(data, folder=folder), settings)]


def find_tables(
    paths: Sequence[str | os.PathLike[str]], report: AddReport, *, strict: bool
) -> list[Path]:
    """Find Parquet files.

    Args:
        paths: Files, and folders that are searched with their subfolders.
        report: Receives what cannot be read.
        strict: Raise an error instead.

    Returns:
        The files, each once, in the order of their paths.

    Raises:
        SceneError: If a path does not exist or is not on this machine, a folder holds none; with
            ``strict``, if one cannot be read.
    """
    search = FolderSearch(wanted=_is_table)
    found: list[str] = []
    for path in [os.fspath(one) for one in paths]:
        if is_virtual(path):
            msg = f"{path} is not on this machine; download the table first."
            raise SceneError(msg)
        if not Path(path).is_dir():
            if not Path(path).exists():
                msg = f"{path} does not exist; name a Parquet file or a folder of such files."
                raise SceneError(msg)
            found.append(path)
            continue
        inside = sorted(search.files(path))
        if not inside:
            msg = (
                f"{path} holds no Parquet file ({', '.join(ENDINGS)}); pass a folder of scenes as "
                "Scenes(...)."
            )
            raise SceneError(msg)
        found += inside
    for path, reason in search.failed:
        report.skip(path, reason, strict=strict)
    return [Path(path) for path in dict.fromkeys(found)]


def open_files(
    paths: Iterable[Path], settings: TableSettings, report: AddReport, *, strict: bool
) -> list[TableSource]:
    """Open Parquet files.

    Args:
        paths: The files.
        settings: What the user says.
        report: Receives the files that cannot be read.
        strict: Raise an error instead.

    Returns:
        The others.

    Raises:
        SceneError: With ``strict``, if one cannot be read.
    """
    sources = []
    for path in paths:
        key = shown_name(scene_key(path))
        try:
            rows = ParquetRows(path)
            files = [str(path)]
            sources.append(
                open_table(rows, settings, key=key, name=path.name, files=files, state=rows.state)
            )
        except SceneError as error:
            report.skip(key, str(error), strict=strict)
    return sources


def _in_memory(table: pa.Table, settings: TableSettings) -> TableSource:
    """Open a table that is not a file; what it holds is its state, and its name if it has none."""
    rows = ArrowRows(table)
    given = settings.name
    source = open_table(rows, settings, key=given or "table", name=given or "the table")
    seen = Repeats()
    names, size = source.reader.columns.names, 4096
    for row, batch in rows.read(names, start=0, size=size):
        source.reader.read(batch, start=row, place=rows.place, seen=seen)
    digest = f"rows:{seen.total:016x}"
    key = given or f"table-{seen.total:016x}"
    reader = replace(source.reader, key=key)
    record = replace(source.record, scene=key, checksum=digest)
    return replace(source, key=key, name=given or key, reader=reader, record=record)


def _is_pair(data: object) -> bool:
    """Return whether something is vectors with their tiles."""
    return (
        isinstance(data, list | tuple)
        and len(data) == 2
        and isinstance(data[1], gpd.GeoDataFrame)
        and not isinstance(data[0], str | os.PathLike)
    )


def _is_table(name: str) -> bool:
    return name.lower().endswith(ENDINGS)
