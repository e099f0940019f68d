"""Print text to the terminal; the only place that does, apart from progress bars."""

import click

from geohash_rs.export.plain_text import plain_text

__all__ = ["echo"]


def echo(*lines: str, err: bool = False) -> None:
    """Print lines, with control characters escaped.

    Names of scenes, labels and paths come from archives and files of others.

    Args:
        *lines: The lines; a line break within one is escaped too.
        err: Print to the error output.
    """
    click.echo("\n".join(map(plain_text, lines)), err=err)
