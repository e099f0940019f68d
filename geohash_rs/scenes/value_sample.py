"""Sample a few pixels of a scene to find out what its values mean, before it is read."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.io import DatasetReader

from geohash_rs.errors import ValueMismatchError
from geohash_rs.scenes.file import SceneFile
from geohash_rs.scenes.pixels import read_window
from geohash_rs.scenes.resampling import is_nodata
from geohash_rs.scenes.value_doubts import explain_fill, find_fill
from geohash_rs.scenes.values import Conversion, Values, match_values, stretch_values

__all__ = ["Sample", "range_applies", "sample_of_header", "sample_values", "scene_conversion"]

SPOTS = 3  # windows across and down
SPOT_SIDE = 64  # px
FEWEST_PIXELS = 16  # fewer do not show the range of values
MOST_PIXELS = 4096
PART_SIDE = 1024  # px: about the side of the windows in which sparse data are searched for
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

    If they are all missing or zero, the whole scene is read up to the first window with data, which
    at the edge of a swath may lie in one corner.

    Args:
        source: The open raster.
        scene: Header of the scene.
        indexes: One-based bands.
        nodata: Value of missing pixels.

    Returns:
        The sample; None if no pixel is valid.

    Raises:
        ValueMismatchError: If there are valid pixels, but none in all of the bands.
    """
    pixels, _ = _read(source, scene, _spots(source.width, source.height), indexes, nodata)
    if pixels.shape[1] < FEWEST_PIXELS or not pixels.any():
        pixels, partly = _read(source, scene, _parts(source), indexes, nodata, enough=True)
        if partly and not pixels.shape[1]:
            msg = (
                f"no pixel of {scene.name} is valid in all of the bands {list(indexes)}, so it is "
                "unknown what its values mean; choose other bands, or pass "
                "value_range=(LOW, HIGH)."
            )
            raise ValueMismatchError(msg)
    if not pixels.shape[1]:
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
        found: The scene's values; None if no pixel is valid.
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
        try:
            after = match_values(found, known, name=scene.name)
        except ValueMismatchError as error:
            if (fill := find_fill(found)) is None:
                raise
            msg = f"{error} Also, {explain_fill([scene.name], fill)}"
            raise ValueMismatchError(msg) from error
    return after if rescaling is None else rescaling.then(after)


def _read(
    source: DatasetReader,
    scene: SceneFile,
    windows: Iterable[tuple[int, int, int, int]],
    indexes: Sequence[int],
    nodata: float | None,
    *,
    enough: bool = False,
) -> tuple[npt.NDArray[Any], bool]:
    """Read the pixels of windows that are valid in all bands.

    Args:
        source: As in `sample_values`.
        scene: As in `sample_values`.
        windows: Columns, rows, widths and heights, px.
        indexes: As in `sample_values`.
        nodata: As in `sample_values`.
        enough: Stop once enough of them are not zero.

    Returns:
        The pixels, shape (bands, pixels), and whether any is valid in some band. Those that are
        zero in all bands are left out if others are not, since most files fill gaps with them.
    """
    parts, partly, filled = [], False, 0
    for window in windows:
        seen = read_window(
            source, window, indexes=list(indexes), nodata=nodata, masked=scene.masked
        )
        valid = _valid(seen.image, seen.invalid, nodata)
        partly = partly or seen.invalid is None or not seen.invalid.all()
        pixels = seen.image[:, valid]
        some = pixels.any(axis=0)
        filled += int(some.sum())
        # a few zeros suffice: whole scenes of them must not pile up
        parts.append(pixels[:, some] if some.any() else pixels[:, :FEWEST_PIXELS])
        if enough and filled >= FEWEST_PIXELS:
            break
    together = np.concatenate(parts, axis=1)
    return together[:, together.any(axis=0)] if filled else together, partly


def _parts(source: DatasetReader) -> Iterator[tuple[int, int, int, int]]:
    """Divide a raster into windows of whole blocks."""
    high, wide = source.block_shapes[0]
    width = min(-(-PART_SIDE // wide) * wide, source.width)
    height = max(1, PART_SIDE**2 // (width * high)) * high
    for row in range(0, source.height, height):
        for col in range(0, source.width, width):
            yield col, row, min(width, source.width - col), min(height, source.height - row)


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
        valid &= ~is_nodata(image, nodata).any(axis=0)
    if invalid is not None:
        valid &= ~invalid
    return valid
