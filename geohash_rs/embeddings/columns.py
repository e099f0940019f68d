"""Find the columns of a table of vectors by their names and types."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from geohash_rs.embeddings.metadata import TableAbout
from geohash_rs.embeddings.moments import holds_times
from geohash_rs.embeddings.numbers import holds_vectors, plain
from geohash_rs.embeddings.options import TableSettings
from geohash_rs.errors import SceneError

__all__ = ["Columns", "find_columns", "find_vectors"]

VECTORS = ("embedding", "embeddings", "vector", "vectors", "features", "feature", "emb")
GEOMETRIES = ("geometry", "geom", "footprint", "wkb_geometry", "wkb")
CENTRES = (
    ("centre_lon", "centre_lat"),
    ("center_lon", "center_lat"),
    ("longitude", "latitude"),
    ("lon", "lat"),
    ("lng", "lat"),
)
RANGES = (("start_datetime", "end_datetime"), ("datetime", "datetime_end"))
TIMES = (
    "datetime",
    "date",
    "timestamp",
    "acquired",
    "acquisition_datetime",
    "acquisition_date",
    "acquisition_time",
    "time",
    "year",
)
SOURCES = (
    "source_url",
    "source",
    "product_id",
    "source_id",
    "item_id",
    "scene_id",
    "image_id",
    "source_image",
    "href",
)
SCALES = ("scale", "scales", "embedding_scale", "vector_scale")

Fits = Callable[[pa.Field], bool]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that are read.

    Attributes:
        vector: The vectors.
        place: The geometry; or the longitude and latitude of centres.
        time: The dates: none, one, or the first and the last.
        source: The image from which a vector was made, or None.
        scale: By which vectors of integers are multiplied, or None.
        notes: What was passed over, sentences for a user.
    """

    vector: str
    place: tuple[str, ...]
    time: tuple[str, ...] = ()
    source: str | None = None
    scale: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """All columns, each once."""
        others = [name for name in (self.source, self.scale) if name is not None]
        return list(dict.fromkeys([self.vector, *self.place, *self.time, *others]))


def find_columns(schema: pa.Schema, about: TableAbout, settings: TableSettings) -> Columns:
    """Choose the columns of a table.

    Args:
        schema: Its schema.
        about: What its metadata say.
        settings: What the user says.

    Returns:
        The columns.

    Raises:
        SceneError: If there are no vectors or no place, several columns could be meant, or a column
            that the user names is missing or has another type.
    """
    search = _Search(schema)
    vector, scale = search.numbers(settings)
    return Columns(
        vector=vector,
        place=search.place(settings.geometry_column, about),
        time=search.time(settings.time_column),
        source=search.source(settings.source_column),
        scale=scale,
        notes=tuple(search.notes),
    )


def find_vectors(schema: pa.Schema) -> Columns:
    """Choose only the columns of the vectors and their scale, as `find_columns` does.

    Args:
        schema: The schema of a table.

    Returns:
        The columns, without a place.

    Raises:
        SceneError: If there are no vectors, or several columns could be meant.
    """
    vector, scale = _Search(schema).numbers(TableSettings())
    return Columns(vector=vector, place=(), scale=scale)


class _Search:
    """A search for columns, with what it passed over."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.notes: list[str] = []
        self._by_name = {one.name.lower(): one for one in reversed(list(schema))}

    def first(self, names: Sequence[str], fits: Fits) -> str | None:
        """Return the first of some names that is a column of a type that fits."""
        for name in names:
            one = self._by_name.get(name)
            if one is not None and fits(one):
                return str(one.name)
        return None

    def named(self, name: str, fits: Fits, option: str, what: str) -> str:
        """Return a column that the user names.

        Raises:
            SceneError: If it is missing or does not fit.
        """
        if name not in self.schema.names:
            msg = f"it has no column {name!r}, as {option} says; its columns are {self._listed()}."
            raise SceneError(msg)
        one = self.schema.field(name)
        if not fits(one):
            msg = f"its column {name!r} is of type {one.type}, not {what}; correct {option}."
            raise SceneError(msg)
        return name

    def numbers(self, settings: TableSettings) -> tuple[str, str | None]:
        """Find the vectors and, of vectors of integers, their scale.

        Raises:
            SceneError: As `find_columns`.
        """
        vector = self.vector(settings.vector_column)
        kind = plain(self.schema.field(vector).type).value_type
        if settings.scale_column is not None:
            return vector, self.named(settings.scale_column, _is_number, "scale_column", "numbers")
        is_integer = pa.types.is_integer(kind)
        names = (*SCALES, f"{vector}_scale")
        return vector, self.first(names, _is_number) if is_integer else None

    def vector(self, asked: str | None) -> str:
        """Find the vectors.

        Raises:
            SceneError: If there are none, or several columns could be meant.
        """
        if asked is not None:
            return self.named(asked, _is_vector, "vector_column", "lists of numbers")
        others = [one.name for one in self.schema if _is_vector(one) and one.name != "bbox"]
        found = self.first(VECTORS, _is_vector) or (others[0] if len(others) == 1 else None)
        wrong = [self._by_name[name] for name in VECTORS if name in self._by_name]
        wrong = [one for one in wrong if not _is_vector(one)]
        if found is not None:
            if wrong:
                self.notes.append(
                    f"the column {wrong[0].name!r} is of type {wrong[0].type}, so vectors are read "
                    f"from {found!r}; choose with vector_column=..."
                )
            return found
        if wrong:
            msg = (
                f"its column {wrong[0].name!r} is of type {wrong[0].type}, not lists of numbers; "
                "name the column of vectors with vector_column=..."
            )
        elif others:
            listed = ", ".join(map(repr, others))
            msg = f"several columns hold lists of numbers ({listed}); choose with vector_column=..."
        else:
            msg = f"it has no column of vectors, only {self._listed()}."
        raise SceneError(msg)

    def place(self, asked: str | None, about: TableAbout) -> tuple[str, ...]:
        """Find the geometries or the centres.

        Raises:
            SceneError: If there are none.
        """
        if asked is not None and "," in asked and asked not in self.schema.names:
            pair = [name.strip() for name in asked.split(",")]
            if len(pair) == 2:
                found = (self.named(n, _is_number, "geometry_column", "numbers") for n in pair)
                return tuple(found)
        if asked is not None:

            def fits(one: pa.Field) -> bool:
                return one.name in about.geometries or _is_binary(one)

            return (self.named(asked, fits, "geometry_column", "geometries"),)
        if about.geometries:
            return (next(iter(about.geometries)),)
        if (found_one := self.first(GEOMETRIES, _is_binary)) is not None:
            return (found_one,)
        for lon, lat in CENTRES:
            x, y = self.first([lon], _is_number), self.first([lat], _is_number)
            if x is not None and y is not None:
                return x, y
        msg = (
            f"it has neither geometries nor centres, only {self._listed()}; name the column with "
            'geometry_column=..., or two as geometry_column="LON,LAT".'
        )
        raise SceneError(msg)

    def time(self, asked: str | None) -> tuple[str, ...]:
        """Find the dates; a table need not have any.

        Raises:
            SceneError: If a column that the user names does not fit.
        """
        if asked is not None:
            whole = asked in self.schema.names
            names = [asked] if whole else [name.strip() for name in asked.split(",")][:2]
            return tuple(self.named(n, _is_time, "time_column", "dates") for n in names)
        for pair in RANGES:
            ends = [self.first([name], _is_time) for name in pair]
            if ends[0] is not None and ends[1] is not None:
                return ends[0], ends[1]
        found = self.first(TIMES, _is_time)
        wrong = [self._by_name[name] for name in TIMES if name in self._by_name]
        if found is None and wrong:
            self.notes.append(
                f"the column {wrong[0].name!r} is of type {wrong[0].type}, which says no date, so "
                "it is not read; convert it to timestamps."
            )
        return () if found is None else (found,)

    def source(self, asked: str | None) -> str | None:
        """Find the names of images; a table need not have any.

        Raises:
            SceneError: If the column that the user names does not fit.
        """
        if asked is not None:
            return self.named(asked, _is_text, "source_column", "text")
        return self.first(SOURCES, _is_text)

    def _listed(self) -> str:
        shown = [f"{one.name} ({one.type})" for one in self.schema][:20]
        more = f" and {len(self.schema) - 20} more" if len(self.schema) > 20 else ""
        return f"{', '.join(shown) or 'none'}{more}"


def _is_vector(one: pa.Field) -> bool:
    return holds_vectors(one.type)


def _is_time(one: pa.Field) -> bool:
    return holds_times(one.type, one.name)


def _is_number(one: pa.Field) -> bool:
    return _is_any(one, pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)


def _is_binary(one: pa.Field) -> bool:
    return _is_any(one, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)


def _is_text(one: pa.Field) -> bool:
    return _is_any(one, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def _is_any(one: pa.Field, *tests: Callable[[pa.DataType], bool]) -> bool:
    """Return whether the values of a column, perhaps of a dictionary, are of one of some kinds."""
    kind = plain(one.type)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(test(kind) for test in tests)
