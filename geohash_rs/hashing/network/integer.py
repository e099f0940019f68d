"""An EfficientNet-Lite backbone in whole numbers: the same features on every processor."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from geohash_rs.errors import HasherError
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.folded import HEAD, Folded, folded_layers
from geohash_rs.hashing.network.pooling import COVARIANCE, products, upper

__all__ = ["MOST", "IntegerNetwork", "mean_pixel_of"]

MOST = 255  # activations are from 0 to 255
DENSE_LEVELS = 63  # weights of 7 bits: AVX2 adds products of two pairs in 16 bits, and would clip
DEPTHWISE_LEVELS = 127  # these are not added in 16 bits anywhere
EXACT = 2**23  # sums below this are exact in float32, also with a bias as large
LEAST_STEP = 1e-12  # of a weight, for channels that are all zero
RANGES = (1e-6, 1e9)  # of activations; others would leave float32 when they are multiplied


class IntegerNetwork(nn.Module):
    """A backbone whose activations are whole numbers from 0 to 255, and weights of 7 or 8 bits.

    Each result is ``(w . x + b) * m``, rounded to the nearest whole number, half to even. All but
    the product with m is in whole numbers, and that product is rounded alike everywhere. PyTorch
    holds whole numbers in float32, in which no sum here loses a digit; ONNX Runtime computes the
    same in 8 bits.

    Attributes:
        calibration: As in `__init__`.
        parts: Names of the stages that make up the features, in order.
        in_chans: Number of input bands.
        mean_pixel: Pixel value beyond the border: the mean that the network expects, rounded.

    References:
        Jacob et al., Quantization and training of neural networks for efficient
        integer-arithmetic-only inference, 2018, https://arxiv.org/abs/1712.05877; the shift of
        biases: Nagel et al., Data-free quantization, 2019, https://arxiv.org/abs/1906.04721
    """

    def __init__(self, backbone: Backbone, calibration: Mapping[str, Tensor]) -> None:
        """Round the weights of a backbone.

        Args:
            backbone: An EfficientNet-Lite; not changed.
            calibration: ``low`` and ``high``, float32, shape (layers,): the range of each layer's
                results; ``shift``, float32, shape (channels of all layers,): what is added to each
                bias, because the result of rounded weights has another mean.

        Raises:
            HasherError: If it is another network, its weights are not finite, or the calibration is
                of another one.
        """
        super().__init__()
        folded = folded_layers(backbone)
        counts = [len(layer.bias) for layer in folded]
        _check_calibration(calibration, [layer.shape.stream for layer in folded], counts)
        self.calibration = {name: tensor.float().cpu() for name, tensor in calibration.items()}
        self.parts = (HEAD, *backbone.stages)
        self.in_chans = backbone.in_chans
        self.mean_pixel = mean_pixel_of(backbone)
        scale, zero = np.float32(1 / MOST), self.mean_pixel
        shifts = torch.split(self.calibration["shift"].double(), counts)
        layers: list[RoundedLayer] = []
        for number, layer in enumerate(folded):
            low, high = (float(self.calibration[end][number]) for end in ("low", "high"))
            layers.append(RoundedLayer(layer, scale=scale, zero=zero, low=low, high=high))
            layers[-1].set_bias(layer.bias + shifts[number])
            scale, zero = layers[-1].scale, layers[-1].zero
        if not all(torch.isfinite(buffer).all() for one in layers for buffer in one.buffers()):
            msg = f"the weights of {backbone.model_name} are NaN, infinite or too large for int8."
            raise HasherError(msg)
        self.layers = nn.ModuleList(layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute features.

        Args:
            pixels: Whole numbers from 0 to 255, any type, shape (tiles, bands, side, side).

        Returns:
            Features, float32, shape (tiles, num_features).
        """
        sums: dict[str, Tensor] = {}
        result = entered = pixels.float()
        for layer in self.rounded:
            if layer.shape.opens:
                entered = result
            result = layer.add(layer(result), entered)
            if (stage := layer.shape.stage) in self.parts:
                # exact for inputs of any size, and keeps NaN
                sums[stage] = result.sum((2, 3), dtype=torch.float64)
            if stage + COVARIANCE in self.parts:
                sums[stage + COVARIANCE] = products(result)
        return self.features([sums[name] for name in self.parts], input_size=pixels.shape[-1])

    @property
    def rounded(self) -> "Sequence[RoundedLayer]":
        """The layers, in order."""
        return list(self.layers)  # type: ignore[arg-type]  # torch's list is of any module

    def features(self, sums: Sequence[Tensor], *, input_size: int) -> Tensor:
        """Compute features from the sums of activations over the image.

        Args:
            sums: Of each of `parts`: whole numbers, shape (tiles, length of the part); for
                covariances, those of `products`.
            input_size: Side of the input, px.

        Returns:
            Features, float32, shape (tiles, num_features).
        """
        found, length = {}, input_size
        given = dict(zip(self.parts, sums, strict=True))
        for layer in self.rounded:
            length, stage = layer.shape.length(length), layer.shape.stage
            # One product, rounded alike everywhere: CUDA divides by a number inexactly.
            step = np.float32(layer.scale / length**2)
            if stage in given:
                found[stage] = (given[stage].float() - layer.zero * length**2) * float(step)
            if (stage := stage + COVARIANCE) in given:
                values = upper(given[stage])
                step = np.float32(step / np.sqrt(len(layer.weight)))
                found[stage] = (values.sign() * values.abs().sqrt()).float() * float(step)
        return torch.cat([found[name] for name in self.parts], dim=1)


class RoundedLayer(nn.Module):
    """A convolution in whole numbers, of which x stands for the activation ``(x - zero) * scale``.

    Attributes:
        shape: Its shape.
        scale: Scale of its results.
        zero: Zero of its results.
        weight_scale: Scale of the weights, float32, shape (channels,).
        sum_scale: Scale of sums before they are rounded, float32, shape (channels,).
    """

    weight: Tensor
    bias: Tensor
    factor: Tensor

    def __init__(
        self, layer: Folded, *, scale: np.float32, zero: int, low: float, high: float
    ) -> None:
        """Round the weights.

        Args:
            layer: The convolution.
            scale: Scale of its input.
            zero: Zero of its input.
            low: Least result, 0 or less.
            high: Largest result, more than 0.
        """
        super().__init__()
        self.shape = layer.shape
        self.input_zero = zero
        self.scale = np.float32((high - low) / MOST)
        self.zero = min(max(round(-low / float(self.scale)), 0), MOST)
        levels = DENSE_LEVELS if layer.shape.groups == 1 else DEPTHWISE_LEVELS
        sizes = layer.weight.abs()
        steps = [
            sizes.amax((1, 2, 3)) / levels,
            sizes.sum((1, 2, 3)) * MOST / EXACT,
            layer.bias.abs() * 2 / float(scale) / EXACT,
            torch.full_like(layer.bias, LEAST_STEP),
        ]
        step = torch.stack(steps).amax(0).float()
        self.weight_scale = step.numpy()
        self.sum_scale = scale * self.weight_scale
        weight = torch.round(layer.weight / step.double()[:, None, None, None])
        self.register_buffer("weight", weight.clamp(-levels, levels).float())
        self.register_buffer("bias", torch.zeros(len(layer.bias)))
        self.register_buffer("factor", torch.from_numpy(self.sum_scale / self.scale))

    def set_bias(self, bias: Tensor) -> None:
        """Round the bias, float64, shape (channels,), and use it."""
        whole = torch.round(bias / torch.from_numpy(self.sum_scale).double())
        self.bias.copy_(whole.clamp(-EXACT, EXACT))

    def sums(self, images: Tensor) -> Tensor:
        """Convolve whole numbers; results are whole as well."""
        shifted = images - self.input_zero if self.input_zero else images
        # Rounded in case that a processor multiplies in a form that is not exact.
        return self.shape.apply(shifted, self.weight).round_()

    def forward(self, images: Tensor) -> Tensor:
        """Compute whole numbers from 0 to 255, before the input of the block is added."""
        sums = self.sums(images).add_(self.bias[:, None, None]).mul_(self.factor[:, None, None])
        return sums.round_().add_(self.zero).clamp_(0, MOST)

    def add(self, result: Tensor, entered: Tensor) -> Tensor:
        """Add the input of the block to the result, if the block does."""
        if not self.shape.adds:
            return result
        return (result + entered - self.zero).clamp(0, MOST)


def mean_pixel_of(backbone: Backbone) -> int:
    """Return the pixel value, from 0 to 255, that a backbone's normalisation brings closest to 0.

    Args:
        backbone: The network.
    """
    return round(MOST * sum(backbone.mean) / len(backbone.mean))


def _check_calibration(
    calibration: Mapping[str, Tensor], streams: Sequence[str], counts: Sequence[int]
) -> None:
    """Check a calibration, which may come from a file.

    Raises:
        HasherError: If it is of another network, not finite, or has ranges out of reach.
    """
    wanted = {"low": (len(counts),), "high": (len(counts),), "shift": (sum(counts),)}
    found = {name: tuple(tensor.shape) for name, tensor in calibration.items()}
    if found != wanted:
        msg = f"the int8 calibration has shapes {found}, but this network needs {wanted}."
        raise HasherError(msg)
    usable = all(bool(torch.isfinite(tensor).all()) for tensor in calibration.values())
    if not usable or not (calibration["low"] <= 0).all() or not (calibration["high"] > 0).all():
        msg = "the int8 calibration has ranges that do not hold 0; get the hasher's file again."
        raise HasherError(msg)
    widths = calibration["high"].double() - calibration["low"].double()
    if widths.min() < RANGES[0] or widths.max() > RANGES[1]:
        msg = (
            f"the int8 calibration has ranges of {widths.min():.3g} to {widths.max():.3g}, but "
            f"{RANGES[0]:g} to {RANGES[1]:g} are allowed; get the hasher's file again."
        )
        raise HasherError(msg)
    ranges: dict[str, tuple[float, float]] = {}
    for stream, *ends in zip(
        streams, calibration["low"].tolist(), calibration["high"].tolist(), strict=True
    ):
        if ranges.setdefault(stream, (ends[0], ends[1])) != (ends[0], ends[1]):
            msg = f"the int8 calibration has two ranges in {stream}; get the hasher's file again."
            raise HasherError(msg)
