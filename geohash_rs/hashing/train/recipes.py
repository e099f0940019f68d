"""Named configurations of training: the paper's own, and the ones that do better."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.network.lite0 import LITE0
from geohash_rs.hashing.network.views import VIEWS

__all__ = ["RECIPES", "Recipe", "get_recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides how a head is trained on frozen features.

    Attributes:
        model: Backbone, any timm name.
        weights: Weights of the backbone, as `load_backbone` takes them.
        stages: modules of the backbone whose mean output is appended to the features.
        input_size: Side in px that the network sees.
        train_views: Views of a tile of which training draws one at random.
        views: Views over which the hasher averages activations; each costs a pass of the network.
        standardise: Whether features are brought to mean 0 and deviation 1 by the training part.
        components: Principal components kept of the standardised features, at most as many as
            there are; 0 keeps features.
        hidden: Widths of the head's hidden layers.
        dropout: Share of hidden units that training drops.
        noise: Deviation of the Gaussian noise that training adds to the standardised features or
            components, whose own mean deviation is 1.
        mining: Miner of triplets, see `MiLaNLoss`.
        margin: Margin of the triplets.
        normalise: Whether activations are brought to length one before distances are taken.
        push: Weight of the push loss.
        balance: Weight of the balance loss.
        balance_over: "sample" or "bit".
        proxy: Weight of the cross-entropy of a linear classifier on the activations.
        smoothing: Label smoothing of that classifier.
        classes_per_batch: Classes in a batch; 0 for the paper's pairs of classes.
        samples_per_class: Tiles of each class in a batch; triplets for pairs of classes.
        iterations: Batches.
        learning_rate: Step size at the start.
        betas: Decay rates of Adam.
        weight_decay: Decoupled weight decay; 0 gives plain Adam.
        cosine: Whether the step size falls to zero along a cosine.
    """

    model: str = LITE0
    weights: bool | str = True
    stages: tuple[str, ...] = ()
    input_size: int = 256
    train_views: tuple[str, ...] = VIEWS
    views: tuple[str, ...] = ("identity",)
    standardise: bool = True
    components: int = 0
    hidden: tuple[int, ...] = (1024, 512)
    dropout: float = 0.0
    noise: float = 0.0
    mining: str = "batch_hard"
    margin: float = 0.2
    normalise: bool = True
    push: float = 0.001
    balance: float = 1.0
    balance_over: Literal["sample", "bit"] = "bit"
    proxy: float = 0.0
    smoothing: float = 0.0
    classes_per_batch: int = 15
    samples_per_class: int = 6
    iterations: int = 1500
    learning_rate: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    cosine: bool = True

    def with_(self, **changes: Any) -> "Recipe":  # noqa: ANN401
        """Change settings.

        Args:
            **changes: Settings by name.

        Returns:
            The changed recipe.

        Raises:
            TrainingError: If there is no such setting.
        """
        known = {f.name for f in fields(self)}
        if unknown := sorted(set(changes) - known):
            msg = f"a recipe has no {', '.join(unknown)}; it has {', '.join(sorted(known))}."
            raise TrainingError(msg)
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Give all settings, JSON-able."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


STAGES = ("blocks.3", "blocks.4", "blocks.5", "blocks.6")  # of EfficientNet-Lite0
FOUR_VIEWS = ("identity", "hflip", "rot90", "rot180")

# chosen by validation inside of the training part: docs/evaluation.md
MILAN = Recipe(stages=STAGES, components=384, dropout=0.2, noise=1.0, proxy=0.3, iterations=6000)

RECIPES: dict[str, Recipe] = {
    # Roy et al. 2021, as their code runs it, but for the backbone, whose weights we can install
    "paper": Recipe(
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
        TrainingError: If there is none of this name.
    """
    if name not in RECIPES:
        msg = f"there is no recipe {name!r}; use one of {', '.join(RECIPES)}."
        raise TrainingError(msg)
    return RECIPES[name]
