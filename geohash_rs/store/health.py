"""Measure how well codes tell the tiles of each sensor apart."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import SceneError
from geohash_rs.store.code_counts import live_rows
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.snapshot import Answers

__all__ = [
    "FEWEST_OF_SENSOR",
    "STEP",
    "SensorHealth",
    "ground_size_of",
    "measure_health",
    "name_sensors",
]

STEP = 1.3  # between the ground sizes of two sensors
CONSTANT = 0.005  # most of the tiles that may differ in a bit that counts as constant
UNKNOWN = "unknown"
AT_ONCE = 1 << 16  # tiles whose bits are in memory as bytes
FEWEST_OF_SENSOR = 64  # fewer tiles may show one kind of ground


@dataclass(kw_only=True)
class SensorHealth:
    """How well codes tell the tiles of a sensor apart.

    Attributes:
        sensor: Ground size and type of its pixels, such as "10 m uint16".
        scenes: Its scenes, and the largest id among the tiles of each.
        num_tiles: Tiles looked at.
        ones: How many of them have each bit, int64, shape (bits,).
    """

    sensor: str
    scenes: dict[str, int] = field(default_factory=dict)
    num_tiles: int = 0
    ones: npt.NDArray[np.int64]

    @property
    def num_constant(self) -> int:
        """Number of bits that are the same in 99.5 % of the tiles or more."""
        share = self.ones / max(1, self.num_tiles)
        return int((np.minimum(share, 1 - share) <= CONSTANT).sum())

    @property
    def mean_distance(self) -> float:
        """Mean Hamming distance of two of the tiles; half of the bits is the best."""
        pairs = self.num_tiles * (self.num_tiles - 1) / 2
        return float((self.ones * (self.num_tiles - self.ones)).sum() / max(1.0, pairs))


def measure_health(archive: Answers) -> list[SensorHealth]:
    """Measure how well codes tell the tiles of each sensor apart.

    Args:
        archive: The archive; of a large one, a million tiles are looked at.

    Returns:
        One entry per sensor, by name. Tiles without a scene record are of an unknown one.
    """
    records = archive.scenes()
    names = name_sensors([ground_size_of(one) for one in records], [one.dtype for one in records])
    sensor_of = {record.scene: name for record, name in zip(records, names, strict=True)}
    found: dict[str, SensorHealth] = {}
    for segment, rows in live_rows(archive):
        texts, numbers = segment.texts("scene"), segment.numbers("scene", rows)
        last = np.full(len(texts), -1, np.int64)
        np.maximum.at(last, numbers, segment.ids_of(rows))
        own = np.array([sensor_of.get(scene, UNKNOWN) for scene in texts])
        for sensor in np.unique(own[last >= 0]).tolist():
            mine = rows[(own == sensor)[numbers]]
            entry = found.setdefault(
                sensor, SensorHealth(sensor=sensor, ones=np.zeros(archive.num_bits or 0, np.int64))
            )
            for start in range(0, len(mine), AT_ONCE):
                bits = np.unpackbits(segment.codes[mine[start : start + AT_ONCE]], axis=1)
                entry.ones += bits.sum(axis=0, dtype=np.int64)
            entry.num_tiles += len(mine)
            for number in np.flatnonzero((own == sensor) & (last >= 0)).tolist():
                scene = texts[number]
                entry.scenes[scene] = max(entry.scenes.get(scene, -1), int(last[number]))
    return [found[sensor] for sensor in sorted(found)]


def name_sensors(sizes: Sequence[float], dtypes: Sequence[str | None]) -> list[str]:
    """Name the sensors of scenes, by the ground size and the type of their pixels.

    Scenes whose pixels have nearly the same size and the same type count as of one sensor; nearly
    is less than 1.3 times the next smaller one.

    Args:
        sizes: Side of a pixel of each on the ground, m; 0 if unknown.
        dtypes: NumPy names of their types; None if unknown.

    Returns:
        A name for each, such as "10 m uint16".
    """
    ground = np.array(sizes, dtype=np.float64)
    order = np.argsort(ground, kind="stable")
    ends = np.flatnonzero(ground[order][1:] > STEP * ground[order][:-1]) + 1
    names = [""] * len(dtypes)
    for own in np.split(order, ends):
        # two digits, without an exponent
        size = f"{float(f'{np.median(ground[own]):.2g}'):g} m" if ground[own].any() else ""
        for number in own.tolist():
            names[number] = f"{size} {dtypes[number] or ''}".strip() or UNKNOWN
    return names


def ground_size_of(record: SceneRecord) -> float:
    """Return the side of a scene's pixels on the ground, m; 0 if it cannot be measured.

    Args:
        record: The archive's record of the scene.

    Returns:
        The side.
    """
    settings: dict[str, Any] = record.settings
    known = settings.get("ground_size")
    if known and not settings.get("resolution"):
        return float(known)
    if record.transform is None or record.crs is None or not record.width or not record.height:
        return 0.0
    from affine import Affine

    from geohash_rs.footprints.windows import ground_pixel

    try:
        grid = Affine(*record.transform), record.width, record.height
        across, down = ground_pixel(*grid, crs=record.crs)
    except SceneError:
        return 0.0
    return float(np.sqrt(across * down))
