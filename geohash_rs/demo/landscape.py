"""A synthetic stretch of coast with sea, river, towns, forest, fields and roads."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from geohash_rs.demo.noise import FloatArray, IntArray, Noise, smoothstep

__all__ = ["Cover", "Landscape", "Parcels", "Surface"]

Mask = npt.NDArray[np.bool_]

# Metres east and north of the origin, and radius.
TOWNS = (
    (-4400, -300, 1250),
    (3000, 300, 1150),
    (-1700, -3000, 700),
    (6300, 1000, 650),
    (500, -5600, 900),
)
YARDS = ((-2550, -300, 620), (4700, -500, 560), (2600, -5700, 600))


class Cover(IntEnum):
    """Land cover."""

    SEA = 0
    BEACH = 1
    RIVER = 2
    FOREST = 3
    FIELDS = 4
    TOWN = 5
    INDUSTRY = 6
    ROAD = 7


@dataclass(frozen=True, kw_only=True)
class Parcels:
    """Fields: oblong, side by side, each with its own column and row."""

    column: IntArray
    row: IntArray
    along: FloatArray  # metres along the rows of a field
    border: FloatArray  # metres to the nearest edge of the field

    def at(self, where: Mask) -> "Parcels":
        """Return the points where a mask is true."""
        return Parcels(
            column=self.column[where],
            row=self.row[where],
            along=self.along[where],
            border=self.border[where],
        )


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The ground at a grid of points; every array has the shape of the grid."""

    x: FloatArray  # metres east of the origin
    y: FloatArray  # metres north of the origin
    cover: npt.NDArray[np.uint8]  # values of Cover
    offshore: FloatArray  # metres into the sea, negative on land
    parcels: Parcels

    def at(self, where: Mask) -> "Surface":
        """Return the points where a mask is true."""
        return Surface(
            x=self.x[where],
            y=self.y[where],
            cover=self.cover[where],
            offshore=self.offshore[where],
            parcels=self.parcels.at(where),
        )


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """A plane about 20 km wide, in metres from its origin; the sea is in the north."""

    seed: int

    @cached_property
    def noise(self) -> Noise:
        """The random fields that shape it."""
        return Noise(seed=self.seed)

    def surface(self, x: FloatArray, y: FloatArray) -> Surface:
        """Compute the ground at points.

        Args:
            x: Metres east of the origin, any shape.
            y: Metres north of the origin, same shape.

        Returns:
            The ground at the points.
        """
        offshore = y - self._coast(x)
        parcels = self._parcels(x, y)
        town, industry = self._settled(x, y)
        river = self._river(x, y)
        cover = np.full(x.shape, Cover.FIELDS, dtype=np.uint8)
        cover[self._forest(x, y) > 0.55] = Cover.FOREST
        cover[industry] = Cover.INDUSTRY
        cover[town] = Cover.TOWN
        cover[np.abs(self._road(x, y)) < 18] = Cover.ROAD
        cover[river < 0] = Cover.RIVER
        cover[offshore > -70] = Cover.BEACH
        cover[(offshore > -90) & (river < 0)] = Cover.RIVER
        cover[offshore > 0] = Cover.SEA
        return Surface(x=x, y=y, cover=cover, offshore=offshore, parcels=parcels)

    def _coast(self, x: FloatArray) -> FloatArray:
        """Northing of the shore: bays of a few kilometres with smaller ones inside."""
        flat = np.zeros_like(x)
        bays = self.noise.rough(x, flat, scale=5200, octaves=5, channel=1)
        return (2300 + 2600 * (bays - 0.5)).astype(np.float32)

    def _river(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Metres to the bank of a meandering river and of a lake, negative on the water."""
        flat = np.zeros_like(y)
        bend = 1900 * (self.noise.rough(flat, y, scale=2600, octaves=3, channel=2) - 0.5)
        middle = -3300 + bend + 420 * np.sin(y / 520)
        half_width = 45 + 35 * smoothstep((y + 1000) / 4000)
        slope = 1 + 0.8 * np.abs(np.cos(y / 520))
        river = np.abs(x - middle) / slope - half_width
        shore = 900 * (self.noise.rough(x, y, scale=1300, octaves=4, channel=9) - 0.5)
        lake = np.hypot((x - 5100) / 1.4, y + 2200) - 470 - shore
        bank: FloatArray = np.minimum(river, lake)
        return bank

    def _forest(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Degree of forest, in [0, 1]: large forests with ragged edges."""
        return self.noise.rough(x, y, scale=2400, octaves=5, channel=3)

    def _road(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Metres to the middle of a road along the coast."""
        flat = np.zeros_like(x)
        sway = 1600 * (self.noise.smooth(x, flat, scale=4200, channel=4) - 0.5)
        away: FloatArray = y + 700 - sway
        return away

    def _settled(self, x: FloatArray, y: FloatArray) -> tuple[Mask, Mask]:
        """Masks of towns and of industry."""
        ragged = 1300 * (self.noise.rough(x, y, scale=900, octaves=4, channel=5) - 0.5)
        away = np.full(x.shape, np.inf, dtype=np.float32)
        for east, north, radius in TOWNS:
            away = np.minimum(away, np.hypot(x - east, y - north) + ragged - radius)
        work = np.full(x.shape, np.inf, dtype=np.float32)
        for east, north, size in YARDS:
            u, v = x - east - 0.15 * (y - north), y - north + 0.15 * (x - east)
            work = np.minimum(work, np.maximum(np.abs(u), np.abs(v)) - size)
        return away < 0, work + ragged / 2.5 < 0

    def _parcels(self, x: FloatArray, y: FloatArray) -> Parcels:
        """Lay out slightly warped strips of fields, each divided into parcels."""
        warp = 260 * (self.noise.smooth(x, y, scale=1500, channel=6) - 0.5)
        angle = 0.45
        u = (x * np.cos(angle) + y * np.sin(angle) + warp).astype(np.float32)
        v = (y * np.cos(angle) - x * np.sin(angle) + warp).astype(np.float32)
        width, length = 240.0, 520.0
        column = np.floor(u / width).astype(np.int64)
        shifted = v + length * self.noise.cells(column, np.zeros_like(column), channel=7)
        row = np.floor(shifted / length).astype(np.int64)
        across, down = u - column * width, shifted - row * length
        halved = self.noise.cells(column, row, channel=8) < 0.35
        row = 2 * row + (halved & (down > length / 2))
        down = np.where(halved, down % (length / 2), down)
        tall = np.where(halved, length / 2, length)
        border = np.minimum.reduce([across, width - across, down, tall - down])
        return Parcels(column=column, row=row, along=across, border=border.astype(np.float32))
