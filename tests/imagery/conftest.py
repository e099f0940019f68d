"""Scenes with four kinds of ground that a network tells apart, and an archive of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from geohash_rs import Archive, Hasher, Scenes
from geohash_rs.hashing import fit_hasher

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
    """Tell the kind of ground of the tile at this pixel."""
    return (col // TILE + 2 * (row // TILE)) % KINDS


def mosaic(cols: int, rows: int, seed: int) -> np.ndarray:
    """Lay tiles of all kinds side by side."""
    image = np.zeros((3, rows * TILE, cols * TILE), np.uint8)
    for row in range(rows):
        for col in range(cols):
            x, y = col * TILE, row * TILE
            tile = ground(kind_at(x, y), TILE, seed * 1000 + row * cols + col)
            image[:, y : y + TILE, x : x + TILE] = tile
    return image


def write(path: Path, image: np.ndarray, **profile: object) -> Path:
    """Write a GeoTIFF; UTM 33 north, 10 m unless told otherwise."""
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


@pytest.fixture(scope="session")
def write_scene() -> Callable[..., Path]:
    return write


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes: two zones, two dates over one place."""
    folder = tmp_path_factory.mktemp("scenes")
    write(folder / "a_20230601.tif", mosaic(5, 4, 1))
    write(folder / "a_20230901.tif", mosaic(5, 4, 2))
    east = Affine(10, 0, 300_000, 0, -10, 5_400_000)
    write(folder / "b_20230601.tif", mosaic(4, 4, 3), crs="EPSG:32634", transform=east)
    return folder


@pytest.fixture(scope="session")
def archive_folder(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the scenes with a training-free hasher; not to be written to."""
    path = tmp_path_factory.mktemp("archive") / "archive"
    report = Archive.create(path, hasher="itq-64").add(Scenes(scene_folder), tile_size=TILE)
    assert (report.num_tiles, report.num_scenes, report.skipped) == (56, 3, [])
    return path


@pytest.fixture
def archive(archive_folder: Path) -> Archive:
    return Archive.open(archive_folder, mode="r")


@pytest.fixture(scope="session")
def quick_hasher() -> Hasher:
    """Give a hasher that looks at 32 px, for tests of all that happens around the network."""
    tiles = torch.from_numpy(np.stack([ground(i % KINDS, TILE, i) for i in range(32)]))
    return fit_hasher([tiles], num_bits=16, input_size=32)


@pytest.fixture
def quick(quick_hasher: Hasher, tmp_path: Path) -> Archive:
    """Give an empty archive with that hasher."""
    return Archive.create(tmp_path / "quick", hasher=quick_hasher)
