"""Determine whether a band flagged as alpha is a mask or holds measurements."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geohash_rs.errors import SceneError

__all__ = ["alpha_band"]

BLOCKS = 24  # that are read, spread over the band
SIDE = 512  # px, longest side of a block
BETWEEN = 0.05  # largest share of non-clear values between clear and opaque in a soft-edged mask
PIXELS = 0.5  # smallest share in a band of measurements


def alpha_band(source: DatasetReader, *, name: str, trust: bool = False) -> tuple[int | None, bool]:
    """Find the band flagged as alpha, and whether it is a mask.

    GDAL flags the fourth band of an 8-bit file as alpha by default, so near infrared is often
    flagged. A mask is clear or opaque nearly everywhere; measurements are mostly in between.

    Args:
        source: Open rasterio dataset.
        name: Name of the file, for messages.
        trust: Trust the flag where the values are ambiguous.

    Returns:
        One-based index of the band flagged as alpha, or None; and whether it is a mask.

    Raises:
        SceneError: If the flagged band could be either.
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
        f"clear and opaque, so it may be a mask or measurements; pass bands=... with band {band} "
        "if it holds measurements, or without it if it is a mask."
    )
    raise SceneError(msg)


def _share_between(source: DatasetReader, band: int) -> float:
    """Measure the share of values above 0 that differ from the opaque value."""
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
    # The blocks may miss the clear part of a mask; its opaque part has the highest value.
    opaque = 1.0 if values.dtype.kind == "f" and kinds[-1] <= 1 else _opaque(source, band, kinds)
    seen = values[values != 0]  # zeros are clear in a mask, dark or empty in measurements
    return float((seen != opaque).mean())


def _opaque(source: DatasetReader, band: int, kinds: npt.NDArray[Any]) -> float:
    if 255 in kinds and kinds[-1] == 255:
        return 255.0
    dtype = np.dtype(source.dtypes[band - 1])
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else float(kinds[-1])
