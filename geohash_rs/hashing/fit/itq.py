"""Training-free hashing: a learned rotation (ITQ) or random hyperplanes (LSH)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from geohash_rs.errors import HasherError
from geohash_rs.hashing.network.heads import LinearHead
from geohash_rs.hashing.network.rotations import orthonormal, random_rotation, rotate

__all__ = ["itq_head", "lsh_head", "principal_axes"]


def itq_head(
    features: Tensor,
    *,
    num_bits: int,
    iterations: int = 50,
    unit: bool = True,
    parts: Sequence[int] = (),
    seed: int = 0,
) -> LinearHead:
    """Fit Iterative Quantisation: rotate the principal axes to lose least by taking signs.

    Starting with a random rotation R of the projections V, alternate between ``B = sign(V R)`` and
    the rotation that solves the orthogonal Procrustes problem ``min ||B - V R||``. If there are
    too few tiles for `num_bits` axes, random orthogonal directions fill the rest.

    Args:
        features: Features of unlabelled tiles, float32, shape (tiles, num_features).
        num_bits: Bits per code, at most num_features.
        iterations: Number of alternations.
        unit: Whether features are first normalised to unit length.
        parts: Lengths of the parts of the feature vector that are normalised separately; empty for
            one part.
        seed: Seed of the initial rotation.

    Returns:
        The fitted head.

    Raises:
        HasherError: If there are more bits than features, or all tiles are identical.
        CodeLengthError: If the bits cannot be packed.

    References:
        Gong and Lazebnik, Iterative Quantization, CVPR 2011,
        https://doi.org/10.1109/CVPR.2011.5995432
    """
    generator = torch.Generator().manual_seed(seed)
    head = LinearHead(features.shape[1], num_bits, unit=unit, parts=parts)
    if num_bits > features.shape[1]:
        msg = f"ITQ cannot make {num_bits} bits from {features.shape[1]} features; use fewer bits."
        raise HasherError(msg)
    prepared = head.prepare(features.float()).double()
    mean = prepared.mean(0)
    centred = prepared - mean
    if len(features) < 2 or not float(centred.abs().max()) > 1e-9:
        alike = (
            f"all {len(features)} tiles are identical" if len(features) > 1 else "there is one tile"
        )
        msg = (
            f"ITQ learns from differences, but {alike}; fit on more tiles, or use another hasher, "
            "such as lsh-64, or a shipped one."
        )
        raise HasherError(msg)
    axes = principal_axes(centred, num_bits, generator)
    start = random_rotation(num_bits, generator)
    _set_projection(head, axes @ rotate(centred @ axes, start, iterations=iterations), mean)
    return head


def lsh_head(features: Tensor, *, num_bits: int, seed: int = 0) -> LinearHead:
    """Divide feature space by random hyperplanes through the mean of the features.

    Args:
        features: Features of unlabelled tiles, float32, shape (tiles, num_features).
        num_bits: Bits per code.
        seed: Seed of the hyperplanes.

    Returns:
        The head.

    Raises:
        HasherError: If there are no tiles.
        CodeLengthError: If the bits cannot be packed.

    References:
        Charikar, Similarity estimation techniques from rounding algorithms, STOC 2002,
        https://doi.org/10.1145/509907.509965
    """
    head = LinearHead(features.shape[1], num_bits)
    if not len(features):
        msg = "random hyperplanes pass through the mean of the tiles, but there are no tiles."
        raise HasherError(msg)
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(features.shape[1], num_bits, generator=generator).double()
    mean = head.prepare(features.float()).double().mean(0)
    _set_projection(head, directions, mean)
    return head


def principal_axes(centred: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Compute the directions of largest variance.

    Args:
        centred: Features with zero mean, float64, shape (tiles, num_features).
        count: Number of directions.
        generator: Draws further orthogonal directions if there are too few tiles.

    Returns:
        Orthonormal columns, largest variance first, shape (num_features, count).

    References:
        Turk and Pentland, Eigenfaces for recognition, Journal of Cognitive Neuroscience 3, 1991:
        the directions of few tiles from the products between tiles
    """
    rank = min(count, len(centred) - 1)
    if len(centred) < centred.shape[1]:  # as many directions from a far smaller matrix
        weights = torch.linalg.eigh(centred @ centred.T)[1].flip(1)[:, :rank]
        axes = centred.T @ weights
    else:
        axes = torch.linalg.eigh(centred.T @ centred)[1].flip(1)[:, :rank]
    extra = torch.randn(len(axes), count - rank, generator=generator, dtype=axes.dtype)
    return orthonormal(torch.cat([axes, extra], dim=1))


def _set_projection(head: LinearHead, directions: Tensor, mean: Tensor) -> None:
    """Set the head so that activations cross 0.5 where the centred projection crosses 0."""
    head.get_buffer("shift").copy_(mean)
    with torch.no_grad():
        head.projection.weight.copy_(directions.T)
        head.projection.bias.zero_()
