"""How imagery is read and hashed on its way into an archive."""

from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

__all__ = ["FIT_TILES", "IndexSettings"]

# Tiles on which a training-free hasher is fitted, at most: more change few bits and cost time.
FIT_TILES = 2048


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """How imagery is read and hashed; none of it changes a code.

    Attributes:
        batch_size: Most tiles that are read at once; fewer where they are large.
        workers: Processes that read; 0 reads in a thread.
        device: Where the network runs.
        checksum: Whether files are compared by checksum rather than by size and time, and
            checksums are kept for the next time.
        strict: Whether to stop at the first scene that cannot be added.
        progress: Whether to show a bar, on a terminal.
    """

    batch_size: int = 64
    workers: int = 0
    device: str = "cpu"
    checksum: bool = False
    strict: bool = False
    progress: bool = False

    def bar(self, desc: str, total: int | None = None, *, leave: bool = True) -> Any:  # noqa: ANN401 - tqdm's
        """Start a bar of tiles.

        Args:
            desc: What is done with them.
            total: How many there are, if that is known.
            leave: Whether the bar stays when it is full.

        Returns:
            The bar, to be closed by the caller.
        """
        disable = None if self.progress else True
        return tqdm(total=total, unit=" tiles", desc=desc, disable=disable, leave=leave)
