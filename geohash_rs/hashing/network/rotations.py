"""Rotations that make binary codes of projections: those of Iterative Quantisation (ITQ)."""

import torch
from torch import Tensor

__all__ = ["orthonormal", "random_rotation", "rotate", "rotation_to"]


def rotate(
    projected: Tensor, rotation: Tensor, *, iterations: int = 50, pull: Tensor | float = 0.0
) -> Tensor:
    """Rotate projections so that taking their signs loses less.

    Args:
        projected: Projections on as many axes as there are bits or fewer, float64, shape (tiles,
            axes).
        rotation: Where to start, orthonormal rows, shape (axes, num_bits).
        iterations: Number of alternations.
        pull: Values added to the signs that the rotation is drawn towards, shape (tiles, num_bits).

    Returns:
        The rotation, shape (axes, num_bits).
    """
    for _ in range(iterations):
        signs = torch.where(projected @ rotation > 0, 1.0, -1.0).double()
        rotation = rotation_to(projected, signs + pull)
    return rotation


def rotation_to(projected: Tensor, signs: Tensor) -> Tensor:
    """Solve the orthogonal Procrustes problem ``min ||signs - projected R||`` for the rotation R.

    Args:
        projected: Projections, float64, shape (tiles, axes).
        signs: Bits as 1 and -1, float64, shape (tiles, num_bits).

    Returns:
        The rotation, shape (axes, num_bits).
    """
    left, _, right = torch.linalg.svd(projected.T @ signs, full_matrices=False)
    rotation: Tensor = left @ right
    return rotation


def random_rotation(size: int, generator: torch.Generator) -> Tensor:
    """Draw a rotation, float64, shape (size, size)."""
    return orthonormal(torch.randn(size, size, generator=generator, dtype=torch.float64))


def orthonormal(columns: Tensor) -> Tensor:
    """Return orthonormal columns that span the same space."""
    basis: Tensor = torch.linalg.qr(columns)[0]
    return basis
