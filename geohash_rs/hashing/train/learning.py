"""Which weights of a task learn, and how fast."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.optim import AdamW, lr_scheduler

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.train.settings import LearningSettings

__all__ = ["make_optimizer", "make_schedule", "unfreeze"]


def unfreeze(backbone: Backbone, chosen: Sequence[str], *, frozen: bool) -> None:
    """Unfreeze the given parts of a backbone.

    Args:
        backbone: The backbone.
        chosen: Names of its modules that learn; none for all.
        frozen: Whether nothing of it learns, whatever is chosen.

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


def make_optimizer(
    backbone: Backbone, head: Iterable[nn.Parameter], *, settings: LearningSettings
) -> AdamW:
    """Make AdamW over what learns.

    Args:
        backbone: The backbone, of which the unfrozen parts learn.
        head: Weights of the head and the loss.
        settings: How fast they learn.

    Returns:
        The optimizer.
    """
    deep = [p for p in backbone.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": list(head)}]
    if deep:
        groups.append({"params": deep, "lr": settings.backbone_lr or settings.lr / 10})
    return AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)


def make_schedule(
    optimizer: AdamW,
    trainer: Any,  # noqa: ANN401
    *,
    settings: LearningSettings,
    monitor: str,
) -> dict[str, Any]:
    """Make the schedule of the learning rate.

    Args:
        optimizer: The optimizer.
        trainer: Lightning's, which knows the number of steps.
        settings: Which schedule.
        monitor: The measure that "plateau" watches; more is better.

    Returns:
        The schedule as Lightning takes it.

    Raises:
        TrainingError: If it is unknown.
    """
    if settings.schedule == "cosine":
        cosine = lr_scheduler.CosineAnnealingLR(optimizer, int(trainer.estimated_stepping_batches))
        return {"scheduler": cosine, "interval": "step"}
    if settings.schedule != "plateau":
        msg = f'schedule {settings.schedule!r} is unknown; use "plateau" or "cosine".'
        raise TrainingError(msg)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=settings.patience)
    return {"scheduler": plateau, "monitor": monitor}
