"""Named training configurations: the paper's, and better ones."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.network.views import VIEWS
from geohash_rs.hashing.train.settings import (
    FeatureSettings,
    HeadSettings,
    LearningSettings,
    LossSettings,
    SamplingSettings,
)

__all__ = ["RECIPES", "Recipe", "get_recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a training.

    Attributes:
        features: Which features to use; by default of all views of a tile.
        head: The shape of the head.
        loss: The loss.
        learning: Learning rate and schedule.
        sampling: Size and number of the batches.
    """

    features: FeatureSettings = FeatureSettings(train_views=VIEWS)
    head: HeadSettings = HeadSettings()
    loss: LossSettings = LossSettings()
    learning: LearningSettings = LearningSettings()
    sampling: SamplingSettings = SamplingSettings()

    def with_(self, **changes: Any) -> "Recipe":  # noqa: ANN401
        """Return a copy with some settings changed.

        Args:
            **changes: Settings by name, such as ``iterations=100, dropout=0.1``.

        Returns:
            The changed recipe.

        Raises:
            TrainingError: If there is no such setting, or settings contradict each other.
        """
        known = self.to_dict()
        if unknown := sorted(set(changes) - set(known)):
            msg = f"a recipe has no {', '.join(unknown)}; it has {', '.join(sorted(known))}."
            raise TrainingError(msg)
        if "stages" not in changes and not _has_stages(changes):
            changes["stages"] = ()
        if changes.get("components") == 0:  # nothing is left to even out or rotate
            changes = {"whitening": 0.0, "itq": 0.0} | changes
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return replace(self, **{k: v.pick({**vars(v), **changes}) for k, v in parts.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return all settings in one flat mapping of JSON values; a miner or module by name."""
        flat: dict[str, Any] = {}
        for part in fields(self):
            flat |= vars(getattr(self, part.name))
        for name in ("mining", "model"):
            if not isinstance(flat[name], str):
                flat[name] = getattr(flat[name], "__qualname__", type(flat[name]).__name__)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in flat.items()}


def _has_stages(changes: Mapping[str, Any]) -> bool:
    """Return whether the network has the stages of the recipes, those of an EfficientNet."""
    weights = changes.get("weights")
    named = getattr(weights, "meta", {}).get("model") or changes.get("model", "efficientnet")
    if isinstance(weights, str) and "_Weights." in weights:  # TorchGeo's
        named = weights
    return isinstance(named, str) and "efficientnet" in named.lower()


STAGES = (  # of EfficientNet-Lite0
    *("blocks.3", "blocks.4", "blocks.5", "blocks.6"),
    *("blocks.4:covariance", "blocks.5:covariance"),
)
FOUR_VIEWS = ("identity", "hflip", "rot90", "rot180")

# chosen by validation within the training part: docs/reference/results/retrieval.md
MILAN = Recipe().with_(
    stages=STAGES,
    components=384,
    dropout=0.2,
    noise=1.0,
    proxy=0.3,
    keep=4.0,
    hidden=(512, 512),
    whitening=0.5,
    lr=1e-3,
    iterations=1500,
)

RECIPES: dict[str, Recipe] = {
    # Roy et al. 2021, as in their code except for the backbone, whose weights can be installed
    "paper": Recipe().with_(
        input_size=224,
        train_views=("identity",),
        standardise=False,
        mining="class_pairs",
        balance_over="sample",
        classes_per_batch=0,
        samples_per_class=30,
        iterations=10_000,
        lr=1e-4,
        betas=(0.5, 0.9),
        weight_decay=0.0,
        schedule="constant",
    ),
    "milan": MILAN,
    "milan-views": MILAN.with_(views=FOUR_VIEWS),
    "milan-8-views": MILAN.with_(views=VIEWS),
    "milan-open": MILAN.with_(itq=3.0),  # for classes without labels, too
}


def get_recipe(name: str) -> Recipe:
    """Find a recipe by name.

    Args:
        name: One of `RECIPES`.

    Returns:
        The recipe.

    Raises:
        TrainingError: If there is no recipe of this name.
    """
    if name not in RECIPES:
        msg = f"there is no recipe {name!r}; use one of {', '.join(RECIPES)}."
        raise TrainingError(msg)
    return RECIPES[name]
