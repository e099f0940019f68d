"""Read an uploaded GeoTIFF without trusting anything in it."""

import re
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath

import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile

from geohash_rs.errors import PatchError, one_line

__all__ = ["MAX_PIXEL_BYTES", "MAX_UPLOAD", "clean_patch"]

MAX_UPLOAD = 64 * 2**20  # bytes of the file
MAX_PIXEL_BYTES = 256 * 2**20  # bytes of its decoded pixels
MAX_BANDS = 1024  # describing bands takes GDAL time that grows with the square of their number
MAX_DIRECTORIES = 100  # of pages, overviews and masks; GDAL lists them all
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF, both byte orders


@contextmanager
def clean_patch(content: bytes, *, name: str) -> Iterator[str]:
    """Copy an uploaded GeoTIFF in memory, keeping only its pixels and georeference.

    Only GDAL's GeoTIFF driver opens the upload, from memory. No other driver can see it, so it
    cannot make GDAL read another file or address. The result is a file written here.

    Args:
        content: The file's bytes.
        name: Its name in messages.

    Yields:
        GDAL's path of the copy, which is deleted afterwards.

    Raises:
        PatchError: If it is not a GeoTIFF, has too many pixels, bands or pages, or is damaged.
    """
    if not content.startswith(SIGNATURES):
        msg = f"{name} is not a GeoTIFF; drop a .tif file that has a CRS."
        raise PatchError(msg)
    _check_directories(content, name)
    folder = uuid.uuid4().hex  # a new folder, so that there are no sidecar files to find
    try:
        with (
            MemoryFile(content, dirname=folder, filename="uploaded.tif") as memory,
            rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
            rasterio.open(memory.name, driver="GTiff") as source,
        ):
            copied = _copy(source, name)
    except (RasterioError, OSError, MemoryError) as error:
        msg = f"{name} cannot be read: {one_line(error.__cause__ or error)}"
        raise PatchError(msg) from error
    with copied:
        yield copied.name


def _check_directories(content: bytes, name: str) -> None:
    """Follow the chain of a TIFF's directories, as far as a patch may have any.

    Raises:
        PatchError: If there are too many.
    """
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    link, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    place = 8 if big else 4
    with suppress(struct.error):  # if the chain leaves the file, which GDAL will report
        for _ in range(MAX_DIRECTORIES):
            (start,) = struct.unpack_from(order + link, content, place)
            if not 0 < start < len(content):
                return
            (entries,) = struct.unpack_from(order + count, content, start)
            place = min(start + struct.calcsize(count) + entries * entry, len(content))
        msg = (
            f"{name} has more than {MAX_DIRECTORIES} pages, overviews and masks; drop a file with "
            "one page."
        )
        raise PatchError(msg)


def _copy(source: DatasetReader, name: str) -> MemoryFile:
    """Copy pixels, georeference and what says how to read them to a new file in memory.

    Raises:
        PatchError: If it has no bands or too many, several pixel types, or too many pixels.
    """
    if source.count == 0:
        msg = f"{name} has no bands; drop a GeoTIFF with pixels."
        raise PatchError(msg)
    if source.count > MAX_BANDS:
        msg = (
            f"{name} has {source.count:,} bands, but the limit is {MAX_BANDS:,}; keep the bands "
            "that the archive's scenes have."
        )
        raise PatchError(msg)
    if len(source.subdatasets) > 1:
        msg = f"{name} has {len(source.subdatasets)} pages; drop a file with the one you mean."
        raise PatchError(msg)
    depth = sum(_item_size(dtype) for dtype in source.dtypes)
    size = source.width * source.height * depth
    if size > MAX_PIXEL_BYTES:
        msg = (
            f"{name} has {source.width} x {source.height} px in {source.count} bands, "
            f"{size / 2**20:,.0f} MB decoded, but the limit is {MAX_PIXEL_BYTES // 2**20} MB; "
            "cut out the part to search with."
        )
        raise PatchError(msg)
    if len(set(source.dtypes)) > 1:
        msg = f"{name} has bands of several pixel types ({', '.join(source.dtypes)}); use one."
        raise PatchError(msg)
    # Its name may say what product it is, and so what its bands show.
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", PurePath(name).stem)[:128]
    target = MemoryFile(dirname=uuid.uuid4().hex, filename=f"{plain or 'patch'}.tif")
    try:
        _write(source, target)
    except BaseException:
        target.close()  # frees its memory
        raise
    return target


def _write(source: DatasetReader, target: MemoryFile) -> None:
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        target.open(
            driver="GTiff",
            width=source.width,
            height=source.height,
            count=source.count,
            dtype=source.dtypes[0],
            crs=source.crs,
            transform=source.transform,
            nodata=source.nodata,
        ) as copy,
    ):
        if source.colorinterp[0] == ColorInterp.palette:
            copy.write_colormap(1, source.colormap(1))
        copy.write(source.read())
        copy.scales, copy.offsets = source.scales, source.offsets
        copy.units = source.units
        if source.colorinterp[0] != ColorInterp.palette:
            copy.colorinterp = source.colorinterp
        for band, text in enumerate(source.descriptions, 1):
            if text:
                copy.set_band_description(band, text[:64])
            waves = source.tags(band, ns="IMAGERY") | source.tags(band)
            copy.update_tags(band, **{k: v[:64] for k, v in waves.items() if "wave" in k.lower()})
        flags = [set(found) for found in source.mask_flag_enums]
        if any(MaskFlags.per_dataset in f and MaskFlags.alpha not in f for f in flags):
            copy.write_mask(source.dataset_mask())


def _item_size(dtype: str) -> int:
    import numpy as np

    return 16 if dtype.startswith("complex") else np.dtype(dtype).itemsize
