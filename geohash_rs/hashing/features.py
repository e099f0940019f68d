"""Compute frozen features once, and keep them on disk for the next run."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.views import view

__all__ = ["cached_features", "features_key"]


def cached_features(
    hasher: Hasher,
    batches: Iterable[Tensor],
    *,
    content: str,
    views: Sequence[str] = ("identity",),
    folder: str | Path | None = None,
) -> Tensor:
    """Compute the features of all views of all tiles, or read them if that was done before.

    Args:
        hasher: Its backbone, scaling, input size and bands make the features; its head does not
            matter.
        batches: Raw tiles, each of shape (tiles, bands, height, width). Not touched where the
            features are on disk.
        content: What tells these tiles from others, such as paths and sizes; part of the key.
        views: Views of a tile to compute; each costs a pass of the backbone.
        folder: Folder of the cache, or None to compute without one.

    Returns:
        Features, float32, shape (tiles, views, num_features).

    Raises:
        TrainingError: If there is no tile, or the cache has been damaged.
    """
    path = None
    if folder is not None:
        path = Path(folder) / f"{features_key(hasher, content=content, views=views)}.safetensors"
        if path.is_file():
            return _read(path)
    computed = [_all_views(hasher, batch, views) for batch in batches]
    if not computed:
        msg = "there are no tiles to compute features of; check the paths of the data set."
        raise TrainingError(msg)
    features = torch.cat(computed)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        save_file({"features": features}, part)
        part.replace(path)
    return features


def features_key(hasher: Hasher, *, content: str, views: Sequence[str]) -> str:
    """Name a set of features by all that they depend on.

    Args:
        hasher: As in `cached_features`.
        content: As in `cached_features`.
        views: As in `cached_features`.

    Returns:
        SHA-256, hex.
    """
    about = hasher.description
    settings = {k: about[k] for k in ("bands", "input_size", "scaling", "backbone")}
    text = json.dumps([settings, content, list(views)], sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(hasher.backbone.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _all_views(hasher: Hasher, batch: Tensor, views: Sequence[str]) -> Tensor:
    return torch.stack([hasher.features(view(batch, name)) for name in views], dim=1)


def _read(path: Path) -> Tensor:
    try:
        return load_file(path)["features"]
    except Exception as error:
        msg = f"cached features {path} cannot be read ({error}); delete the file."
        raise TrainingError(msg) from error
