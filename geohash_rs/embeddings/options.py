"""What a user may say about tables of vectors, where their columns do not say it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypedDict

import geopandas as gpd
import numpy.typing as npt
import pandas as pd

from geohash_rs.errors import SceneError
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.scenes.dates import DateArgument

__all__ = ["TableOptions", "TableSettings", "Tables", "refuse_options", "table_settings"]


class ArrowStream(Protocol):
    """Anything that gives Arrow data as a stream: a table, a reader, a relation of DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return a capsule of the stream."""


Tables = (
    str
    | os.PathLike[str]
    | Sequence[str | os.PathLike[str]]
    | tuple[npt.ArrayLike, gpd.GeoDataFrame]
    | pd.DataFrame
    | ArrowStream
)

MOST_METRES = 1_000_000


class TableOptions(TypedDict, total=False):
    """Options of `Archive.add` for tables of vectors; all are found out where possible.

    Attributes:
        vector_column: Column of the vectors.
        geometry_column: Column of the footprints; or two columns with the longitude and latitude of
            the centres, such as "lon,lat".
        time_column: Column of the dates; or two with the first and last, such as "start,end".
        source_column: Column that names the image from which a vector was made.
        scale_column: Column of numbers by which vectors of integers are to be multiplied.
        footprint_m: Side of the square footprint, m, where a table holds only points.
        crs: CRS of the coordinates, whatever the file says.
        datetime: Date of all vectors, as in `Scenes`, whatever the table says.
        model: Name of the model of the vectors, or an `Embedding`, whatever the file says.
        name: Name of a table that is not a file, by which a later version replaces it.
    """

    vector_column: str
    geometry_column: str
    time_column: str
    source_column: str
    scale_column: str
    footprint_m: float
    crs: Any
    datetime: DateArgument
    model: Embedding | str
    name: str


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """Checked options; attributes as in `TableOptions`, None where nothing was said."""

    vector_column: str | None = None
    geometry_column: str | None = None
    time_column: str | None = None
    source_column: str | None = None
    scale_column: str | None = None
    footprint_m: float | None = None
    crs: Any = None
    datetime: DateArgument | None = None
    model: Embedding | str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.footprint_m is not None and not 0 < self.footprint_m <= MOST_METRES:
            msg = (
                f"footprint_m is {self.footprint_m}, but it must be the side of a footprint in "
                f"metres, above 0 and at most {MOST_METRES:,}."
            )
            raise SceneError(msg)


def table_settings(options: Mapping[str, Any], *, also: Mapping[str, Any]) -> TableSettings:
    """Check the options of `Archive.add` for tables.

    Args:
        options: As `TableOptions`.
        also: Options for imagery, each of which must be None.

    Returns:
        The settings.

    Raises:
        SceneError: If an option is unknown, out of range, or for imagery.
    """
    known = {one.name for one in fields(TableSettings)}
    wrong = [name for name in options if name not in known]
    wrong += [name for name, value in also.items() if value is not None]
    if wrong:
        listed = ", ".join(f"{name}=..." for name in wrong)
        msg = f"{listed} cannot be used with a table of vectors, which takes {sorted(known)}."
        raise SceneError(msg)
    return TableSettings(**options)


def refuse_options(options: Mapping[str, Any]) -> None:
    """Check that no option for tables is given with imagery.

    Args:
        options: As `TableOptions`.

    Raises:
        SceneError: If there is one.
    """
    if options:
        listed = ", ".join(f"{name}=..." for name in options)
        msg = (
            f"{listed} is for tables of vectors, not for imagery; leave it out, or pass the path "
            "of a Parquet file."
        )
        raise SceneError(msg)
