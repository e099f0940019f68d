"""Named training configurations: the paper's, and better ones."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.network.views import VIEWS
from geohash_rs.hashing.train.settings import FeatureSettings, HeadSettings, LossSettings, Settings

__all__ = ["RECIPES", "Recipe", "get_recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings for training a head on frozen features.

    Attributes:
        features: Which features to use; by default of all views of a tile.
        head: The shape of the head.
        loss: The loss.
        classes_per_batch: Classes per batch; 0 for the paper's pairs of classes.
        samples_per_class: Tiles per class in a batch; for pairs of classes, triplets per batch.
        iterations: Number of batches.
        learning_rate: Initial learning rate.
        betas: Decay rates of Adam.
        weight_decay: Decoupled weight decay; 0 is plain Adam.
        cosine: Whether the learning rate falls to zero along a cosine.
    """

    features: FeatureSettings = FeatureSettings(input_size=256, train_views=VIEWS)
    head: HeadSettings = HeadSettings()
    loss: LossSettings = LossSettings()
    classes_per_batch: int = 15
    samples_per_class: int = 6
    iterations: int = 1500
    learning_rate: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    cosine: bool = True

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
        own: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Settings):
                own[field.name] = value.pick({**asdict(value), **changes})  # type: ignore[call-overload]
            elif field.name in changes:
                own[field.name] = changes[field.name]
        return replace(self, **own)

    def to_dict(self) -> dict[str, Any]:
        """Return all settings in one flat mapping of JSON values."""
        flat: dict[str, Any] = {}
        for name, value in asdict(self).items():
            flat |= value if isinstance(value, dict) else {name: value}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in flat.items()}


STAGES = ("blocks.3", "blocks.4", "blocks.5", "blocks.6")  # of EfficientNet-Lite0
FOUR_VIEWS = ("identity", "hflip", "rot90", "rot180")

# chosen by validation within the training part: docs/reference/results/retrieval.md
MILAN = Recipe().with_(
    stages=STAGES, components=384, dropout=0.2, noise=1.0, proxy=0.3, iterations=6000
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
        learning_rate=1e-4,
        betas=(0.5, 0.9),
        weight_decay=0.0,
        cosine=False,
    ),
    "milan": MILAN,
    "milan-views": MILAN.with_(views=FOUR_VIEWS),
    "milan-8-views": MILAN.with_(views=VIEWS),
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
