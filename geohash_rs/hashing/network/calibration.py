"""The ranges of activations that an integer network needs, measured on tiles."""

from importlib.resources import files

import torch
from safetensors.torch import load
from torch import Tensor

from geohash_rs.errors import HasherError
from geohash_rs.hashing.limits import PRECISIONS
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.folded import fits_integers, folded_layers
from geohash_rs.hashing.network.integer import MOST, IntegerNetwork, mean_pixel_of
from geohash_rs.hashing.network.lite0 import LITE0_WEIGHTS
from geohash_rs.hashing.network.preparation import WholePreparation
from geohash_rs.hashing.network.scaling import Scaling

__all__ = ["calibrate", "choose_calibration", "shipped_calibration"]

SHIPPED = "lite0-int8.safetensors"  # next to this module
TILES = 48  # to calibrate on; more take longer, and change little
USUAL_SIDE = 128  # px of the network's input; fewer tiles of a larger one
LEAST_RANGE = 1e-3  # of activations
RGB = 3  # with other bands, the first layer has other weights
CLIP = 6.0  # of ReLU6


def choose_calibration(
    backbone: Backbone, precision: str | None, *, sample: Tensor, scaling: Scaling, input_size: int
) -> dict[str, Tensor] | None:
    """Calibrate a backbone, if its features are to be computed in int8.

    Args:
        backbone: The network; not changed.
        precision: "int8", "fp32", or None for int8 if the network allows it.
        sample: Raw tiles of one size to calibrate on, unless the calibration comes with this
            package.
        scaling: How to scale raw pixel values.
        input_size: Side of the network's input, px.

    Returns:
        The calibration for `IntegerNetwork`; None for fp32.

    Raises:
        HasherError: If the precision is unknown, it is int8 for a network other than
            EfficientNet-Lite, or all tiles that are looked at have NaN or infinite pixels.
    """
    if precision not in {None, *PRECISIONS}:
        msg = f"precision is {precision!r}; use {' or '.join(map(repr, PRECISIONS))}."
        raise HasherError(msg)
    if precision == "fp32" or (precision is None and not fits_integers(backbone)):
        return None
    shipped = shipped_calibration(backbone)
    if shipped is not None:
        return shipped
    height, width = sample.shape[-2:]
    prepare = WholePreparation(scaling, height=height, width=width, input_size=input_size)
    count = max(8, min(TILES, TILES * USUAL_SIDE**2 // input_size**2))
    some = sample[:: max(1, len(sample) // count)][:count]
    finite = [one[None].float() for one in some if torch.isfinite(one).all()]
    if not finite:
        msg = "every tile looked at has NaN or infinite pixels; fill them before fitting."
        raise HasherError(msg)
    return calibrate(backbone, torch.cat([prepare(one) for one in finite]))


def shipped_calibration(backbone: Backbone) -> dict[str, Tensor] | None:
    """Return the calibration that comes with this package, or None for other weights or bands.

    Args:
        backbone: The network.
    """
    if backbone.weights != LITE0_WEIGHTS or backbone.in_chans != RGB:
        return None
    return load((files("geohash_rs.hashing.network") / SHIPPED).read_bytes())


@torch.inference_mode()
def calibrate(backbone: Backbone, pixels: Tensor) -> dict[str, Tensor]:
    """Measure the range of each layer, and how rounding moves its mean, on some tiles.

    Args:
        backbone: An EfficientNet-Lite; not changed.
        pixels: Network input of typical tiles, whole numbers from 0 to 255, shape (tiles, bands,
            side, side); a few dozen are enough.

    Returns:
        The calibration for `IntegerNetwork`.

    Raises:
        HasherError: If it is another network.
    """
    folded = folded_layers(backbone)
    pad = mean_pixel_of(backbone) / MOST
    result = entered = pixels.float() / MOST
    means: list[Tensor] = []
    ends: dict[str, tuple[float, float]] = {}
    for layer in folded:
        shape = layer.shape
        if shape.opens:
            entered = result
        result = shape.apply(result, layer.weight.float(), pad=0 if means else pad)
        result = result + layer.bias.float()[:, None, None]
        means.append(result.mean((0, 2, 3)).double())
        if shape.clips:
            result = result.clamp(0, CLIP)
        extremes = [result.min(), result.max()]
        if shape.adds:
            result = result + entered
            extremes += [result.min(), result.max()]
        known = ends.get(shape.stream, (0.0, LEAST_RANGE))
        found = [*known, *map(float, extremes)]
        ends[shape.stream] = (min(found), max(found))
    low, high = (torch.tensor([ends[one.shape.stream][end] for one in folded]) for end in (0, 1))
    no_shift = torch.zeros(sum(len(one.bias) for one in folded))
    network = IntegerNetwork(backbone, {"low": low, "high": high, "shift": no_shift})
    shifts: list[Tensor] = []
    result = entered = pixels.float()
    for rounded, mean, plain in zip(network.rounded, means, folded, strict=True):
        if rounded.shape.opens:
            entered = result
        sums = rounded.sums(result).mean((0, 2, 3)).double()
        shifts.append(mean - plain.bias - sums * torch.from_numpy(rounded.sum_scale).double())
        rounded.set_bias(plain.bias + shifts[-1])
        result = rounded.add(rounded(result), entered)
    return {"low": low, "high": high, "shift": torch.cat(shifts).float()}
