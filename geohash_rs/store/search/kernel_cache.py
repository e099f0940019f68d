"""Cache compiled kernels on disk, wherever this installation can write."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config

__all__ = ["SOURCES", "cached_njit"]

SOURCES = (  # in the store's folder; the kernels compile in constants from the last two
    "search/kernels",
    "search/lanes",
    "search/row_filters",
    "search/keys",
    "segment/layout",
)


def cached_njit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function on first use, without the interpreter lock, and cache it on disk.

    Numba's cache lies next to the module, in NUMBA_CACHE_DIR or in the user's cache folder. If
    none of them is writable, a private temporary folder is used; if that is not safe either, each
    process compiles for itself.

    Args:
        function: The function.

    Returns:
        The compiled function.
    """
    try:
        return _stamped(numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # "no locator available": no cache folder is writable
        folder = _private_folder()
    if folder is None:
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
    before = config.CACHE_DIR
    try:
        config.CACHE_DIR = str(folder)
        return _stamped(numba.njit(cache=True, nogil=True)(function))
    finally:
        config.CACHE_DIR = before


def _private_folder() -> Path | None:
    """Return a folder that only this user can write, since code is loaded from it, or None."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"geohash_rs-kernels-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        details = folder.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(details.st_mode) and details.st_uid == user
    if not ours or details.st_mode & 0o022:
        return None
    return folder


def _stamped(compiled: Any) -> Callable[..., Any]:  # noqa: ANN401 - Numba's dispatcher
    """Invalidate the cached function when any module compiled into it changes.

    Numba checks only the function's own module: https://github.com/numba/numba/issues/1833
    """
    files = [Path(__file__).parents[1] / f"{name}.py" for name in SOURCES]
    files.append(Path(compiled.py_func.__code__.co_filename))  # of another room
    with contextlib.suppress(AttributeError, OSError):
        stamps = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files)
        compiled._cache._cache_file._source_stamp = stamps
    return compiled  # type: ignore[no-any-return]
