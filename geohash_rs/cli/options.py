"""Types of options that several commands share."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

__all__ = ["Numbers", "bands_of", "echo_json", "in_options", "read_region", "time_range"]

# Parameters that messages name, and what they are called on the command line where that differs.
PARAMETERS = re.compile(
    r"\b(asset|bands|checksum|date_format|datetime|edges|filename_regex|max_distance|max_nodata|"
    r"nodata|resolution|stride|tile_size|value_range|window|workers)="
    r'(True\b|"[^"]*"|\[[^\]]*\]|\([^)]*\)|\.\.\.|[^\s;,)]*)'
)
RENAMED = {"datetime": "date"}


class Numbers(click.ParamType[tuple[float, ...]] if TYPE_CHECKING else click.ParamType):  # type: ignore[misc]
    """A fixed number of numbers with commas between, such as a window or a bounding box."""

    name = "numbers"

    def __init__(self, names: str, *, whole: bool = False) -> None:
        """Tell what the numbers are.

        Args:
            names: Their names with commas between, shown in help and errors.
            whole: Whether they must be whole.
        """
        self.names = names
        self.whole = whole

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show the names in help."""
        return self.names.upper()

    def convert(
        self,
        value: Any,  # noqa: ANN401 - what click hands over
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[float, ...]:
        """Read the numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        kind = int if self.whole else float
        try:
            numbers = tuple(kind(part) for part in parts)
        except ValueError:
            numbers = ()
        if len(numbers) != len(self.names.split(",")):
            what = "whole numbers" if self.whole else "numbers"
            self.fail(f"{value!r} is not {self.names} ({what} with commas between)", param, ctx)
        return numbers


def bands_of(text: str | None) -> list[int | str] | None:
    """Read band indexes or names.

    Args:
        text: Such as ``4,3,2`` or ``red,green,blue``.

    Returns:
        One-based indexes and names in that order, or None.
    """
    if text is None:
        return None
    return [int(part) if part.strip().isdecimal() else part.strip() for part in text.split(",")]


def in_options(message: str) -> str:
    """Name the options of the command line where a message names parameters of Python.

    Args:
        message: Of an error or warning.

    Returns:
        The message.

    >>> in_options('pass bands=... or edges="pad"; bands=[4, 3] are 2')
    'pass --bands ... or --edges pad; --bands 4,3 are 2'
    >>> in_options("pass value_range=(LOW, HIGH), the values")
    'pass --value-range LOW,HIGH, the values'
    """

    def option(found: re.Match[str]) -> str:
        name = RENAMED.get(found[1], found[1]).replace("_", "-")
        value = re.sub(r"[\[\]()\"' ]", "", found[2])
        return f"--{name}" if value == "True" else f"--{name} {value}"

    return PARAMETERS.sub(option, message)


def time_range(text: str | None) -> tuple[str | None, str | None] | None:
    """Read START/END, where one of them may be left out or ``..``.

    Args:
        text: Such as ``2023-01-01/2023-12-31``, ``2023-06/..`` or ``2023-06``.

    Returns:
        The two ends, None where open, or None.
    """
    if text is None:
        return None
    first, slash, last = text.partition("/")
    ends = (first, last if slash else first)
    return tuple(None if end.strip() in ("", "..") else end.strip() for end in ends)  # type: ignore[return-value]


def read_region(path: Path) -> Any:  # noqa: ANN401 - a shapely geometry, not imported here
    """Read a file of polygons as one region in longitude and latitude.

    Args:
        path: Any vector file that geopandas reads.

    Returns:
        The union of its geometries.

    Raises:
        RegionError: If it cannot be read or holds no geometry.
    """
    import geopandas as gpd

    from geohash_rs.errors import RegionError, one_line

    try:
        frame = gpd.read_file(path)
    except Exception as error:
        msg = f"{path} cannot be read as a region: {one_line(error)}"
        raise RegionError(msg) from error
    if not isinstance(frame, gpd.GeoDataFrame) or frame.geometry.dropna().empty:
        msg = f"{path} holds no geometry; give a file of polygons, such as GeoJSON or GeoPackage."
        raise RegionError(msg)
    if frame.crs is not None:
        frame = frame.to_crs("EPSG:4326")
    return frame.geometry.union_all()


def echo_json(value: object) -> None:
    """Print a value as JSON.

    Args:
        value: Anything that JSON can hold; others are written as text.
    """
    click.echo(json.dumps(value, indent=2, default=str))
