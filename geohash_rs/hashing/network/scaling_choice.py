"""Choose how raw pixel values are scaled, from what a network expects and what tiles hold."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from geohash_rs.errors import GeoHashRSWarning, HasherError, ValueMismatchError
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.scaling import Scaling
from geohash_rs.hashing.network.torchgeo_weights import mixes_values
from geohash_rs.scenes.values import Values

__all__ = ["SCALING_TILES", "estimate_range", "make_scaling", "sample_pixels"]

SCALING_TILES = 512  # tiles sampled to choose the range of pixel values
PERCENTILES = [0.01, 0.99]
THIN_SIDE = 64  # rows and columns sampled from each tile
HIGHEST_BYTE = 255.0
# Reflectance in the numbers of Sentinel-2: https://sentiwiki.copernicus.eu/web/s2-processing
REFLECTANCE_1 = 10_000.0


def make_scaling(
    backbone: Backbone,
    scaling: Mapping[str, Any] | None,
    *,
    sample: Tensor,
    values: Sequence[Values] = (),
) -> Scaling:
    """Choose the scaling of raw pixels for a backbone.

    Args:
        backbone: The network, which has the mean and deviation that it expects.
        scaling: The user's scaling, or None.
        sample: Raw tiles to estimate the range from if there is no scaling.
        values: Kinds of the tiles' values, if they are known; others are converted to the first.

    Returns:
        The scaling; without a user's scaling, that of TorchGeo weights if the backbone has them.

    Raises:
        HasherError: If the scaling is not understood, or a band has no finite pixel.
        ValueMismatchError: If the weights expect values unlike those of the tiles.
    """
    if scaling is None and backbone.raw_input:
        return _raw_scaling(backbone, values[0] if values else _values_of(sample))
    chosen = scaling or _range_of(values) or estimate_range(sample)
    return Scaling.from_mapping(
        chosen, mean=backbone.mean, std=backbone.std, raw_input=backbone.raw_input
    )


def _raw_scaling(backbone: Backbone, found: Values) -> Scaling:
    """Choose the scaling for weights that expect pixels in units of their own.

    Reflectance as a fraction becomes the numbers of Sentinel-2. Pictures, which such weights have
    not seen, are stretched to the same range, with a warning.

    Raises:
        ValueMismatchError: If the weights expect other values.
    """
    mean, std = backbone.mean, backbone.std
    tops = [a + b for a, b in zip(mean, std, strict=True)]
    if max(tops) < 0 <= min(found.low):
        msg = (
            f"the scenes hold {found}, but {backbone.weights} were trained on decibels, values "
            f"around {min(mean):.3g} to {max(mean):.3g}; convert the scenes to decibels."
        )
        raise ValueMismatchError(msg)
    if max(tops) > HIGHEST_BYTE:
        if mixes_values(mean, std):
            msg = (
                f"{backbone.weights} were trained on 8-bit pictures in some bands and on numbers "
                f"in others, but the scenes hold {found} in all; use other weights, or fit_hasher "
                "with a scaling=... of each band."
            )
            raise ValueMismatchError(msg)
        if found.kind == "picture":
            msg = (
                f"the scenes hold {found}, but {backbone.weights} were trained on the numbers of "
                "a sensor, such as reflectance times 10,000; the pictures are stretched to that "
                "range, and matches may be poor. Use scenes with these numbers, or other weights."
            )
            warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
            whole = {"kind": "range", "low": 0.0, "high": HIGHEST_BYTE}
            return Scaling.from_mapping(whole, mean=mean, std=std, raw_input=True)
        if found.kind == "fraction":
            low, high = (0.0,) * len(mean), (1 / REFLECTANCE_1,) * len(mean)
            return Scaling(low=low, high=high, mean=tuple(mean), std=tuple(std), clip=False)
    return Scaling.from_mapping(None, mean=mean, std=std, raw_input=True)


def _values_of(tiles: Tensor) -> Values:
    """Describe the values of raw tiles.

    Raises:
        HasherError: If no pixel is finite in all bands.
    """
    pixels = sample_pixels([tiles])[0, :, 0]
    finite = pixels[:, torch.isfinite(pixels).all(0)].numpy()
    if not finite.shape[1]:
        msg = f"{len(tiles)} tiles have no pixel that is finite in all bands; fit on other tiles."
        raise HasherError(msg)
    return Values.of_pixels(finite, dtype=str(tiles.dtype).removeprefix("torch."))


def _range_of(values: Sequence[Values]) -> dict[str, Any] | None:
    """Choose the range of pixel values if there are several kinds of them.

    Args:
        values: The kinds; the others are converted to the first.

    Returns:
        The range of the first, as `Scaling.from_mapping` reads it; None if there are no kinds, or
        one that is not pictures, because its range is better chosen from a sample of tiles.
    """
    if not values or (len(values) == 1 and values[0].kind != "picture"):
        return None
    return {"kind": "range", "low": list(values[0].low), "high": list(values[0].high)}


def estimate_range(tiles: Tensor) -> dict[str, Any]:
    """Choose the pixel values that become 0 and 1, from tiles of any data type.

    Eight-bit tiles keep their full range, so that all sets of pictures are treated alike. For
    others, percentiles of each band exclude clouds, saturated pixels and fill values.

    Args:
        tiles: Raw pixels, shape (tiles, bands, height, width).

    Returns:
        A scaling as `Scaling.from_mapping` reads it.

    Raises:
        HasherError: If a band has no finite pixel.
    """
    bands = tiles.shape[1]
    if tiles.dtype == torch.uint8:
        return {"kind": "range", "low": [0.0] * bands, "high": [255.0] * bands}
    lows, highs = [], []
    for band in range(bands):
        values = tiles[:, band].to(torch.float32).flatten()
        values = values[torch.isfinite(values)]
        if not len(values):
            msg = f"band {band + 1} has no finite pixel in {len(tiles)} tiles; fit on other tiles."
            raise HasherError(msg)
        step = max(1, len(values) // 1_000_000)  # torch.quantile accepts at most 16 million values
        bottom, top = torch.quantile(values[::step], torch.tensor(PERCENTILES)).tolist()
        lows.append(bottom)
        highs.append(top if top > bottom else bottom + 1.0)
    return {"kind": "range", "low": lows, "high": highs}


def sample_pixels(batches: Iterable[Tensor]) -> Tensor:
    """Return evenly spaced pixels of tiles, enough to choose a range of values from.

    Args:
        batches: Raw tiles, at least one batch, each of shape (tiles, bands, height, width).

    Returns:
        Their pixels, shape (1, bands, 1, pixels), uint8 or float32.
    """
    pixels = []
    for tiles in batches:
        rows, columns = (max(1, side // THIN_SIDE) for side in tiles.shape[-2:])
        values = tiles if tiles.dtype == torch.uint8 else tiles.float()
        pixels.append(values[..., ::rows, ::columns].movedim(1, 0).flatten(1))
    return torch.cat(pixels, dim=1)[None, :, None]
