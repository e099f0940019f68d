"""Find out whether a band that is flagged as alpha masks pixels, or holds pixels itself."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geohash_rs.errors import SceneError

__all__ = ["alpha_band"]

BLOCKS = 24  # that are looked at, all over the band
SIDE = 512  # px of a block, at most
BETWEEN = 0.05  # share of what is not clear that a soft-edged mask may have in between
PIXELS = 0.5  # share from which they are measurements


def alpha_band(source: DatasetReader, *, name: str, trust: bool = False) -> tuple[int | None, bool]:
    """Find the band that says which pixels are valid.

    GDAL flags the fourth band of an 8-bit file as alpha unless it is told otherwise, so near
    infrared is often flagged so. A mask is clear or opaque nearly everywhere; measurements are
    mostly in between.

    Args:
        source: Open rasterio dataset.
        name: The file's name, for messages.
        trust: Believe the flag where the values do not decide.

    Returns:
        One-based index of the band that is flagged as alpha, or None; and whether it is a mask.

    Raises:
        SceneError: If a flagged band may be either.
    """
    flagged = [i for i, c in enumerate(source.colorinterp, 1) if c == ColorInterp.alpha]
    if not flagged:
        return None, False
    band = flagged[0]
    share = _share_between(source, band)
    if share <= BETWEEN:
        return band, True
    if share >= PIXELS:
        return band, False
    if trust:
        return band, True
    msg = (
        f"band {band} of {name} is flagged as alpha, but {share:.0%} of its values are between "
        f"clear and opaque, so it may mask pixels or hold them; pass bands=... with band {band} if "
        "it holds pixels, or without it if it masks."
    )
    raise SceneError(msg)


def _share_between(source: DatasetReader, band: int) -> float:
    """Measure the share of values above 0 that are not the one that stands for opaque."""
    height, width = source.block_shapes[band - 1]
    across, down = math.ceil(source.width / width), math.ceil(source.height / height)
    picked = np.linspace(0, across * down - 1, min(across * down, BLOCKS)).astype(int)
    parts = []
    for row, col in zip(*np.divmod(picked, across), strict=True):
        window = Window(col * width, row * height, min(width, SIDE), min(height, SIDE))
        inside = window.intersection(Window(0, 0, source.width, source.height))
        parts.append(source.read(band, window=inside).ravel())
    values = np.concatenate(parts)
    kinds = np.unique(values)
    if len(kinds) <= 2 and (len(kinds) == 1 or kinds[0] == 0):
        return 0.0
    # A clear part may have been lost in what was looked at, an opaque one is the highest value.
    opaque = 1.0 if values.dtype.kind == "f" and kinds[-1] <= 1 else _opaque(source, band, kinds)
    seen = values[values != 0]  # zeros are clear, or the dark and empty parts of measurements
    return float((seen != opaque).mean())


def _opaque(source: DatasetReader, band: int, kinds: npt.NDArray[Any]) -> float:
    if 255 in kinds and kinds[-1] == 255:
        return 255.0
    dtype = np.dtype(source.dtypes[band - 1])
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else float(kinds[-1])
