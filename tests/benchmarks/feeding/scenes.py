"""Scenes to read: ground with texture and sensor noise, so that they deflate like real ones."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.shutil import copy

BLOCK = 256
LAYOUTS: dict[str, dict[str, object]] = {
    "tiled deflate": {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    | {"compress": "deflate", "predictor": 2},
    "COG deflate": {"driver": "COG", "blocksize": BLOCK, "compress": "deflate", "predictor": 2},
    "striped deflate": {"compress": "deflate", "predictor": 2},
    "uncompressed": {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK},
}


def ground(bands: int, height: int, width: int, seed: int) -> np.ndarray:
    """Make hills of several sizes with noise: uint16, shape (bands, height, width)."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width))
    for cells, strength in ((4, 1500.0), (16, 700.0), (64, 250.0)):
        rows, cols = np.linspace(0, cells, height), np.linspace(0, cells, width)
        knots = rng.normal(0, strength, (cells + 2, cells + 2))
        down, across = rows.astype(int), cols.astype(int)
        v, h = (rows - down)[:, None], (cols - across)[None]
        upper = knots[down][:, across] * (1 - h) + knots[down][:, across + 1] * h
        lower = knots[down + 1][:, across] * (1 - h) + knots[down + 1][:, across + 1] * h
        image += upper * (1 - v) + lower * v
    tint = rng.uniform(0.5, 1.5, bands)
    noise = rng.normal(0, 25, (bands, height, width))
    return np.clip(3000 + image * tint[:, None, None] + noise, 1, 10_000).astype(np.uint16)


def write_scene(path: Path, pixels: np.ndarray, layout: str, *, number: int = 0) -> Path:
    """Write one scene; scenes lie side by side in UTM 32, 10 m a pixel."""
    bands, height, width = pixels.shape
    options = dict(LAYOUTS[layout])
    profile = {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": pixels.dtype,
        "crs": "EPSG:32632",
        "transform": Affine(10, 0, 300_000 + number * width * 10, 0, -10, 5_000_000),
    }
    if options.pop("driver", "GTiff") == "COG":
        plain = path.with_suffix(".plain.tif")
        with rasterio.open(plain, "w", **profile, tiled=True) as target:
            target.write(pixels)
        copy(plain, path, driver="COG", **options)
        plain.unlink()
        return path
    with rasterio.open(path, "w", **profile, **options) as target:
        target.write(pixels)
    return path


def write_scenes(
    folder: Path, layout: str, *, count: int, side: int, bands: int = 4, start: int = 0
) -> list[Path]:
    """Write scenes that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(start, start + count):
        path = folder / f"scene_{number:05d}.tif"
        if not path.exists():
            write_scene(path, ground(bands, side, side, number), layout, number=number)
        paths.append(path)
    return paths
