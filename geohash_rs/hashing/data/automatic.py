"""Compute the features of any data module once, for the time of a run, without being asked."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info

from geohash_rs.hashing.data.balanced import BalancedBatches

__all__ = ["attach", "detach"]

KEPT = "_geohash_rs_batches"  # attribute of a data module: its features, for the next task
HOOKS = ("transfer_batch_to_device", "on_after_batch_transfer")


def attach(
    data: LightningDataModule | None,
    *,
    trainer: Any,  # noqa: ANN401 - Lightning has no types here
    cache: str | None,
    seed: int,
) -> BalancedBatches | None:
    """Make a data module that is set up load batches of features until `detach`.

    Lightning asks a data module for its loaders by name, so loaders and hooks are replaced on the
    object itself. The features stay with it: another task starts at once.

    Args:
        data: The data module, or None for loaders.
        trainer: Lightning's trainer, whose task has a frozen backbone.
        cache: As for `BalancedBatches`.
        seed: As for `BalancedBatches`.

    Returns:
        The `BalancedBatches` that serves the data module; None, with a message, if there are only
        loaders, whose tiles cannot be told apart.
    """
    if data is not None:
        detach(data)
    stage = "train" if trainer.training else "val" if trainer.validating else "test"
    if data is None or not BalancedBatches(data).has(stage):
        what = (
            "loaders" if data is None else f"{type(data).__name__}, which has no {stage}_dataset,"
        )
        rank_zero_info(
            f"The network computes features of {what} again for every batch; pass a data module "
            "with a train_dataset to compute them once."
        )
        return None
    batches: BalancedBatches = vars(data).get(KEPT) or BalancedBatches(data)
    batches.begin()
    batches.cache, batches.seed, batches.trainer = cache, seed, trainer
    names = [f"{part}_dataloader" for part in ("train", "val", "test") if batches.has(part)]
    batches.loaders = {name: getattr(data, name) for name in names}
    batches.hooks = {name: getattr(data, name) for name in HOOKS}
    batches.restore = partial(_restore, data, data.on_exception)
    for name in (*names, *HOOKS):
        setattr(data, name, getattr(batches, name))
    data.on_exception = batches.on_exception
    setattr(data, KEPT, batches)
    return batches


def detach(data: LightningDataModule) -> None:
    """Restore the own loaders of a data module.

    Args:
        data: The data module, attached or not.
    """
    own = vars(data)
    batches = own.get(KEPT)
    for name in [name for name, value in own.items() if batches and _is_of(value, batches)]:
        delattr(data, name)


def _restore(
    data: LightningDataModule, own: Callable[[BaseException], None], exception: BaseException
) -> None:
    """Detach a data module whose run failed, since Lightning then ends no run of the task."""
    detach(data)
    own(exception)


def _is_of(value: Any, batches: BalancedBatches) -> bool:  # noqa: ANN401
    return getattr(value, "__self__", None) is batches
