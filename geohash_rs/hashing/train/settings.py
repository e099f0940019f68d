"""The settings of training, one object for each thing that is set."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, TypeVar

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.network.heads import MiLaN
from geohash_rs.hashing.network.lite0 import LITE0
from geohash_rs.hashing.train.mining import MINERS

__all__ = [
    "FeatureSettings",
    "HeadSettings",
    "LearningSettings",
    "LossSettings",
    "Settings",
    "documented_by",
]

C = TypeVar("C", bound=type)


class Settings:
    """What all settings have: they can be picked from a flat mapping that holds others too."""

    @classmethod
    def pick(cls, settings: Mapping[str, Any]) -> Self:
        """Take the settings of this kind, lists as tuples, so that equal ones are one key.

        Args:
            settings: Settings of any kind by name, all of this kind among them.

        Returns:
            The settings.
        """
        chosen = {f.name: settings[f.name] for f in fields(cls)}  # type: ignore[arg-type]
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()})


@dataclass(frozen=True, kw_only=True)
class FeatureSettings(Settings):
    """Which features of a tile are learned from.

    Attributes:
        model: Backbone, any timm name.
        weights: Weights of the backbone, as `load_backbone` takes them.
        stages: Modules of the backbone whose mean output is appended to the features.
        input_size: Side in px that the network sees. Default: what its weights were trained with.
        train_views: Views of a tile of which training draws one at random.
        views: Views over which activations are averaged elsewhere; each costs a pass.
    """

    model: str = LITE0
    weights: Any = True
    stages: Sequence[str] = ()
    input_size: int | None = None
    train_views: Sequence[str] = ("identity",)
    views: Sequence[str] = ("identity",)


@dataclass(frozen=True, kw_only=True)
class HeadSettings(Settings):
    """The shape of a MiLaN head.

    Attributes:
        hidden: Widths of the head's hidden layers.
        dropout: Share of hidden units that training drops; the paper has none.
        components: Principal components kept of the standardised features, at most as many as
            there are; 0 keeps features. They make the head small and its training fast.
        noise: Deviation of the Gaussian noise that training adds to the standardised features or
            components, whose own mean deviation is 1; the paper has none.
        standardise: Whether features are brought to mean 0 and deviation 1, as measured on the
            cached features of all training tiles, else on the first training batch.

    Raises:
        TrainingError: If components of features that are not standardised are wanted.
    """

    hidden: Sequence[int] = (1024, 512)
    dropout: float = 0.0
    components: int = 0
    noise: float = 0.0
    standardise: bool = True

    def __post_init__(self) -> None:
        if self.components and not self.standardise:
            msg = (
                f"components={self.components} and standardise=False do not go together: principal "
                "components are those of standardised features; use components=0 or "
                "standardise=True."
            )
            raise TrainingError(msg)

    def make(self, num_features: int, num_bits: int) -> MiLaN:
        """Make a head of this shape with new weights."""
        return MiLaN(
            num_features,
            num_bits,
            hidden=tuple(self.hidden),
            dropout=self.dropout,
            components=min(self.components, num_features),
            noise=self.noise,
        )


@dataclass(frozen=True, kw_only=True)
class LossSettings(Settings):
    """The terms of the loss and their weights.

    Attributes:
        mining: "class_pairs" (the paper's), "batch_all", "batch_hard" or "semi_hard".
        margin: Margin of the triplets.
        normalise: Whether activations are brought to length one before distances are taken.
        push: Weight of the push loss.
        balance: Weight of the balance loss.
        balance_over: "sample" (the paper's) or "bit".
        proxy: Weight of the cross-entropy of a linear classifier on the activations.
        smoothing: Label smoothing of that classifier.

    Raises:
        TrainingError: If a setting is unknown.
    """

    mining: str = "batch_hard"
    margin: float = 0.2
    normalise: bool = True
    push: float = 0.001
    balance: float = 1.0
    balance_over: Literal["sample", "bit"] = "bit"
    proxy: float = 0.0
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.mining not in MINERS:
            msg = f"mining {self.mining!r} is not one of {', '.join(MINERS)}."
            raise TrainingError(msg)
        if self.margin <= 0:
            msg = f"margin is {self.margin}; use a positive number such as 0.2."
            raise TrainingError(msg)


@dataclass(frozen=True, kw_only=True)
class LearningSettings(Settings):
    """How fast a task learns.

    Attributes:
        lr: Learning rate.
        backbone_lr: Learning rate of the backbone where it learns. Default: a tenth of `lr`.
        weight_decay: Decoupled weight decay.
        schedule: "plateau" lowers the learning rate when the validation mAP no longer grows,
            "cosine" lets it fall to zero over all steps.
        patience: Epochs without a better validation mAP before "plateau" acts.
    """

    lr: float = 3e-4
    backbone_lr: float | None = None
    weight_decay: float = 0.01
    schedule: Literal["plateau", "cosine"] = "plateau"
    patience: int = 10


def documented_by(*kinds: type[Settings]) -> Callable[[C], C]:
    """Decorate a class that takes settings one by one, with what they mean.

    Command lines and IDEs show the arguments of a class from its docstring; each setting is
    described in one place, its dataclass.

    Args:
        *kinds: The settings that it takes.

    Returns:
        A decorator that adds their attributes to the arguments in the docstring.
    """
    attributes = [
        re.search(r"Attributes:\n(.*?)(?=\n\n|\Z)", str(inspect.getdoc(k)), re.S) for k in kinds
    ]
    text = "\n".join(found[1].rstrip() for found in attributes if found)

    def decorate(decorated: C) -> C:
        own = inspect.getdoc(decorated) or ""
        decorated.__doc__ = own.replace("\n\nRaises:", f"\n{text}\n\nRaises:", 1)
        return decorated

    return decorate
