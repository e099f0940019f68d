"""Explain to the page what went wrong, without naming folders of this machine."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from geohash_rs.errors import (
    ArchiveCorruptError,
    ArchiveNotFoundError,
    GeoHashRSError,
    SceneError,
    TileNotFoundError,
    one_line,
)
from geohash_rs.pictures.permission import ADVICE
from geohash_rs.serve.turns import in_own_thread

__all__ = ["explain_busy", "explain_request", "explainer", "without_folders"]

START = "; whoever runs the server can allow it with --scenes or --remote-scenes."
FOLDERS = re.compile(r"(?<![\w:/\\.])(?:[A-Za-z]:[\\/]|\.{0,2}/|\\\\)(?:[^/\\\n'\"<>|*?;,]+[/\\])+")


def without_folders(text: str, archive: Path) -> str:
    """Shorten every path in a message to its last part.

    Args:
        text: The message.
        archive: The archive's folder, which is replaced by its name.

    Returns:
        The message, without the folders in which files of this machine lie.
    """
    for place in {str(archive), str(archive.absolute()), str(archive.resolve())}:
        if len(place) > 1:
            text = re.sub(rf"(?<![\w/.]){re.escape(place)}(?=$|\W)", archive.resolve().name, text)
    return FOLDERS.sub("", text)


def explainer(
    archive: Path, check: Callable[[], None]
) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    """Return what answers a request that ended with one of the package's errors.

    Args:
        archive: The archive's folder.
        check: Raises ArchiveNotFoundError if the archive was moved or replaced, which explains
            missing and damaged files.
    """

    async def explain(_: Request, error: Exception) -> JSONResponse:
        if isinstance(error, ArchiveCorruptError):
            try:
                await in_own_thread(check)
            except GeoHashRSError as found:
                error = found
        detail = without_folders(one_line(error).replace(ADVICE, START), archive)
        answer = {"detail": detail, "kind": type(error).__name__}
        return JSONResponse(answer, status_code=_status(error))

    return explain


def _status(error: Exception) -> int:
    if isinstance(error, ArchiveNotFoundError):
        return 503
    return 404 if isinstance(error, TileNotFoundError | SceneError) else 422


async def explain_busy(_: Request, error: Exception) -> JSONResponse:
    """Refuse a request while the server is full."""
    return JSONResponse({"detail": one_line(error)}, status_code=503, headers={"retry-after": "1"})


async def explain_request(_: Request, error: Exception) -> JSONResponse:
    """Answer a request that does not fit its description."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    said = "; ".join(
        f"{'.'.join(str(part) for part in p['loc'][1:]) or 'the body'}: {p['msg']}"
        for p in problems[:3]
    )
    return JSONResponse({"detail": said or "the request cannot be read"}, status_code=422)
