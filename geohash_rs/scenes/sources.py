"""Find the files that decide a scene's pixels, including those in archives and mosaics."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from html import unescape
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geohash_rs.errors import SceneError, one_line
from geohash_rs.scenes.remote import read_patiently

__all__ = ["SIDE_FILES", "deciding_files", "is_seen", "missing_source", "watched_file"]

# Side files that GDAL reads, though a mosaic or subdataset does not list them.
SIDE_FILES = (".msk", ".ovr", ".msk.ovr", ".aux.xml")
MOST_MOSAICS = 10_000  # in one mosaic, over all levels

# Drivers whose file only describes a service, whose answers may change.
SERVICES = {"WMS", "WMTS", "WCS", "OGCAPI", "STACIT", "STACTA", "GTI", "PLMOSAIC", "EEDAI"}

WRAPPER = re.compile(r"/vsi(?:zip|tar|gzip|7z|rar|cached|sparse)/(?=.)|/vsisubfile/[^,]*,")
URI_WRAPPER = re.compile(r"(?:zip|tar|gzip)(?:\+(?=\w+://)|://)|file://", re.IGNORECASE)
URL = re.compile(r"(?:/vsicurl/)?(https?://.*)", re.IGNORECASE)
INSIDE = re.compile(r"(.+?\.(?:zip|kmz|tar|tgz|tar\.gz|gz|7z|rar))[/!].*", re.IGNORECASE)
DRIVER = re.compile(r"[A-Za-z]\w+:")
SOURCE = re.compile(
    r"<Source(?:Filename|Dataset)(?:\s+relative\w+=\"(\d)\"|\s[^>]*)?>([^<]+)<", re.I
)
MOST_XML = 10_000_000  # bytes of a VRT file that are searched


def deciding_files(path: str, source: DatasetReader) -> tuple[str, ...]:
    """List the files whose change may change a scene's pixels.

    Args:
        path: Path or URI of the scene.
        source: The scene, open.

    Returns:
        Paths of local files (the archive for files in one) and URLs of others: the scene itself,
        its side files, and all sources of a mosaic, including those of nested mosaics.

    Raises:
        SceneError: If a source of a mosaic is missing or cannot be opened.
    """
    direct = list(source.files or [path])
    found = dict.fromkeys(map(watched_file, direct))
    is_mosaic = source.driver == "VRT"
    if is_mosaic:
        found.update(dict.fromkeys(_mosaic_files(direct, Path(path).name)))
    if is_mosaic or DRIVER.match(path):
        near = [name + ending for name in found for ending in SIDE_FILES if is_seen(name)]
        found.update(dict.fromkeys(name for name in near if is_seen(name)))
    if source.driver in SERVICES:
        found[f"{source.driver} service of {path}"] = None
    return tuple(found)


def is_seen(file: str) -> bool:
    """Return whether a file is local, so its size and time can be checked."""
    try:
        return Path(file).is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def watched_file(name: str) -> str:
    """Find the file that contains what a GDAL name refers to.

    Args:
        name: Path, URI, GDAL virtual path or subdataset.

    Returns:
        The path of a local file, such as the archive; otherwise a URL, or the name unchanged.

    >>> watched_file("/vsizip//vsicurl/https://example.org/a.zip/b.tif")
    'https://example.org/a.zip'
    """
    inner = name
    while True:
        if is_seen(inner):
            return inner
        if found := WRAPPER.match(inner):
            inner = inner[found.end() :]
            if inner.startswith("{"):
                inner = inner[1:].partition("}")[0]
            elif inner.startswith("vsi"):
                inner = f"/{inner}"
        elif found := URI_WRAPPER.match(inner):
            inner = inner[found.end() :]
        else:
            break
    if found := URL.fullmatch(inner):
        archive = INSIDE.fullmatch(found[1]) if inner != name else None
        return archive[1] if archive else found[1]
    return next(filter(is_seen, _places(inner)), name)


def _places(name: str) -> Iterator[str]:
    """List the possible paths, longest first."""
    outer = name.partition("!")[0]
    yield outer
    if DRIVER.match(name):  # a subdataset: DRIVER:"path":part, or DRIVER:number:path
        parts = name.split(":")
        for length in range(len(parts) - 1, 0, -1):
            for start in range(1, len(parts) - length + 1):
                yield ":".join(parts[start : start + length]).strip('"')
    else:
        yield from map(str, Path(outer).parents)  # a file in an archive


def _mosaic_files(names: Sequence[str], mosaic: str) -> Iterator[str]:
    """List the sources of a mosaic, including those of nested mosaics.

    Raises:
        SceneError: If one is missing or cannot be opened, or there are too many.
    """
    waiting, known = deque(names), set(names)
    num_mosaics = 0
    while waiting:
        name = waiting.popleft()
        place = watched_file(name)
        if _is_missing(place):
            msg = (
                f"{mosaic} is a mosaic of {place}, which does not exist; restore it, or rebuild "
                "the mosaic with 'gdalbuildvrt'."
            )
            raise SceneError(msg)
        yield place
        if name.lower().endswith(".vrt"):
            inner = [file for file in _files_of(name, mosaic) if file not in known]
            known.update(inner)
            waiting.extend(inner)
            num_mosaics += 1
        if num_mosaics > MOST_MOSAICS:
            msg = (
                f"{mosaic} is made of more than {MOST_MOSAICS:,} mosaics; make a mosaic of "
                "their files."
            )
            raise SceneError(msg)


def missing_source(path: str) -> str | None:
    """Find a file that a virtual raster needs and that does not exist.

    Args:
        path: Path of a raster that cannot be opened.

    Returns:
        Path of the first one; None if all exist, or it is not a local VRT file.
    """
    if not path.lower().endswith(".vrt") or not is_seen(path):
        return None
    text = Path(path).read_bytes()[:MOST_XML].decode(errors="replace")
    for relative, name in SOURCE.findall(text):
        place = unescape(name.strip())
        if relative == "1":
            place = str(Path(path).parent / place)
        if _is_missing(place):
            return place
    return None


def _is_missing(place: str) -> bool:
    elsewhere = "://" in place or place.startswith(("/vsi", "<")) or DRIVER.match(place)
    return not elsewhere and not Path(place).exists()


def _files_of(name: str, mosaic: str) -> list[str]:
    """List the files of a nested mosaic.

    Raises:
        SceneError: If it cannot be opened.
    """
    try:
        with read_patiently(name, lambda: rasterio.open(name), forget=lambda: None) as inner:
            return list(inner.files)
    except (RasterioError, OSError) as error:
        msg = (
            f"{mosaic} is a mosaic of {name}, which cannot be opened ({one_line(error)}); repair "
            "or replace it."
        )
        raise SceneError(msg) from error
