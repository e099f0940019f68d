"""The convolutions of an EfficientNet-Lite, each with its batch normalisation folded in."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from geohash_rs.errors import HasherError
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.pooling import module_of

__all__ = ["HEAD", "Convolution", "Folded", "fits_integers", "folded_layers"]

HEAD = "head"  # name of the last convolution, whose mean is the network's own part


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """The shape of a convolution, and its place in the network.

    Attributes:
        name: Name of its place, such as "blocks.4.1.2".
        side: Rows and columns of the kernel.
        stride: Step, px.
        groups: Number of groups; as many as channels in a depthwise convolution.
        same: Whether padding is as TensorFlow's "same", uneven if the stride is 2.
        clips: Whether the result is clipped to [0, 6].
        opens: Whether its input is that of a block, to which `adds` refers.
        adds: Whether the input of the block is added to the result.
        stage: Name of the stage that ends here, such as "blocks.4", or "".
    """

    name: str
    side: int
    stride: int
    groups: int
    same: bool
    clips: bool
    opens: bool = False
    adds: bool = False
    stage: str = ""

    @property
    def stream(self) -> str:
        """Name of the results that share a scale: those of a stage's blocks, which are added."""
        return self.name if self.clips else self.name.rpartition(".")[0].rpartition(".")[0]

    def padding(self, length: int) -> tuple[int, int]:
        """Return the padding before and after a side of the input, px."""
        if self.same and self.stride > 1:
            missing = max((-(-length // self.stride) - 1) * self.stride + self.side - length, 0)
            return missing // 2, missing - missing // 2
        return self.side // 2, self.side // 2

    def length(self, length: int) -> int:
        """Return a side of the output for one of the input, px."""
        return (length + sum(self.padding(length)) - self.side) // self.stride + 1

    def apply(self, images: Tensor, weight: Tensor, *, pad: float = 0.0) -> Tensor:
        """Convolve images, float, shape (images, channels, height, width)."""
        (top, bottom), (left, right) = (self.padding(length) for length in images.shape[-2:])
        if top or bottom or left or right:
            images = nn.functional.pad(images, (left, right, top, bottom), value=pad)
        return nn.functional.conv2d(images, weight, stride=self.stride, groups=self.groups)


@dataclass(frozen=True, kw_only=True, eq=False)
class Folded:
    """A convolution with its batch normalisation folded in.

    Attributes:
        shape: Its shape.
        weight: Weights, float64, shape (channels, inputs per group, side, side).
        bias: Bias, float64, shape (channels,).
    """

    shape: Convolution
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, name: str, conv: Any, bn: Any, **place: Any) -> "Folded":  # noqa: ANN401 - timm's
        """Fold a convolution and the normalisation that follows it."""
        kernel, scale, shift, mean, variance = (
            tensor.detach().cpu().double()
            for tensor in (conv.weight, bn.weight, bn.bias, bn.running_mean, bn.running_var)
        )
        factor = scale / torch.sqrt(variance + bn.eps)
        shape = Convolution(
            name=name,
            side=conv.kernel_size[0],
            stride=conv.stride[0],
            groups=conv.groups,
            same="Same" in type(conv).__name__,
            clips=not isinstance(bn.act, nn.Identity),
            **place,
        )
        weight = kernel * factor[:, None, None, None]
        return cls(shape=shape, weight=weight, bias=shift - mean * factor)


def fits_integers(backbone: Backbone) -> bool:
    """Return whether `IntegerNetwork` can compute a backbone: an EfficientNet-Lite.

    Args:
        backbone: The network.
    """
    inner = [name for name in backbone.stages if module_of(name).count(".") != 1]
    return "efficientnet_lite" in backbone.model_name and not backbone.raw_input and not inner


def folded_layers(backbone: Backbone) -> list[Folded]:
    """List the convolutions of an EfficientNet-Lite in order.

    The first takes pixels from 0 to 255 divided by 255, which are not normalised.

    Raises:
        HasherError: If it is another network.
    """
    if not fits_integers(backbone):
        msg = (
            f"{backbone.model_name} cannot run in int8, only an EfficientNet-Lite that takes "
            'pixels in [0, 1], with whole stages; use precision="fp32".'
        )
        raise HasherError(msg)
    network = backbone.network
    stem = Folded.of("conv_stem", network.conv_stem, network.bn1)
    mean, std = (
        torch.tensor(values).double()[:, None, None] for values in (backbone.mean, backbone.std)
    )
    shift = (stem.weight * (mean / std)).sum((1, 2, 3))
    found = [Folded(shape=stem.shape, weight=stem.weight / std, bias=stem.bias - shift)]
    for number, stage in enumerate(network.blocks):
        for position, block in enumerate(stage):
            pairs = [(block.conv_pw, block.bn1), (block.conv_dw, block.bn2)]
            if hasattr(block, "conv_pwl"):
                pairs.append((block.conv_pwl, block.bn3))
            else:
                pairs = [(block.conv_dw, block.bn1), (block.conv_pw, block.bn2)]
            for part, (conv, bn) in enumerate(pairs):
                ends = part == len(pairs) - 1
                found.append(
                    Folded.of(
                        f"blocks.{number}.{position}.{part}",
                        conv,
                        bn,
                        opens=part == 0,
                        adds=ends and block.has_skip,
                        stage=f"blocks.{number}" if ends and position == len(stage) - 1 else "",
                    )
                )
    return [*found, Folded.of("conv_head", network.conv_head, network.bn2, stage=HEAD)]
