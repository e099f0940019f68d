"""Whether scenes of different pixel types find each other: distinct codes, and twins.

    python -m tests.benchmarks.mixed_types [--data ../shared/data] [--hasher general-64]

Lays out 100 places of EuroSAT100 as two scenes of different types, adds both to
one archive and counts twins: the same place is the nearest tile of the other scene. Tiles at the
same distance share a hit.
"""

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine

from geohash_rs import Archive, Scenes
from geohash_rs.codes import hamming_distances
from geohash_rs.errors import GeoHashRSWarning

Pixels = npt.NDArray[Any]
SIDE = 10  # places across and down


def read_places(data: Path) -> Pixels:
    """Read red, green and blue of the places, uint16, shape (places, 3, 64, 64)."""
    tiles = []
    for path in sorted((data / "eurosat100").rglob("*.tif"))[: SIDE**2]:
        with rasterio.open(path) as source:
            tiles.append(source.read((4, 3, 2)))
    return np.stack(tiles)


def write(path: Path, places: Pixels, scale: float = 1.0, offset: float = 0.0) -> None:
    """Write places as one scene, with a scale and offset if these are not 1 and 0."""
    size = SIDE * places.shape[-1]
    image = places.reshape(SIDE, SIDE, *places.shape[1:]).transpose(2, 0, 3, 1, 4)
    grid: dict[str, Any] = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5.9e6)}
    with rasterio.open(
        path, "w", driver="GTiff", count=3, width=size, height=size, dtype=places.dtype, **grid
    ) as target:
        target.write(image.reshape(3, size, size))
        if (scale, offset) != (1.0, 0.0):
            target.scales, target.offsets = [scale] * 3, [offset] * 3


def measure(scenes: list[tuple[Any, ...]], hasher: str) -> str:
    """Index two scenes; return distinct codes of each, twins, and whether the run warned."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", GeoHashRSWarning)
        (Path(folder) / "s").mkdir()
        for name, scene in zip("ab", scenes, strict=True):
            write(Path(folder) / "s" / f"{name}.tif", *scene)
        archive = Archive.create(Path(folder) / "archive", hasher=hasher)
        archive.add(Scenes(Path(folder) / "s"), tile_size=64)
        ids = np.arange(len(archive))
        tiles, codes = archive.tiles(ids), archive.codes(ids)
    parts = []
    for name in "ab":
        rows = np.flatnonzero(tiles["scene"].str.endswith(f"/{name}.tif"))
        some = tiles.iloc[rows]
        parts.append(codes[rows[np.lexsort((some["col"], some["row"]))]])
    away = hamming_distances(*parts)
    best = away == away.min(axis=1, keepdims=True)
    twins = (best.diagonal() / best.sum(axis=1)).sum()
    distinct = " + ".join(str(len(np.unique(part, axis=0))) for part in parts)
    warned = any(issubclass(each.category, GeoHashRSWarning) for each in told)
    return f"{distinct} | {twins:.0f} of {SIDE**2} | {'yes' if warned else 'no'}"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hasher", default="general-64")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    numbers = read_places(options.data)
    fractions = (numbers / 10000).astype(np.float32)
    pictures = np.clip(numbers / 3000 * 255, 1, 255).astype(np.uint8)
    later = (numbers + 1000).astype(np.uint16)
    cases: dict[str, list[tuple[Any, ...]]] = {
        "uint16 twice": [(numbers,), (numbers,)],
        "uint8 + uint16": [(pictures,), (numbers,)],
        "float reflectance + uint16": [(fractions,), (numbers,)],
        "int16 with scale + float": [(numbers.astype(np.int16), 1e-4), (fractions,)],
        "before + after the offset, declared": [(numbers, 1e-4), (later, 1e-4, -0.1)],
        "before + after the offset, not declared": [(numbers,), (later,)],
    }
    print("| scenes | distinct codes | twins | warned |\n|---|---|---|---|")
    for name, scenes in cases.items():
        print(f"| {name} | {measure(scenes, options.hasher)} |", flush=True)


if __name__ == "__main__":
    main()
