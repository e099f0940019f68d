"""Divide scenes into parts, each indexed by one worker."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geohash_rs.scenes.dataset import Scenes

__all__ = ["Work", "divide", "subset"]

PART_TILES = 50_000  # approximate size of a part: the work redone if a worker is lost
PARTS = 4  # parts per worker, so that all workers finish at about the same time


@dataclass(kw_only=True)
class Work:
    """Scenes that one worker indexes at a time.

    Attributes:
        numbers: Their positions in ``Scenes.scene_files``.
        first_id: The first of the tile ids reserved for them.
        tries: Number of attempts so far.
    """

    numbers: list[int]
    first_id: int = 0
    tries: int = 0


def divide(counts: npt.NDArray[np.int64], workers: int) -> list[Work]:
    """Group consecutive scenes into works, several per worker.

    Args:
        counts: Tiles of each scene, int64, shape (scenes,); scenes without tiles are left out.
        workers: Number of workers.

    Returns:
        The works, in the order of the scenes.
    """
    size = min(PART_TILES, -(-int(counts.sum()) // (PARTS * workers)))
    works: list[Work] = []
    total = size
    for number in np.flatnonzero(counts).tolist():
        if total >= size:
            works.append(Work(numbers=[]))
            total = 0
        works[-1].numbers.append(number)
        total += int(counts[number])
    return works


def subset(scenes: Scenes, numbers: Sequence[int]) -> Scenes:
    """Return some of the scenes, with all settings, without reading their headers again.

    Args:
        scenes: The scenes.
        numbers: Positions of the wanted scenes.

    Returns:
        The wanted scenes.
    """
    part = copy.copy(scenes)
    part.__setstate__(scenes.__getstate__())
    part.scene_files = [scenes.scene_files[number] for number in numbers]
    part.unreadable = []
    part.index = scenes.index.iloc[list(numbers)]
    part._dates = part.index.index
    part._numbers = {scene.key: place for place, scene in enumerate(part.scene_files)}
    return part
