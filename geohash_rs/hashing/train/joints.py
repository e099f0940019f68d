"""Check what a training takes from its user: a loss, a miner, a sampler."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler

from geohash_rs.errors import TrainingError, one_line

__all__ = ["check_loss", "checked_batches", "misfit"]


def misfit(function: Any, *values: Any, **named: Any) -> str:  # noqa: ANN401 - any callable
    """Return why a function cannot be called with arguments, or an empty string.

    Args:
        function: The function; one of C, which has no signature, is taken to fit.
        *values: Its positional arguments.
        **named: Its named arguments.

    Returns:
        The reason.
    """
    try:
        inspect.signature(function).bind(*values, **named)
    except TypeError as error:
        return one_line(error)
    except ValueError:
        return ""
    return ""


def check_loss(loss: Any) -> Any:  # noqa: ANN401 - anything that a user passes
    """Check that a loss of one's own can be called with activations and labels.

    Args:
        loss: The loss, or None.

    Returns:
        The same.

    Raises:
        TrainingError: If it is not a module, or its forward takes other arguments.
    """
    if loss is None:
        return None
    if not isinstance(loss, nn.Module):
        msg = (
            f"loss={loss!r} is not a torch module; pass an object such as MyLoss(), whose "
            "forward(activations, labels) returns a scalar."
        )
        raise TrainingError(msg)
    if reason := misfit(loss.forward, "activations", "labels"):
        msg = (
            f"the loss {type(loss).__name__} cannot be called with activations and labels "
            f"({reason}); define forward(self, activations, labels)."
        )
        raise TrainingError(msg)
    return loss


class _CheckedBatches(Sampler[list[int]]):
    """Batches of a sampler of one's own, each checked when it is drawn."""

    def __init__(self, batches: Any, *, count: int) -> None:  # noqa: ANN401
        self.batches, self.count = batches, count
        self.name = type(batches).__name__

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            yield self._checked(batch)

    def _checked(self, batch: Any) -> list[int]:  # noqa: ANN401
        try:
            rows = torch.as_tensor(batch)
        except (TypeError, ValueError, RuntimeError):
            rows = torch.empty(0)
        whole = rows.ndim == 1 and not rows.is_floating_point() and len(rows)
        if not whole or int(rows.min()) < 0 or int(rows.max()) >= self.count:
            msg = (
                f"the sampler {self.name} drew the batch {repr(batch)[:60]}; a batch lists rows of "
                f"the {self.count} training tiles, from 0 to {self.count - 1}."
            )
            raise TrainingError(msg)
        chosen: list[int] = rows.tolist()
        return chosen


def checked_batches(
    sampler: Callable[[Tensor], Iterable[list[int]]], labels: Tensor
) -> Sampler[list[int]]:
    """Call a sampler of one's own, and check its batches when they are drawn.

    Args:
        sampler: Function of the labels that returns an iterable with a length.
        labels: Labels of the training tiles.

    Returns:
        The batches.

    Raises:
        TrainingError: If the sampler is not a function, or what it returns has no length, is empty
            or cannot be iterated. Drawing raises it if a batch does not hold rows of the tiles.
    """
    if not callable(sampler):
        msg = (
            f"sampler={sampler!r} is not a function of the labels; pass for example "
            "sampler=lambda labels: MySampler(labels)."
        )
        raise TrainingError(msg)
    batches: Any = sampler(labels)
    name = type(batches).__name__
    if not hasattr(batches, "__len__") or not hasattr(batches, "__iter__"):
        msg = (
            f"the sampler returned {name}, which has no length or cannot be iterated; return an "
            "object such as ClassBalancedSampler, with __iter__ and __len__."
        )
        raise TrainingError(msg)
    if not len(batches):
        msg = f"the sampler returned {name} of length 0; return at least one batch of rows."
        raise TrainingError(msg)
    return _CheckedBatches(batches, count=len(labels))
