"""Frozen features of a data set, computed once for all methods."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.errors import TrainingError
from geohash_rs.evaluate.protocols import LabelledTiles
from geohash_rs.hashing.data.features import cached_features
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.fit.training_free import default_bands
from geohash_rs.hashing.network.calibration import choose_calibration
from geohash_rs.hashing.network.input_size import choose_input_size
from geohash_rs.hashing.network.pretrained import load_backbone
from geohash_rs.hashing.network.scaling_choice import SCALING_TILES, make_scaling, sample_pixels
from geohash_rs.hashing.train.settings import FeatureSettings

__all__ = ["Features", "make_features"]


@dataclass(frozen=True, kw_only=True)
class Features:
    """Frozen features of a data set.

    Attributes:
        views: Names of the views, in the order of the second axis.
        values: Shape (tiles, views, num_features).
        extractor: The extractor that computed them.
    """

    views: tuple[str, ...]
    values: Tensor
    extractor: Extractor

    def of(self, rows: npt.ArrayLike, views: Sequence[str]) -> Tensor:
        """Return the features of some tiles and views, shape (tiles, views, num_features)."""
        columns = [self.views.index(name) for name in views]
        return self.values[torch.as_tensor(np.asarray(rows))][:, columns]


def make_features(
    tiles: LabelledTiles,
    wanted: FeatureSettings,
    *,
    precision: Literal["int8", "fp32"] | None = None,
    cache: str | Path | None = None,
    progress: Callable[..., Iterable[Any]] | None = None,
) -> Features:
    """Compute or read frozen features of a data set.

    Args:
        tiles: The data set.
        wanted: The backbone, stages and views of the features.
        precision: As in `fit_hasher`.
        cache: Folder to cache features in, or None.
        progress: Wraps the batches of tiles, like tqdm.

    Returns:
        The features of all tiles.

    Raises:
        TrainingError: If there are no tiles.
    """
    batches = tiles.batches()
    first = next(batches, None)
    if first is None:
        msg = f"{tiles.root} has no tiles; pass the folder that holds one folder per class."
        raise TrainingError(msg)
    backbone = load_backbone(
        wanted.model, weights=wanted.weights, in_chans=first.shape[1], stages=wanted.stages
    )
    tile_size = int(first.shape[-2])
    input_size = wanted.input_size or choose_input_size(backbone, tile_size=tile_size)
    scaling = make_scaling(backbone, None, sample=_pixels_of_all(tiles, first))
    extractor = Extractor(
        backbone,
        calibration=choose_calibration(
            backbone, precision, sample=first, scaling=scaling, input_size=input_size
        ),
        scaling=scaling,
        bands=default_bands(first.shape[1]),
        tile_size=tile_size,
        input_size=input_size,
    )
    views = tuple(dict.fromkeys((*wanted.train_views, *wanted.views)))
    all_batches: Iterable[Tensor] = chain([first], batches)
    if progress is not None:
        all_batches = progress(all_batches, desc=f"features of {len(tiles)} tiles", unit="batch")
    values = cached_features(extractor, all_batches, views=views, folder=cache)
    return Features(views=views, values=values, extractor=extractor)


def _pixels_of_all(tiles: LabelledTiles, first: Tensor) -> Tensor:
    """Return sample pixels for choosing the range of values.

    The first batch may hold tiles of only one class, so it suffices only for 8-bit pixels, whose
    range is known.
    """
    if first.dtype == torch.uint8:
        return first
    rows = np.unique(np.linspace(0, len(tiles) - 1, SCALING_TILES).round().astype(np.int64))
    return sample_pixels(tiles.take(rows).batches())
