"""Find the time that a raster of a published embedding covers, from the name of its file."""

import re
from datetime import UTC, datetime

__all__ = ["dates_by_convention", "year_of_folder"]

DateRange = tuple[datetime, datetime]

# TESSERA: grid_LON_LAT_YEAR.tiff
GRID = re.compile(r"grid_-?\d+(?:\.\d+)?_-?\d+(?:\.\d+)?_(?P<year>(?:19|20)\d\d)\.tiff?$")
# AlphaEarth: 2024/10N/xq7ex2244rc6ls88c-0000000000-0000008192.tiff, or one of Major TOM's cells,
# 2024/U/1/L/7/471U_587L.tif. The year is a folder's name.
ZONED = re.compile(r"/(?P<year>20\d\d)/\d{1,2}[NS]/\w+-\d{10}-\d{10}\.(?:tiff?|vrt)$")
CELL = re.compile(r"/(?P<year>20\d\d)/[UD]/\d+/[LR]/\d+/\d+[UD]_\d+[LR]\.tiff?$")
# Presto of Togo: the date in the name is that of the release; the pixels are of these 12 months.
TOGO = re.compile(r"Togo_Presto_embeddings_")
TOGO_DATES = (datetime(2019, 3, 1, tzinfo=UTC), datetime(2020, 2, 29, 23, 59, 59, 999999, UTC))
YEAR = re.compile(r"(?:19|20)\d\d")


def dates_by_convention(path: str) -> DateRange | None:
    """Date a raster whose path follows the convention of a published embedding.

    Args:
        path: Path or URI, with forward slashes.

    Returns:
        First and last moment in UTC; None if the path follows none of them.

    >>> dates_by_convention("grid_0.15_52.05_2024.tiff")[0].isoformat()
    '2024-01-01T00:00:00+00:00'
    """
    name = path.rsplit("/", 1)[-1]
    if TOGO.match(name):
        return TOGO_DATES
    found = GRID.match(name) or ZONED.search(path) or CELL.search(path)
    return _whole_year(int(found["year"])) if found else None


def year_of_folder(path: str) -> DateRange | None:
    """Date a raster by the nearest folder whose name is a year.

    Args:
        path: Path or URI, with forward slashes.

    Returns:
        First and last moment in UTC; None without such a folder.

    >>> year_of_folder("aef/2023/west/tile.tif")[1].isoformat()
    '2023-12-31T23:59:59.999999+00:00'
    """
    folders = path.split("/")[:-1]
    named = (int(folder) for folder in reversed(folders) if YEAR.fullmatch(folder))
    year = next(named, None)
    return None if year is None else _whole_year(year)


def _whole_year(year: int) -> DateRange:
    last = datetime(year, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    return datetime(year, 1, 1, tzinfo=UTC), last
