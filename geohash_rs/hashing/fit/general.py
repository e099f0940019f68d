"""The general head, for any scenes: its codes hardly change when a tile is rotated or flipped."""

import torch
from torch import Tensor

from geohash_rs.errors import HasherError
from geohash_rs.hashing.fit.itq import itq_head, principal_axes
from geohash_rs.hashing.fit.whitening import inverse_power
from geohash_rs.hashing.network.heads import LinearHead

__all__ = ["GENERAL_STAGES", "GENERAL_VIEWS", "general_head", "view_scatter", "whitening"]

# Stages of EfficientNet-Lite0. The last layers respond to objects; these also respond to textures,
# which dominate imagery unlike ImageNet's.
GENERAL_STAGES = ("blocks.5", "blocks.4")
GENERAL_VIEWS = ("identity", "rot90")  # further views add almost nothing
COMPONENTS = 512
STRENGTH = 0.3
FLOOR = 0.03


def general_head(
    features: Tensor,
    views: Tensor,
    *,
    num_bits: int,
    parts: tuple[int, ...] = (),
    components: int = COMPONENTS,
    strength: float = STRENGTH,
    seed: int = 0,
) -> LinearHead:
    """Fit the general head on unlabelled tiles: whiten by views, then apply ITQ.

    A rotated or flipped tile still shows the same place, so feature directions that change between
    its views carry no useful information. With S the scatter of the views of a tile around their
    mean, features are multiplied by ``S^-strength``, which shrinks these directions; ITQ then
    makes the bits. This is within-class covariance normalisation with each tile as a class, so it
    needs no labels.

    Args:
        features: Features of unlabelled tiles, float32, shape (tiles, num_features).
        views: Features of several views of some tiles, shape (some tiles, views, num_features).
        num_bits: Bits per code.
        parts: Lengths of the parts of the feature vector that are normalised separately.
        components: Number of principal components to work in.
        strength: Strength of the whitening: 0 is plain ITQ, 0.5 whitens fully.
        seed: Seed of ITQ's initial rotation.

    Returns:
        The fitted head.

    Raises:
        HasherError: If the views have another number of features, there are more bits than
            features, or all tiles are identical.
        CodeLengthError: If the bits cannot be packed.

    References:
        Hatch, Kajarekar and Stolcke, Within-class covariance normalization, Interspeech 2006,
        https://doi.org/10.21437/Interspeech.2006-183; ITQ as in `itq_head`
    """
    head = LinearHead(features.shape[1], num_bits, parts=parts)
    if views.ndim != 3 or views.shape[1] < 2 or views.shape[2] != features.shape[1]:
        msg = (
            f"views have shape {tuple(views.shape)}; use (tiles, at least 2 views, "
            f"{features.shape[1]} features)."
        )
        raise HasherError(msg)
    prepared = head.prepare(features.float()).double()
    turned = head.prepare(views.flatten(0, 1).float()).double().reshape(views.shape)
    mean = prepared.mean(0)
    axes = whitening(
        prepared - mean, turned, num_bits=num_bits, components=components, strength=strength,
        seed=seed,
    )  # fmt: skip
    rotation = itq_head(
        ((prepared - mean) @ axes).float(), num_bits=num_bits, unit=False, seed=seed
    )
    head.get_buffer("shift").copy_(mean)
    with torch.no_grad():
        head.projection.weight.copy_((axes @ rotation.projection.weight.double().T).T)
        head.projection.bias.zero_()
    return head


def whitening(
    centred: Tensor,
    views: Tensor,
    *,
    num_bits: int,
    components: int = COMPONENTS,
    strength: float = STRENGTH,
    seed: int = 0,
) -> Tensor:
    """Compute the principal axes, each direction divided by how much it changes between views.

    Args:
        centred: Prepared features with zero mean, float64, shape (tiles, num_features).
        views: Prepared features of views, float64, shape (some tiles, views, num_features); without
            any, no direction is divided.
        num_bits: Least number of axes.
        components: Number of axes, as far as there are features.
        strength: As in `general_head`.
        seed: Seed of further axes if there are too few tiles.

    Returns:
        Columns to project features onto, float64, shape (num_features, axes).
    """
    generator = torch.Generator().manual_seed(seed)
    axes = principal_axes(centred, max(num_bits, min(components, centred.shape[1])), generator)
    if not len(views):
        return axes
    return axes @ inverse_power(view_scatter(views @ axes), strength, floor=FLOOR)


def view_scatter(views: Tensor) -> Tensor:
    """Compute the scatter of features around the mean over each tile's views.

    Args:
        views: Features, shape (tiles, views, features).

    Returns:
        The mean of ``(x - m) (x - m)'`` over tiles and views, shape (features, features).
    """
    apart = (views - views.mean(1, keepdim=True)).flatten(0, 1)
    return apart.T @ apart / len(apart)
