"""Write the synthetic coast as GeoTIFF scenes in two UTM zones on two dates, and as patches."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from pyproj import Transformer

from geohash_rs.demo.landscape import Cover, Landscape, Surface
from geohash_rs.demo.noise import FloatArray
from geohash_rs.demo.render import render

__all__ = ["DATES", "PATCHES", "PLACES", "Place", "cover_shares", "write_patches", "write_scenes"]

# Where 12 degrees east crosses the Baltic coast: UTM zone 32 lies to its west, zone 33 to its east.
ORIGIN_LON, ORIGIN_LAT = 12.0, 54.1
PIXEL = 10.0  # metres
SCENE_SIZE = 576  # px
PATCH_SIZE = 64  # px
DATES = {
    "spring": datetime(2023, 5, 14, 10, 30, tzinfo=UTC),
    "autumn": datetime(2023, 9, 18, 10, 30, tzinfo=UTC),
}
PATCHES = {
    "town": Cover.TOWN,
    "forest": Cover.FOREST,
    "fields": Cover.FIELDS,
    "river": Cover.RIVER,
    "coast": Cover.BEACH,
    "industry": Cover.INDUSTRY,
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A square on the ground, on the pixel grid of a UTM zone."""

    name: str
    epsg: int
    east: float  # of the middle, metres from the landscape's origin
    north: float
    size: int  # px

    @property
    def transform(self) -> Affine:
        """Transform from pixel to UTM, aligned to whole pixels like Sentinel-2."""
        to_utm = _transformer(self.epsg, to_landscape=False)
        x, y = to_utm.transform(self.east, self.north)
        half = self.size / 2 * PIXEL
        left, top = round((x - half) / PIXEL) * PIXEL, round((y + half) / PIXEL) * PIXEL
        return Affine(PIXEL, 0, left, 0, -PIXEL, top)

    def surface(self, landscape: Landscape) -> Surface:
        """Return the ground at each pixel, as arrays of shape (size, size)."""
        centres = np.arange(self.size) + 0.5
        cols, rows = np.meshgrid(centres, centres)
        transform = self.transform
        x, y = _transformer(self.epsg, to_landscape=True).transform(
            transform.a * cols + transform.c, transform.e * rows + transform.f
        )
        return landscape.surface(x.astype(np.float32), y.astype(np.float32))


PLACES = (
    Place(name="west", epsg=32632, east=-3080, north=400, size=SCENE_SIZE),
    Place(name="east", epsg=32633, east=3080, north=400, size=SCENE_SIZE),
)


def write_scenes(folder: Path, *, seed: int) -> list[Path]:
    """Write a scene for each place and date.

    Args:
        folder: Where to write; made if it does not exist.
        seed: Seed of the landscape.

    Returns:
        The GeoTIFFs: 8-bit red, green and blue, 10 m pixels, nodata 0, named by place and date.
    """
    folder.mkdir(parents=True, exist_ok=True)
    landscape = Landscape(seed=seed)

    def write(place: Place) -> list[Path]:
        paths, surface = [], place.surface(landscape)
        for season, moment in DATES.items():
            paths.append(folder / f"coast_{place.name}_{moment:%Y%m%d}.tif")
            _write(paths[-1], render(landscape, surface, season=season), place, moment)
        return paths

    with ThreadPoolExecutor(len(PLACES)) as pool:
        return [path for paths in pool.map(write, PLACES) for path in paths]


def write_patches(folder: Path, *, seed: int) -> dict[str, Path]:
    """Write one small GeoTIFF for each kind of land cover, outside the scenes, in spring.

    Args:
        folder: Where to write; made if it does not exist.
        seed: Seed of the landscape.

    Returns:
        The GeoTIFFs by their names in `PATCHES`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    landscape = Landscape(seed=seed)
    paths = {}
    for name, (east, north) in _typical_places(landscape).items():
        place = Place(name=name, epsg=32633, east=east, north=north, size=PATCH_SIZE)
        image = render(landscape, place.surface(landscape), season="spring")
        paths[name] = folder / f"{name}.tif"
        _write(paths[name], image, place, DATES["spring"])
    return paths


def cover_shares(
    place: Place, windows: npt.NDArray[np.int64], *, seed: int
) -> dict[Cover, npt.NDArray[np.float64]]:
    """Compute the land cover shares of windows of a scene.

    Args:
        place: The place of the scene.
        windows: Integers (col, row, width, height) in px, shape (windows, 4).
        seed: Seed of the landscape.

    Returns:
        Shares in [0, 1] for each kind of cover, shape (windows,).
    """
    cover = place.surface(Landscape(seed=seed)).cover
    pieces = [cover[r : r + h, c : c + w] for c, r, w, h in windows]
    return {kind: np.array([np.mean(piece == kind) for piece in pieces]) for kind in Cover}


def _typical_places(landscape: Landscape) -> dict[str, tuple[float, float]]:
    """Find the patch outside the scenes with the largest share of each kind of land cover."""
    step = 40.0
    x, y = np.meshgrid(
        np.arange(-9000, 9500, step, dtype=np.float32),
        np.arange(-7600, 4200, step, dtype=np.float32),
    )
    cover = landscape.surface(x, y).cover
    side = int(PATCH_SIZE * PIXEL / step)
    reach = SCENE_SIZE * PIXEL / 2 + 400
    inside = np.zeros(x.shape, dtype=bool)
    for place in PLACES:
        inside |= np.maximum(np.abs(x - place.east), np.abs(y - place.north)) < reach
    free = _window_means(inside, side) == 0
    places = {}
    for name, kind in PATCHES.items():
        share = np.where(free, _window_means(cover == kind, side), -1)
        if kind == Cover.BEACH:  # half sea and half land along the sand
            sea = _window_means(cover == Cover.SEA, side)
            share = np.where(free & (share > 0.02), -np.abs(sea - 0.5), -1)
        row, col = np.unravel_index(np.argmax(share), share.shape)
        middle = side * step / 2
        places[name] = (float(x[row, col]) + middle, float(y[row, col]) + middle)
    return places


def _window_means(values: npt.NDArray[np.bool_], side: int) -> FloatArray:
    """Average every square window of `side` x `side` samples."""
    sums = np.cumsum(np.cumsum(np.pad(values, ((1, 0), (1, 0))), axis=0), axis=1)
    totals = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return (totals / side**2).astype(np.float32)


@lru_cache
def _transformer(epsg: int, *, to_landscape: bool) -> Transformer:
    local = f"+proj=aeqd +lat_0={ORIGIN_LAT} +lon_0={ORIGIN_LON} +datum=WGS84 +units=m"
    ends = (f"EPSG:{epsg}", local) if to_landscape else (local, f"EPSG:{epsg}")
    return Transformer.from_crs(*ends, always_xy=True)


def _write(path: Path, image: npt.NDArray[np.uint8], place: Place, moment: datetime) -> None:
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 3,
        "width": place.size,
        "height": place.size,
        "crs": f"EPSG:{place.epsg}",
        "transform": place.transform,
        "nodata": 0,
        "photometric": "RGB",
        "compress": "deflate",
        "predictor": 2,
    }
    if place.size > PATCH_SIZE:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(path, "w", **profile) as file:
        file.write(image)
        file.update_tags(
            TIFFTAG_DATETIME=f"{moment:%Y:%m:%d %H:%M:%S}",
            TIFFTAG_IMAGEDESCRIPTION="Invented landscape, written by geohash-rs demo",
        )
