"""Find the scenes that a user names by their path, their file name or the end of their path."""

import os
from collections.abc import Callable, Collection
from pathlib import Path

from geohash_rs.errors import QueryError

__all__ = ["full_names"]

MOST_SHOWN = 5  # paths in a message


def full_names(
    names: Collection[str], known: Callable[[], Collection[str]], *, what: str = "scenes"
) -> list[str]:
    """Return the scenes of an archive that names mean.

    A name is, in this order: a scene's whole name, a relative path to it, or its file name (or any
    end of its path that starts after a slash), as tables of matches print it.

    Args:
        names: Names that a user gave.
        known: Returns the names of all scenes; it is only called if there are names.
        what: What they are called, for messages.

    Returns:
        The scene of each name, in their order; a name that no scene has is kept as it is.

    Raises:
        QueryError: If several scenes have a file of this name; their paths are listed.

    >>> full_names(["b.tif", "/c.tif"], lambda: ["/a/b.tif", "/c.tif"])
    ['/a/b.tif', '/c.tif']
    """
    scenes = frozenset(known()) if names else frozenset()
    found = []
    for name in names:
        path = Path(os.path.abspath(name)).as_posix()  # noqa: PTH100 - resolve would follow links
        meant = {name, path} & scenes
        if name in scenes:
            meant = {name}
        if not meant and name and not name.startswith("/"):
            meant = {scene for scene in scenes if scene.endswith(f"/{name}")}
        if len(meant) > 1:
            shown = sorted(meant)
            more = f" and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
            msg = (
                f"{what}: {name!r} is the name of {len(shown)} scenes: "
                f"{', '.join(shown[:MOST_SHOWN])}{more}; pass the path of one."
            )
            raise QueryError(msg)
        found.append(meant.pop() if meant else name)
    return found
