"""Measure how well codes tell the tiles of each sensor apart."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from geohash_rs.errors import SceneError
from geohash_rs.footprints.windows import ground_pixel
from geohash_rs.store.code_counts import live_rows
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.snapshot import Answers

__all__ = ["SensorHealth", "measure_health", "name_sensors"]

STEP = 1.3  # between the ground sizes of two sensors
CONSTANT = 0.005  # most of the tiles that may differ in a bit that counts as constant
UNKNOWN = "unknown"


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
    names = name_sensors([_ground_size(one) for one in records], [one.dtype for one in records])
    sensor_of = {record.scene: name for record, name in zip(records, names, strict=True)}
    found: dict[str, SensorHealth] = {}
    for segment, rows in live_rows(archive):
        texts = segment.texts("scene")
        numbers, ids = segment.numbers("scene", rows), segment.ids_of(rows)
        bits = np.unpackbits(segment.codes[rows], axis=1)
        for number in np.unique(numbers).tolist():
            scene = texts[number]
            own = numbers == number
            sensor = sensor_of.get(scene, UNKNOWN)
            if sensor not in found:
                zeros = np.zeros(bits.shape[1], np.int64)
                found[sensor] = SensorHealth(sensor=sensor, ones=zeros)
            entry = found[sensor]
            entry.ones += bits[own].sum(axis=0, dtype=np.int64)
            entry.num_tiles += int(own.sum())
            entry.scenes[scene] = max(entry.scenes.get(scene, -1), int(ids[own].max()))
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


def _ground_size(record: SceneRecord) -> float:
    """Return the side of a scene's pixels on the ground, m; 0 if it cannot be measured."""
    settings: dict[str, Any] = record.settings
    known = settings.get("ground_size")
    if known and not settings.get("resolution"):
        return float(known)
    if record.transform is None or record.crs is None or not record.width or not record.height:
        return 0.0
    try:
        grid = Affine(*record.transform), record.width, record.height
        across, down = ground_pixel(*grid, crs=record.crs)
    except SceneError:
        return 0.0
    return float(np.sqrt(across * down))
