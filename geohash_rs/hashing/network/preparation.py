"""Turn raw tiles into network input: scale, resize, normalise; in PyTorch or as a traced module."""

import torch
from torch import Tensor, nn

from geohash_rs.hashing.network.scaling import Scaling

__all__ = ["Preparation", "prepare", "resize"]

BLOCK = 32  # output rows per matrix product
UNITS = 512  # columns of the unit matrix to resize at once


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


def _blocks(length: int, size: int) -> list[tuple[int, int, Tensor]]:
    """Divide the matrix that resizes one side into blocks: input start, input stop, weights."""
    whole = _weights(length, size)
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
