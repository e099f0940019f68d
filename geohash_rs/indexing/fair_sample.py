"""Choose the tiles that a hasher is fitted on, so that each sensor, place, date and size counts."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from affine import Affine

from geohash_rs.scenes.file import SceneFile
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.health import ground_size_of, name_sensors
from geohash_rs.store.segment.read import Segment

__all__ = ["SceneTraits", "draw_tiles", "drawn_rows", "fair_shares", "sensors_of"]

Ints = npt.NDArray[np.int64]
Share = tuple[str, int]  # a scene and a tile size, px

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


def draw_tiles(
    segments: Sequence[Segment], records: Sequence[SceneRecord], *, size: int, seed: int = 0
) -> dict[Share, Ints]:
    """Draw live tiles at random, as many of each tile size of a scene as `fair_shares` allows.

    Args:
        segments: The segments of an archive.
        records: The scenes to draw from.
        size: Most tiles.
        seed: Seed of the choice.

    Returns:
        For each scene and tile size, positions among its live tiles, ascending.
    """
    counts: dict[Share, int] = {}
    for segment in segments:
        for share, rows in _shares_of(segment):
            counts[share] = counts.get(share, 0) + len(rows)
    places = {record.scene: place for place, record in enumerate(records)}
    shares = sorted((s for s in counts if s[0] in places), key=lambda s: (places[s[0]], s[1]))
    traits = [SceneTraits.of_record(record) for record in records]
    sizes = fair_shares(
        [traits[places[scene]] for scene, _ in shares],
        np.array([counts[share] for share in shares], np.int64),
        size=size,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    return {
        share: np.sort(rng.choice(counts[share], int(most), replace=False))
        for share, most in zip(shares, sizes, strict=True)
    }


def drawn_rows(
    segments: Sequence[Segment], wanted: Mapping[Share, Ints]
) -> Iterator[tuple[Segment, str, Ints]]:
    """Yield the rows of tiles that were drawn.

    Args:
        segments: The segments, as for `draw_tiles`.
        wanted: From `draw_tiles`.

    Yields:
        A segment, a scene, and rows of one tile size of this scene.
    """
    seen: dict[Share, int] = {}
    for segment in segments:
        for share, rows in _shares_of(segment):
            if share not in wanted:
                continue
            mine = wanted[share] - seen.get(share, 0)
            seen[share] = seen.get(share, 0) + len(rows)
            inside = mine[(mine >= 0) & (mine < len(rows))]
            if len(inside):
                yield segment, share[0], rows[inside]


def _shares_of(segment: Segment) -> Iterator[tuple[Share, Ints]]:
    """Yield each scene and tile size of a segment, and the live rows that have both."""
    rows = np.flatnonzero(~segment.removed_rows())
    sizes = [*segment.index["size_values"].tolist(), 0]  # the last for rows without a size
    pairs = segment.numbers("scene", rows).astype(np.int64) * len(sizes)
    pairs += segment.numbers("size", rows)
    order = np.argsort(pairs, kind="stable")
    found, starts = np.unique(pairs[order], return_index=True)
    texts = segment.texts("scene")
    for pair, own in zip(found.tolist(), np.split(rows[order], starts[1:]), strict=True):
        yield (texts[pair // len(sizes)], sizes[pair % len(sizes)]), own


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
