"""Train a MiLaN head on frozen features: seconds to minutes on one core."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from geohash_rs.errors import TrainingError, one_line
from geohash_rs.hashing.data.feature_batches import FeatureBatches
from geohash_rs.hashing.network.heads import MiLaN
from geohash_rs.hashing.train.learning import make_optimizer
from geohash_rs.hashing.train.losses import MiLaNLoss, loss_terms
from geohash_rs.hashing.train.mining import check_marks
from geohash_rs.hashing.train.recipes import Recipe, get_recipe
from geohash_rs.hashing.train.sampling import make_batches

__all__ = ["History", "prepared", "train_head"]

NOTE_EVERY = 50  # iterations between entries of the history


@dataclass(frozen=True, kw_only=True)
class History:
    """The losses logged during training.

    Attributes:
        steps: Iterations at which the losses were logged.
        losses: Loss terms by name, one value per logged step.
    """

    steps: list[int] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)


def train_head(
    features: Tensor,
    labels: Tensor | Sequence[int],
    *,
    num_bits: int,
    recipe: Recipe | str,
    seed: int = 0,
) -> tuple[MiLaN, History]:
    """Train a hashing head on the features of labelled tiles.

    Args:
        features: Frozen features, shape (tiles, views, num_features), with the views that the
            recipe trains on.
        labels: Class of each tile, integer from 0, shape (tiles,); or zeros and ones, shape
            (tiles, classes).
        num_bits: Bits per code.
        recipe: All other settings, or their name in `RECIPES`.
        seed: Seed of weights, batches, views, dropout and noise.

    Returns:
        The head, in evaluation mode, and the history of its losses.

    Raises:
        TrainingError: If the features are not finite or do not match the labels or recipe, the
            labels have another form, the recipe is unknown, or no triplet can be made.
    """
    recipe = get_recipe(recipe) if isinstance(recipe, str) else recipe
    labels = _numbers(labels)
    _check(features, labels, recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _train(features.float(), labels, num_bits, recipe, seed)


def _train(
    features: Tensor, labels: Tensor, num_bits: int, recipe: Recipe, seed: int
) -> tuple[MiLaN, History]:
    num_classes = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    head = recipe.head.make(features.shape[2], num_bits)
    criterion = MiLaNLoss(recipe.loss, num_bits=num_bits, num_classes=num_classes)
    if recipe.head.standardise:
        head.standardise(features.flatten(0, 1))
    steps = recipe.sampling.iterations
    optimizer, schedule = make_optimizer(
        [*head.parameters(), *criterion.parameters()], settings=recipe.learning, steps=steps
    )
    rows = make_batches(labels, recipe.sampling, num_batches=steps, seed=seed)
    history = History()
    head.train()
    for step, batch in enumerate(FeatureBatches(prepared(head, features), labels, rows, seed=seed)):
        inputs = batch["prepared"]
        terms = loss_terms(criterion, head.activate(inputs), batch["label"], features=inputs)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(terms["loss"])
        optimizer.step()
        if isinstance(schedule, CosineAnnealingLR):
            schedule.step()
        if step % NOTE_EVERY == 0 or step == steps - 1:
            _note(history, step, terms)
    return head.eval(), history


@torch.no_grad()
def prepared(head: MiLaN, features: Tensor) -> Tensor:
    """Do once what a head does before its first layer, which has no trainable weights.

    Args:
        head: The head.
        features: Shape (tiles, views, num_features).

    Returns:
        Prepared features, shape (tiles, views, width of the first layer).
    """
    return torch.stack([head.prepare(view) for view in features.unbind(1)], dim=1)


def _note(history: History, step: int, terms: dict[str, Tensor]) -> None:
    history.steps.append(step)
    for name, value in terms.items():
        history.losses.setdefault(name, []).append(float(value.detach()))


def _numbers(labels: Any) -> Tensor:  # noqa: ANN401 - what a user passes
    """Return labels as a tensor of integers.

    Raises:
        TrainingError: If they are not integers from 0.
    """
    try:
        found = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        msg = (
            f"labels are {type(labels).__name__} that make no tensor ({one_line(error)}); pass the "
            "number of each tile's class, from 0."
        )
        raise TrainingError(msg) from error
    if found.ndim == 1 and (found.is_floating_point() or bool((found < 0).any())):
        example = found[found < 0] if bool((found < 0).any()) else found
        msg = (
            f"labels are {str(found.dtype).removeprefix('torch.')}, such as {example[0].item()}; "
            "number the classes from 0, as integers, and leave out tiles without a class."
        )
        raise TrainingError(msg)
    if found.ndim == 2:
        check_marks(found)
    return found.long() if found.dtype == torch.bool else found


def _check(features: Tensor, labels: Tensor, recipe: Recipe) -> None:
    if not isinstance(features, Tensor):
        msg = (
            f"features are {type(features).__name__}; pass a tensor, such as "
            "torch.as_tensor(features)."
        )
        raise TrainingError(msg)
    if features.ndim != 3 or len(features) != len(labels):
        msg = (
            f"features have shape {tuple(features.shape)} and there are {len(labels)} labels; use "
            "(tiles, views, num_features) and one label per tile."
        )
        raise TrainingError(msg)
    views = recipe.features.train_views
    if features.shape[1] != len(views):
        msg = (
            f"features have {features.shape[1]} views of each tile but the recipe trains on "
            f"{len(views)} ({', '.join(views)})."
        )
        raise TrainingError(msg)
    bad = ~torch.isfinite(features).all(2).all(1)
    if bool(bad.any()):
        msg = (
            f"features of {int(bad.sum())} of {len(features)} tiles are NaN or infinite (first: "
            f"tile {int(bad.nonzero()[0])}); fill missing pixels or leave these tiles out."
        )
        raise TrainingError(msg)
