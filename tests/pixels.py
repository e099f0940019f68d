"""Rasters of vectors in the layouts that are published, for tests."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine

UTM = "EPSG:32632"
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_002_000)
BOTTOM_UP = Affine(10, 0, 500_000, 0, 10, 5_000_000)  # AlphaEarth on Source Cooperative


def unit_field(bands: int, side: int, *, seed: int = 0, patch: int = 16) -> npt.NDArray[np.float64]:
    """Make vectors of length one that change from patch to patch, (bands, side, side)."""
    rng = np.random.default_rng(seed)
    across = -(-side // patch)
    field = rng.normal(size=(bands, across, across)).repeat(patch, 1).repeat(patch, 2)
    field = field[:, :side, :side] + 0.3 * rng.normal(size=(bands, side, side))
    return field / np.linalg.norm(field, axis=0)


def encoded(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.int8]:
    """Store vectors as AlphaEarth does."""
    return (np.sign(vectors) * np.round(np.sqrt(np.abs(vectors)) * 127.5).clip(0, 127)).astype(
        np.int8
    )


def write_raster(
    path: Path,
    pixels: npt.NDArray,
    *,
    transform: Affine = NORTH_UP,
    crs: str = UTM,
    nodata: float | None = None,
    names: tuple[str, ...] = (),
    tags: dict[str, str] | None = None,
    block: int = 64,
    **profile: object,
) -> Path:
    """Write a tiled GeoTIFF with its bands apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels.shape
    settings = {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": pixels.dtype,
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": block,
        "blockysize": block,
        "interleave": "band",
        "compress": "zstd",
    }
    with rasterio.open(path, "w", **(settings | profile)) as raster:
        raster.write(pixels)
        for index, name in enumerate(names, 1):
            raster.set_band_description(index, name)
        raster.update_tags(**(tags or {}))
    return path


ALPHAEARTH_BANDS = tuple(f"A{i:02d}" for i in range(64))


def alphaearth(
    folder: Path,
    pixels: npt.NDArray[np.int8],
    *,
    year: int = 2023,
    name: str = "xq7ex2244rc6ls88c-0000000000-0000008192.tiff",
    transform: Affine = BOTTOM_UP,
) -> Path:
    """Write a raster as Source Cooperative holds it: YEAR/ZONE/NAME, bottom up, -128 nothing."""
    path = folder / str(year) / "32N" / name
    return write_raster(
        path, pixels, transform=transform, nodata=-128, names=ALPHAEARTH_BANDS, block=64
    )


def tessera(
    folder: Path,
    vectors: npt.NDArray[np.float32],
    *,
    year: int = 2024,
    version: str = "v1",
    variant: str = "",
    lon: str = "9.05",
) -> Path:
    """Write a raster as geotessera does: grid_LON_LAT_YEAR.tiff, float32, LZW."""
    tags = {"TESSERA_DATASET_VERSION": version, "TESSERA_DATASET_VARIANT": variant}
    names = tuple(f"Tessera_Band_{i}" for i in range(128))
    return write_raster(
        folder / f"grid_{lon}_45.15_{year}.tiff",
        vectors,
        names=names,
        tags={key: value for key, value in tags.items() if value},
        compress="lzw",
    )
