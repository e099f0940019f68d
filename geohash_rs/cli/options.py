"""Types of options that several commands share."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geohash_rs.cli.terminal import echo

if TYPE_CHECKING:
    from geohash_rs.hashing.fit.backbone_choice import BackboneChoice

__all__ = ["Numbers", "Sizes", "backbone_of", "backbone_options", "bands_of", "echo_json", "in_options", "remote_scenes_option"]

# Parameters that messages mention, and their options on the command line if named differently.
PARAMETERS = re.compile(
    r"\b(asset|backbone|bands|block_km|by|checksum|crs|date_format|datetime|edges|embedding|filename_regex|footprint_m|"
    r"geometry_column|keep_vectors|layer|max_distance|max_nodata|min_area_km2|min_score|min_share|model|nodata|point|problems|region|remote_scenes|replace|resolution|scale_column|"
    r"source_column|stride|tile_size|time_column|value_range|vector_column|weights|window|workers)="
    r'(True\b|"[^"]*"|\'\.[^\']*\'|\[[^\]]*\]|\([^)]*\)|\.\.\.|[^\s;,)]*)'
)
# Those that messages also mention without a value.
NAMED = re.compile(r"(?<![\w/.-])(block_km|min_area_km2|min_score|min_share|tile_size)(?![\w/=-]|\.\w)")
# Methods that messages name, and the commands that do the same.
METHODS = {"Concept.check": "'geohash-rs judge --random'", "Concept.calibrate": "'geohash-rs calibrate'"}
RENAMED = {"datetime": "date", "min_area_km2": "min_area", "region": "bbox"}

remote_scenes_option = click.option("--remote-scenes", is_flag=True, help="Read scenes from wherever the archive says, such as URLs, not only from plain raster files of this machine; only if you trust its author.")


F = TypeVar("F", bound=Callable[..., Any])


def backbone_options(command: F) -> F:
    """Add the options that choose a backbone to a command."""
    options = (
        click.option("--backbone", metavar="NAME", help="Network of a hasher that is fitted on the scenes: a timm model or TorchGeo weights, see 'geohash-rs backbones'.  [default: tf_efficientnet_lite0]"),
        click.option("--weights", metavar="NAME|FILE", help="Weights of the backbone: a file with a state dict, or the name of TorchGeo weights.  [default: downloaded by timm or TorchGeo]"),
        click.option("--layer", "layers", multiple=True, metavar="STAGE", help="Layer of the backbone whose mean output is added to the features, such as layer3; can be repeated."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def backbone_of(backbone: str | None, weights: str | None, layers: tuple[str, ...], *, archive: Path | None) -> "BackboneChoice | None":
    """Check the backbone that these options choose.

    Args:
        backbone: Value of ``--backbone``.
        weights: Value of ``--weights``.
        layers: Values of ``--layer``.
        archive: The archive to add to, which may exist already; None for a dry run without one.

    Returns:
        The backbone; None without options.

    Raises:
        HasherError: As `BackboneChoice.choose`; if the archive has a hasher, the message says that
            the options are not needed.
    """
    if not (backbone or weights or layers):
        return None
    from geohash_rs.errors import HasherError
    from geohash_rs.hashing.fit.asked import chosen_backbone

    try:
        return chosen_backbone(backbone, weights, layers)
    except HasherError as error:
        if archive is None or not _has_hasher(archive):
            raise
        problem = str(error).rpartition("; ")[0] or str(error).rstrip(".")
        msg = f"{problem}; {archive} holds its hasher with all weights, so leave out --backbone, --weights and --layer."
        raise HasherError(msg) from error


def _has_hasher(folder: Path) -> bool:
    """Return whether a folder is an archive whose hasher is fitted."""
    from geohash_rs.archive import Archive
    from geohash_rs.errors import GeoHashRSError

    try:
        return Archive.open(folder, mode="r").hasher_file is not None
    except GeoHashRSError:
        return False


class Numbers(click.ParamType[tuple[float, ...]] if TYPE_CHECKING else click.ParamType):  # type: ignore[misc]
    """A fixed number of comma-separated numbers, such as a window or a bounding box."""

    name = "numbers"

    def __init__(self, names: str, *, whole: bool = False) -> None:
        """Describe the numbers.

        Args:
            names: Their names, comma-separated, to show in help and errors.
            whole: Whether they must be whole numbers.
        """
        self.names = names
        self.whole = whole

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show the names in help."""
        return self.names.upper()

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click passes anything
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
            self.fail(f"{value!r} is not {self.names} (comma-separated {what})", param, ctx)
        return numbers


class Sizes(click.ParamType[tuple[int, ...]] if TYPE_CHECKING else click.ParamType):  # type: ignore[misc]
    """One number of pixels or several, comma-separated."""

    name = "px,..."

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click passes anything
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, ...]:
        """Read the numbers."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdecimal() and int(part) for part in parts):
            self.fail(f"{value!r} is not a whole number of pixels from 1 on, or several, comma-separated, such as 64,128", param, ctx)
        return tuple(map(int, parts))


def bands_of(text: str | None) -> list[int | str] | None:
    """Read band indexes or names.

    Args:
        text: Comma-separated, such as ``4,3,2`` or ``red,green,blue``.

    Returns:
        One-based indexes and names in that order, or None.
    """
    if text is None:
        return None
    return [int(part) if part.strip().isdecimal() else part.strip() for part in text.split(",")]


def in_options(message: str) -> str:
    """Replace Python parameters in a message with the options of the command line.

    Args:
        message: Message of an error or warning.

    Returns:
        The message with options.

    >>> in_options('pass bands=... or edges="pad"; bands=[4, 3] are 2')
    'pass --bands ... or --edges pad; --bands 4,3 are 2'
    >>> in_options("pass value_range=(LOW, HIGH), the values")
    'pass --value-range LOW,HIGH, the values'
    >>> in_options("judge tiles that Concept.check draws")
    "judge tiles that 'geohash-rs judge --random' draws"
    >>> in_options("tile_size 64 px is larger; use a smaller tile_size")
    '--tile-size 64 px is larger; use a smaller --tile-size'
    >>> in_options("pass region=(7.1, 46, 7.3, 46.2)")
    'pass --bbox 7.1,46,7.3,46.2'
    >>> in_options("choose a smaller min_area_km2.")
    'choose a smaller --min-area.'
    """
    for method, command in METHODS.items():
        message = re.sub(rf"\b{re.escape(method)}\b", command, message)

    def option(found: re.Match[str]) -> str:
        is_pattern = found[2].startswith("'.")  # the quotes are for the shell, too
        value = found[2] if is_pattern else re.sub(r"[\[\]()\"' ]", "", found[2])
        return _option(found[1]) if value == "True" else f"{_option(found[1])} {value}"

    return NAMED.sub(lambda found: _option(found[1]), PARAMETERS.sub(option, message))


def _option(parameter: str) -> str:
    return "--" + RENAMED.get(parameter, parameter).replace("_", "-")


def echo_json(value: object) -> None:
    """Print a value as JSON.

    Args:
        value: Any value; what JSON cannot represent is written as text.
    """
    echo(*json.dumps(value, indent=2, default=str).split("\n"))
