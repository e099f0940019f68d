"""Check that a scene is read from plain raster files of this machine, and from nothing else.

An archive may come from a stranger, and its scenes with it. GDAL would fetch what a name, a virtual
raster or a file next to a raster points to, so each is checked before GDAL opens any.
"""

import os
import re
import stat
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Interleaving
from rasterio.errors import RasterioError

from geohash_rs.errors import SceneError, one_line
from geohash_rs.footprints.projection import names_file
from geohash_rs.scenes.stac import is_stac_path
from geohash_rs.scenes.stacks import members_at, without_grid

__all__ = ["ADVICE", "RELOCATE", "Permission", "RefusedSceneError"]

RELOCATE = ", or see 'geohash-rs relocate' if it was moved"  # advice for scenes of an archive

# How files start, and the driver that opens them. Every one has a zero byte early: where another
# driver looks for text, such as the description of a web service, its search ends there. HFA is
# left out: such a file may keep pixels and overviews in files that it names.
FORMATS = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"\x89PNG\r\n\x1a\n\0": "PNG",
    b"\xff\xd8\xff": "JPEG",
}
HEAD = 16  # bytes
OPENED_TOO = (".ovr", ".msk", ".aux", ".rrd", ".rde")  # rasters that GDAL finds next to one
READ_TOO = (".xml", ".imd", ".rpb", ".txt")  # texts that it reads completely
VRT = b"<vrtdataset"
MOST_XML = 8 * 2**20  # bytes of a virtual raster or a side file; 5,000 sources take 4 MB
MOST_SOURCES = 5000  # of one scene, those of nested virtual rasters included
MOST_BLOCK = 2**28  # bytes that GDAL must decode at once
MOST_BANDS = 1000
INTERLACED = slice(28, 29)  # byte of a PNG file that says whether each part of it needs the whole
# Addresses, drivers' prefixes, descriptions in place of a file, and what is skipped before these.
NETWORK_NAME = re.compile(
    r"[\x00-\x20<{\"]|//|\\\\|/vsi|.*(://|[\n\r\t])|[A-Za-z][\w+.-]+:", re.DOTALL
)
# What gdalbuildvrt and gdal_translate write to combine rasters. Other elements warp, compute, or
# name files of their own.
ELEMENTS = re.compile(
    "vrtdataset|srs|geotransform|metadata|mdi|gcplist|gcp|maskband|overviewlist|block[xy]size|"
    "vrtrasterband|description|(hide)?nodatavalue|colorinterp|colortable|entry|unittype|offset|"
    "scale|categorynames|category|(simple|complex|averaged)source|sourcefilename|sourceband|"
    "sourceproperties|srcrect|dstrect|nodata|usemaskband|scaleoffset|scaleratio|lut|exponent|"
    "colortablecomponent|(src|dst)(min|max)|clamp|histograms|hist(item|min|max|counts)|"
    "bucketcount|includeoutofrange|approximate"
)
PROJECTIONS = ("srs", "gcplist", "wkt")  # elements of a virtual raster or a side file
# No setting opens the network to a file that passed, whatever GDAL makes of it.
SEALED = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none", "GDAL_VRT_ENABLE_PYTHON": "NO"}
ADVICE = "; pass remote_scenes=True if you trust whoever made the archive."


class RefusedSceneError(SceneError):
    """A scene is not read from where pictures may be."""


@dataclass(frozen=True, kw_only=True)
class Permission:
    """What pictures may be read from.

    Attributes:
        remote_scenes: Whether to read whatever an archive names: URLs, files in archives of files,
            subdatasets, and rasters in any format that point to any of these.
        folders: Without ``remote_scenes``, read only files below these folders; None reads any
            plain raster file of this machine.
    """

    remote_scenes: bool = False
    folders: tuple[Path, ...] | None = None

    def check(self, scene: str) -> None:
        """Check that a scene may be read, before anything opens it.

        Args:
            scene: Its name in the archive.

        Raises:
            RefusedSceneError: If it may not.
            SceneError: If it does not exist, or cannot be read.
        """
        if not self.remote_scenes:
            _Search(scene, self.folders).run()

    def sealed(self) -> AbstractContextManager[object]:
        """Return the GDAL settings under which to read what has passed the check."""
        if self.remote_scenes:
            return nullcontext()
        settings: AbstractContextManager[object] = rasterio.Env(**SEALED)
        return settings


@dataclass
class _Search:
    """All files that GDAL opens for a scene."""

    scene: str
    folders: tuple[Path, ...] | None
    waiting: list[str] = field(default_factory=list)
    num_sources: int = 0
    passed: set[str] = field(default_factory=set)
    listed: dict[str, list[str]] = field(default_factory=dict)

    def run(self) -> None:
        """Check the files one by one.

        Raises:
            RefusedSceneError: If one is not allowed.
            SceneError: If one is missing or cannot be read.
        """
        if is_stac_path(without_grid(self.scene).partition("#")[0]):
            raise self.refusal("a STAC catalogue")
        if NETWORK_NAME.match(self.scene):
            raise self.refusal("what is not the path of a file here")
        for member in members_at(self.scene):  # first, as when it is opened
            self.add(member.path)
        if os.path.isfile(self.scene):  # noqa: PTH113 (any text may be the name)
            self.add(self.scene)
        if not self.waiting:
            if os.path.lexists(self.scene):
                raise self.refusal(f"{self.short(self.scene)}, which is not a file")
            msg = (
                f"no picture of {self.short(self.scene)}: it does not exist; restore it{RELOCATE}."
            )
            raise SceneError(msg)
        try:
            while self.waiting:
                self.check(self.waiting.pop())
        except SceneError:
            raise
        except (OSError, ValueError, RasterioError) as error:
            msg = f"{self.short(self.scene)} cannot be read: {one_line(error)}"
            raise SceneError(msg) from error

    def add(self, name: str) -> None:
        """Note a file to check.

        Raises:
            RefusedSceneError: If it is not named by a plain path, or there are too many.
        """
        if NETWORK_NAME.match(name) or "\0" in name or name != name.strip():
            raise self.refusal("what is not the path of a file here")
        self.waiting.append(name)
        self.num_sources += 1
        if self.num_sources > MOST_SOURCES:
            raise self.refusal(f"more than {MOST_SOURCES:,} files")

    def check(self, name: str) -> None:
        """Check one file, and note the files that it leads to.

        Raises:
            RefusedSceneError: If it is not allowed.
            SceneError: If a virtual raster cannot be read.
        """
        path = Path(name)
        if name in self.passed:
            return
        if self.folders is not None:
            real = path.resolve()
            if not any(real.is_relative_to(folder.resolve()) for folder in self.folders):
                raise self.refusal(f"{self.short(name)}, which lies outside the folders of scenes")
        head = _head(path)
        if head is None:
            raise self.refusal(f"{self.short(name)}, which is not a file with content")
        for side in self.rasters_next_to(path):
            self.add(side)
        if head.lstrip().lower().startswith(VRT):
            self.check_mosaic(path)  # each time: its sources count as often as they are read
            return
        driver = next((FORMATS[start] for start in FORMATS if head.startswith(start)), None)
        if driver is None or b"\0" not in head[:HEAD]:
            raise self.refusal(
                f"{self.short(name)}, which is not a GeoTIFF, JPEG 2000, PNG or JPEG file"
            )
        self.check_raster(path, driver, whole=driver == "PNG" and any(head[INTERLACED]))
        self.passed.add(name)

    def rasters_next_to(self, path: Path) -> Iterator[str]:
        """List the rasters that GDAL may open next to one.

        Raises:
            RefusedSceneError: If the folder holds a pipe or device, for which GDAL may wait, or a
                side file of text is too long.
        """
        folder = str(path.parent)
        if folder not in self.listed:
            self.listed[folder] = []
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.is_file() and not entry.is_dir() and _blocks(entry.path):
                        raise self.refusal(f"a folder that holds a pipe or device, {entry.name}")
                    if entry.name.lower().endswith((*OPENED_TOO, *READ_TOO)):
                        self.listed[folder].append(entry.name)
        stem = path.stem.lower()
        for other in self.listed[folder]:
            if not other.lower().startswith(f"{stem}.") or other == path.name:
                continue
            name = os.path.join(folder, other)  # noqa: PTH118 (as the scene is written)
            if other.lower().endswith(OPENED_TOO):
                yield name
            elif os.path.getsize(name) > MOST_XML:  # noqa: PTH202 (as above)
                raise self.refusal(f"{other}, which has more than {MOST_XML:,} bytes")
            elif other.lower().endswith(".aux.xml"):
                self.read_xml(Path(name))

    def read_xml(self, path: Path) -> tuple[bytes, list[ET.Element]]:
        """Read the text and the elements of an XML file, and check the projections that it names.

        Raises:
            RefusedSceneError: If it is too long, or names a file for a projection.
            SceneError: If it is not XML.
        """
        with path.open("rb") as file:
            text = file.read(MOST_XML + 1)
        if len(text) > MOST_XML or b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise self.refusal(f"{self.short(str(path))}, which is not usual XML")
        try:
            elements = list(ET.fromstring(text).iter())  # noqa: S314 - short, and without entities
        except ET.ParseError as error:
            msg = f"{self.short(str(path))} cannot be read: {one_line(error)}"
            raise SceneError(msg) from error
        for element in elements:
            tag = element.tag.rpartition("}")[2].lower()
            texts = (element.text or "", *element.attrib.values())
            if tag in PROJECTIONS and any(map(names_file, texts)):
                raise self.refusal(f"{self.short(str(path))}, whose projection is read from a file")
        return text, elements

    def check_raster(self, path: Path, driver: str, *, whole: bool) -> None:
        """Check that a raster has no overviews elsewhere, and bands and blocks as usual.

        Raises:
            RefusedSceneError: If it has not.
        """
        with rasterio.Env(**SEALED), rasterio.open(path, driver=driver) as source:
            self.check_bands(source.count)
            shapes = [source.shape] if whole else source.block_shapes
            block = max((h * w for h, w in shapes), default=0)
            size = block * max((np.dtype(t).itemsize for t in source.dtypes), default=1)
            if driver != "GTiff" or source.interleaving != Interleaving.band:
                size *= source.count
            elsewhere = source.tags(ns="OVERVIEWS")
        if elsewhere:
            raise self.refusal(f"{self.short(str(path))}, which has overviews in another file")
        if size > MOST_BLOCK:
            msg = f"blocks of {size / 2**20:,.0f} MB, but a picture may need {MOST_BLOCK >> 20} MB"
            raise self.refusal(msg)

    def check_bands(self, count: int) -> None:
        """Check the number of bands of a file, each of which GDAL describes.

        Raises:
            RefusedSceneError: If there are too many.
        """
        if count > MOST_BANDS:
            raise self.refusal(f"{count:,} bands, but a picture may need {MOST_BANDS:,}")

    def check_mosaic(self, path: Path) -> None:
        """Check that a virtual raster only combines other files, and note these.

        Raises:
            RefusedSceneError: If it does more.
            SceneError: If it is not XML.
        """
        text, elements = self.read_xml(path)
        # GDAL reads instructions, comments and literal text unlike Python
        if b"<!" in text or b"<?" in text:
            raise self.refusal(f"{self.short(str(path))}, which is not a usual virtual raster")
        self.check_bands(sum(element.tag.lower() == "vrtrasterband" for element in elements))
        for element in elements:
            options = {key.lower(): value for key, value in element.attrib.items()}
            tag = element.tag.lower()
            twice = len(options) < len(element.attrib)
            if ELEMENTS.fullmatch(tag) is None or "subclass" in options or twice:
                raise self.refusal(f"{self.short(str(path))}, which does more than combine rasters")
            if tag == "metadata" and options.get("domain", "").lower() == "overviews":
                raise self.refusal(f"{self.short(str(path))}, which has overviews in another file")
            if tag == "sourcefilename":
                self.add_source(element.text or "", path, options)

    def add_source(self, name: str, mosaic: Path, options: dict[str, str]) -> None:
        """Note a file that a virtual raster names.

        Raises:
            RefusedSceneError: If it is not named by a plain path.
        """
        if NETWORK_NAME.match(name) or options.get("relativetovrt") != "1":
            if not Path(name).is_absolute():
                raise self.refusal("what is not the path of a file here")
            self.add(name)
        else:
            self.add(os.path.join(mosaic.parent, name))  # noqa: PTH118 (as GDAL does)

    def refusal(self, what: str) -> RefusedSceneError:
        """Return the error for a scene that is read from something else."""
        return RefusedSceneError(
            f"no picture of {self.short(self.scene)}: it is read from {what}{ADVICE}"
        )

    def short(self, name: str) -> str:
        """Return a readable part of a name, without folder and without the keys of a URL."""
        return name.partition("?")[0].rstrip("/").rsplit("/", 1)[-1][:80]


def _head(path: Path) -> bytes | None:
    """Read the start of a file; None for pipes, devices, folders and empty files."""
    if not path.is_file():  # opening a device may already act on it
        return None
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        state = os.fstat(handle)
        return os.read(handle, 1024) if stat.S_ISREG(state.st_mode) and state.st_size else None
    finally:
        os.close(handle)


def _blocks(path: str) -> bool:
    """Return whether opening a file may wait or act on a device."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (a scan of thousands of entries)
    except OSError:  # a link to nothing
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
