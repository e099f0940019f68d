"""Save a hasher that was measured, with its figures next to those of the other methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geohash_rs.errors import TrainingError
from geohash_rs.evaluate.measures import K, Ranker
from geohash_rs.evaluate.protocols import LabelledTiles, Trial
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.train.card import trained_notes

__all__ = ["Measured", "method_to_save", "save_measured"]

SUFFIX = ".safetensors"
UNLABELLED = ("itq", "lsh")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A head that was trained and measured.

    Attributes:
        ranker: The features, the head and its views.
        method: Name of its method.
        seed: Seed of its training.
        trials: The splits on which it was measured; all have the same training tiles.
        split: "seed" or "lists", as in `evaluate`.
    """

    ranker: Ranker
    method: str
    seed: int
    trials: Sequence[Trial]
    split: str


def method_to_save(methods: Sequence[str], recipes: Mapping[str, Any], path: Path) -> str:
    """Choose the method whose hasher is saved, and prepare the file before anything is computed.

    Args:
        methods: The methods to measure.
        recipes: Those of them that are recipes.
        path: The file to write; its folder is created.

    Returns:
        The first recipe, or else the first method that has a head.

    Raises:
        TrainingError: If no method has a head, or the path cannot hold a hasher.
    """
    found = next((m for m in methods if m in recipes), None)
    found = found or next((m for m in methods if m != "float"), None)
    if found is None:
        msg = (
            "float ranks by the features themselves and has no hasher to save; add a method, "
            "such as milan."
        )
        raise TrainingError(msg)
    if path.suffix != SUFFIX or path.is_dir():
        what = "is a folder" if path.is_dir() else f"does not end in {SUFFIX}"
        msg = f"{path} {what}; pass a file for the hasher, such as mine{SUFFIX}."
        raise TrainingError(msg)
    path.parent.mkdir(parents=True, exist_ok=True)
    return found


def save_measured(
    path: Path, kept: Measured, *, tiles: LabelledTiles, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write the hasher of a measured head, with its card.

    Args:
        path: File to write; an existing one is replaced.
        kept: The head and its training run.
        tiles: The data set.
        rows: Results of all runs, as in `evaluate`. Those with the seed and length of the head go
            to the card.

    Raises:
        TrainingError: If the method has no head.
    """
    head, trial = kept.ranker.head, kept.trials[0]
    if head is None:
        msg = f"{kept.method} has no head to save; use a method such as milan."
        raise TrainingError(msg)
    figures: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["seed"] == kept.seed and row["bits"] in {0, head.num_bits}:
            where = f", archive {row['archive']}" if len(kept.trials) > 1 else ""
            figures.setdefault(f"map@{K}{where}", {})[row["method"]] = row[f"map@{K}"]
    made = "lists next to the data" if kept.split == "lists" else f"split by seed {kept.seed}"
    notes = trained_notes(
        kept.method,
        data=tiles.root.resolve().name,
        split=f"protocol {trial.protocol}, {made}: {len(trial.train)} tiles train, "
        f"{len(trial.queries)} others are queries"
        + ("" if len(kept.trials) > 1 else " and archive"),
        figures=figures,
        classes=_taught(tiles, trial),
        labelled=kept.method not in UNLABELLED,
    )
    name = f"{kept.method}-{head.num_bits}"
    extractor, views = kept.ranker.features.extractor, kept.ranker.views
    Hasher(extractor, head, views=views, name=name, notes=notes).save(path)


def _taught(tiles: LabelledTiles, trial: Trial) -> list[str]:
    """Name the classes of the training tiles, which protocol "unseen" limits."""
    labels = tiles.labels[trial.train]
    present = np.flatnonzero(labels.any(0)) if labels.ndim == 2 else np.unique(labels)
    return [tiles.classes[index] for index in present.tolist()]
