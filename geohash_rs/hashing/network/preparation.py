"""Turn raw tiles into network input: scale, resize, normalise; in PyTorch or as a traced module."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from geohash_rs.hashing.network.heads import precise
from geohash_rs.hashing.network.scaling import Scaling

__all__ = [
    "EIGHTHS",
    "MAX_PREPARATIONS",
    "Preparation",
    "WholePreparation",
    "order_hint",
    "prepare",
    "resize",
    "whole_preparation",
]

BLOCK = 32  # output rows per matrix product
EIGHTHS = 8  # values between two whole pixels
UNIT = 4096  # parts of 1 to which weights are rounded
UNITS = 512  # columns of the unit matrix to resize at once
MAX_PREPARATIONS = 32  # tile sizes whose preparation is cached


def order_hint(shape: Sequence[int], *, bands: int) -> str:
    """Return what to do if images have their bands last, otherwise nothing.

    Args:
        shape: Shape of a batch of images.
        bands: Number of bands that are expected.

    Returns:
        Such as "(tiles, height, width, bands) should be ...", or an empty string.
    """
    if len(shape) != 4 or shape[1] == bands or shape[3] != bands:
        return ""
    return (
        f"images have shape {tuple(shape)}, with their {bands} bands last; use (tiles, bands, "
        "height, width), as images.permute(0, 3, 1, 2) makes it."
    )


def prepare(raw: Tensor, scaling: Scaling, *, size: int) -> Tensor:
    """Scale, resize and normalise raw tiles.

    Args:
        raw: Raw pixels, float32, shape (tiles, bands, height, width).
        scaling: How to scale raw pixel values.
        size: Side of the network's input, px.

    Returns:
        Network input, float32, shape (tiles, bands, size, size).
    """
    return scaling.normalise(resize(scaling.apply(raw), (size, size)))


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images by bicubic interpolation with antialiasing.

    Args:
        images: Floats, shape (images, bands, height, width).
        size: New height and width, px.

    Returns:
        Shape (images, bands, *size); the same tensor if it already has that size.
    """
    if images.shape[-2:] == size:
        return images
    return nn.functional.interpolate(images, size=size, mode="bicubic", antialias=True)


class Preparation(nn.Module):
    """`prepare` for tiles of one size, as matrix products that ONNX Runtime can run.

    Resizing is linear along each side, and a few output rows depend on a few input rows, so small
    products suffice. On a CPU they are faster than PyTorch's own operation, and ONNX has no
    operation with the same antialiasing. The values agree to 1e-6.
    """

    def __init__(self, scaling: Scaling, *, height: int, width: int, input_size: int) -> None:
        """Make the matrices for tiles of one size.

        Args:
            scaling: How to scale raw pixel values.
            height: Rows of a tile.
            width: Columns of a tile.
            input_size: Side of the network's input, px.
        """
        super().__init__()
        self.scaling = scaling
        self.resized = (height, width) != (input_size, input_size)
        self.rows = _blocks(height, input_size)
        self.columns = [(a, b, m.T.contiguous()) for a, b, m in _blocks(width, input_size)]

    def forward(self, tiles: Tensor) -> Tensor:
        """Scale, resize and normalise tiles.

        Args:
            tiles: Raw pixels, float32, shape (tiles, bands, height, width).

        Returns:
            Network input, float32, shape (tiles, bands, input_size, input_size).
        """
        images = self.scaling.apply(tiles)
        if self.resized:
            images = torch.cat([images[..., a:b] @ m for a, b, m in self.columns], dim=3)
            images = torch.cat([m @ images[:, :, a:b] for a, b, m in self.rows], dim=2)
        return self.scaling.normalise(images)


class WholePreparation(nn.Module):
    """Scale and resize tiles of one size into whole pixels, the same on every processor.

    Values are rounded to 1/8 of a pixel's step and weights to 1/4096. So every sum is a whole
    number of small fractions, below 2^24 of them, which float32 holds exactly, in whatever order a
    processor adds. PyTorch multiplies in float64 here, because a setting of the whole process may
    round the factors of products in float32, such as `torch.set_float32_matmul_precision`.

    Attributes:
        height: Rows of a tile.
        width: Columns of a tile.
        low: Raw value that becomes black, per band.
        factor: Eighths of a step per unit of raw values, per band.
        rows: Parts of the matrix that resizes columns: start, stop and weights; empty if the tile
            has that side already.
        columns: The same for rows.
    """

    steps = 255 * EIGHTHS  # from black to white

    def __init__(
        self,
        scaling: Scaling,
        *,
        height: int,
        width: int,
        input_size: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Make the matrices.

        Args:
            scaling: As in `Preparation`.
            height: As in `Preparation`.
            width: As in `Preparation`.
            input_size: As in `Preparation`.
            device: Device of the tiles.
        """
        super().__init__()
        self.height, self.width = height, width
        high, low = np.array(scaling.high, np.float32), np.array(scaling.low, np.float32)
        factor = np.float32(self.steps) / (high - low)
        self.low = torch.from_numpy(low)[:, None, None].to(device)
        self.factor = torch.from_numpy(factor)[:, None, None].to(device)
        down = _blocks(height, input_size, unit=UNIT) if height != input_size else []
        across = _blocks(width, input_size, unit=UNIT) if width != input_size else []
        self.rows = [(a, b, m.to(device)) for a, b, m in down]
        self.columns = [(a, b, m.T.contiguous().to(device)) for a, b, m in across]

    def forward(self, tiles: Tensor) -> Tensor:
        """Scale and resize tiles.

        Args:
            tiles: Raw pixels, float32, shape (tiles, bands, height, width).

        Returns:
            Whole numbers from 0 to 255, float32, shape (tiles, bands, input_size, input_size); NaN
            around pixels that are NaN.
        """
        images = ((tiles - self.low) * self.factor).clamp(0, self.steps).round()
        if self.columns:
            images = precise(images)
            images = torch.cat([images[..., a:b] @ m.to(images) for a, b, m in self.columns], dim=3)
            images = images.round()
        if self.rows:
            images = precise(images)
            images = torch.cat([m.to(images) @ images[:, :, a:b] for a, b, m in self.rows], dim=2)
        return (images / EIGHTHS).round().clamp(0, 255).float()


whole_preparation = lru_cache(MAX_PREPARATIONS)(WholePreparation)  # the same for the same arguments


def _blocks(length: int, size: int, *, unit: int | None = None) -> list[tuple[int, int, Tensor]]:
    """Divide the matrix that resizes one side into blocks: input start, input stop, weights.

    With a unit, weights are whole numbers of 1 / unit, and those of one output add up to 1.
    """
    whole = _weights(length, size)
    if unit is not None:
        whole = torch.round(whole * unit)
        largest = whole.argmax(1)
        whole[torch.arange(size), largest] += unit - whole.sum(1)
        whole /= unit
    blocks = []
    for first in range(0, size, BLOCK):
        part = whole[first : first + BLOCK]
        used = part.any(0).nonzero().flatten()
        start, stop = int(used[0]), int(used[-1]) + 1
        blocks.append((start, stop, part[:, start:stop].contiguous()))
    return blocks


def _weights(length: int, size: int) -> Tensor:
    """Return the matrix that resizes one side, shape (size, length), by resizing unit vectors."""
    parts = []
    for first in range(0, length, UNITS):
        units = torch.arange(first, min(first + UNITS, length))
        image = (torch.arange(length)[:, None] == units).float()[None, None]
        parts.append(resize(image, (size, len(units)))[0, 0])
    return torch.cat(parts, dim=1)
