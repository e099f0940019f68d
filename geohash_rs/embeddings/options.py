"""What a user may say about tables of vectors, where their columns do not say it."""

from dataclasses import dataclass
from typing import Any, TypedDict

from geohash_rs.errors import SceneError
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.scenes.dates import DateArgument

__all__ = ["TableOptions", "TableSettings"]


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
        date: Date of all vectors, as in `Scenes`, whatever the table says.
        embedding: Model of the vectors, whatever the file says; or its name.
        name: Name of a table that is not a file, by which a later version replaces it.
    """

    vector_column: str
    geometry_column: str
    time_column: str
    source_column: str
    scale_column: str
    footprint_m: float
    crs: Any
    date: DateArgument
    embedding: Embedding | str
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
    date: DateArgument | None = None
    embedding: Embedding | str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.footprint_m is not None and not 0 < self.footprint_m <= MOST_METRES:
            msg = (
                f"footprint_m is {self.footprint_m}, but it must be the side of a footprint in "
                f"metres, above 0 and at most {MOST_METRES:,}."
            )
            raise SceneError(msg)


MOST_METRES = 1_000_000
