"""Read windows of open rasters, and find which of their pixels are valid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from affine import Affine
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window
from torch import Tensor

from geohash_rs.errors import SceneError
from geohash_rs.scenes.resampling import declares, is_nodata, read_resampled

__all__ = [
    "TilePixels",
    "batch_tensor",
    "fill_invalid",
    "may_have_gaps",
    "north_up",
    "read_window",
    "stack_images",
]


class TilePixels(NamedTuple):
    """The pixels of a tile.

    Attributes:
        image: Native dtype, shape (bands, height, width).
        invalid: Mask of pixels that are nodata, not finite or outside the scene: bool, shape
            (height, width), or None if all are valid.
    """

    image: npt.NDArray[Any]
    invalid: npt.NDArray[np.bool_] | None


def read_window(
    source: DatasetReader,
    window: Sequence[int],
    *,
    indexes: Sequence[int],
    nodata: float | None = None,
    masked: bool = False,
    shape: tuple[int, int] | None = None,
    out: npt.NDArray[Any] | None = None,
) -> TilePixels:
    """Read a window that may reach beyond a raster.

    Args:
        source: Open rasterio dataset.
        window: Column, row, width and height in px.
        indexes: One-based bands to read.
        nodata: Value of pixels without data. It has no weight in resampling, even if the raster
            does not declare it.
        masked: Whether to read the raster's own mask or alpha band too.
        shape: Height and width to resample the window to.
        out: Array to read into if the window is inside the raster, of the raster's type, shape
            (bands, height, width); None allocates one.

    Returns:
        The pixels, and which of them are invalid.

    Raises:
        SceneError: If the raster lacks one of the bands.
    """
    col, row, width, height = map(int, window)
    full = shape or (height, width)
    inside, at, size = Window(col, row, width, height), (0, 0), full
    if col < 0 or row < 0 or col + width > source.width or row + height > source.height:
        inside, at, size = _clip(inside, (source.height, source.width), full)
    if max(indexes) > source.count:
        msg = (
            f"{Path(source.name).name} has {source.count} bands now, so band {max(indexes)} cannot "
            "be read: it was replaced since its header was read; run again."
        )
        raise SceneError(msg)
    if min(size) == 0:  # the window does not meet the raster
        dtype = np.result_type(*{source.dtypes[index - 1] for index in indexes})
        fill = np.full((len(indexes), *full), _fill_value(nodata, dtype), dtype)
        return TilePixels(fill, np.ones(full, dtype=bool))
    image: npt.NDArray[Any]
    if shape is None and out is not None and size == full and len(set(source.dtypes)) == 1:
        image = source.read(list(indexes), window=inside, out=out)  # nearly every tile
    else:
        image = _read_inside(
            source, inside, indexes=indexes, nodata=nodata, masked=masked, shape=size, out=out
        )
    invalid = _invalid(image, nodata)
    if masked:
        hidden = source.dataset_mask(window=inside, out_shape=size) == 0
        invalid = hidden if invalid is None else invalid | hidden
    pixels = TilePixels(image, invalid)
    return pixels if size == full else _pad(pixels, full, at, nodata)


def _clip(
    window: Window, raster: tuple[int, int], shape: tuple[int, int]
) -> tuple[Window, tuple[int, int], tuple[int, int]]:
    """Find the part of a window inside a raster, and its place in the resampled window.

    Returns:
        The part, and its first row and column, height and width in the resampled window.
    """
    col, row, width, height = window.flatten()
    left, top = max(col, 0), max(row, 0)
    right, bottom = min(col + width, raster[1]), min(row + height, raster[0])
    rows = np.round((np.array([top, bottom]) - row) * shape[0] / height).astype(int)
    cols = np.round((np.array([left, right]) - col) * shape[1] / width).astype(int)
    return (
        Window(left, top, max(right - left, 0), max(bottom - top, 0)),
        (int(rows[0]), int(cols[0])),
        (max(int(rows[1] - rows[0]), 0), max(int(cols[1] - cols[0]), 0)),
    )


def _read_inside(
    source: DatasetReader,
    window: Window,
    *,
    indexes: Sequence[int],
    nodata: float | None,
    masked: bool,
    shape: tuple[int, int],
    out: npt.NDArray[Any] | None,
) -> npt.NDArray[Any]:
    """Read a window inside a raster, resampled to a shape."""
    options: dict[str, Any] = {"window": window}
    if shape != (window.height, window.width):
        smaller = shape[0] * shape[1] < window.height * window.width
        how = options["resampling"] = Resampling.average if smaller else Resampling.cubic
        if nodata is not None and not declares(source, indexes, nodata):
            resampled = read_resampled(
                source,
                window,
                indexes=indexes,
                nodata=nodata,
                masked=masked,
                shape=shape,
                resampling=how,
            )
            if resampled is not None:
                return resampled
    # A VRT may have bands of several types; rasterio must read them one by one.
    types = source.dtypes
    if len(set(types)) > 1 and len({types[index - 1] for index in indexes}) > 1:
        return np.stack([source.read(i, out_shape=shape, **options) for i in indexes])
    if out is not None and shape == out.shape[1:]:
        options["out"] = out
    else:
        options["out_shape"] = (len(indexes), *shape)
    image: npt.NDArray[Any] = source.read(list(indexes), **options)
    return image


def fill_invalid(pixels: TilePixels, nodata: float | None) -> npt.NDArray[Any]:
    """Replace invalid pixels by each band's mean over its valid pixels.

    A value such as -9999 or NaN would dominate the network's input.

    Args:
        pixels: Pixels of a tile.
        nodata: Value of pixels without data. In a single band it counts only if it cannot be a
            measurement: in floats, and below zero. (A zero in one band of a photograph is dark.)

    Returns:
        The image, same shape and dtype, finite everywhere; zeros where a band has no valid pixel.
    """
    image = pixels.image
    if pixels.invalid is None and not may_have_gaps(image.dtype, nodata):
        return image
    floating = image.dtype.kind == "f"
    invalid = np.broadcast_to(False if pixels.invalid is None else pixels.invalid, image.shape)
    if floating:
        invalid = invalid | ~np.isfinite(image)
    if nodata is not None and (floating or nodata < 0):
        invalid = invalid | is_nodata(image, nodata)
    if not invalid.any():
        return image
    valid = ~invalid
    sums = np.where(valid, image, 0).sum(axis=(1, 2), dtype=np.float64)
    means = sums / np.maximum(valid.sum(axis=(1, 2)), 1)
    means = means if floating else np.round(means)
    return np.where(valid, image, means[:, None, None].astype(image.dtype))


def may_have_gaps(dtype: np.dtype[Any], nodata: float | None) -> bool:
    """Return whether single bands may have gaps where others have values, as in `fill_invalid`.

    Args:
        dtype: Type of the pixels.
        nodata: Value of pixels without data.

    Returns:
        Whether a valid pixel may have bands to fill.
    """
    return dtype.kind == "f" or (nodata is not None and nodata < 0)


def stack_images(images: Sequence[npt.NDArray[Any]]) -> Tensor:
    """Stack images of one size and dtype into a batch for a hasher.

    Args:
        images: Each of shape (bands, height, width).

    Returns:
        Shape (images, bands, height, width), of the same dtype if torch fully supports it,
        otherwise float32; empty if there are none.
    """
    return batch_tensor(np.stack(images)) if images else torch.empty(0)


def batch_tensor(images: npt.NDArray[Any]) -> Tensor:
    """Convert images to a tensor, without a copy if torch fully supports their dtype.

    Args:
        images: Shape (images, bands, height, width).

    Returns:
        Same shape, of the same dtype if torch fully supports it, otherwise float32.
    """
    # Torch supports uint16, but wider unsigned integers only in part.
    wide = images.dtype.kind == "u" and images.dtype.itemsize > 2
    return torch.from_numpy(images.astype(np.float32) if wide else images)


def north_up(image: npt.NDArray[Any], transform: Affine) -> npt.NDArray[Any]:
    """Flip a south-up or mirrored image, so that the same ground has the same pixels.

    Args:
        image: Shape (bands, height, width).
        transform: Affine transform of its raster, pixel to CRS.

    Returns:
        The image with north up and east right; unchanged if its grid is rotated by 45 degrees or
        more, since no flip does that.
    """
    if abs(transform.b) >= abs(transform.a) or abs(transform.d) >= abs(transform.e):
        return image
    if transform.e > 0:
        image = image[:, ::-1]
    if transform.a < 0:
        image = image[:, :, ::-1]
    return image


def _invalid(image: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_] | None:
    """Mark pixels that are nodata or not finite in every band."""
    if image.dtype.kind == "f":
        broken = ~np.isfinite(image)
        if nodata is not None:
            broken |= is_nodata(image, nodata)
        invalid = broken.all(axis=0)
        return invalid if invalid.any() else None
    if nodata is None or np.isnan(nodata):
        return None
    invalid = image[0] == nodata
    for band in image[1:]:  # most tiles stop after the first
        if not invalid.any():
            break
        invalid &= band == nodata
    return invalid if invalid.any() else None


def _pad(
    part: TilePixels, shape: tuple[int, int], at: tuple[int, int], nodata: float | None
) -> TilePixels:
    bands, height, width = part.image.shape
    image = np.full((bands, *shape), _fill_value(nodata, part.image.dtype), dtype=part.image.dtype)
    invalid = np.ones(shape, dtype=bool)
    here = (slice(at[0], at[0] + height), slice(at[1], at[1] + width))
    image[:, *here] = part.image
    invalid[here] = False if part.invalid is None else part.invalid
    return TilePixels(image, invalid if invalid.any() else None)


def _fill_value(nodata: float | None, dtype: np.dtype[Any]) -> float:
    if nodata is None or np.isnan(nodata):
        return 0.0
    limits = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else np.finfo(dtype)
    return nodata if limits.min <= nodata <= limits.max else 0.0
