"""Compute features of a frozen backbone once, and keep them on disk for the next run."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.network.views import view
from geohash_rs.store.disk.durable import replacing

__all__ = ["cached_features", "features_key", "iterate_features"]

FEW_PASSES = 300  # below this, tracing the backbone costs more time than it saves


def cached_features(
    extractor: Extractor,
    batches: Iterable[Tensor],
    *,
    views: Sequence[str] = ("identity",),
    folder: str | Path | None = None,
) -> Tensor:
    """Compute the features of all views of all tiles, or read them from the cache.

    Args:
        extractor: Computes the features.
        batches: Raw tiles, each of shape (tiles, bands, height, width).
        views: Views of a tile to compute; each costs a pass of the backbone.
        folder: Folder of the cache, or None to compute without one.

    Returns:
        Features, float32, shape (tiles, views, num_features).

    Raises:
        TrainingError: If there are no tiles, or the cache is damaged.
    """
    parts = list(iterate_features(extractor, batches, views=views, folder=folder))
    if not parts:
        msg = "there are no tiles to compute features of; check the paths of the data set."
        raise TrainingError(msg)
    return torch.cat(parts)


def iterate_features(
    extractor: Extractor,
    batches: Iterable[Tensor],
    *,
    views: Sequence[str] = ("identity",),
    folder: str | Path | None = None,
) -> Iterator[Tensor]:
    """Yield features batch by batch, and store each batch as soon as it is computed.

    The name of a file depends on the pixels of its batch, and that of its folder on views, weights
    and settings. So an interrupted run resumes, and never uses features of anything else.

    Args:
        extractor: As in `cached_features`.
        batches: As in `cached_features`.
        views: As in `cached_features`.
        folder: As in `cached_features`.

    Yields:
        Features, float32, shape (tiles, views, num_features).

    Raises:
        TrainingError: If the cache is damaged.
    """
    kept = None
    if folder is not None:
        kept = Path(folder) / features_key(extractor, views=views)[:16]
        kept.mkdir(parents=True, exist_ok=True)
    passes = 0
    for batch in batches:
        path = None if kept is None else kept / f"{_digest(batch)}.safetensors"
        if path is not None and path.is_file():
            yield _read(path)
            continue
        if passes >= FEW_PASSES:
            extractor.accelerate()
        passes += len(batch) * len(views)
        features = torch.stack([extractor.features(view(batch, name)) for name in views], dim=1)
        if path is not None:
            with replacing(path) as draft:  # two runs may share a cache
                save_file({"features": features}, draft)
        yield features


def features_key(extractor: Extractor, *, views: Sequence[str]) -> str:
    """Compute a name for an extractor's features from all that they depend on except the tile.

    Args:
        extractor: As in `cached_features`.
        views: As in `cached_features`.

    Returns:
        SHA-256, hex.
    """
    about = extractor.description
    settings = {k: about[k] for k in ("bands", "input_size", "scaling", "backbone")}
    kind = torch.device(extractor.device).type
    if kind != "cpu":  # arithmetic has another precision there
        settings["device"] = kind
    digest = hashlib.sha256(json.dumps([settings, list(views)], sort_keys=True).encode())
    for name, tensor in sorted(extractor.tensors().items()):
        digest.update(name.encode())
        digest.update(_raw_bytes(tensor))
    return digest.hexdigest()


def _digest(batch: Tensor) -> str:
    about = f"{batch.dtype} {tuple(batch.shape)}".encode()
    return hashlib.sha256(about + _raw_bytes(batch)).hexdigest()[:32]


def _raw_bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def _read(path: Path) -> Tensor:
    try:
        return load_file(path)["features"]
    except Exception as error:
        msg = f"cached features {path} cannot be read ({error}); delete the file."
        raise TrainingError(msg) from error
