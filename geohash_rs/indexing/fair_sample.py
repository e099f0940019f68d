"""Choose the tiles on which a hasher is fitted, so that every sensor, place and date has a say."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from affine import Affine

from geohash_rs.scenes.file import SceneFile
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.health import ground_size_of, name_sensors

__all__ = ["SceneTraits", "fair_shares", "sensors_of"]

Ints = npt.NDArray[np.int64]

FINE = 10  # parts of its size to which the centre of a scene is rounded


@dataclass(frozen=True, kw_only=True)
class SceneTraits:
    """What decides how many tiles of a scene a sample has.

    Attributes:
        ground_size: Side of its pixels on the ground, m; 0 if unknown.
        dtype: NumPy name of their type; None if unknown.
        place: The same for scenes of nearly the same ground, such as the dates of one grid.
        dates: When it was taken.
    """

    ground_size: float
    dtype: str | None
    place: Hashable
    dates: Hashable

    @classmethod
    def of_file(cls, file: SceneFile) -> Self:
        """Describe a scene by its file."""
        return cls(
            ground_size=file.ground_size(),
            dtype=file.dtype,
            place=_place(file.transform, file.width, file.height),
            dates=file.dates,
        )

    @classmethod
    def of_record(cls, record: SceneRecord) -> Self:
        """Describe a scene by an archive's record of it."""
        place: Hashable = record.scene
        if record.transform is not None and record.width and record.height:
            place = _place(Affine(*record.transform), record.width, record.height)
        return cls(
            ground_size=ground_size_of(record),
            dtype=record.dtype,
            place=place,
            dates=(record.datetime, record.datetime_end),
        )


def sensors_of(scenes: Sequence[SceneTraits]) -> list[str]:
    """Name the sensors of scenes, see `name_sensors`."""
    return name_sensors([one.ground_size for one in scenes], [one.dtype for one in scenes])


def fair_shares(scenes: Sequence[SceneTraits], counts: Ints, *, size: int, seed: int = 0) -> Ints:
    """Divide a sample among scenes: evenly by sensor, then by place, by date and by scene.

    What a sensor, a place, a date or a scene has too few tiles for goes to its neighbours.

    Args:
        scenes: The scenes.
        counts: Number of tiles of each, int64, shape (scenes,).
        size: Number of tiles of the sample.
        seed: Decides who gets what is left over.

    Returns:
        Number of tiles to take from each, at most its count, int64, shape (scenes,).
    """
    sensors = sensors_of(scenes)
    levels: list[Callable[[int], Hashable]] = [
        lambda number: sensors[number],
        lambda number: scenes[number].place,
        lambda number: scenes[number].dates,
        lambda number: number,
    ]
    shares = np.zeros(len(scenes), dtype=np.int64)
    rng = np.random.default_rng(seed)

    def divide(members: list[int], size: int, level: int) -> None:
        if level == len(levels):
            shares[members] = size
            return
        groups: dict[Hashable, list[int]] = {}
        for number in members:
            groups.setdefault(levels[level](number), []).append(number)
        rooms = np.array([counts[own].sum() for own in groups.values()])
        for own, part in zip(groups.values(), _level(rooms, size, rng).tolist(), strict=True):
            if part:
                divide(own, part, level + 1)

    divide(np.flatnonzero(counts).tolist(), int(min(size, counts.sum())), 0)
    return shares


def _level(rooms: Ints, size: int, rng: np.random.Generator) -> Ints:
    """Fill rooms of limited size evenly; chance decides who gets one more.

    Args:
        rooms: Most that each can take, shape (rooms,).
        size: What to divide, at most the sum of all.
        rng: Chance.

    Returns:
        What each gets, shape (rooms,).
    """
    got = np.zeros_like(rooms)
    while size:
        free = np.flatnonzero(got < rooms)
        even = size // len(free)
        if not even:
            got[rng.choice(free, size, replace=False)] += 1
            break
        more = np.minimum(rooms[free] - got[free], even)
        got[free] += more
        size -= int(more.sum())
    return got


def _place(transform: Affine, width: int, height: int) -> Hashable:
    """Return where a raster lies, in tenths of its own size."""
    across = np.hypot(transform.a, transform.d) * width
    down = np.hypot(transform.b, transform.e) * height
    x, y = transform @ (width / 2, height / 2)
    return round(FINE * x / across), round(FINE * y / down)
