"""Put together the name of a hasher that is to be fitted, from what a user asks for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geohash_rs.errors import HasherError
from geohash_rs.hashing.fit.backbone_choice import AT, BackboneChoice
from geohash_rs.hashing.fit.by_name import Unfitted, with_backbone
from geohash_rs.hashing.hasher import Hasher

__all__ = ["DEFAULT_HASHER", "chosen_backbone", "method_and_bits", "name_with_backbone"]

DEFAULT_HASHER = "general-64"


def chosen_backbone(
    backbone: str | None,
    weights: Any,  # noqa: ANN401  (TorchGeo's enum is not imported here)
    stages: Sequence[str],
) -> BackboneChoice | None:
    """Check the backbone that a user asks for.

    Args:
        backbone: As in `Archive.create`.
        weights: As in `Archive.create`.
        stages: As in `Archive.create`.

    Returns:
        The backbone; None if none was asked for.

    Raises:
        HasherError: As `BackboneChoice.choose`.
    """
    if backbone is None and weights is None and not stages:
        return None
    return BackboneChoice.choose(backbone, weights=weights, stages=stages)


def name_with_backbone(hasher: Hasher | str | Path | None, backbone: BackboneChoice) -> str:
    """Name a hasher that is to be fitted with a backbone.

    Args:
        hasher: A method and bits, such as "general-64"; None has the default number of bits.
        backbone: The backbone.

    Returns:
        Such as "general-64@resnet50".

    Raises:
        HasherError: If the hasher is one that has been fitted, or takes no other backbone.
    """
    if isinstance(hasher, Hasher):
        msg = f"the hasher {hasher.name} has a backbone; leave out backbone, weights and stages."
        raise HasherError(msg)
    return with_backbone(DEFAULT_HASHER if hasher is None else str(hasher), backbone)


def method_and_bits(name: str | None) -> str | None:
    """Return the start of a hasher's name that says how it is fitted.

    Args:
        name: Such as "general-64@resnet50"; None if there is no hasher.

    Returns:
        Such as "general-64"; None if the name does not say it.
    """
    plain = (name or "").partition(AT)[0]
    return plain if Unfitted.find(plain) is not None else None
