"""Fit every method on the same features, rank, and measure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs import metrics
from geohash_rs.codes import check_num_bits
from geohash_rs.errors import TrainingError
from geohash_rs.evaluate.protocols import Trial, make_trials
from geohash_rs.hashing.backbones import load_backbone
from geohash_rs.hashing.baselines import classifier_head, kslsh_head
from geohash_rs.hashing.class_folders import ClassFolders
from geohash_rs.hashing.features import cached_features
from geohash_rs.hashing.fitting import default_bands, make_scaling
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.heads import Head, LinearHead
from geohash_rs.hashing.itq import itq_head, lsh_head
from geohash_rs.hashing.recipes import RECIPES, Recipe, get_recipe
from geohash_rs.hashing.training import History, train_head

__all__ = ["BASELINES", "METHODS", "Features", "evaluate", "make_features", "measure_head"]

BASELINES: dict[str, Callable[..., Head]] = {
    "itq": lambda features, _labels, **settings: itq_head(features, **settings),
    "lsh": lambda features, _labels, **settings: lsh_head(features, **settings),
    "kslsh": kslsh_head,
    "classifier": classifier_head,
}
METHODS = (*RECIPES, *BASELINES, "float")
K = 20


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
    tiles: ClassFolders, recipe: Recipe, *, cache: str | Path | None = None
) -> Features:
    """Compute or read the frozen features that a recipe needs.

    Args:
        tiles: The data set.
        recipe: Backbone, stages, input size and views.
        cache: Folder where features are kept, or None.

    Returns:
        The features of all tiles.
    """
    sample = next(tiles.batches(size=32))
    backbone = load_backbone(recipe.model, in_chans=sample.shape[1], stages=recipe.stages)
    hasher = Hasher(
        backbone,
        LinearHead(backbone.num_features, 8),
        scaling=make_scaling(backbone, None, sample=sample),
        bands=default_bands(sample.shape[1]),
        tile_size=int(sample.shape[-2]),
        input_size=recipe.input_size,
    )
    views = tuple(dict.fromkeys((*recipe.train_views, *recipe.views)))
    values = cached_features(
        hasher, tiles.batches(), content=tiles.content(), views=views, folder=cache
    )
    return Features(views=views, values=values, hasher=hasher)


def evaluate(
    tiles: ClassFolders,
    *,
    protocol: str = "paper",
    methods: Sequence[str] = ("milan", "itq", "lsh", "kslsh", "classifier", "float"),
    bits: Sequence[int] = (16, 24, 32),
    seeds: int = 5,
    changes: dict[str, Any] | None = None,
    cache: str | Path | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> dict[str, Any]:
    """Train and measure methods by one protocol.

    Args:
        tiles: Tiles with their classes.
        protocol: One of `PROTOCOLS`.
        methods: Of `METHODS`: recipes of MiLaN by name, baselines, and "float", which ranks by
            the cosine of the features themselves.
        bits: Lengths of codes; "float" is measured once.
        seeds: Trainings of each method, seeds 0 and on. The split does not change with them,
            except for "unseen", which keeps out other classes for every seed.
        changes: Settings by which all recipes are changed, such as ``{"iterations": 100}``.
        cache: Folder where features are kept, or None.
        progress: Wraps the list of trainings, such as tqdm does.

    Returns:
        ``{"rows": [...], "settings": {...}, "histories": {...}}``, JSON-able. A row has method,
        bits, protocol, archive, seed, map@20, precision@20, map, precision@radius2, bit_entropy.

    Raises:
        TrainingError: If a method, protocol or setting is unknown, or the data cannot be trained
            on.
        CodeLengthError: If codes of these lengths cannot be packed.
    """
    if unknown := [m for m in methods if m not in METHODS]:
        msg = f"methods {unknown} are unknown; use some of {', '.join(METHODS)}."
        raise TrainingError(msg)
    if seeds < 1:
        msg = f"seeds is {seeds}; train at least once."
        raise TrainingError(msg)
    for length in bits:
        check_num_bits(length)
    recipes = {m: get_recipe(m).with_(**(changes or {})) for m in methods if m in RECIPES}
    plain = Recipe().with_(train_views=("identity",), **_plain_changes(changes))
    features = {m: make_features(tiles, recipes.get(m, plain), cache=cache) for m in methods}
    rows: list[dict[str, Any]] = []
    histories: dict[str, Any] = {}
    jobs = [
        (method, length, seed)
        for method in methods
        for length in (bits if method != "float" else (0,))
        for seed in range(seeds if method != "float" or protocol == "unseen" else 1)
    ]
    for method, length, seed in progress(jobs):
        trials = make_trials(tiles, protocol, seed=seed if protocol == "unseen" else 0)
        head, history = _fit(
            method, features[method], tiles, trials[0], length, recipes.get(method), seed
        )
        if history is not None:
            histories[f"{method}-{length}-{seed}"] = {"steps": history.steps, **history.losses}
        views = recipes[method].views if method in recipes else ("identity",)
        measured = [
            measure_head(features[method], head, views, tiles.labels, trial) for trial in trials
        ]
        rows += [
            {"method": method, "bits": length, "protocol": protocol, "archive": trial.archive}
            | {"seed": seed, "passes": len(views), **values}
            for trial, values in zip(trials, measured, strict=True)
        ]
    settings = {
        "root": tiles.root.name,
        "tiles": len(tiles),
        "classes": list(tiles.classes),
        "protocol": protocol,
        "denominator": "relevant tiles found in the first k",
        "ties": "expectation over all orders",
        "recipes": {name: recipe.to_dict() for name, recipe in recipes.items()},
        "baseline_features": {"model": plain.model, "input_size": plain.input_size},
    }
    return {"rows": rows, "settings": settings, "histories": histories}


def _plain_changes(changes: dict[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in (changes or {}).items() if k in {"model", "input_size"}}


def _fit(
    method: str,
    features: Features,
    tiles: ClassFolders,
    trial: Trial,
    num_bits: int,
    recipe: Recipe | None,
    seed: int,
) -> tuple[Head | None, History | None]:
    if method == "float":
        return None, None
    classes, labels = np.unique(tiles.labels[trial.train], return_inverse=True)
    if len(classes) < 2:
        msg = f"the training part has {len(classes)} class; add tiles of another."
        raise TrainingError(msg)
    target = torch.from_numpy(labels)
    if recipe is not None:
        values = features.of(trial.train, recipe.train_views)
        return train_head(values, target, num_bits=num_bits, recipe=recipe, seed=seed)
    values = features.of(trial.train, ("identity",))[:, 0]
    return BASELINES[method](values, target, num_bits=num_bits, seed=seed), None


def measure_head(
    features: Features,
    head: Head | None,
    views: Sequence[str],
    labels: npt.NDArray[np.int64],
    trial: Trial,
) -> dict[str, float]:
    """Measure a head, or the features themselves, on one trial.

    Args:
        features: Frozen features of all tiles.
        head: The head, or None to rank by the cosine of the features.
        views: Views over which activations are averaged.
        labels: Class of every tile.
        trial: Queries and archive.

    Returns:
        Means over the queries by name.
    """
    queries, searched = (
        _vectors(features.of(r, views), head) for r in (trial.queries, trial.searched)
    )
    distances = _distances(queries, searched, binary=head is not None)
    distances[trial.queries[:, None] == trial.searched[None]] = np.inf
    relevant = labels[trial.queries][:, None] == labels[trial.searched][None]
    values = {
        f"map@{K}": metrics.mean_average_precision(distances, relevant, k=K),
        f"precision@{K}": float(metrics.precision_at(distances, relevant, k=K).mean()),
        "map": metrics.mean_average_precision(distances, relevant, k=None),
    }
    if head is not None:
        within = metrics.precision_within(distances, relevant, radius=2)
        values["precision@radius2"] = float(within.mean())
        values["bit_entropy"] = float(metrics.bit_entropy(searched > 0).mean())
    return values


@torch.no_grad()
def _vectors(features: Tensor, head: Head | None) -> npt.NDArray[np.float32]:
    """Give signs of codes, or features of length one."""
    if head is None:
        unit = torch.nn.functional.normalize(features.mean(1), dim=1)
        return np.asarray(unit.numpy(), dtype=np.float32)
    activations = torch.stack([head(features[:, i]) for i in range(features.shape[1])]).mean(0)
    return np.asarray(torch.where(activations > 0.5, 1.0, -1.0).numpy(), dtype=np.float32)


def _distances(
    queries: npt.NDArray[np.float32], searched: npt.NDArray[np.float32], *, binary: bool
) -> npt.NDArray[np.float64]:
    products = (queries @ searched.T).astype(np.float64)
    if not binary:
        return 1 - products
    rounded: npt.NDArray[np.float64] = np.rint((queries.shape[1] - products) / 2)
    return rounded
