"""Render the synthetic landscape as a satellite would see it in spring or autumn."""

import numpy as np
import numpy.typing as npt

from geohash_rs.demo.landscape import Cover, Landscape, Mask, Surface
from geohash_rs.demo.noise import FloatArray, IntArray, smoothstep

__all__ = ["SEASONS", "render"]

Colour = tuple[int, int, int]

SEASONS = ("spring", "autumn")

# Crop colours: a parcel keeps its crop, which looks different in each season.
CROPS: dict[str, tuple[Colour, ...]] = {
    "spring": (
        (64, 102, 56),  # winter wheat
        (174, 166, 64),  # rape in flower
        (142, 118, 94),  # maize, just sown
        (98, 124, 72),  # pasture
        (82, 114, 62),  # barley
        (124, 98, 76),  # beet, bare soil
    ),
    "autumn": (
        (178, 154, 110),  # stubble
        (118, 96, 74),  # ploughed
        (84, 112, 54),  # maize before harvest
        (108, 122, 66),  # pasture
        (160, 136, 98),  # stubble
        (74, 112, 56),  # beet
    ),
}
WOODS: dict[str, tuple[Colour, Colour]] = {
    "spring": ((24, 54, 36), (44, 84, 42)),  # conifers, broad-leaved
    "autumn": ((24, 50, 34), (78, 78, 38)),
}
ROOFS: tuple[Colour, ...] = (
    (168, 106, 84),
    (150, 92, 74),
    (130, 120, 114),
    (186, 178, 168),
    (108, 102, 100),
)
HALLS: tuple[Colour, ...] = ((214, 216, 218), (188, 194, 200), (150, 164, 182), (226, 222, 214))


def render(landscape: Landscape, surface: Surface, *, season: str) -> npt.NDArray[np.uint8]:
    """Render a grid of points.

    Args:
        landscape: The landscape that the points belong to.
        surface: The ground at the points, arrays of shape (height, width).
        season: One of `SEASONS`.

    Returns:
        Red, green and blue, uint8, shape (3, height, width), 1 to 255 so that 0 can mean no data.
    """
    image = np.zeros((*surface.x.shape, 3), dtype=np.float32)
    painters = {
        Cover.SEA: _sea,
        Cover.BEACH: _beach,
        Cover.RIVER: _river,
        Cover.FOREST: _forest,
        Cover.FIELDS: _fields,
        Cover.TOWN: _town,
        Cover.INDUSTRY: _industry,
        Cover.ROAD: _road,
    }
    for cover, painter in painters.items():
        here = surface.cover == cover
        if here.any():
            image[here] = painter(landscape, surface.at(here), season)
    image *= _haze(landscape, surface)[..., None]
    image = _blur(image)
    grain = np.random.default_rng([landscape.seed, SEASONS.index(season)])
    image += grain.normal(0, 1.8, image.shape).astype(np.float32)
    return np.moveaxis(np.clip(np.rint(image), 1, 255).astype(np.uint8), -1, 0)


def _sea(land: Landscape, at: Surface, season: str) -> FloatArray:
    deep = smoothstep(at.offshore / 1600)[..., None]
    base = (1 - deep) * _rgb(52, 104, 112) + deep * _rgb(18, 48, 78)
    swell = (
        land.noise.rough(at.x * 0.5, at.y + at.x * np.float32(0.3), scale=90, octaves=3, channel=10)
        - 0.5
    )
    surf = np.exp(-((at.offshore - 18) ** 2) / 200)[..., None] * 70
    wind = 16 if season == "autumn" else 9
    water: FloatArray = base + wind * swell[..., None] + surf
    return water


def _beach(land: Landscape, at: Surface, season: str) -> FloatArray:
    dunes = land.noise.rough(at.x, at.y, scale=60, octaves=3, channel=11)[..., None]
    inland = smoothstep((-at.offshore - 35) / 30)[..., None]
    return (1 - inland) * _rgb(214, 196, 158) + inland * _rgb(150, 148, 104) + 30 * (dunes - 0.5)


def _river(land: Landscape, at: Surface, season: str) -> FloatArray:
    murk = land.noise.rough(at.x, at.y, scale=220, octaves=3, channel=12)[..., None]
    silt = _rgb(70, 84, 66) if season == "spring" else _rgb(48, 72, 70)
    return silt + 14 * (murk - 0.5)


def _forest(land: Landscape, at: Surface, season: str) -> FloatArray:
    conifers, broadleaved = (np.array(c, dtype=np.float32) for c in WOODS[season])
    stand = smoothstep(4 * land.noise.rough(at.x, at.y, scale=900, octaves=3, channel=13) - 1.5)[
        ..., None
    ]
    canopy = land.noise.rough(at.x, at.y, scale=55, octaves=3, channel=14)
    lit = canopy - land.noise.rough(at.x + 9, at.y - 9, scale=55, octaves=3, channel=14)
    colour = (1 - stand) * conifers + stand * broadleaved
    colour = colour * (0.72 + 0.5 * canopy[..., None] + 1.3 * lit[..., None])
    bend = 160 * land.noise.smooth(at.x, at.y, scale=1100, channel=28)
    u, v = at.x + 0.2 * at.y + bend, at.y + bend
    kept = land.noise.cells(_floor(u / 800), _floor(v / 950), channel=29) < 0.5
    ride = (np.minimum(np.abs(u % 800 - 400), np.abs(v % 950 - 475)) < 8) & kept
    return np.where(ride[..., None], _rgb(84, 100, 62), colour)


def _fields(land: Landscape, at: Surface, season: str) -> FloatArray:
    parcels = at.parcels
    crops = np.array(CROPS[season], dtype=np.float32)
    crop = (land.noise.cells(parcels.column, parcels.row, channel=15) * len(crops)).astype(int)
    vigour = land.noise.cells(parcels.column, parcels.row, channel=16)[..., None]
    patchy = land.noise.rough(at.x, at.y, scale=160, octaves=3, channel=17)[..., None]
    rows = np.cos(parcels.along * (2 * np.pi / 36))[..., None]
    colour = crops[crop] * (0.86 + 0.2 * vigour + 0.22 * (patchy - 0.5) + 0.05 * rows)
    hedge = land.noise.cells(parcels.column, parcels.row, channel=18) < 0.5
    edge = np.where(hedge[..., None], _rgb(52, 74, 42), _rgb(168, 152, 122))
    return np.where((parcels.border < 7)[..., None], edge, colour)


def _town(land: Landscape, at: Surface, season: str) -> FloatArray:
    bend = 70 * (land.noise.smooth(at.x, at.y, scale=700, channel=19) - 0.5)
    u, v = at.x + 0.25 * at.y + bend, at.y - 0.25 * at.x + bend
    street = np.minimum(np.abs(u % 110 - 55), np.abs(v % 150 - 75)) < 9
    i, j = _floor(u / 24), _floor(v / 22)
    kind = land.noise.cells(i, j, channel=20)
    roofs = np.array(ROOFS, dtype=np.float32)
    roof = roofs[(land.noise.cells(i, j, channel=21) * len(roofs)).astype(int)]
    garden = _rgb(86, 112, 66) if season == "spring" else _rgb(104, 106, 66)
    bushes = garden * (0.7 + 0.5 * land.noise.smooth(at.x, at.y, scale=25, channel=22)[..., None])
    colour = np.where((kind < 0.52)[..., None], roof, bushes)
    return np.where(street[..., None], _rgb(158, 154, 150), colour)


def _industry(land: Landscape, at: Surface, season: str) -> FloatArray:
    roof, kind = _hall(land, at.x, at.y)
    sunward, _ = _hall(land, at.x - 10, at.y + 10)  # the sun is in the south-east
    halls = np.array(HALLS, dtype=np.float32)[(kind * len(HALLS)).astype(int)]
    ridges = 8 * np.sign(np.sin((at.x - 0.15 * at.y) * (2 * np.pi / 42)))[..., None]
    wear = land.noise.rough(at.x, at.y, scale=45, octaves=2, channel=25)[..., None]
    yard = _rgb(118, 116, 116) + 46 * (wear - 0.5)
    yard = np.where(_hall(land, at.x + 10, at.y - 10)[0][..., None], yard * 0.55, yard)
    return np.where(roof[..., None], halls + ridges * sunward[..., None], yard)


def _hall(land: Landscape, x: FloatArray, y: FloatArray) -> tuple[Mask, FloatArray]:
    """Return a mask of halls, and a random number in [0, 1) for each plot."""
    width, depth = 170, 130
    u, v = x - 0.15 * y, y + 0.15 * x
    i, j = _floor(u / width), _floor(v / depth)
    across, down = u - i * width, v - j * depth
    margin = 14 + 30 * land.noise.cells(i, j, channel=23)
    inside = np.minimum(np.minimum(across, width - across), np.minimum(down, depth - down))
    built = land.noise.cells(i, j, channel=30) < 0.85
    return (inside > margin) & built, land.noise.cells(i, j, channel=24)


def _road(land: Landscape, at: Surface, season: str) -> FloatArray:
    wear = land.noise.rough(at.x, at.y, scale=60, octaves=2, channel=26)[..., None]
    return _rgb(136, 132, 130) + 24 * (wear - 0.5)


def _haze(land: Landscape, at: Surface) -> FloatArray:
    """Return brightness that varies slightly over kilometres, like light and soil."""
    return 0.94 + 0.12 * land.noise.rough(at.x, at.y, scale=3000, octaves=2, channel=27)


def _blur(image: FloatArray) -> FloatArray:
    """Blur each pixel slightly into its neighbours, like a sensor."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = 0.18 * padded[:-2] + 0.64 * padded[1:-1] + 0.18 * padded[2:]
    blurred: FloatArray = 0.18 * rows[:, :-2] + 0.64 * rows[:, 1:-1] + 0.18 * rows[:, 2:]
    return blurred


def _floor(values: FloatArray) -> IntArray:
    return np.floor(values).astype(np.int64)


def _rgb(red: int, green: int, blue: int) -> FloatArray:
    return np.array((red, green, blue), dtype=np.float32)
