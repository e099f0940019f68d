"""Print text to the terminal; the only place that does, apart from progress bars."""

import re
import sys

import click

from geohash_rs.export.plain_text import plain_text

__all__ = ["ask", "can_ask", "echo", "without_keys"]

# Passwords before a host, and values of a query, which may be signatures.
KEYS = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)|(?<=[?&])([\w.~%-]+=)[^&\s'\",;)]+")


def echo(*lines: str, err: bool = False) -> None:
    """Print lines, with control characters escaped.

    Names of scenes, labels and paths come from archives and files of others.

    Args:
        *lines: The lines; a line break within one is escaped too.
        err: Print to the error output, which often ends up in logs: keys in addresses are hidden.
    """
    if err:
        lines = tuple(map(without_keys, lines))
    click.echo("\n".join(map(plain_text, lines)), err=err)


def can_ask() -> bool:
    """Return whether there is a terminal on which to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> None:
    """Ask the user of a terminal whether to go on.

    Args:
        question: What yes is an answer to.

    Raises:
        ClickException: If the answer is no.
    """
    if not click.confirm(plain_text(question), err=True):
        msg = "nothing was changed."
        raise click.ClickException(msg)


def without_keys(text: str) -> str:
    """Hide the passwords and signatures of the addresses in a text.

    >>> without_keys("http://me:password@host/a.tif?sig=abc is gone")
    'http://***@host/a.tif?sig=*** is gone'
    """
    return KEYS.sub(lambda found: f"{found[1] or ''}***", text)
