"""Find doubtful values: on another scale, outside a hasher's range, or an undeclared fill value."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.scenes.values import PICTURE_BANDS, Values

__all__ = ["doubt_range", "doubt_scales", "explain_fill", "find_fill", "on_other_scale"]

MOSTLY = 0.95  # share of values outside a range from which tiles look alike
# Among 4,950 pairs of places in Sentinel-2 images, from lakes to bright roofs, the low ends of all
# bands differ by a factor of up to 1.8, and the high ends by up to 5.4.
LEAST_RATIOS = (3.0, 4.0)  # of low and of high ends, in the band that differs least
LEAST_CONTRAST = 2.5  # of one of both, high to low; one kind of ground, such as water, has less
LEAST_GAP = 3.2  # between the high ends of neighbouring scenes on two scales
FLOOR = 0.01  # low ends below this share of the high end count as this much
USUAL_FILLS = (-9999.0, -32768.0, -3.4028234663852886e38, 1e20)
NAMED = 3  # files named in a sentence


def on_other_scale(one: Values, other: Values) -> bool:
    """Return whether optical values look like others multiplied by a factor.

    Numbers of 11 and 16 bits are an example. Values with a unit, or with scale and offset applied,
    are never in doubt, and neither are those of one or two bands, such as elevations and radar.

    Args:
        one: Values of one scene, or of a hasher.
        other: Values to compare with.
    """
    for values in (one, other):
        if values.kind != "number" or values.physical or values.unit or min(values.high) <= 0:
            return False
    if len(one.low) != len(other.low) or len(one.low) < PICTURE_BANDS:
        return False
    ends = [_ends(one.low, one.high), _ends(other.low, other.high)]
    if max((high / low).max() for low, high in ends) < LEAST_CONTRAST:
        return False
    ratios = (ends[0] / ends[1]).min(axis=1), (ends[1] / ends[0]).min(axis=1)
    return any((ratio >= LEAST_RATIOS).all() for ratio in ratios)


def doubt_scales(found: Sequence[Values]) -> npt.NDArray[np.bool_] | None:
    """Divide scenes into two scales of numbers.

    Scenes of one scale differ, so the typical ranges of both groups are compared, on both sides of
    the widest gap.

    Args:
        found: Values of each scene.

    Returns:
        Whether each scene has the larger numbers, shape (scenes,); None if all have one scale.
    """
    if len({len(values.low) for values in found}) != 1:
        return None
    low, high = np.array([v.low for v in found]), np.array([v.high for v in found])
    if len(found) < 2 or high.min() <= 0:
        return None
    size = np.log(high).mean(axis=1)
    order = np.argsort(size, kind="stable")
    gaps = np.diff(size[order])
    if gaps.max() < np.log(LEAST_GAP):
        return None
    larger = np.zeros(len(found), dtype=bool)
    larger[order[gaps.argmax() + 1 :]] = True
    lower, upper = (
        Values(
            kind="number",
            low=tuple(np.median(low[group], axis=0).tolist()),
            high=tuple(np.median(high[group], axis=0).tolist()),
        )
        for group in (~larger, larger)
    )
    return larger if on_other_scale(lower, upper) else None


def doubt_range(pixels: npt.NDArray[Any], own: Values, *, name: str) -> str:
    """Explain why values can hardly be those that a hasher was made for.

    Args:
        pixels: Some valid pixels as they reach the hasher, shape (bands, pixels), one or more.
        own: The hasher's own values.
        name: Name of their file.

    Returns:
        A sentence for a user; empty if nothing is doubtful.
    """
    low, high = (np.array(end)[:, None] for end in (own.low, own.high))
    outside = float(((pixels < low) | (pixels > high)).mean())
    found = Values.of_pixels(pixels, dtype=str(pixels.dtype))
    lowest, highest = f"{min(own.low):.4g}", f"{max(own.high):.4g}"
    held = f"{min(found.low):.4g} to {max(found.high):.4g}"
    if outside > MOSTLY:
        what = (
            f"nearly all values of {name} lie outside the range that the hasher was made for "
            f"({held}, not {lowest} to {highest}), so that its tiles look alike"
        )
    elif on_other_scale(found, own):
        what = (
            f"the values of {name} seem to have a different scale from those that the hasher was "
            f"made for ({held}, not {lowest} to {highest})"
        )
    else:
        return ""
    return (
        f"{what}; pass value_range=(LOW, HIGH), the values of the file that correspond to {lowest} "
        f"and {highest}, unless the ground is just very dark or bright."
    )


def find_fill(values: Values) -> float | None:
    """Return a usual fill value that makes up the end of a range, and so more than 1 % of a band.

    Args:
        values: Values of pixels that count as valid.
    """
    ends = (*values.low, *values.high)
    if len(set(ends)) < 2:
        return None
    return next((f for f in USUAL_FILLS if any(np.isclose(e, f, rtol=1e-6) for e in ends)), None)


def explain_fill(names: Sequence[str], fill: float, *, is_patch: bool = False) -> str:
    """Explain that files hold a usual fill value that they do not declare.

    Args:
        names: Names of the files, one or more.
        fill: The value.
        is_patch: Whether they are patches, for which a search has no option.

    Returns:
        A sentence for a user.
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    option = "" if is_patch else f"pass nodata={fill:.8g}, or "
    return (
        f"many pixels of {', '.join(names[:NAMED])}{more} hold {fill:.8g}, which is usually a fill "
        f"value, but is not declared as nodata, so they count as measurements; {option}declare it "
        f"with 'gdal_edit.py -a_nodata {fill:.8g}'."
    )


def _ends(low: Sequence[float], high: Sequence[float]) -> npt.NDArray[np.float64]:
    top = np.array(high)
    return np.stack([np.maximum(low, FLOOR * top), top])
