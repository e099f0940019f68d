"""EfficientNet-Lite0 in plain PyTorch, because timm takes longer to import than a query takes."""

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

__all__ = ["Lite0"]

# Channels, blocks, kernel and first stride of each stage (Tan & Le 2019,
# https://arxiv.org/abs/1905.11946, table 1; squeeze and excitation is left out in Lite0).
STAGES = (
    (16, 1, 3, 1), (24, 2, 3, 2), (40, 2, 5, 2), (80, 3, 3, 2), (112, 3, 5, 1), (192, 4, 5, 2),
    (320, 1, 3, 1),
)  # fmt: skip
FIRST, LAST = 32, 1280
EXPANSION = 6
EPS = 1e-3  # of TensorFlow, in which the weights were trained


class Lite0(nn.Module):
    """The network of timm's ``tf_efficientnet_lite0`` without its classifier.

    Modules, weights and results are those of timm; only weights of one's own start at other values,
    so it is for weights that exist.

    Attributes:
        pretrained_cfg: Size, mean and standard deviation of the input, and the name of the first
            convolution, by timm's names.
        num_features: Length of the feature vector.
        feature_info: Names of the stages that timm lists, by its names.
    """

    num_features = LAST
    pretrained_cfg: dict[str, Any] = {  # noqa: RUF012 - as timm's
        "input_size": (3, 224, 224),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "first_conv": "conv_stem",
    }
    feature_info = tuple({"module": f"blocks.{number}"} for number in (0, 1, 2, 4, 6))

    def __init__(self, in_chans: int = 3) -> None:
        """Make the network.

        Args:
            in_chans: Number of input bands.
        """
        super().__init__()
        self.conv_stem = _convolution(in_chans, FIRST, 3, stride=2)
        self.bn1 = Normalisation(FIRST)
        self.blocks = nn.Sequential(*(nn.Sequential(*blocks) for blocks in _stages()))
        self.conv_head = _convolution(STAGES[-1][0], LAST, 1)
        self.bn2 = Normalisation(LAST)

    def forward(self, images: Tensor) -> Tensor:
        """Compute features.

        Args:
            images: Network input, float32, shape (tiles, bands, height, width).

        Returns:
            Features, float32, shape (tiles, 1280).
        """
        stem = self.bn1(self.conv_stem(images))
        last: Tensor = self.bn2(self.conv_head(self.blocks(stem)))
        return nn.functional.adaptive_avg_pool2d(last, 1).flatten(1)


class SameConvolution(nn.Conv2d):
    """A convolution padded as by TensorFlow: as little as needed, and unevenly."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Pad and convolve images, shape (images, channels, height, width)."""
        missing = [
            max((math.ceil(length / step) - 1) * step + side - length, 0)
            for length, step, side in zip(
                input.shape[-2:], self.stride, self.kernel_size, strict=True
            )
        ]
        (top, bottom), (left, right) = ((size // 2, size - size // 2) for size in missing)
        padded = nn.functional.pad(input, (left, right, top, bottom))
        return nn.functional.conv2d(padded, self.weight, None, self.stride, 0, 1, self.groups)


class Normalisation(nn.BatchNorm2d):
    """Batch normalisation, then a clip to [0, 6] unless you leave it out."""

    def __init__(self, channels: int, *, clips: bool = True) -> None:
        """Make it.

        Args:
            channels: Number of channels.
            clips: Whether to clip.
        """
        super().__init__(channels, eps=EPS)
        self.act: nn.Module = nn.ReLU6(inplace=True) if clips else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Normalise and clip images, shape (images, channels, height, width)."""
        normal: Tensor = self.act(super().forward(input))
        return normal


class Separable(nn.Module):
    """The block of the first stage: a depthwise convolution, then one of single pixels."""

    has_skip = False

    def __init__(self, inputs: int, outputs: int, side: int, *, stride: int) -> None:
        """Make it."""
        super().__init__()
        self.conv_dw = _convolution(inputs, inputs, side, stride=stride, groups=inputs)
        self.bn1 = Normalisation(inputs)
        self.conv_pw = _convolution(inputs, outputs, 1)
        self.bn2 = Normalisation(outputs, clips=False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the block."""
        deep = self.bn1(self.conv_dw(images))
        result: Tensor = self.bn2(self.conv_pw(deep))
        return result


class Inverted(nn.Module):
    """The block of other stages: more channels, a depthwise convolution, fewer channels."""

    def __init__(self, inputs: int, outputs: int, side: int, *, stride: int) -> None:
        """Make it."""
        super().__init__()
        inner = inputs * EXPANSION
        self.has_skip = inputs == outputs and stride == 1
        self.conv_pw = _convolution(inputs, inner, 1)
        self.bn1 = Normalisation(inner)
        self.conv_dw = _convolution(inner, inner, side, stride=stride, groups=inner)
        self.bn2 = Normalisation(inner)
        self.conv_pwl = _convolution(inner, outputs, 1)
        self.bn3 = Normalisation(outputs, clips=False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the block."""
        deep = self.bn2(self.conv_dw(self.bn1(self.conv_pw(images))))
        result: Tensor = self.bn3(self.conv_pwl(deep))
        return result + images if self.has_skip else result


def _convolution(
    inputs: int, outputs: int, side: int, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Make a convolution whose padding is even only if its stride is 1."""
    kind, padding = (nn.Conv2d, side // 2) if stride == 1 else (SameConvolution, 0)
    return kind(inputs, outputs, side, stride=stride, padding=padding, groups=groups, bias=False)


def _stages() -> Iterator[list[nn.Module]]:
    inputs = FIRST
    for number, (outputs, count, side, stride) in enumerate(STAGES):
        kind = Inverted if number else Separable
        first = kind(inputs, outputs, side, stride=stride)
        yield [first, *(kind(outputs, outputs, side, stride=1) for _ in range(count - 1))]
        inputs = outputs
