"""Look at a table of vectors: choose its columns, and check that it does not contradict itself."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from geohash_rs.embeddings.columns import Columns, find_columns
from geohash_rs.embeddings.faults import Faults
from geohash_rs.embeddings.known import MODEL, said_of
from geohash_rs.embeddings.metadata import CRS84, TableAbout, about_table
from geohash_rs.embeddings.numbers import length_of, plain
from geohash_rs.embeddings.options import TableSettings
from geohash_rs.embeddings.places import Placing, check_units, is_lonlat, read_crs
from geohash_rs.embeddings.rows import RowReader
from geohash_rs.embeddings.table_rows import TableRows, Unreadable
from geohash_rs.embeddings.tables import TableSource
from geohash_rs.errors import SceneError
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.scenes.dates import DateRange, DateRule
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["open_table", "quantization_of"]

HEAD = 1024  # rows that are looked at before a table is read


def open_table(
    rows: TableRows,
    settings: TableSettings,
    *,
    key: str,
    name: str,
    files: Sequence[str] = (),
    state: tuple[int, int] | None = None,
) -> TableSource:
    """Look at the first rows of a table, and choose how to read it.

    Args:
        rows: The table.
        settings: What the user says.
        key: Name of its scene in an archive.
        name: A short name for messages.
        files: The file that it is in.
        state: Size and time of change of the file.

    Returns:
        The source.

    Raises:
        SceneError: If it has no vectors or no places, or what it says contradicts itself.
    """
    about = about_table(rows.schema, rows.native)
    try:
        columns = find_columns(rows.schema, about, settings)
        if settings.datetime is not None:
            columns = Columns(
                vector=columns.vector,
                place=columns.place,
                source=columns.source,
                scale=columns.scale,
                notes=columns.notes,
            )
        head = _head(rows, columns)
        notes = list(columns.notes)
        quantization = quantization_of(rows.schema, columns, about, notes)
        length = _length(head, columns, about)
        placing = _placing(head, columns, about, settings, notes)
        dates = _dates(key, columns, about, settings, notes)
        embedding = _embedding(length, about, settings)
    except SceneError as error:
        msg = f"{name}: {error}"
        raise SceneError(msg) from error
    reader = RowReader(
        key=key,
        columns=columns,
        length=length,
        placing=placing,
        dates=dates,
        quantization=quantization,
    )
    kind = plain(rows.schema.field(columns.vector).type).value_type
    chosen = {
        "columns": columns.names,
        "length": length,
        "quantization": None if quantization is None else list(quantization),
        "crs": "EPSG:4326" if is_lonlat(placing.crs) else placing.crs.to_string(),
        "footprint_m": placing.footprint_m,
        "dates": None if dates is None else [moment.isoformat() for moment in dates],
    }
    record = SceneRecord(
        scene=key,
        dtype=str(kind.to_pandas_dtype()().dtype),
        size=None if state is None else state[0],
        mtime_ns=None if state is None else state[1],
        settings={"vectors": chosen, MODEL: said_of(embedding)},
    )
    return TableSource(
        key=key,
        name=name,
        embedding=embedding,
        record=record,
        files=files,
        notes=[_choices(columns, length, embedding, str(kind)), *notes],
        rows=rows,
        reader=reader,
    )


def _head(rows: TableRows, columns: Columns) -> pa.RecordBatch:
    """Read the first rows that have a vector.

    Raises:
        SceneError: If there are none.
    """
    lost = ""
    for _, batch in rows.read(columns.names, start=0, size=HEAD):
        if isinstance(batch, Unreadable):
            lost = f" ({batch.count} rows are {batch.reason})"
        elif length_of(batch.column(columns.vector)) is not None and (
            batch.column(columns.vector).null_count < batch.num_rows
        ):
            return batch
    msg = (
        f"it has {rows.num_rows} rows, none with a vector in {columns.vector!r}{lost}."
        if rows.num_rows
        else "it has no rows, so there is nothing to add."
    )
    raise SceneError(msg)


def _length(head: pa.RecordBatch, columns: Columns, about: TableAbout) -> int:
    """Return how many numbers a vector has.

    Raises:
        SceneError: If the metadata say otherwise.
    """
    found = length_of(head.column(columns.vector)) or 0
    if about.dimensions not in (None, found):
        msg = (
            f"its metadata say {about.dimensions} dimensions, but the vectors in "
            f"{columns.vector!r} have {found} numbers; choose the column with vector_column=..."
        )
        raise SceneError(msg)
    return found


def quantization_of(
    schema: pa.Schema, columns: Columns, about: TableAbout, notes: list[str]
) -> tuple[Any, Any] | None:
    """Return how integers become numbers; None if they are numbers.

    Args:
        schema: Schema of the table.
        columns: Its columns.
        about: What its metadata say.
        notes: Receives a sentence if nothing gives a scale.

    Returns:
        What they are multiplied by, and what is then added.

    Raises:
        SceneError: If they were made by a method that cannot be undone.
    """
    kind = plain(schema.field(columns.vector).type).value_type
    if not pa.types.is_integer(kind) or columns.scale is not None:
        return None
    if isinstance(about.quantization, str):
        msg = (
            f"its metadata say that the {kind} numbers in {columns.vector!r} are quantized by "
            f"{about.quantization!r} without a scale, which cannot be undone; decode them first, "
            "or pass scale_column=..."
        )
        raise SceneError(msg)
    if about.quantization is None:
        notes.append(
            f"neither a column nor the metadata give a scale of the {kind} numbers in "
            f"{columns.vector!r}, so they are taken as they are; pass scale_column=... if they "
            "have one."
        )
    return about.quantization


def _placing(
    head: pa.RecordBatch,
    columns: Columns,
    about: TableAbout,
    settings: TableSettings,
    notes: list[str],
) -> Placing:
    """Choose how rows get their footprints.

    Raises:
        SceneError: If coordinates and CRS contradict each other, or points have no size.
    """
    centres = len(columns.place) == 2
    known = about.geometries.get(columns.place[0])
    said = CRS84 if centres else (known.crs if known else None)
    if settings.crs is None and said is None:
        notes.append(
            f"no CRS is stated for {columns.place[0]!r}, so it is taken as longitude and latitude; "
            "pass crs=... if it is another."
        )
    placing = Placing(
        columns=columns.place,
        encoding=None if centres else (known.encoding if known else "wkb"),
        crs=read_crs(settings.crs if settings.crs is not None else said or CRS84),
        footprint_m=settings.footprint_m,
        confirmed=settings.crs is not None,
    )
    faults = Faults(head.num_rows, str)
    shapes = placing.shapes(head, faults)
    named = " and ".join(map(repr, columns.place)) + (" hold" if centres else " holds")
    if settings.crs is None:
        check_units(shapes, placing.crs, what=named if centres else f"its column {named}")
    kinds = {shape.geom_type for shape in shapes[~faults.bad]}
    points = bool(kinds) and kinds <= {"Point", "MultiPoint"}
    if points and settings.footprint_m is None:
        msg = (
            f"{named} only points, so nothing says how large a chip is; pass "
            "footprint_m=METRES, the side of its square."
        )
        raise SceneError(msg)
    if points:
        notes.append(
            f"{named} only points, so each footprint is a square of "
            f"{settings.footprint_m:g} m around one."
        )
    elif settings.footprint_m is not None:
        notes.append(f"{named} footprints; footprint_m={settings.footprint_m:g} is for points.")
    return placing


def _dates(
    key: str, columns: Columns, about: TableAbout, settings: TableSettings, notes: list[str]
) -> DateRange | None:
    """Return the dates of all rows, where no column has them."""
    if columns.time:
        return None
    if settings.datetime is None and about.dates is not None:
        notes.append(f"no column has dates; the metadata of the file say {_shown(about.dates)}.")
        return about.dates
    found = DateRule(argument=settings.datetime).dates(key, {})
    if found is not None and settings.datetime is None:
        notes.append(f"no column has dates; the name of the file says {_shown(found)}.")
    elif found is None:
        notes.append(
            "nothing says when the images were taken; pass time_column=... or datetime=..."
        )
    return found


def _shown(dates: DateRange) -> str:
    return "/".join(dict.fromkeys(moment.date().isoformat() for moment in dates))


def _embedding(length: int, about: TableAbout, settings: TableSettings) -> Embedding:
    """Return the model of the vectors.

    Raises:
        SceneError: If the user names one of another length.
    """
    given = settings.model
    if given is None:
        return Embedding(about.model, length, version=about.version)
    if isinstance(given, str):
        return Embedding(given, length)
    if given.dimensions != length:
        msg = f"its vectors have {length} numbers, but model=... says {given}."
        raise SceneError(msg)
    return given


def _choices(columns: Columns, length: int, embedding: Embedding, kind: str) -> str:
    """Report what is read from where."""
    parts = [f"vectors of {length} numbers ({kind}) from {columns.vector!r}"]
    if columns.scale:
        parts.append(f"their scale from {columns.scale!r}")
    centres = len(columns.place) == 2
    parts.append(
        f"{'centres' if centres else 'places'} from {' and '.join(map(repr, columns.place))}"
    )
    if columns.time:
        parts.append(f"dates from {' and '.join(map(repr, columns.time))}")
    if columns.source:
        parts.append(f"source images from {columns.source!r}")
    model = " ".join(part for part in (embedding.model, embedding.version) if part)
    said = f"their model is {model}" if model else "no model is named (model=NAME does)"
    return f"{', '.join(parts)}; {said}."
