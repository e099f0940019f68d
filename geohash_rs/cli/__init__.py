"""The command line: thin commands, imported when they are called."""

import atexit
import gc
import signal
import sys
import threading
import traceback
import warnings
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

import click

from geohash_rs import __version__
from geohash_rs.cli.options import in_options
from geohash_rs.cli.terminal import echo, without_keys
from geohash_rs.errors import (
    ExportError,
    GeoHashRSError,
    GeoHashRSWarning,
    QueryError,
    RegionError,
    TimeRangeError,
    one_line,
)
from geohash_rs.export.plain_text import plain_text

__all__ = ["app", "main"]

# Module and summary of each command, so that help imports none of them.
COMMANDS = {
    "demo": ("demo", "Make scenes, index them, search them and draw the result, offline."),
    "index": ("index", "Add GeoTIFF scenes to an archive."),
    "query": ("query", "Find the tiles that look like a patch, a place or a tile."),
    "learn": ("learn", "Learn what is meant from marks, and write it to a small file."),
    "calibrate": ("calibrate", "Find out with labels how often matches are right."),
    "judge": ("learn", "List the tiles whose judgement teaches a concept most."),
    "map": ("map", "Draw what a concept covers as areas, and sum them up."),
    "serve": ("serve", "Search an archive on a map in the browser."),
    "info": ("manage", "Report what an archive holds."),
    "remove": ("moves", "Remove scenes from an archive."),
    "relocate": ("moves", "Find scenes of an archive under another path."),
    "prune": ("moves", "Remove the tiles of scenes that no longer exist."),
    "refit": ("refit", "Fit the hasher to all that an archive holds, and hash its tiles again."),
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
    "backbones": ("backbones", "List networks that can be a hasher's backbone."),
    "doctor": ("doctor", "Show versions, and check that everything works on this machine."),
}
AGAIN_SECONDS = 0.05  # until what dropped an interrupt has ended
INTERRUPTED = 128 + signal.SIGINT  # as shells report it
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
    """Run a command and exit: 0 for success, 2 for wrong usage, 130 for Ctrl-C, 1 for errors.

    Args:
        args: Arguments of the command line; None takes those of this process.
    """
    words = sys.argv[1:] if args is None else args
    atexit.register(_skip_last_collection)
    _escape_unprintable()
    if "--traceback" not in words:
        warnings.simplefilter("ignore", FutureWarning)  # for programmers; Python ignores its kin
        # rasterio mutes this while it warps, for all threads, which undo it for each other; a scene
        # without a place is an error anyway.
        warnings.filterwarnings("ignore", "Dataset has no geotransform")
        warnings.simplefilter("default", GeoHashRSWarning)  # whatever PYTHONWARNINGS says
        warnings.showwarning = _show_warning
    try:
        with _no_interrupt_lost():
            code = app.main(words, prog_name="geohash-rs", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        echo(*(error.ctx.get_help() if error.ctx else "").split("\n"))
        sys.exit(2)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "geohash-rs"
        _leave(f"{error.format_message()} (see '{where} --help')", 2)
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # click takes both for the same
            _fail(error.__cause__, words)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends at once, without traceback
        _leave("interrupted; everything committed so far is kept.", INTERRUPTED)
    except click.ClickException as error:
        _leave(error.format_message(), error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        _fail(error, words)
    sys.exit(code or 0)


def _skip_last_collection() -> None:
    """Spare the search for garbage in torch and pandas at the exit, a third of a second.

    Not after training: Triton, which PyTorch loads for that, prints what was not collected.
    """
    if "triton" not in sys.modules:
        gc.freeze()


def _escape_unprintable() -> None:
    """Escape characters that the terminal cannot show, rather than raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _no_interrupt_lost() -> Iterator[None]:
    """Interrupt again where Python prints and drops a Ctrl-C: in a destructor or a callback of C."""
    before = sys.unraisablehook

    def again(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            threading.Timer(AGAIN_SECONDS, _interrupt).start()
        else:
            before(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt() -> None:
    """Send Ctrl-C to the main thread, which also ends a wait of its own, except on Windows."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        interrupt_main()


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    text = without_keys(f"geohash-rs: warning: {in_options(' '.join(str(message).split()))}")
    if "tqdm" not in sys.modules:
        echo(text, err=True)
        return
    from tqdm import tqdm

    tqdm.write(plain_text(text), file=sys.stderr)  # above a progress bar, not into it


def _fail(error: Exception, words: list[str]) -> NoReturn:
    """Explain an error in one line and leave, or show where it came from."""
    if "--traceback" in words:
        lines = "".join(traceback.format_exception(error)).rstrip("\n").split("\n")
        echo(*lines, err=True)
        sys.exit(1)
    known = isinstance(error, GeoHashRSError | OSError)
    kind = "" if known else f"{type(error).__name__}: "
    hint = "" if known else " (see 'geohash-rs --traceback ...')"
    if "proj.db" in str(error):  # a variable leads to the data of another program
        hint = " (run 'geohash-rs doctor')"
    _leave(f"{kind}{one_line(error)}{hint}", 2 if isinstance(error, WRONG_USE) else 1)


def _leave(message: str, code: int) -> NoReturn:
    echo(f"geohash-rs: {in_options(message)}", err=True)
    sys.exit(code)
