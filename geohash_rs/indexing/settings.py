"""How to read and hash imagery that is added to an archive."""

from dataclasses import dataclass
from typing import Any, Literal

from tqdm.auto import tqdm

__all__ = ["FIT_TILES", "SAMPLE_BATCH", "SCENE_BATCH", "IndexSettings", "fit_tiles"]

SCENE_BATCH, SAMPLE_BATCH = 512, 64  # tiles

# Most tiles on which a training-free hasher is fitted; more would cost time and change few bits.
FIT_TILES = 2048
SENSOR_TILES = 1024  # of each sensor, if there are several
MOST_FIT_TILES = 8192


def fit_tiles(num_sensors: int) -> int:
    """Return the most tiles of so many sensors on which a training-free hasher is fitted."""
    return min(max(FIT_TILES, SENSOR_TILES * num_sensors), MOST_FIT_TILES)


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """How to read and hash imagery; no setting changes the codes.

    Attributes:
        batch_size: Largest number of tiles to read at once; fewer if they are large. None reads
            `SCENE_BATCH` of scenes, and `SAMPLE_BATCH` of other datasets, whatever their size.
        workers: Processes that read; 0 reads in a thread.
        device: Device that runs the network.
        checksum: Whether to compare files by checksum rather than by size and time, and to store
            checksums for the next run.
        strict: Whether to stop at the first scene that cannot be added.
        progress: Whether to show a progress bar if the output is a terminal; "always" shows it to
            a program that reads the output, too.
        replace: Whether tiles of scenes that the archive has with another tile size or stride are
            replaced; otherwise such scenes are an error.
        remote_scenes: Whether scenes that an archive names are read from wherever it says.
    """

    batch_size: int | None = None
    workers: int = 0
    device: str = "cpu"
    checksum: bool = False
    strict: bool = False
    progress: bool | Literal["always"] = False
    replace: bool = True
    remote_scenes: bool = False

    def bar(self, desc: str, total: int | None = None, *, leave: bool = True) -> Any:  # noqa: ANN401 - tqdm's
        """Start a progress bar that counts tiles.

        Args:
            desc: What is done with the tiles.
            total: Number of tiles, if known.
            leave: Whether the bar stays when it is full.

        Returns:
            The bar; the caller closes it.
        """
        disable = False if self.progress == "always" else None if self.progress else True
        return tqdm(total=total, unit=" tiles", desc=desc, disable=disable, leave=leave)
