"""Measure what the number of bits and the tile size do to the matches, for `docs/choosing.md`.

    python -m tests.benchmarks.choosing [--data ../shared/data] [--json docs/measured/choosing.json]

UC Merced images of 256 px (0.3 m a pixel), 10 of each of 21 classes, are laid side by side into one
scene and indexed with the training-free hasher. Every tile is a query; tiles of its own image do
not count. A match is right if its image has the same class.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from PIL import Image

from geohash_rs import Archive, Scenes

IMAGE = 256
PER_CLASS = 10
K = 10
BITS = (16, 32, 64, 128, 256)
SIZES = (64, 128, 256)


def write_scene(data: Path, path: Path) -> list[str]:
    """Lay images side by side, a class a row; give the classes."""
    classes = sorted(
        p.name for p in (data / "ucmerced").rglob("*") if p.is_dir() and any(p.glob("*.jpg"))
    )
    folders = {p.name: p for p in (data / "ucmerced").rglob("*") if p.name in classes}
    scene = np.zeros((3, len(classes) * IMAGE, PER_CLASS * IMAGE), np.uint8)
    for row, name in enumerate(classes):
        whole = (Image.open(file).convert("RGB") for file in sorted(folders[name].glob("*.jpg")))
        images = [np.asarray(one) for one in whole if one.size == (IMAGE, IMAGE)][:PER_CLASS]
        for column, image in enumerate(images):
            y, x = row * IMAGE, column * IMAGE
            scene[:, y : y + IMAGE, x : x + IMAGE] = image.transpose(2, 0, 1)
    settings = {
        "driver": "GTiff",
        "count": 3,
        "dtype": "uint8",
        "height": scene.shape[1],
        "width": scene.shape[2],
        "crs": "EPSG:32611",
        "transform": Affine(0.3, 0, 500_000, 0, -0.3, 3_700_000),
        "tiled": True,
    }
    with rasterio.open(path, "w", **settings) as target:
        target.write(scene)
    return classes


def measure(scene: Path, folder: Path, *, bits: int, size: int) -> dict[str, float]:
    """Index the scene and ask for the nearest of every tile."""
    archive = Archive.create(folder / f"archive-{bits}-{size}", hasher=f"itq-{bits}")
    archive.add(Scenes(scene, nodata=-1), tile_size=size)
    ids = np.arange(len(archive))
    tiles = archive.tiles(ids)
    row, column = (tiles[n].to_numpy(int) // IMAGE for n in ("row", "col"))
    image = row * PER_CLASS + column
    own = (IMAGE // size) ** 2
    found = archive.search(archive.codes(ids), k=K + own).ids
    shares = []
    for query, line in enumerate(found):
        others = line[image[line] != image[query]][:K]
        shares.append((row[others] == row[query]).mean())
    return {
        "bits": bits,
        "tile_size": size,
        "tiles": len(ids),
        "precision@10": round(float(np.mean(shares)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        classes = write_scene(settings.data, folder / "scene.tif")
        runs = [(bits, 128) for bits in BITS] + [(64, size) for size in SIZES if size != 128]
        rows = []
        for bits, size in runs:
            rows.append(measure(folder / "scene.tif", folder, bits=bits, size=size))
            print(json.dumps(rows[-1]), flush=True)
    about = {"images": PER_CLASS * len(classes), "classes": len(classes)}
    if settings.json:
        settings.json.parent.mkdir(parents=True, exist_ok=True)
        settings.json.write_text(json.dumps({"settings": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
