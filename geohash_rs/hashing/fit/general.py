"""The general head: codes that hardly change when a tile is turned, for scenes of any kind."""

import torch
from torch import Tensor

from geohash_rs.errors import HasherError
from geohash_rs.hashing.fit.itq import itq_head, principal_axes
from geohash_rs.hashing.fit.whitening import inverse_power
from geohash_rs.hashing.network.heads import LinearHead

__all__ = ["GENERAL_STAGES", "GENERAL_VIEWS", "general_head", "view_scatter"]

# Of EfficientNet-Lite0. The last layers know objects, these know textures too, of which scenes that
# ImageNet has never seen are made.
GENERAL_STAGES = ("blocks.5", "blocks.4")
GENERAL_VIEWS = ("identity", "rot90")  # flips and half turns beside it tell hardly more
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
    """Fit the general head on unlabelled tiles: whiten by views, then rotate by ITQ.

    A tile that is turned or mirrored is the same place, so the directions in which its features
    move then tell nothing of what is there. With S the scatter of the views of a tile around their
    mean, features are multiplied by ``S^-strength``, which makes these directions short; the bits
    are then those of ITQ. It is within-class covariance normalisation with every tile as a class,
    so it takes no labels.

    Args:
        features: Features of unlabelled tiles, float32, shape (tiles, num_features).
        views: Features of several views of some tiles, shape (some tiles, views, num_features).
        num_bits: Bits of the code.
        parts: Lengths of the parts of the feature vector that are brought to length one each.
        components: Principal components in which all this is done.
        strength: How much the scatter of the views counts: 0 gives ITQ, 0.5 whitens altogether.
        seed: Seed of the first rotation of ITQ.

    Returns:
        The fitted head.

    Raises:
        HasherError: If the views are not of the same features, there are more bits than features,
            or no two different tiles.
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
    generator = torch.Generator().manual_seed(seed)
    prepared = head.prepare(features.float()).double()
    mean = prepared.mean(0)
    axes = principal_axes(prepared - mean, max(num_bits, min(components, len(mean))), generator)
    turned = head.prepare(views.flatten(0, 1).float()).double() @ axes
    scatter = view_scatter(turned.reshape(*views.shape[:2], -1))
    whitening = axes @ inverse_power(scatter, strength, floor=FLOOR)
    rotation = itq_head(
        ((prepared - mean) @ whitening).float(), num_bits=num_bits, unit=False, seed=seed
    )
    head.get_buffer("shift").copy_(mean)
    with torch.no_grad():
        head.projection.weight.copy_((whitening @ rotation.projection.weight.double().T).T)
        head.projection.bias.zero_()
    return head


def view_scatter(views: Tensor) -> Tensor:
    """Compute how features scatter around their tile's mean over its views.

    Args:
        views: Features, shape (tiles, views, features).

    Returns:
        The mean of ``(x - m) (x - m)'`` over tiles and views, shape (features, features).
    """
    apart = (views - views.mean(1, keepdim=True)).flatten(0, 1)
    return apart.T @ apart / len(apart)
