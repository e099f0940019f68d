"""Scenes with four kinds of ground that a network can distinguish."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

TILE = 64
KINDS = 4


def ground(kind: int, size: int, seed: int) -> np.ndarray:
    """Make one tile of ground: stripes, squares, noise or a slope; uint8 (3, size, size)."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:size, :size]
    period = int(rng.integers(6, 10))
    base = [
        np.where(rows // period % 2, 200, 60),
        np.where((rows // period + cols // period) % 2, 180, 40),
        rng.integers(0, 255, (size, size)),
        (rows + cols) * 127 // size,
    ][kind]
    tint = np.array([[1.0, 0.8, 0.6], [0.5, 1.0, 0.6], [0.9, 0.9, 0.9], [0.3, 0.6, 1.0]])[kind]
    noise = rng.normal(0, 6, (3, size, size))
    return np.clip(base[None] * tint[:, None, None] + noise, 1, 255).astype(np.uint8)


def kind_at(col: int, row: int) -> int:
    """Return the kind of ground of the tile at this pixel."""
    return (col // TILE + 2 * (row // TILE)) % KINDS


def mosaic(cols: int, rows: int, seed: int) -> np.ndarray:
    """Make an image of tiles of all kinds, side by side."""
    image = np.zeros((3, rows * TILE, cols * TILE), np.uint8)
    for row in range(rows):
        for col in range(cols):
            x, y = col * TILE, row * TILE
            tile = ground(kind_at(x, y), TILE, seed * 1000 + row * cols + col)
            image[:, y : y + TILE, x : x + TILE] = tile
    return image


def write(path: Path, image: np.ndarray, **profile: object) -> Path:
    """Write a GeoTIFF; UTM 33 north, 10 m unless set."""
    settings = {
        "driver": "GTiff",
        "count": image.shape[0],
        "height": image.shape[1],
        "width": image.shape[2],
        "dtype": image.dtype,
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_400_000),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **{**settings, **profile}) as target:
        target.write(image)
    return path
