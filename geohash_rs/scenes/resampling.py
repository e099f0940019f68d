"""Compare pixels with a nodata value, and resample rasters that do not declare theirs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.enums import Resampling
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import Window

__all__ = ["declares", "is_nodata", "nodata_ends", "read_resampled"]

MARGIN = 4  # px around a window that cubic interpolation reads


def declares(source: DatasetReader, indexes: Sequence[int], nodata: float) -> bool:
    """Return whether all bands of a raster declare a nodata value.

    Args:
        source: Open rasterio dataset.
        indexes: One-based bands.
        nodata: The value; NaN equals itself.

    Returns:
        Whether GDAL gives it no weight when it resamples these bands.
    """
    known = [source.nodatavals[index - 1] for index in indexes]
    return all(v is not None and np.array_equal(v, nodata, equal_nan=True) for v in known)


def is_nodata(image: npt.NDArray[Any], nodata: float) -> npt.NDArray[np.bool_]:
    """Mark the values that equal a nodata value, as GDAL compares them.

    Files often state the nodata value of floats with few digits: -3.40282e+38 for the lowest
    float32, -3.4028235e+38.

    Args:
        image: Any shape and real type.
        nodata: The value; NaN equals nothing here.

    Returns:
        Bool, same shape. Integers must be equal; floats may differ by about four units in the last
        place of a float32, and by more near the limits of their type.
    """
    if image.dtype.kind != "f":
        return np.asarray(image == nodata)
    low, high = nodata_ends(image.dtype, nodata)
    return np.asarray((image >= low) & (image <= high))


def nodata_ends(dtype: np.dtype[Any], nodata: float | None) -> tuple[float, float]:
    """Return the lowest and highest number that `is_nodata` marks.

    Args:
        dtype: Type of the pixels.
        nodata: The value; None marks nothing.

    Returns:
        Both ends; infinity and minus infinity if nothing is marked.
    """
    if nodata is None or np.isnan(nodata):
        return np.inf, -np.inf
    if dtype.kind != "f":
        return nodata, nodata
    low, high = _taken_for(abs(nodata), most=float(np.finfo(dtype).max))
    return (low, high) if nodata > 0 else (-high, -low)


def _taken_for(size: float, *, most: float) -> tuple[float, float]:
    """Return the smallest and largest positive float that GDAL takes for another one.

    It compares the difference of two floats with their sum times twice the precision of float32.
    Near the limits of the type the sum overflows, so that all floats of that size are equal.

    Args:
        size: The other one.
        most: Largest float of the type.
    """
    if size > most:
        return np.inf, np.inf
    if size > most / 2:
        return most / 2, most
    near = 2 * float(np.finfo(np.float32).eps)
    return size * (1 - near) / (1 + near), size * (1 + near) / (1 - near)


def read_resampled(
    source: DatasetReader,
    window: Window,
    *,
    indexes: Sequence[int],
    nodata: float,
    masked: bool,
    shape: tuple[int, int],
    resampling: Resampling,
) -> npt.NDArray[Any] | None:
    """Read a window as GDAL would resample it if its raster declared a nodata value.

    Without that, GDAL averages nodata values into their neighbours.

    Args:
        source: Open rasterio dataset.
        window: Window to read, inside the raster.
        indexes: One-based bands.
        nodata: The value.
        masked: Whether pixels that the raster's own mask or alpha band hides are nodata too.
        shape: Height and width to resample the window to.
        resampling: Method.

    Returns:
        Shape (bands, height, width), with the nodata value where no valid pixel is near; None if
        the window does not contain that value, so that GDAL's own resampling is correct.
    """
    left, top = max(0, window.col_off - MARGIN), max(0, window.row_off - MARGIN)
    right = min(source.width, window.col_off + window.width + MARGIN)
    bottom = min(source.height, window.row_off + window.height + MARGIN)
    around = Window(left, top, right - left, bottom - top)
    inside = Window(window.col_off - left, window.row_off - top, window.width, window.height)
    pixels = np.stack([source.read(index, window=around) for index in indexes])
    found = np.isnan(pixels) if np.isnan(nodata) else is_nodata(pixels, nodata)
    if not found.any():
        return None
    if masked:
        pixels[:, source.dataset_mask(window=around) == 0] = nodata
    bands, height, width = pixels.shape
    profile = {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": pixels.dtype,
        "nodata": nodata,
        "transform": Affine.scale(2),  # any transform: rasterio warns about a file without one
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as copy:
            copy.write(pixels)
        with memory.open() as copy:
            image: npt.NDArray[Any] = copy.read(
                window=inside, out_shape=(bands, *shape), resampling=resampling
            )
            return image
