"""The settings of training, grouped by what they configure."""

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, TypeVar

from torch import nn

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.network.heads import MiLaN
from geohash_rs.hashing.network.lite0 import LITE0
from geohash_rs.hashing.train.joints import misfit
from geohash_rs.hashing.train.mining import MINERS, Miner

__all__ = [
    "FeatureSettings",
    "HeadSettings",
    "LearningSettings",
    "LossSettings",
    "SamplingSettings",
    "Settings",
    "documented_by",
]

C = TypeVar("C", bound=type)


class Settings:
    """Base class of settings, which can be picked from a flat mapping with other settings."""

    @classmethod
    def pick(cls, settings: Mapping[str, Any]) -> Self:
        """Pick the settings of this kind, with lists as tuples so that the result is hashable.

        Args:
            settings: Settings by name, including all of this kind.

        Returns:
            The settings.
        """
        chosen = {f.name: settings[f.name] for f in fields(cls)}  # type: ignore[arg-type]
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()})


@dataclass(frozen=True, kw_only=True)
class FeatureSettings(Settings):
    """The features of a tile to learn from.

    Attributes:
        model: Backbone: the name of a timm model, or a module, as for `load_backbone`.
        weights: Weights of the backbone, as for `load_backbone`.
        stages: Modules of the backbone, such as "blocks.4", whose mean output is appended to the
            features; with ":covariance" behind the name, covariances over the image.
        input_size: Side of the network's input, px. Default: it follows the side of the tiles, as
            in `fit_hasher`.
        train_views: Views of a tile from which training draws one at random.
        views: Views over which activations are averaged outside training; each costs a pass.
    """

    model: str | nn.Module = LITE0
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
        dropout: Share of hidden units dropped in training; the paper uses none.
        components: Number of principal components of the standardised features to keep; 0 keeps
            the features. Components make the head small and its training fast.
        whitening: How far the variances of the components are evened out, from 0, not at all, to
            1, all the same. Classes often differ in components of small variance.
        itq: Weight of a fixed projection without labels, that of ITQ, which is added to the output
            of the layers; 0 for none. It helps with classes that training does not see.
        noise: Deviation of the Gaussian noise added in training to the standardised features or
            components, whose own mean deviation is 1; the paper uses none.
        standardise: Whether features are scaled to mean 0 and deviation 1, as measured on the
            cached features of all training tiles, or else on the first training batch.

    Raises:
        TrainingError: If `components` is used without `standardise`, `whitening` is not from 0 to
            1, `itq` is negative or not finite, or one of these two is used without `components`.
    """

    hidden: Sequence[int] = (1024, 512)
    dropout: float = 0.0
    components: int = 0
    whitening: float = 0.0
    itq: float = 0.0
    noise: float = 0.0
    standardise: bool = True

    def __post_init__(self) -> None:
        if self.components and not self.standardise:
            msg = (
                f"components={self.components} needs standardise=True, since principal components "
                "are computed from standardised features; use components=0 or standardise=True."
            )
            raise TrainingError(msg)
        if not 0 <= self.whitening <= 1 or (self.whitening and not self.components):
            msg = (
                f"whitening={self.whitening} with components={self.components}; use a whitening "
                "from 0 to 1, and components such as 384 to apply it to."
            )
            raise TrainingError(msg)
        if not 0 <= self.itq < math.inf or (self.itq and not self.components):
            msg = (
                f"itq={self.itq} with components={self.components}; use itq=0 or a positive weight "
                "such as 2, and components such as 384 to rotate."
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
            whitening=self.whitening,
            itq=self.itq,
        )


@dataclass(frozen=True, kw_only=True)
class LossSettings(Settings):
    """The terms of the loss and their weights.

    Attributes:
        mining: "class_pairs" (the paper's), "batch_all", "batch_hard", "semi_hard" or a `Miner`.
        margin: Margin of the triplets.
        normalise: Whether activations are normalised to unit length before computing distances.
        push: Weight of the push loss.
        balance: Weight of the balance loss.
        balance_over: "sample" (the paper's) or "bit".
        proxy: Weight of the cross-entropy of a linear classifier on the activations.
        smoothing: Label smoothing of that classifier.
        keep: Weight of a term that keeps the similarities of features in the codes. It helps with
            classes that training does not see, and from about 10 costs on those that it does.

    Raises:
        TrainingError: If a setting is unknown, or a miner takes other arguments.
    """

    mining: str | Miner = "batch_hard"
    margin: float = 0.2
    normalise: bool = True
    push: float = 0.001
    balance: float = 1.0
    balance_over: Literal["sample", "bit"] = "bit"
    proxy: float = 0.0
    smoothing: float = 0.0
    keep: float = 0.0

    def __post_init__(self) -> None:
        if not callable(self.mining) and self.mining not in MINERS:
            msg = (
                f"mining {self.mining!r} is not one of {', '.join(MINERS)}; use one of these or a "
                "function such as hashing.Miner describes."
            )
            raise TrainingError(msg)
        if not isinstance(self.mining, str) and (
            reason := misfit(self.mining, "distances", "similarity", margin=0.2, generator=None)
        ):
            msg = (
                f"mining={self.mining!r} cannot be called as hashing.Miner describes "
                f"({reason}); define it as miner(distances, similarity, *, margin, generator)."
            )
            raise TrainingError(msg)
        if self.margin <= 0:
            msg = f"margin is {self.margin}; use a positive number such as 0.2."
            raise TrainingError(msg)


@dataclass(frozen=True, kw_only=True)
class LearningSettings(Settings):
    """Learning rates and their schedule.

    Attributes:
        lr: Learning rate.
        backbone_lr: Learning rate of the backbone's trainable parts. Default: a tenth of `lr`.
        betas: Decay rates of Adam's two means.
        weight_decay: Decoupled weight decay; 0 is plain Adam.
        schedule: "cosine" lowers the learning rate to zero over all steps, "plateau" when the
            validation mAP stops improving, "constant" never.
        patience: Epochs without a better validation mAP before "plateau" lowers the rate.

    Raises:
        TrainingError: If the schedule is unknown.
    """

    lr: float = 3e-4
    backbone_lr: float | None = None
    betas: Sequence[float] = (0.9, 0.999)
    weight_decay: float = 0.01
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    patience: int = 10

    def __post_init__(self) -> None:
        if self.schedule not in {"cosine", "plateau", "constant"}:
            msg = f'schedule {self.schedule!r} is unknown; use "cosine", "plateau" or "constant".'
            raise TrainingError(msg)


@dataclass(frozen=True, kw_only=True)
class SamplingSettings(Settings):
    """The batches of training.

    Attributes:
        classes_per_batch: Classes in a batch; 0 for the paper's pairs of classes.
        samples_per_class: Tiles of each class in a batch; for pairs of classes, triplets.
        iterations: Number of batches, spread over the epochs of the trainer.
    """

    classes_per_batch: int = 15
    samples_per_class: int = 6
    iterations: int = 1500


def documented_by(*kinds: type[Settings]) -> Callable[[C], C]:
    """Add the descriptions of settings to the docstring of a class that takes them one by one.

    Command lines and IDEs read arguments from a class's docstring; each setting is described only
    once, in its dataclass.

    Args:
        *kinds: The settings that the class takes.

    Returns:
        A decorator that appends their attributes to the arguments in the docstring.
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
