"""Learn without labels, from the location of tiles and from rotated and flipped views."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.errors import HasherError, TrainingError
from geohash_rs.hashing.data.blocks import block_numbers
from geohash_rs.hashing.data.features import iterate_features
from geohash_rs.hashing.data.scene_tiles import SceneTiles
from geohash_rs.hashing.extractor import Extractor, fitted_values
from geohash_rs.hashing.fit.itq import itq_head
from geohash_rs.hashing.fit.training_free import default_bands
from geohash_rs.hashing.fit.whitening import inverse_power
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.calibration import choose_calibration
from geohash_rs.hashing.network.heads import Head, LinearHead, MiLaN
from geohash_rs.hashing.network.input_size import choose_input_size
from geohash_rs.hashing.network.lite0 import LITE0
from geohash_rs.hashing.network.pretrained import load_backbone
from geohash_rs.hashing.network.scaling_choice import make_scaling
from geohash_rs.hashing.train.on_features import train_head
from geohash_rs.hashing.train.recipes import Recipe
from geohash_rs.scenes.dataset import Scenes, Tile
from geohash_rs.scenes.grid import Edges, TileGrid

__all__ = ["METHODS", "alike_pairs", "fit_on_scenes", "pairs_head", "triplets_head"]

Ints = npt.NDArray[np.int64]

FOUR_VIEWS = ("identity", "hflip", "rot90", "rot180")
TRUST = 0.95  # weight of the pairs' covariance against the identity, which limits rare directions
PLACES_PER_BATCH = 45


def alike_pairs(places: Ints, *, seed: int = 0) -> Ints:
    """Pair each tile with another of its place: a neighbour, or the same ground on another date.

    Args:
        places: Place of each tile, from `block_numbers`, shape (tiles,).
        seed: Seed of the pairing.

    Returns:
        Indices of two tiles each, shape (pairs, 2); places with a single tile have no pair.
    """
    shuffled = np.random.default_rng(seed).permutation(len(places))
    order = shuffled[np.argsort(places[shuffled], kind="stable")]
    same = places[order[1:]] == places[order[:-1]]
    return np.column_stack([order[:-1][same], order[1:][same]])


def pairs_head(features: Tensor, places: Ints, *, num_bits: int, seed: int = 0) -> LinearHead:
    """Fit ITQ after shrinking the directions in which tiles that should be similar differ.

    With C the mean covariance of the differences between such tiles (views of one tile; tiles of
    one place), features are multiplied by ``(0.95 C + 0.05 I)^-1/2``, with C and I of the same
    trace. Directions that change from a tile to its neighbour, its mirror image or another date
    then count little.

    Args:
        features: Frozen features, shape (tiles, views, num_features), of views made by `view`.
        places: Place of each tile, from `block_numbers`, shape (tiles,).
        num_bits: Bits per code.
        seed: Seed of the pairs and of the initial rotation.

    Returns:
        The fitted head.

    Raises:
        HasherError: If there is one view and no place has two tiles, or all tiles are identical.
        CodeLengthError: If the bits cannot be packed.

    References:
        Mikolajczyk and Matas, Improving Descriptors for Fast Tree Matching by Optimal Linear
        Projection, ICCV 2007, https://doi.org/10.1109/ICCV.2007.4408871 (the shrinking);
        Gong and Lazebnik, Iterative Quantization, CVPR 2011,
        https://doi.org/10.1109/CVPR.2011.5995432
    """
    unit = torch.nn.functional.normalize(features.float(), dim=2).double()
    pairs = torch.from_numpy(alike_pairs(places, seed=seed))
    differences = [(unit[:, 1:] - unit[:, :1]).flatten(0, 1)]
    differences += [unit[pairs[:, 0], 0] - unit[pairs[:, 1], 0]]
    scatters = [_covariance(part) for part in differences if len(part) and bool(part.any())]
    if not scatters:
        msg = (
            f"none of {len(features)} tiles has a differing view, or another tile in its place, to "
            "learn from; use a larger near_km or more views."
        )
        raise HasherError(msg)
    alike = torch.stack([scatter / scatter.trace() for scatter in scatters]).mean(0)
    shrink = inverse_power(alike, 0.5, floor=(1 - TRUST) / TRUST)
    shrink /= shrink.diagonal().mean()
    fitted = itq_head((unit[:, 0] @ shrink).float(), num_bits=num_bits, unit=False, seed=seed)
    head = LinearHead(features.shape[2], num_bits, unit=True)
    head.get_buffer("shift").copy_(unit[:, 0].mean(0))
    with torch.no_grad():
        head.projection.weight.copy_(fitted.projection.weight.double() @ shrink)
        head.projection.bias.zero_()
    return head.eval()


def triplets_head(
    features: Tensor,
    places: Ints,
    *,
    num_bits: int,
    iterations: int = 1500,
    seed: int = 0,
) -> MiLaN:
    """Train MiLaN's head on triplets of an anchor, a tile of its place and one of another place.

    A tile alone at its place is its own positive, in another view. The negative is the most similar
    tile of the other places in the batch; unlike in Tile2Vec, it may be a neighbour.

    Args:
        features: As in `pairs_head`; each draw of a tile uses a random view.
        places: As in `pairs_head`.
        num_bits: Bits per code.
        iterations: Number of batches.
        seed: Seed of weights and batches.

    Returns:
        The trained head.

    Raises:
        TrainingError: If there are fewer than two places.
        CodeLengthError: If the bits cannot be packed.

    References:
        Jean et al., Tile2Vec, AAAI 2019, https://arxiv.org/abs/1805.02855
    """
    alone = np.flatnonzero(np.bincount(places)[places] == 1)
    rows = np.concatenate([np.arange(len(places)), alone])
    recipe = Recipe().with_(
        train_views=tuple(f"view {number}" for number in range(features.shape[1])),
        classes_per_batch=PLACES_PER_BATCH,
        samples_per_class=2,
        iterations=iterations,
    )
    labels = torch.from_numpy(places[rows])
    return train_head(features[rows], labels, num_bits=num_bits, recipe=recipe, seed=seed)[0]


METHODS: dict[str, Callable[..., Head]] = {"pairs": pairs_head, "triplets": triplets_head}


def fit_on_scenes(
    scenes: Scenes,
    *,
    tile_size: int,
    stride: int | None = None,
    edges: Edges = "shift",
    max_nodata: float = 0.5,
    resolution: float | None = None,
    num_bits: int = 64,
    method: Literal["pairs", "triplets"] = "pairs",
    near_km: float = 2.0,
    views: Sequence[str] = FOUR_VIEWS,
    max_tiles: int = 4000,
    model: str = LITE0,
    weights: Any = True,  # noqa: ANN401  (TorchGeo's enum is not imported here)
    stages: Sequence[str] = (),
    bands: Sequence[str] | None = None,
    name: str = "",
    cache: str | Path | None = None,
    workers: int = 0,
    device: str = "cpu",
    seed: int = 0,
) -> Hasher:
    """Fit a hasher on scenes without labels, from the location and the views of their tiles.

    Tiles of one place, in any scene and on any date, and views of one tile should get similar
    codes. Scenes that cannot be read are left out, with a warning that names them.

    Args:
        scenes: The scenes.
        tile_size: Columns and rows of a tile, px.
        stride: Step between tiles, px; None uses the tile size.
        edges: As in `TileGrid`.
        max_nodata: Largest allowed share of invalid pixels in a tile.
        resolution: Ground size of a pixel, m, to which scenes are resampled here and in archives
            that use the hasher; None keeps each scene's own.
        num_bits: Bits per code.
        method: "pairs" (better, seconds) or "triplets" (like Tile2Vec, minutes).
        near_km: Side of a place, km.
        views: Views of a tile that should get similar codes; the first is the one to be hashed.
            Each costs a pass of the backbone.
        max_tiles: Approximate number of tiles to learn from, in random whole places.
        model: Backbone, the name of a timm model.
        weights: Weights of the backbone, as for `load_backbone`.
        stages: Names of modules whose pooled output is appended, as for `load_backbone`.
        bands: Names of the bands. Default: what all scenes share, as in `Scenes.shared_bands`,
            else as in `fit_hasher`.
        name: A display name. Default: method and bits.
        cache: Folder to cache features in for later runs, or None.
        workers: Processes that read; 0 reads in a thread.
        device: Device that runs the backbone.
        seed: Seed of all random choices.

    Returns:
        The fitted hasher.

    Raises:
        HasherError: If the method is unknown, no tile can be read, or there is nothing to learn.
        TileSizeError: If the grid does not fit the scenes.
        BandMismatchError: If the scenes differ in bands.
        TrainingError: If near_km is not positive, or there are fewer than two places for triplets.
        CodeLengthError: If the bits cannot be packed.
    """
    if method not in METHODS:
        msg = f"method {method!r} is not one of {', '.join(METHODS)}."
        raise HasherError(msg)
    if not 0 < near_km < np.inf:
        msg = f"near_km is {near_km}; it is the side of a place in km, such as 2."
        raise TrainingError(msg)
    grid = TileGrid(
        scenes,
        tile_size=tile_size,
        stride=stride,
        edges=edges,
        max_nodata=max_nodata,
        resolution=resolution,
    )
    tiles, places = _choose(scenes, grid.tiles, near_km, max_tiles, seed)
    count = len(scenes.scene_files[int(tiles[0, 0])].band_indexes(scenes.bands))
    names = tuple(bands or scenes.shared_bands() or default_bands(count))
    source = SceneTiles(grid, workers=workers)
    source.look(tiles, names=names)
    sample = source.sample(tiles, names=names)
    if not len(sample):
        msg = (
            f"none of {len(tiles)} tiles of the scenes can be read with at most {max_nodata:.0%} "
            "nodata, so there is nothing to fit a hasher on."
        )
        raise HasherError(msg)
    backbone = load_backbone(
        model, weights=weights, in_chans=len(names), bands=names, stages=stages, seed=seed
    )
    scaling = make_scaling(backbone, None, sample=sample, values=source.values)
    input_size = choose_input_size(backbone, tile_size=tile_size)
    extractor = Extractor(
        backbone,
        calibration=choose_calibration(
            backbone, None, sample=sample, scaling=scaling, input_size=input_size
        ),
        scaling=scaling,
        values=fitted_values(source.values, scaling, sample=sample),
        bands=names,
        tile_size=tile_size,
        input_size=input_size,
        resolution=resolution,
        device=device,
    )
    read: list[Ints] = []

    def images() -> Iterator[Tensor]:  # images are not kept: 4,000 tiles may be gigabytes
        for batch in source.batches(tiles, names=names):
            read.append(batch.tiles)
            yield batch.images

    features = torch.cat(list(iterate_features(extractor, images(), views=views, folder=cache)))
    source.warn()
    place_of = dict(zip(map(tuple, tiles.tolist()), places.tolist(), strict=True))
    kept = np.array([place_of[tuple(tile)] for tile in np.concatenate(read).tolist()])
    kept = np.unique(kept, return_inverse=True)[1].reshape(-1)
    return Hasher(
        extractor,
        METHODS[method](features, kept, num_bits=num_bits, seed=seed),
        name=name or f"{method}-{num_bits}",
        notes={"fitted_on": f"{len(features)} unlabelled tiles of {kept.max() + 1} places"},
    )


def _choose(
    scenes: Scenes, tiles: Ints, near_km: float, max_tiles: int, seed: int
) -> tuple[Ints, Ints]:
    """Choose all tiles of random places until there are enough, in the order of the files."""
    footprints = scenes.tile_footprints([Tile(*row) for row in tiles.tolist()])
    places = block_numbers(footprints, block_km=near_km)
    order = np.random.default_rng(seed).permutation(int(places.max()) + 1)
    counts = np.bincount(places)[order]
    enough = order[: 1 + int(np.searchsorted(np.cumsum(counts), max_tiles))]
    rows = np.flatnonzero(np.isin(places, enough))
    return tiles[rows], places[rows]


def _covariance(differences: Tensor) -> Tensor:
    return differences.T @ differences / len(differences)
