"""Measure how the number of bits and the tile size affect matches, for `docs/guides/choosing.md`.

    python -m tests.benchmarks.choosing [--data ../shared/data] [--json docs/measured/choosing.json]

Two kinds of imagery, with the training-free ITQ hasher of each number of bits (what
`hasher="itq-64"` fits on an archive, here fitted on all tiles):

- UC Merced, 0.3 m a pixel: 10 images of 256 px of each of 21 classes, cut into tiles of 64, 128
  and 256 px.
- EuroSAT, 10 m a pixel: 500 scenes of one tile of 64 px, 50 of each of 10 classes.

Every tile is a query, and tiles of its own image do not count as matches. A match is right if its
image has the same class. Distances are compared one by one, ties by the lowest id, as an archive
does.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from geohash_rs.hashing.fit.itq import itq_head
from geohash_rs.hashing.fit.training_free import fit_hasher

IMAGE = 256
PER_CLASS = 10
K = 5  # fewer than the other images of a class
BITS = (16, 32, 64, 128, 256)
SIZES = (256, 128, 64)
SAMPLE = 300  # tiles that set the hasher's range of values

Ints = npt.NDArray[np.int64]


def read_ucmerced(data: Path) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Read the first whole images of each class: pixels (images, 3, 256, 256) and classes."""
    folders = sorted({file.parent for file in (data / "ucmerced").rglob("*.jpg")})
    pixels: list[npt.NDArray[np.uint8]] = []
    for folder in folders:
        opened = (Image.open(file).convert("RGB") for file in sorted(folder.glob("*.jpg")))
        whole = [np.asarray(one) for one in opened if one.size == (IMAGE, IMAGE)]
        pixels += whole[:PER_CLASS]
    return np.stack(pixels).transpose(0, 3, 1, 2), np.repeat(np.arange(len(folders)), PER_CLASS)


def cut(images: npt.NDArray[np.uint8], size: int) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Cut images into tiles: pixels (tiles, 3, size, size) and the image of each."""
    count, side = len(images), IMAGE // size
    grid = images.reshape(count, 3, side, size, side, size).transpose(0, 2, 4, 1, 3, 5)
    return grid.reshape(-1, 3, size, size), np.repeat(np.arange(count), side**2)


def read_eurosat(data: Path) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Read the scenes of one tile: pixels (tiles, 3, 64, 64) and classes."""
    import rasterio

    files = sorted((data / "geotiff" / "eurosat_rgb").rglob("*.tif"))
    pixels = []
    for file in files:
        with rasterio.open(file) as source:
            pixels.append(source.read())
    classes = np.unique([file.stem.split("_")[0] for file in files], return_inverse=True)[1]
    return np.stack(pixels), classes.astype(np.int64)


def compute_features(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """Run the backbone once; heads of all numbers of bits are fitted on what it gives."""
    tiles = torch.from_numpy(np.ascontiguousarray(pixels))
    some = tiles[:: max(1, len(tiles) // SAMPLE)]
    hasher = fit_hasher([some], num_bits=BITS[0], method="itq")
    return hasher.features(tiles)


def precision(features: Tensor, classes: Ints, images: Ints, *, bits: int) -> float:
    """Fit a head, hash, and give the share of the K nearest that have the class of the query."""
    with torch.no_grad():
        head = itq_head(features, num_bits=bits)
        signs = np.where(head(features).numpy() >= 0.5, 1, -1).astype(np.float32)
    ids = np.arange(len(signs))
    shares = []
    for query in ids:
        distance = (bits - signs @ signs[query]) / 2
        distance[images == images[query]] = np.inf
        nearest = np.lexsort((ids, distance))[:K]
        shares.append((classes[nearest] == classes[query]).mean())
    return round(float(np.mean(shares)), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    settings = parser.parse_args()
    rows = []

    def measure(data: str, pixels: npt.NDArray[np.uint8], classes: Ints, images: Ints) -> None:
        features = compute_features(pixels)
        for bits in BITS:
            share = precision(features, classes, images, bits=bits)
            size = pixels.shape[-1]
            rows.append({"data": data, "tile_size": size, "bits": bits, f"precision@{K}": share})
            print(json.dumps(rows[-1]), flush=True)

    pixels, classes = read_eurosat(settings.data)
    measure("eurosat", pixels, classes, np.arange(len(pixels)))
    pixels, classes = read_ucmerced(settings.data)
    for size in SIZES:
        tiles, images = cut(pixels, size)
        measure("ucmerced", tiles, classes[images], images)
    about = {
        "command": "python -m tests.benchmarks.choosing --json docs/measured/choosing.json",
        "ucmerced": f"{PER_CLASS} images of each of 21 classes, {IMAGE} px at 0.3 m",
        "eurosat": "500 tiles of 10 classes, 64 px at 10 m",
    }
    if settings.json:
        settings.json.parent.mkdir(parents=True, exist_ok=True)
        settings.json.write_text(json.dumps({"settings": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
