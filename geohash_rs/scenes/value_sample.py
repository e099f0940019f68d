"""Sample a few pixels of a scene to find out what its values mean, before it is read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.io import DatasetReader

from geohash_rs.scenes.file import SceneFile
from geohash_rs.scenes.pixels import read_window
from geohash_rs.scenes.values import Conversion, Values, match_values, stretch_values

__all__ = ["Sample", "range_applies", "sample_of_header", "sample_values", "scene_conversion"]

SPOTS = 3  # windows across and down
SPOT_SIDE = 64  # px
FEWEST_PIXELS = 16  # fewer do not show the range of values
MOST_PIXELS = 4096
HIGHEST_BYTE = 255


class Sample(NamedTuple):
    """Sampled pixels of a scene, and what their values mean.

    Attributes:
        values: Kind and range of the values.
        pixels: The pixels, with scale and offset applied, shape (bands, pixels).
    """

    values: Values
    pixels: npt.NDArray[Any]


def sample_of_header(scene: SceneFile, indexes: Sequence[int]) -> Sample | None:
    """Describe the values of a scene from its header alone, if it is an 8-bit picture.

    Args:
        scene: Header of the scene.
        indexes: One-based bands.

    Returns:
        A sample without pixels; None if pixels must be read to know the values.
    """
    if scene.dtype_of(indexes) != "uint8" or scene.rescaling(indexes) is not None:
        return None
    none = np.empty((len(indexes), 0), np.uint8)
    return Sample(Values.of_pixels(none, dtype="uint8"), none)


def range_applies(
    scene: SceneFile, indexes: Sequence[int], value_range: tuple[float, float]
) -> bool:
    """Return whether a range of a user's is meant for a scene.

    Pictures of 8 bits that lie next to the digital numbers of a sensor are not: the range 0 to 3000
    would make them black.

    Args:
        scene: The scene.
        indexes: One-based bands.
        value_range: The lowest and the highest value.
    """
    return value_range[1] <= HIGHEST_BYTE or sample_of_header(scene, indexes) is None


def sample_values(
    source: DatasetReader, scene: SceneFile, *, indexes: Sequence[int], nodata: float | None
) -> Sample | None:
    """Read some pixels from all over a scene, in a bounded number of blocks.

    Args:
        source: The open raster.
        scene: Header of the scene.
        indexes: One-based bands.
        nodata: Value of missing pixels.

    Returns:
        The sample; None if hardly any pixel is valid.
    """
    bands = list(indexes)
    parts = []
    for window in _spots(source.width, source.height):
        seen = read_window(source, window, indexes=bands, nodata=nodata, masked=scene.masked)
        valid = _valid(seen.image, seen.invalid, nodata)
        parts.append(seen.image[:, valid])
    pixels = np.concatenate(parts, axis=1)
    filled = pixels.any(axis=0)
    if filled.any():  # most files without nodata fill gaps with zeros in all bands
        pixels = pixels[:, filled]
    if pixels.shape[1] < FEWEST_PIXELS:
        return None
    pixels = pixels[:, :: max(1, pixels.shape[1] // MOST_PIXELS)]
    rescaling = scene.rescaling(indexes)
    if rescaling is not None:
        pixels = rescaling.apply(pixels[:, :, None])[:, :, 0]
    units = {scene.units[i - 1] for i in indexes if scene.units} - {""}
    values = Values.of_pixels(
        pixels,
        dtype=scene.dtype_of(indexes),
        physical=rescaling is not None,
        unit=units.pop() if len(units) == 1 else "",
    )
    return Sample(values, pixels)


def scene_conversion(
    scene: SceneFile,
    indexes: Sequence[int],
    *,
    found: Values | None,
    known: Sequence[Values],
    value_range: tuple[float, float] | None = None,
) -> Conversion | None:
    """Choose the conversion from a scene's pixels to the values that a hasher was made for.

    Args:
        scene: The scene.
        indexes: One-based bands to read.
        found: The scene's values; None if unknown, which counts as the hasher's own values.
        known: Values that the hasher accepts, its own first; empty if it accepts any.
        value_range: The scene's values that correspond to the lowest and highest of the hasher's
            own; overrides `found` unless `range_applies` is false.

    Returns:
        The conversion, including GDAL's scale and offset; None if pixels need none.

    Raises:
        ValueMismatchError: If the hasher was made for different values.
    """
    rescaling = scene.rescaling(indexes)
    after: Conversion | None = None
    if value_range is not None and not range_applies(scene, indexes, value_range):
        value_range, picture = None, sample_of_header(scene, indexes)
        found = None if picture is None else picture.values
    if value_range is not None:
        low, high = ([value] * len(indexes) for value in value_range)
        given = Values.of_range(low, high)
        if known and (known[0].low, known[0].high) != (given.low, given.high):
            after = stretch_values(given, known[0])
    elif found is not None:
        after = match_values(found, known, name=scene.name)
    return after if rescaling is None else rescaling.then(after)


def _spots(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Spread windows evenly over a raster; one window covers a small raster."""
    if max(width, height) <= SPOTS * SPOT_SIDE:
        return [(0, 0, width, height)]
    cols, rows = (_starts(side) for side in (width, height))
    wide, high = min(width, SPOT_SIDE), min(height, SPOT_SIDE)
    return [(col, row, wide, high) for row in rows for col in cols]


def _starts(side: int) -> list[int]:
    if side <= SPOT_SIDE:
        return [0]
    return [int((side - SPOT_SIDE) * (2 * i + 1) / (2 * SPOTS)) for i in range(SPOTS)]


def _valid(
    image: npt.NDArray[Any], invalid: npt.NDArray[np.bool_] | None, nodata: float | None
) -> npt.NDArray[np.bool_]:
    """Find the pixels that are valid in every band."""
    valid: npt.NDArray[np.bool_] = np.isfinite(image).all(axis=0)
    if nodata is not None:
        valid &= ~(image == nodata).any(axis=0)
    if invalid is not None:
        valid &= ~invalid
    return valid
