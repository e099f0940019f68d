"""The eight lossless views of a tile: flips and quarter turns."""

from collections.abc import Sequence

import torch
from torch import Tensor

from geohash_rs.errors import HasherError

__all__ = ["VIEWS", "random_views", "view"]

VIEWS = ("identity", "hflip", "rot90", "rot180", "rot270", "vflip", "transpose", "antitranspose")


def view(images: Tensor, name: str) -> Tensor:
    """Rotate or flip images.

    Args:
        images: Any images, shape (..., height, width).
        name: One of `VIEWS`; rotations are counter-clockwise.

    Returns:
        The images in this view; quarter turns and transpositions swap height and width.

    Raises:
        HasherError: If there is no view of this name.
    """
    if name == "identity":
        return images
    if name == "hflip":
        return images.flip(-1)
    if name == "vflip":
        return images.flip(-2)
    if name in {"rot90", "rot180", "rot270"}:
        return images.rot90(int(name[3:]) // 90, (-2, -1))
    if name == "transpose":
        return images.transpose(-2, -1)
    if name == "antitranspose":
        return images.rot90(2, (-2, -1)).transpose(-2, -1)
    msg = f"view {name!r} is not one of {', '.join(VIEWS)}."
    raise HasherError(msg)


def random_views(images: Tensor, names: Sequence[str]) -> Tensor:
    """Rotate or flip each image by its own random view, drawn with torch's global generator.

    Args:
        images: Square images, shape (tiles, bands, size, size).
        names: Views to draw from.

    Returns:
        The images, same shape.
    """
    if tuple(names) == ("identity",):
        return images
    drawn = torch.randint(len(names), (len(images),)).tolist()
    return torch.stack([view(i, names[n]) for i, n in zip(images, drawn, strict=True)])
