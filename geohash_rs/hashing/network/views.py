"""The eight ways to look at a tile from above: flips and quarter turns, which lose no pixel."""

from collections.abc import Sequence

import torch
from torch import Tensor

from geohash_rs.errors import HasherError

__all__ = ["VIEWS", "random_views", "view"]

VIEWS = ("identity", "hflip", "rot90", "rot180", "rot270", "vflip", "transpose", "antitranspose")


def view(images: Tensor, name: str) -> Tensor:
    """Turn or mirror images.

    Args:
        images: Any images, shape (..., height, width).
        name: One of `VIEWS`; rotations are counter-clockwise.

    Returns:
        The images seen that way, height and width swapped by odd quarter turns.

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
    """Turn or mirror every image by a view of its own, drawn from torch's own randomness.

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
