"""Errors that say what was wrong, with the values, and what to do next."""

import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

__all__ = [
    "ArchiveCorruptError",
    "ArchiveExistsError",
    "ArchiveFormatError",
    "ArchiveLockedError",
    "ArchiveNotFoundError",
    "ArchiveReadOnlyError",
    "ArchiveWriteError",
    "BandMismatchError",
    "CalibrationError",
    "CodeLengthError",
    "ConceptError",
    "EngineError",
    "EngineMissingError",
    "EngineUnreachableError",
    "ExportError",
    "GeoHashRSError",
    "GeoHashRSWarning",
    "HasherError",
    "HasherMismatchError",
    "HasherNotFoundError",
    "LabelError",
    "PatchError",
    "QueryError",
    "ReadingError",
    "RegionError",
    "SceneError",
    "TileNotFoundError",
    "TileSizeError",
    "TilesReplacedError",
    "TileTableError",
    "TimeRangeError",
    "TrainingError",
    "UnansweredError",
    "ValueMismatchError",
    "VectorError",
    "ignore_warnings",
    "one_line",
]

OTHER_PROJ = ("another PROJ installation", "Cannot find proj.db", "PROJ: internal_proj_identify")
PROJ_VARIABLES = ("PROJ_DATA", "PROJ_LIB")
# What GDAL, SQLite and Arrow say of files, and what it means.
NETWORK = re.compile(r"HTTP|curl|timed? ?out|connection", re.IGNORECASE)
RAW_NAME = re.compile(r"\bCPLE_\w+(: | in )")
NAMED = r"([^:\s][^:]*: ?)?"  # GDAL puts the file first, which the message has named already
DAMAGED = "it is damaged or incomplete; copy or download it again."
PLAINLY = tuple(
    (re.compile(raw), plain)
    for raw, plain in (
        (NAMED + r"(IReadBlock|IRasterIO)\b.*", DAMAGED),
        (NAMED + r"(TIFF(Read|Fetch|Fill|Open)|JPEGLib|LZWDecode|ZIPDecode)\w*:.*", DAMAGED),
        (NAMED + r"(Not a TIFF|Cannot read TIFF header).*", DAMAGED),
        (
            r"'[^']*' not recognized as being in a supported file format.*",
            "it is empty or damaged, or GDAL does not read files of its kind.",
        ),
        (r"sqlite3_\w+\(.*|(file is not a database|database disk image is).*", DAMAGED),
        (r"Could not open Parquet input source.*|Parquet magic bytes not found.*", DAMAGED),
        (
            r"(\w+Exception: )?Points of LinearRing do not form a closed linestring.*",
            "a ring of a polygon is not closed; repeat its first corner as its last.",
        ),
        (r"missing , or \]$", "the text of its CRS is damaged; set its CRS again."),
    )
)


class GeoHashRSError(Exception):
    """Base of every error that geohash_rs raises on purpose."""


class CodeLengthError(GeoHashRSError, ValueError):
    """A code's length cannot be packed, or differs from the archive's."""


class SceneError(GeoHashRSError, ValueError):
    """A scene cannot be read, or cannot be placed on the Earth."""


class ReadingError(GeoHashRSError, RuntimeError):
    """The processes that read scenes keep dying."""


class TileSizeError(GeoHashRSError, ValueError):
    """A tile size or stride does not fit the scene or is not a positive number of pixels."""


class TilesReplacedError(TileSizeError):
    """Scenes have tiles of another size or stride, which would be replaced."""


class BandMismatchError(GeoHashRSError, ValueError):
    """A scene or patch does not have the bands that the hasher expects."""


class ValueMismatchError(GeoHashRSError, ValueError):
    """The pixel values of a scene or patch are not those that the hasher was made for."""


class HasherError(GeoHashRSError, ValueError):
    """A hasher cannot be made, fitted, saved or used as requested."""


class HasherNotFoundError(GeoHashRSError, FileNotFoundError):
    """No hasher has this name, and no file is at this path."""


class HasherMismatchError(GeoHashRSError, ValueError):
    """An archive was made by another hasher."""


class PatchError(GeoHashRSError, ValueError):
    """A query patch cannot be read or resampled to the hasher's grid."""


class QueryError(GeoHashRSError, ValueError):
    """A query's arguments make no sense, such as k = 0."""


class RegionError(GeoHashRSError, ValueError):
    """A region is empty, invalid or outside the valid longitudes and latitudes."""


class TimeRangeError(GeoHashRSError, ValueError):
    """A time range cannot be parsed, or ends before it starts."""


class TileNotFoundError(GeoHashRSError, LookupError):
    """An archive holds no tile with this id.

    Attributes:
        missing: The ids without a tile, if several were looked up at once.
    """

    def __init__(self, message: str, *, missing: Iterable[int] = ()) -> None:
        """Keep what is missing.

        Args:
            message: What was wrong, and what to do next.
            missing: The ids without a tile.
        """
        super().__init__(message)
        self.missing = frozenset(missing)


class ArchiveNotFoundError(GeoHashRSError, FileNotFoundError):
    """A folder is not an archive, or does not exist."""


class ArchiveExistsError(GeoHashRSError, FileExistsError):
    """An archive or other files already exist at the path of a new archive."""


class ArchiveFormatError(GeoHashRSError, ValueError):
    """An archive has a format that this version cannot read."""


class ArchiveCorruptError(GeoHashRSError, OSError):
    """A file of an archive is missing, cut short or changed."""


class ArchiveLockedError(GeoHashRSError, BlockingIOError):
    """Another process is writing to this archive."""


class ArchiveReadOnlyError(GeoHashRSError, PermissionError):
    """An archive was opened for reading, or its folder cannot be written."""


class ArchiveWriteError(GeoHashRSError, OSError):
    """A file of an archive cannot be written: the disk is full, or permission is missing."""


class TileTableError(GeoHashRSError, ValueError):
    """The tiles given to an archive have missing or wrong columns, or do not match their codes."""


class VectorError(GeoHashRSError, ValueError):
    """Feature vectors do not fit an archive, or an archive keeps none."""


class EngineError(GeoHashRSError, RuntimeError):
    """A cluster, database or object storage cannot do what was requested, or holds other data."""


class EngineMissingError(GeoHashRSError, ImportError):
    """The package that an engine needs is not installed."""


class EngineUnreachableError(GeoHashRSError, ConnectionError):
    """A cluster, database or object storage does not answer, denies access, or was lost."""


class LabelError(GeoHashRSError, ValueError):
    """Polygons with classes cannot be read or used."""


class CalibrationError(GeoHashRSError, ValueError):
    """A precision cannot be promised: labels are missing or too few, or do not fit the archive."""


class ConceptError(GeoHashRSError, ValueError):
    """Marks cannot teach a concept, or a concept does not fit an archive."""


class ExportError(GeoHashRSError, ValueError):
    """A result cannot be written in the requested format."""


class TrainingError(GeoHashRSError, ValueError):
    """A training set, setting or checkpoint cannot be used."""


class UnansweredError(GeoHashRSError, ValueError):
    """None of many queries can be answered."""


class GeoHashRSWarning(UserWarning):
    """Base of all geohash_rs warnings."""


def one_line(error: BaseException) -> str:
    """Return the error message on one line, or the error type if there is no message.

    What GDAL says of a damaged file is put plainly; what it says of a network stays. Where PROJ
    found data that it cannot use, it names the variable to unset.
    """
    text = RAW_NAME.sub("", " ".join(str(error).split())) or type(error).__name__
    if not NETWORK.search(text) and not any(sign in text for sign in OTHER_PROJ):
        for raw, plain in PLAINLY:
            text = raw.sub(plain, text, count=1)
    wrong = [name for name in PROJ_VARIABLES if os.environ.get(name)]
    remedy = f"; unset {' and '.join(wrong)}, which leads there."
    if wrong and remedy not in text and any(sign in text for sign in OTHER_PROJ):
        text = text.rstrip(".") + remedy
    return text


@contextmanager
def ignore_warnings(category: type[Warning] = Warning) -> Iterator[None]:
    """Ignore warnings while a block runs, in all threads.

    `warnings.catch_warnings` exchanges the filters of the whole process. Where two threads overlap,
    the one that ends last restores what the other had set, and every later warning is lost. This
    adds a filter and removes it from the same list, so that threads may overlap.

    Args:
        category: Warnings to ignore, those of subclasses included.
    """
    filters = cast("list[tuple[Any, ...]]", warnings.filters)
    entry = ("ignore", None, category, None, 0)
    filters.insert(0, entry)
    try:
        yield
    finally:
        if entry in filters:  # unless somebody has reset them meanwhile
            filters.remove(entry)
