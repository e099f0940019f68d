"""Choose the trainable weights of a task, and make their optimizer."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.optim import AdamW, lr_scheduler

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.train.settings import LearningSettings

__all__ = ["make_optimizer", "unfreeze"]


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


def make_optimizer(
    backbone: Backbone,
    head: Iterable[nn.Parameter],
    *,
    settings: LearningSettings,
    trainer: Any,  # noqa: ANN401
    monitor: str,
) -> dict[str, Any]:
    """Make AdamW for the trainable weights, and its schedule.

    Args:
        backbone: The backbone; only its unfrozen parts are trained.
        head: Weights of the head and the loss.
        settings: Learning rates and schedule.
        trainer: Lightning's trainer, which knows the number of steps.
        monitor: The measure that "plateau" monitors; higher is better.

    Returns:
        Optimizer and schedule in Lightning's form.

    Raises:
        TrainingError: If the schedule is unknown.
    """
    deep = [p for p in backbone.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": list(head)}]
    if deep:
        groups.append({"params": deep, "lr": settings.backbone_lr or settings.lr / 10})
    optimizer = AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    if settings.schedule == "cosine":
        cosine = lr_scheduler.CosineAnnealingLR(optimizer, int(trainer.estimated_stepping_batches))
        schedule = {"scheduler": cosine, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}
    if settings.schedule != "plateau":
        msg = f'schedule {settings.schedule!r} is unknown; use "plateau" or "cosine".'
        raise TrainingError(msg)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=settings.patience)
    schedule = {"scheduler": plateau, "monitor": monitor}
    return {"optimizer": optimizer, "lr_scheduler": schedule}
