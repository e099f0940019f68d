"""Read a GeoTIFF that was dropped on the page, trusting nothing in it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile

from geohash_rs.errors import PatchError, one_line

__all__ = ["MAX_PIXEL_BYTES", "MAX_UPLOAD", "clean_patch"]

MAX_UPLOAD = 64 * 2**20  # bytes of the file
MAX_PIXEL_BYTES = 256 * 2**20  # bytes of its pixels once unpacked
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF, both byte orders


@contextmanager
def clean_patch(content: bytes, *, name: str) -> Iterator[str]:
    """Copy an uploaded GeoTIFF in memory, so that only its pixels and its place are left.

    The file is opened by GDAL's GeoTIFF driver alone, from memory: no other driver gets to see
    it, so nothing in it can name a file or address to be read. What is handed on was written here.

    Args:
        content: The file.
        name: Its name, for messages.

    Yields:
        GDAL's path of the copy, which is gone afterwards.

    Raises:
        PatchError: If it is no GeoTIFF, too large once unpacked, or damaged.
    """
    if not content.startswith(SIGNATURES):
        msg = f"{name} is no GeoTIFF; drop a .tif file that has a CRS."
        raise PatchError(msg)
    folder = uuid.uuid4().hex  # of its own, so that it has no neighbours to look for
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


def _copy(source: DatasetReader, name: str) -> MemoryFile:
    """Write pixels, place and what says how to read them to a new file in memory.

    Raises:
        PatchError: If there is nothing in it, or too much.
    """
    if source.count == 0:
        msg = f"{name} has no bands; drop a GeoTIFF with pixels."
        raise PatchError(msg)
    depth = sum(_item_size(dtype) for dtype in source.dtypes)
    size = source.width * source.height * depth
    if size > MAX_PIXEL_BYTES:
        msg = (
            f"{name} has {source.width} x {source.height} px in {source.count} bands, "
            f"{size / 2**20:,.0f} MB unpacked, and {MAX_PIXEL_BYTES // 2**20} MB can be searched "
            "with; cut out the part that you mean."
        )
        raise PatchError(msg)
    if len(set(source.dtypes)) > 1:
        msg = f"{name} has bands of several pixel types ({', '.join(source.dtypes)}); give one."
        raise PatchError(msg)
    target = MemoryFile(dirname=uuid.uuid4().hex, filename="patch.tif")
    try:
        _write(source, target)
    except BaseException:
        target.close()  # nothing else frees its memory
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
        copy.write(source.read())
        copy.colorinterp = source.colorinterp
        copy.scales, copy.offsets = source.scales, source.offsets
        copy.units = source.units
        for band, text in enumerate(source.descriptions, 1):
            if text:
                copy.set_band_description(band, text[:64])
        if any(rasterio.enums.MaskFlags.per_dataset in f for f in source.mask_flag_enums):
            copy.write_mask(source.dataset_mask())


def _item_size(dtype: str) -> int:
    import numpy as np

    return 16 if dtype.startswith("complex") else np.dtype(dtype).itemsize
