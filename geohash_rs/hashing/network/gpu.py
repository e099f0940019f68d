"""Keep a GPU busy: large batches, copied while the network runs, and results fetched one late."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

__all__ = ["copied", "fetched", "tiles_at_once"]

INPUT_PIXELS = 2**22  # of the network's input: 256 tiles of 128 px, 83 of 224 px
RAW_VALUES = 2**26  # of the tiles as they are read: 256 MB in float32


def tiles_at_once(tiles: Tensor, *, input_size: int) -> int:
    """Choose how many tiles a GPU computes at once.

    Args:
        tiles: Raw tiles, shape (tiles, bands, height, width).
        input_size: Side of the network's input, px.

    Returns:
        Number of tiles, at least 1: enough to occupy a GPU, within a bounded memory.
    """
    values = tiles.shape[1:].numel()
    return max(1, min(INPUT_PIXELS // input_size**2, RAW_VALUES // values))


def copied(batches: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Copy batches to a GPU in their own data type, of which most are smaller than float32.

    They are copied from pinned memory on a stream of their own, while the network works on an
    earlier batch.

    Args:
        batches: Tensors on any device.
        device: The GPU.

    Yields:
        The batches on the GPU.
    """
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for batch in batches:
        with torch.cuda.stream(copying):
            pinned = batch if batch.is_cuda else batch.pin_memory()
            there = pinned.to(device, non_blocking=True)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(copying)
        there.record_stream(computing)  # or its memory could be used again too early
        yield there


def fetched(results: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
    """Fetch results from a device, each after the next one has been launched.

    So the device always has work, and no more than two batches are under way.

    Args:
        results: Tensors that a device may still be computing; taking one launches it.

    Yields:
        The same on the CPU, in order.
    """
    former: _Coming | None = None
    for result in results:
        coming = _Coming(result)
        if former is not None:
            yield former.arrived()
        former = coming
    if former is not None:
        yield former.arrived()


class _Coming:
    """Tensors on their way to the CPU."""

    def __init__(self, tensors: tuple[Tensor, ...]) -> None:
        self.tensors = tuple(each.to("cpu", non_blocking=each.is_cuda) for each in tensors)
        self.event = None
        if any(each.is_cuda for each in tensors):
            self.event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.event.record(torch.cuda.current_stream(tensors[0].device))

    def arrived(self) -> tuple[Tensor, ...]:
        """Wait for the tensors, and return them."""
        if self.event is not None:
            self.event.synchronize()
        return self.tensors
