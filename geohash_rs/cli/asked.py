"""Options of all commands that ask an archive: where it is, and which of its tiles are meant."""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click
from click.core import ParameterSource

from geohash_rs.cli.options import Numbers, Sizes
from geohash_rs.errors import GeoHashRSWarning

if TYPE_CHECKING:
    from geohash_rs.archive import Archive
    from geohash_rs.engines.postgis.archive import PostGISArchive
    from geohash_rs.store.search.where import WhereOptions

__all__ = ["Asked", "Engine", "archive_argument", "check_engine", "engine_options", "opened", "options_given", "said_again", "where_of", "where_options"]

DATABASES = ("postgresql://", "postgres://")

F = TypeVar("F", bound=Callable[..., Any])

archive_argument = click.argument("archive", metavar="ARCHIVE|s3://...|postgresql://...")


class Engine(TypedDict):
    """Values of the options of `engine_options`."""

    engine: str | None
    schema: str
    table: str


class Asked(Engine):
    """Values of the options of `engine_options` and `where_options`."""

    bbox: tuple[float, ...] | None
    region: Path | None
    layer: str | None
    within: bool
    time: str | None
    scenes: tuple[str, ...]
    labels: tuple[str, ...]
    tile_size: tuple[int, ...] | None


def _add(command: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def engine_options(command: F) -> F:
    """Add the options that say which engine searches to a command."""
    return _add(
        command,
        click.option("--engine", metavar="ADDRESS", help="Distribute the search over a Ray cluster: local, auto, HOST:6379 or ray://HOST:10001."),
        click.option("--schema", default="public", show_default=True, help="Schema of an archive in PostGIS."),
        click.option("--table", default="geohash_tiles", show_default=True, help="Table of an archive in PostGIS."),
    )


def where_options(command: F) -> F:
    """Add the options that limit a search to some tiles to a command."""
    return _add(
        command,
        click.option("--bbox", type=Numbers("minlon,minlat,maxlon,maxlat"), help="Only tiles that intersect this box; minlon > maxlon crosses the dateline."),
        click.option("--region", type=click.Path(path_type=Path), help="Only tiles that intersect the polygons in this file: GeoPackage, GeoJSON, GeoParquet or shapefile, in any CRS."),
        click.option("--layer", help="Layer of that file, if it has several."),
        click.option("--within", is_flag=True, help="Only tiles that lie entirely in the region."),
        click.option("--time", "time", metavar="START/END", help="Only tiles from this time, such as 2023-01-01/2023-12-31 or 2023-06/.."),
        click.option("--scene", "scenes", multiple=True, help="Only tiles of this scene: its path, or its file name as tables print it; can be repeated."),
        click.option("--label", "labels", multiple=True, help="Only tiles with this label; can be repeated."),
        click.option("--tile-size", type=Sizes(), help="Only tiles of this size, px, or of these, such as 64,128."),
    )


def where_of(asked: Asked) -> "WhereOptions":
    """Read the values of `where_options`.

    Args:
        asked: The values.

    Returns:
        Keyword arguments of a search.

    Raises:
        click.UsageError: If two of them contradict each other.
        RegionError: If the region cannot be read.
    """
    if asked["bbox"] is not None and asked["region"] is not None:
        msg = "pass --bbox or --region, not both"
        raise click.UsageError(msg, click.get_current_context())
    if asked["layer"] is not None and asked["region"] is None:
        msg = "--layer needs --region"
        raise click.UsageError(msg, click.get_current_context())
    from geohash_rs.store.search.regions import read_region

    if asked["bbox"] is not None and (said := _explain_box(asked["bbox"])):
        warnings.warn(said, GeoHashRSWarning, stacklevel=2)
    file = asked["region"]
    return {
        "region": asked["bbox"] if file is None else read_region(file, layer=asked["layer"]),
        "within": asked["within"],
        "time": asked["time"],
        "scenes": list(asked["scenes"]) or None,
        "labels": list(asked["labels"]) or None,
        "tile_size": asked["tile_size"],
    }


def _explain_box(box: tuple[float, ...]) -> str:
    """Explain a box that can be read in two ways, or return an empty string.

    >>> _explain_box((7, 46, 8, 47)), _explain_box((170, -20, -170, -10))
    ('', '')
    >>> _explain_box((325, 46, 330, 47))
    '--bbox: longitude 325 is read as -35 and 330 as -30; the box runs 5 degrees east from there.'
    >>> _explain_box((8, 46, 7, 47))
    '--bbox: longitude 8 comes first, so the box runs 359 degrees east, across 180, to 7; swap the two if that is wrong.'
    """
    west, _, east, _ = box
    width = east - west + (360 if west > east else 0)
    beyond = [f"{lon:g} as {lon - math.copysign(360, lon):g}" for lon in (west, east) if 180 < abs(lon) <= 360]
    if beyond:
        return f"--bbox: longitude {beyond[0].replace(' as ', ' is read as ')}{''.join(f' and {one}' for one in beyond[1:])}; the box runs {width:g} degrees east from {'there' if abs(west) > 180 else f'{west:g}'}."
    if west > east and width > 180:
        return f"--bbox: longitude {west:g} comes first, so the box runs {width:g} degrees east, across 180, to {east:g}; swap the two if that is wrong."
    return ""


def said_again(asked: Mapping[str, object]) -> list[str]:
    """Return options of this command as they were given.

    Args:
        asked: Values of `where_options` or `engine_options`, or of both.

    Returns:
        Words of a command line, without those that have their default.
    """
    words: list[str] = []
    context = click.get_current_context()
    for option in context.command.params:
        value = asked.get(option.name or "")
        if not isinstance(option, click.Option) or context.get_parameter_source(option.name or "") is ParameterSource.DEFAULT or value is None:
            continue
        name = option.opts[0]
        if option.is_flag:
            words += [name] if value else []
        elif isinstance(value, tuple):
            each = value if option.multiple else [",".join(map(str, value))]
            words += [word for one in each for word in (name, str(one))]
        else:
            words += [name, str(value)]
    return words


def check_engine(archive: str, asked: Engine) -> None:
    """Check that the options of an engine fit the address of an archive.

    Args:
        archive: The address.
        asked: The values of the options.

    Raises:
        click.UsageError: If they do not.
    """
    is_database = archive.startswith(DATABASES)
    if asked["engine"] is not None and is_database:
        msg = "--engine needs an archive in a folder or in object storage; a database searches by itself"
        raise click.UsageError(msg, click.get_current_context())
    given = options_given(("schema", "table"))
    if given and not is_database:
        msg = f"{given[0]} needs an archive in PostGIS, which {archive} is not; leave it out, or pass a postgresql:// address"
        raise click.UsageError(msg, click.get_current_context())


def options_given(names: Iterable[str]) -> list[str]:
    """Return the options that the user gave to the present command.

    Args:
        names: Names of its parameters, such as "block_km".

    Returns:
        Those that were given, as they are written, such as "--block-km".
    """
    context = click.get_current_context()
    given = (name for name in names if context.get_parameter_source(name) is not ParameterSource.DEFAULT)
    return [f"--{name.replace('_', '-')}" for name in given]


def opened(archive: str, asked: Engine) -> "Archive | PostGISArchive":
    """Open an archive for reading, wherever it is.

    Args:
        archive: A folder, an address in object storage, or a postgresql:// address.
        asked: The values of the options.

    Returns:
        The archive.

    Raises:
        click.UsageError: If an option does not fit the address.
        GeoHashRSError: If it cannot be opened.
    """
    check_engine(archive, asked)
    if archive.startswith(DATABASES):
        from geohash_rs.engines.postgis.archive import PostGISArchive

        return PostGISArchive.open(archive, schema=asked["schema"], table=asked["table"])
    if asked["engine"] is not None:
        from geohash_rs.engines.ray.archive import RayArchive

        return RayArchive.open(archive, address=asked["engine"])
    if "://" in archive:
        from geohash_rs.engines.cloud.cache import open_archive

        return open_archive(archive)
    from geohash_rs.archive import Archive

    return Archive.open(archive, mode="r")
