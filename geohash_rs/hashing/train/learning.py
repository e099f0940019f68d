"""Which weights of a task learn, and how fast."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.network.backbones import Backbone

if TYPE_CHECKING:
    from geohash_rs.hashing.train.task import HashingTask

__all__ = ["make_optimizer", "unfreeze"]


def unfreeze(backbone: Backbone, chosen: Sequence[str], *, frozen: bool) -> None:
    """Let the parts of a backbone learn that shall.

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


def make_optimizer(task: "HashingTask") -> dict[str, Any]:
    """Make AdamW over what learns, and the schedule.

    Args:
        task: The task, attached to its trainer.

    Returns:
        Optimizer and schedule as Lightning takes them.

    Raises:
        TrainingError: If the schedule is unknown.
    """
    settings = task.hparams
    deep = [p for p in task.backbone.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [*task.head.parameters(), *task.criterion.parameters()]}
    ]
    if deep:
        groups.append({"params": deep, "lr": settings["backbone_lr"] or settings["lr"] / 10})
    optimizer = torch.optim.AdamW(groups, lr=settings["lr"], weight_decay=settings["weight_decay"])
    schedules = torch.optim.lr_scheduler
    if settings["schedule"] == "cosine":
        cosine = schedules.CosineAnnealingLR(
            optimizer, int(task.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}
    if settings["schedule"] != "plateau":
        msg = f'schedule {settings["schedule"]!r} is unknown; use "plateau" or "cosine".'
        raise TrainingError(msg)
    plateau = schedules.ReduceLROnPlateau(optimizer, mode="max", patience=settings["patience"])
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": plateau, "monitor": task.monitor},
    }
