"""The columns of an archive's tiles, and a table of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from geohash_rs.errors import TileTableError
from geohash_rs.store.segment.windows import TILE_SIZE

__all__ = [
    "COLUMNS",
    "NUMBERS",
    "OPTIONAL",
    "SOURCE",
    "SOURCES",
    "STAMP",
    "TileTable",
    "check_texts",
]

SOURCE = "source"  # optional column: image or product from which a code was made
SOURCES = pa.large_string()  # two million of them may take more than 2 GiB
NUMBERS = ("col", "row", "width", "height")
OPTIONAL = ("datetime_end", "label", TILE_SIZE, SOURCE)
COLUMNS = ("tile_id", "scene", *NUMBERS, "datetime", "geometry")
STAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, kw_only=True)
class TileTable:
    """Tiles in the stored form.

    Attributes:
        table: Columns scene, col, row, width, height, datetime, [datetime_end], [label],
            [tile_size], [source] and geometry (WKB, EPSG:4326), without tile ids.
        bounds: (xmin, ymin, xmax, ymax) of each footprint in degrees, xmax above 180 if it
            crosses the antimeridian, NaN if it is missing; float64, shape (n, 4).
    """

    table: pa.Table
    bounds: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return int(self.table.num_rows)


def check_texts(texts: pa.Array, name: str, *, most: int) -> None:
    """Check texts to be stored.

    Args:
        texts: Texts, distinct or not.
        name: Their column, for messages.
        most: Bytes that one may have.

    Raises:
        TileTableError: If one has a zero byte or is too long.
    """
    if pc.any(pc.match_substring(texts, "\0")).as_py():
        msg = f"column {name!r} of tiles has a text with a zero byte; remove the byte."
        raise TileTableError(msg)
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    if longest > most:
        msg = f"column {name!r} of tiles has a text of {longest:,} bytes; use at most {most:,}."
        raise TileTableError(msg)
