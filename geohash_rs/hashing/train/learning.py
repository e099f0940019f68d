"""Choose the trainable weights of a task, and make their optimizer."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer, lr_scheduler

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.train.settings import LearningSettings

__all__ = ["check_steps", "make_optimizer", "unfreeze"]


def unfreeze(backbone: Backbone, chosen: Sequence[str], *, frozen: bool) -> None:
    """Unfreeze the given parts of a backbone.

    Args:
        backbone: The backbone.
        chosen: Names of modules to unfreeze; empty for all.
        frozen: Whether to keep the whole backbone frozen, whatever is chosen.

    Raises:
        TrainingError: If a module to unfreeze does not exist.
    """
    modules = dict(backbone.network.named_modules())
    if unknown := [name for name in chosen if name not in modules]:
        children = ", ".join(name for name, _ in backbone.network.named_children())
        msg = f"the backbone has no modules {unknown} to unfreeze; it has {children}."
        raise TrainingError(msg)
    backbone.eval()
    backbone.requires_grad_(requires_grad=not frozen and not chosen)
    if not frozen:
        for name in chosen:
            modules[name].requires_grad_(requires_grad=True)


def check_steps(settings: LearningSettings, steps: float) -> None:
    """Check that a schedule knows as many steps as it needs.

    Args:
        settings: Learning rates and schedule.
        steps: Number of steps of the training, or infinity.

    Raises:
        TrainingError: If "cosine" does not know the number of steps.
    """
    if settings.schedule == "cosine" and not math.isfinite(steps):
        msg = (
            'schedule "cosine" needs the number of steps; pass max_epochs or max_steps to the '
            'Trainer, or schedule="constant".'
        )
        raise TrainingError(msg)


def make_optimizer(
    head: Iterable[nn.Parameter],
    *,
    settings: LearningSettings,
    steps: float,
    backbone: Iterable[nn.Parameter] = (),
) -> tuple[Optimizer, lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau | None]:
    """Make AdamW for the trainable weights, and its schedule.

    Args:
        head: Weights of the head and the loss.
        settings: Learning rates and schedule.
        steps: Number of steps of the training.
        backbone: Weights of the backbone; only those that are not frozen are trained.

    Returns:
        Optimizer and schedule. "cosine" is to be stepped after every batch, "plateau" after every
        validation; None leaves the rate as it is.

    Raises:
        TrainingError: If "cosine" does not know the number of steps.
    """
    groups: list[dict[str, Any]] = [{"params": list(head)}]
    if deep := [weight for weight in backbone if weight.requires_grad]:
        rate = settings.lr / 10 if settings.backbone_lr is None else settings.backbone_lr
        groups.append({"params": deep, "lr": rate})
    on_cpu = all(weight.device.type == "cpu" for group in groups for weight in group["params"])
    betas = (settings.betas[0], settings.betas[1])
    optimizer = AdamW(
        groups, settings.lr, betas, weight_decay=settings.weight_decay, fused=on_cpu or None
    )
    if settings.schedule == "plateau":
        return optimizer, lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", patience=settings.patience
        )
    if settings.schedule == "constant":
        return optimizer, None
    check_steps(settings, steps)
    return optimizer, lr_scheduler.CosineAnnealingLR(optimizer, int(steps))
