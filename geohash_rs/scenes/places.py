"""Where a scene's file lies by its name, whether it is still there, and its name elsewhere."""

import re
from pathlib import Path

from geohash_rs.scenes.remote import is_remote
from geohash_rs.scenes.sources import is_seen, watched_file
from geohash_rs.scenes.stac import is_stac_path
from geohash_rs.scenes.stacks import members_at, without_grid

__all__ = ["file_of", "is_gone", "moved_name"]

# What stands before a path in names of files in archives, and of parts of files.
HEAD = r"(?:/vsi\w+/(?=.)|(?:zip|tar|gzip)(?:\+\w+)?://|file://|[A-Za-z]\w+:(?:\d+:)?\"?)*"
ENDS = r"(?=$|[/\\#!\":])"  # what may follow a path: a file in it, a grid, a part
IN_ARCHIVE = re.compile(r"(.+?\.(?:zip|kmz|tar|tgz|tar\.gz|gz|7z|rar))(?:[/!].*)?", re.I)


def file_of(name: str) -> str | None:
    """Return the path of the file or folder on this machine that a scene is read from.

    Args:
        name: Name of a scene in an archive.

    Returns:
        An absolute path, which need not exist; None if the name is an address, a STAC item or any
        other text instead.

    >>> file_of("/vsizip//data/a.zip/b.tif"), file_of("/data/product#20m")
    ('/data/a.zip', '/data/product')
    >>> file_of("https://example.org/a.tif"), file_of("a.tif")
    (None, None)
    """
    if is_remote(name) or is_stac_path(name.partition("#")[0]):
        return None
    seen = watched_file(name)
    if seen != name and is_seen(seen):
        return seen
    head = re.match(HEAD, name)
    path = without_grid(name[head.end() :] if head else name)
    if head and head.group():
        packed = IN_ARCHIVE.fullmatch(path)
        path = packed[1] if packed else path.partition('"')[0]
    return path if Path(path).is_absolute() else None


def is_gone(name: str) -> bool | None:
    """Return whether the file of a scene no longer exists.

    Args:
        name: Name of a scene in an archive.

    Returns:
        Whether it is certain that nothing of it is there; None if that cannot be checked: it is
        not on this machine, or the system refuses to look.
    """
    path = file_of(name)
    if path is None:
        return None
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return not members_at(name)  # a product whose files only start with its name
    except (OSError, ValueError):
        return None
    return False


def moved_name(name: str, old: str, new: str) -> str | None:
    """Return the name of a scene after a folder or file was moved.

    Args:
        name: Its name in an archive.
        old: Path of a folder or file, or the start of an address, without a slash at its end.
        new: The same of where it is now.

    Returns:
        The name; None if the scene does not lie there.

    >>> moved_name("/a/b/c.tif", "/a/b", "/x"), moved_name("/a/bc.tif", "/a/b", "/x")
    ('/x/c.tif', None)
    >>> moved_name("/vsizip//a/b.zip/c.tif", "/a/b.zip", "/x/d.zip")
    '/vsizip//x/d.zip/c.tif'
    """
    found = re.match(f"({HEAD}){re.escape(old)}{ENDS}", name)
    return None if found is None else found[1] + new + name[found.end() :]
