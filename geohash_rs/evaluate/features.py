"""Frozen features of a data set, computed once for all methods that use them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.errors import TrainingError
from geohash_rs.evaluate.protocols import LabelledTiles
from geohash_rs.hashing.data.features import cached_features
from geohash_rs.hashing.fit.training_free import SCALING_TILES, default_bands, make_scaling
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.backbones import load_backbone
from geohash_rs.hashing.network.heads import LinearHead
from geohash_rs.hashing.network.scaling import thin_pixels
from geohash_rs.hashing.train.recipes import Recipe

__all__ = ["Features", "make_features"]


@dataclass(frozen=True, kw_only=True)
class Features:
    """Frozen features of a data set for one recipe.

    Attributes:
        views: Names of the views, in the order of the second axis.
        values: Shape (tiles, views, num_features).
        hasher: A hasher with that backbone and scaling, whose head is not trained.
    """

    views: tuple[str, ...]
    values: Tensor
    hasher: Hasher

    def of(self, rows: npt.ArrayLike, views: Sequence[str]) -> Tensor:
        """Take tiles and views, shape (tiles, views, num_features)."""
        columns = [self.views.index(name) for name in views]
        return self.values[torch.as_tensor(np.asarray(rows))][:, columns]


def make_features(
    tiles: LabelledTiles,
    recipe: Recipe,
    *,
    cache: str | Path | None = None,
    progress: Callable[..., Iterable[Any]] | None = None,
) -> Features:
    """Compute or read the frozen features that a recipe needs.

    Args:
        tiles: The data set.
        recipe: Backbone, its weights, stages, input size and views.
        cache: Folder where features are kept, or None.
        progress: Wraps the batches of tiles, as tqdm does.

    Returns:
        The features of all tiles.

    Raises:
        TrainingError: If there are no tiles.
    """
    batches = tiles.batches()
    first = next(batches, None)
    if first is None:
        msg = f"{tiles.root} has no tiles; give the folder that holds one folder a class."
        raise TrainingError(msg)
    backbone = load_backbone(
        recipe.model, weights=recipe.weights, in_chans=first.shape[1], stages=recipe.stages
    )
    hasher = Hasher(
        backbone,
        LinearHead(backbone.num_features, 8),
        scaling=make_scaling(backbone, None, sample=_pixels_of_all(tiles, first)),
        bands=default_bands(first.shape[1]),
        tile_size=int(first.shape[-2]),
        input_size=recipe.input_size,
    )
    views = tuple(dict.fromkeys((*recipe.train_views, *recipe.views)))
    all_batches: Iterable[Tensor] = chain([first], batches)
    if progress is not None:
        all_batches = progress(all_batches, desc=f"features of {len(tiles)} tiles", unit="batch")
    values = cached_features(hasher, all_batches, views=views, folder=cache)
    return Features(views=views, values=values, hasher=hasher)


def _pixels_of_all(tiles: LabelledTiles, first: Tensor) -> Tensor:
    """Take pixels from which the range of values is chosen, shape (pixels, bands, 1, 1).

    The first batch alone would be tiles of one class; it is enough where pixels have eight bits,
    whose range is known.
    """
    if first.dtype == torch.uint8:
        return first
    rows = np.unique(np.linspace(0, len(tiles) - 1, SCALING_TILES).round().astype(np.int64))
    batches = tiles.take(rows).batches()
    flat = [thin_pixels(batch).movedim(1, -1).flatten(0, -2) for batch in batches]
    return torch.cat(flat)[:, :, None, None]
