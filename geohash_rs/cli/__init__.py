"""The command line: thin commands, imported when they are called."""

import sys
import warnings
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

import click

from geohash_rs import __version__
from geohash_rs.cli.options import in_options
from geohash_rs.errors import (
    ExportError,
    GeoHashRSError,
    GeoHashRSWarning,
    QueryError,
    RegionError,
    TimeRangeError,
    one_line,
)

__all__ = ["app", "main"]

# Module and summary of each command, so that help imports none of them.
COMMANDS = {
    "demo": ("demo", "Make scenes, index them, search them and draw the result, offline."),
    "index": ("index", "Add GeoTIFF scenes to an archive."),
    "query": ("query", "Find the tiles that look like a patch, a place or a tile."),
    "serve": ("serve", "Search an archive on a map in the browser."),
    "info": ("manage", "Report what an archive holds."),
    "remove": ("manage", "Remove scenes from an archive."),
    "compact": ("manage", "Merge small segments, and free the space of removed tiles."),
    "verify": ("manage", "Check every file of an archive."),
    "export": ("manage", "Write all tiles of an archive to one file."),
    "publish": ("publish", "Copy an archive to PostGIS, for many users and for QGIS."),
    "push": ("cloud", "Copy an archive to object storage, such as S3."),
    "pull": ("cloud", "Copy an archive from object storage to a folder."),
    "fit": ("fit", "Train a hasher on a TorchGeo data module."),
    "validate": ("fit", "Measure a trained hasher on the validation tiles."),
    "test": ("fit", "Measure a trained hasher on the test tiles."),
    "evaluate": ("evaluate", "Compare hashing methods on class folders."),
    "weights": ("weights", "List the hashers that can be used by name."),
    "doctor": ("doctor", "Show versions, and check that everything works on this machine."),
}
WRONG_USE = (QueryError, RegionError, TimeRangeError, ExportError)


class LazyGroup(click.Group):
    """A group that lists its commands by name and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"{__name__}.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="geohash-rs")
@click.option("--traceback", is_flag=True, help="Show the traceback of an error.")
def app(traceback: bool) -> None:
    """Find the places in your GeoTIFF scenes that look like a patch of yours.

    "Geohash" here is a hash of what a place looks like, not the lat/lon cell.
    """


def main(args: list[str] | None = None) -> NoReturn:
    """Run a command and exit with its code: 0 for success, 2 for wrong usage, 1 for other errors.

    Args:
        args: Arguments of the command line; None takes those of this process.
    """
    words = sys.argv[1:] if args is None else args
    _escape_unprintable()
    if "--traceback" not in words:
        warnings.simplefilter("ignore")  # other libraries' warnings are for programmers
        warnings.simplefilter("default", GeoHashRSWarning)
        warnings.showwarning = _show_warning
    try:
        code = app.main(words, prog_name="geohash-rs", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
        sys.exit(2)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "geohash-rs"
        _leave(f"{error.format_message()} (see '{where} --help')", 2)
    except (click.Abort, KeyboardInterrupt):
        _leave("interrupted; everything committed so far is kept.", 1)
    except click.ClickException as error:
        _leave(error.format_message(), error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        if "--traceback" in words:
            raise
        known = isinstance(error, GeoHashRSError | OSError)
        kind = "" if known else f"{type(error).__name__}: "
        hint = "" if known else " (see 'geohash-rs --traceback ...')"
        _leave(f"{kind}{one_line(error)}{hint}", 2 if isinstance(error, WRONG_USE) else 1)
    sys.exit(code or 0)


def _escape_unprintable() -> None:
    """Escape characters that the terminal cannot show, rather than raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    text = in_options(" ".join(str(message).split()))
    click.echo(f"geohash-rs: warning: {text}", err=True)


def _leave(message: str, code: int) -> NoReturn:
    click.echo(f"geohash-rs: {in_options(message)}", err=True)
    sys.exit(code)
