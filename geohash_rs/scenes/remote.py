"""Scenes behind HTTP and object stores: GDAL settings and retries."""

import os
import re
import time
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import rasterio
import requests
from rasterio.env import getenv, hasenv
from rasterio.errors import RasterioError

__all__ = ["MOST_ANSWER", "ask", "is_remote", "is_virtual", "read_patiently", "unless_set"]

T = TypeVar("T")

# Harmless for local files. https://gdal.org/en/stable/user/configoptions.html
NETWORK = {
    "GDAL_HTTP_CONNECTTIMEOUT": "10",  # s
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",  # a source slower than this many bytes per second
    "GDAL_HTTP_LOW_SPEED_TIME": "20",  # for this many seconds has stalled
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    # GDAL caches failures until it drops all data of a file; make it do so on close.
    "CPL_VSIL_CURL_NON_CACHED": ":".join(
        f"/vsi{store}/" for store in ("curl", "s3", "gs", "az", "adls", "oss", "swift")
    ),
}
# Request the file only, without listing its folder, and its header in the first request.
REMOTE = NETWORK | {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "8000000",  # bytes per file
}
PAUSES = (0.5, 2.0)  # s before the second and third attempt
CONNECT_SECONDS = 10.0
MOST_ANSWER = 64 << 20  # bytes; 4,000 items of a catalogue
STALL_SECONDS = 20.0  # a server that sends nothing for this long has stalled
TRANSIENT = (  # failures that may pass by the next attempt
    requests.ConnectionError,
    requests.Timeout,
    requests.HTTPError,
    requests.exceptions.ChunkedEncodingError,
)
LOCAL_SCHEMES = re.compile(r"(?:\w+\+)?(?:file|zip|tar|gzip)://", re.IGNORECASE)
STORES = re.compile(r"/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)(?:_streaming)?[/?]")
NETWORK_TROUBLE = re.compile(r"HTTP|curl|timed? ?out|connect", re.IGNORECASE)
REFUSED = re.compile(r"HTTP response code: 4(?!08|29)\d\d")


def is_remote(path: str) -> bool:
    """Return whether a scene is read over a network.

    Args:
        path: Path, URI or GDAL virtual path.

    Returns:
        Whether it is behind HTTP or in an object store.

    >>> is_remote("https://example.org/a.tif"), is_remote("/vsizip//vsicurl/http://b/c.zip/d.tif")
    (True, True)
    >>> is_remote("/data/a.tif"), is_remote("file:///data/a.tif"), is_remote("zip://a.zip!b.tif")
    (False, False, False)
    """
    scheme = "://" in path and not path.startswith("/vsi") and not LOCAL_SCHEMES.match(path)
    return bool(scheme or STORES.search(path))


def is_virtual(path: str | Path) -> bool:
    """Return whether a name is a URI, GDAL virtual path or subdataset rather than a file path.

    Args:
        path: Any of these.

    Returns:
        Whether it is not a plain path.

    >>> is_virtual("s3://bucket/scene.tif"), is_virtual("GTIFF_DIR:2:scene.tif")
    (True, True)
    >>> is_virtual("scenes/2023:06.tif")
    False
    """
    text = str(path)
    if "://" in text or text.startswith("/vsi"):
        return True
    # A driver's prefix has two letters or more: one letter is a drive of Windows.
    return re.match(r"[A-Za-z]\w+:", text) is not None and not Path(text).exists()


def read_patiently(path: str, read: Callable[[], T], *, forget: Callable[[], object]) -> T:
    """Read from a raster with suitable GDAL settings, and retry network failures.

    The settings apply only during the call, and do not override what the user has set in the
    environment or in a ``rasterio.Env``.

    Args:
        path: Path or URI of the raster.
        read: Reads from the raster.
        forget: Closes the raster after a failure, so that the next attempt reopens it.

    Returns:
        What ``read`` returns.

    Raises:
        RasterioError: If the raster cannot be read; a remote one, in three attempts.
        OSError: Likewise.
    """
    settings = _settings(path)
    pauses = list(PAUSES)
    while True:
        try:
            if not settings:  # entering takes as long as reading a small tile
                return read()
            with rasterio.Env(**unless_set(settings)):
                return read()
        except (RasterioError, OSError) as error:
            forget()
            if not pauses or not _may_pass(path, error):
                raise
        time.sleep(pauses.pop(0))


def ask(method: str, url: str, *, also: Collection[int] = ()) -> requests.Response:
    """Send a request to a web server, with a time limit and retries.

    Args:
        method: GET or HEAD.
        url: Address.
        also: Error codes to accept as a response.

    Returns:
        The response, with its content.

    Raises:
        RequestException: If the server refuses, sends more than `MOST_ANSWER`, or fails in three
            attempts; it is an OSError.
    """
    pauses = list(PAUSES)
    while True:
        try:
            with requests.request(
                method,
                url,
                timeout=(CONNECT_SECONDS, STALL_SECONDS),
                allow_redirects=True,
                stream=True,
            ) as answer:
                if answer.status_code not in also:
                    answer.raise_for_status()
                answer._content = _limited(answer)  # noqa: SLF001 - what .content returns
        except TRANSIENT as error:
            code = 500 if error.response is None else error.response.status_code
            if not pauses or (code < 500 and code not in {408, 429}):
                raise
        else:
            return answer
        time.sleep(pauses.pop(0))


def _limited(answer: requests.Response) -> bytes:
    """Read the content of a response, up to a limit.

    Raises:
        RequestException: If there is more.
    """
    content = bytearray()
    for piece in answer.iter_content(1 << 16):
        content += piece
        if len(content) > MOST_ANSWER:
            msg = f"the server sends more than {MOST_ANSWER:,} bytes"
            raise requests.RequestException(msg)
    return bytes(content)


def _may_pass(path: str, error: BaseException) -> bool:
    """Return whether a failure may pass by the next attempt."""
    text = f"{error} {error.__cause__}"
    if REFUSED.search(text):
        return False
    return is_remote(path) or (path.lower().endswith(".vrt") and bool(NETWORK_TROUBLE.search(text)))


@lru_cache(1024)
def _settings(path: str) -> dict[str, str]:
    """Choose the settings for reading a raster; none for a local file."""
    if is_remote(path):
        return REMOTE
    return NETWORK if path.lower().endswith(".vrt") else {}  # a VRT's sources may be anywhere


def unless_set(wanted: dict[str, str]) -> dict[str, str]:
    """Drop the GDAL settings that the user has set.

    Args:
        wanted: Settings and their values.

    Returns:
        Those that are neither in the environment nor in a ``rasterio.Env``.
    """
    known = getenv() if hasenv() else {}
    return {k: v for k, v in wanted.items() if k not in os.environ and k not in known}
