"""Fit a method's head on the training tiles of a trial, or read it from the cache."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geohash_rs import __version__
from geohash_rs.errors import TrainingError
from geohash_rs.evaluate.features import Features
from geohash_rs.evaluate.protocols import LabelledTiles, Trial
from geohash_rs.hashing.fit.baselines import classifier_head, kslsh_head
from geohash_rs.hashing.fit.itq import itq_head, lsh_head
from geohash_rs.hashing.network.heads import Head, make_head
from geohash_rs.hashing.train.on_features import train_head
from geohash_rs.hashing.train.recipes import Recipe
from geohash_rs.store.disk.durable import replacing

__all__ = ["BASELINES", "Fitted", "fit_head"]

BASELINES: dict[str, Callable[..., Head]] = {
    "itq": lambda features, _labels, **settings: itq_head(features, **settings),
    "lsh": lambda features, _labels, **settings: lsh_head(features, **settings),
    "kslsh": kslsh_head,
    "classifier": classifier_head,
}


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The result of training a head.

    Attributes:
        head: The head, or None if the features themselves are ranked.
        history: Logged steps under "steps" and loss terms by name; empty for baselines.
    """

    head: Head | None
    history: dict[str, list[float]]


def fit_head(
    method: str,
    features: Features,
    tiles: LabelledTiles,
    trial: Trial,
    num_bits: int,
    *,
    recipe: Recipe | None,
    seed: int,
    cache: str | Path | None = None,
) -> Fitted:
    """Fit a head on the training part of a trial.

    Args:
        method: Name of a recipe, of a baseline, or "float".
        features: Features of all tiles.
        tiles: The tiles.
        trial: Defines the training tiles.
        num_bits: Bits per code.
        recipe: The recipe, or None for a baseline.
        seed: Seed of all random choices.
        cache: Folder to cache fitted heads in, keyed by features, labels, settings and package
            version; or None.

    Returns:
        The head and its history.

    Raises:
        TrainingError: If the training part has fewer than two classes, or the method does not
            support several labels per tile.
    """
    if method == "float":
        return Fitted(head=None, history={})
    target = _targets(tiles, trial, method)
    views = ("identity",) if recipe is None else recipe.features.train_views
    values = features.of(trial.train, views)
    path = None
    if cache is not None:
        about = {"method": method, "bits": num_bits, "seed": seed}
        if recipe is not None:
            about["method"] = recipe.with_(views=("identity",)).to_dict()
        path = Path(cache) / "heads" / f"{_key(about, values, target)}.safetensors"
        if path.is_file():
            return _read(path)
    head: Head
    if recipe is not None:
        head, noted = train_head(values, target, num_bits=num_bits, recipe=recipe, seed=seed)
        fitted = Fitted(head=head, history={"steps": list(map(float, noted.steps)), **noted.losses})
    else:
        head = BASELINES[method](values[:, 0], target, num_bits=num_bits, seed=seed)
        fitted = Fitted(head=head, history={})
    if path is not None:
        _write(path, fitted)
    return fitted


def _targets(tiles: LabelledTiles, trial: Trial, method: str) -> Tensor:
    """Return the training labels, with classes numbered from 0 without gaps.

    Raises:
        TrainingError: If there are fewer than two classes, or the method needs one label per tile.
    """
    labels = tiles.labels[trial.train]
    if labels.ndim == 2:
        if method in {"kslsh", "classifier"}:
            msg = (
                f"{method} needs one class per tile, but {tiles.root.name} has several; leave it "
                "out."
            )
            raise TrainingError(msg)
        return torch.from_numpy(labels)
    classes, target = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        msg = (
            f"the training part has {len(labels)} tiles of {len(classes)} class; add tiles of "
            "another class."
        )
        raise TrainingError(msg)
    return torch.from_numpy(target)


def _key(about: dict[str, Any], values: Tensor, target: Tensor) -> str:
    text = json.dumps([about, __version__, list(values.shape)], sort_keys=True)
    digest = hashlib.sha256(text.encode())
    digest.update(values.contiguous().numpy().tobytes())
    digest.update(target.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _write(path: Path, fitted: Fitted) -> None:
    if fitted.head is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"kind": fitted.head.kind, "settings": fitted.head.settings, "history": fitted.history}
    tensors = {name: t.detach().contiguous() for name, t in fitted.head.state_dict().items()}
    with replacing(path) as draft:
        save_file(tensors, draft, metadata={"head": json.dumps(about)})


def _read(path: Path) -> Fitted:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["head"])
            head = make_head(about["kind"], about["settings"])
            head.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        msg = f"the fitted head {path} cannot be read ({error}); delete the file."
        raise TrainingError(msg) from error
    return Fitted(head=head.eval(), history=about["history"])
