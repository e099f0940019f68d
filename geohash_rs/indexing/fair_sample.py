"""Choose the tiles on which a hasher is fitted, so that every sensor, place and date has a say."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

from geohash_rs.scenes.file import SceneFile
from geohash_rs.store.health import name_sensors

__all__ = ["fair_shares", "sensors_of"]

Ints = npt.NDArray[np.int64]

FINE = 10  # parts of its size to which the centre of a scene is rounded


def sensors_of(files: Sequence[SceneFile]) -> list[str]:
    """Name the sensors of scenes, see `name_sensors`."""
    return name_sensors([file.ground_size() for file in files], [file.dtype for file in files])


def fair_shares(files: Sequence[SceneFile], counts: Ints, *, size: int, seed: int = 0) -> Ints:
    """Divide a sample among scenes: evenly by sensor, then by place, by date and by scene.

    What a sensor, a place, a date or a scene has too few tiles for goes to its neighbours.

    Args:
        files: The scenes.
        counts: Number of tiles of each, int64, shape (scenes,).
        size: Number of tiles of the sample.
        seed: Decides who gets what is left over.

    Returns:
        Number of tiles to take from each, at most its count, int64, shape (scenes,).
    """
    sensors = sensors_of(files)
    levels: list[Callable[[int], Hashable]] = [
        lambda number: sensors[number],
        lambda number: _place(files[number]),
        lambda number: files[number].dates,
        lambda number: number,
    ]
    shares = np.zeros(len(files), dtype=np.int64)
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


def _place(file: SceneFile) -> Hashable:
    """Return what scenes of nearly the same ground share, such as the dates of one grid."""
    across = np.hypot(file.transform.a, file.transform.d) * file.width
    down = np.hypot(file.transform.b, file.transform.e) * file.height
    x, y = file.transform @ (file.width / 2, file.height / 2)
    return round(FINE * x / across), round(FINE * y / down)
