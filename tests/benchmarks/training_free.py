"""Measure precision@10 of the training-free hasher, next to float features and chance.

    python -m tests.benchmarks.training_free [--data ../shared/data] [--json FILE]

Two archives are made through the public interface: one of a scene that EuroSAT RGB tiles are laid
into side by side (no two of one class within 1 km, since neighbours overlap in the original), and
one of EuroSAT100's own 13-band GeoTIFFs. Every tile is a query, left out of its own matches.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from PIL import Image
from torchgeo.datasets import EuroSAT100

from geohash_rs import Archive, Hasher, Scenes
from geohash_rs.scenes.dataset import Tile

TILE = 64
PER_CLASS = 240
COLUMNS = 48
K = 10


def spaced_tiles(data: Path) -> list[tuple[str, Path]]:
    """Choose tiles of every class, no two of one class within a kilometre."""
    with (data / "eurosat_rgb" / "locations.csv").open() as file:
        rows = {Path(row["filepath"]).stem: row for row in csv.DictReader(file)}
    chosen = []
    for folder in sorted(p for p in (data / "eurosat_rgb").iterdir() if p.is_dir()):
        places: list[tuple[str, float, float]] = []
        for path in sorted(folder.glob("*.jpg"), key=lambda p: int(p.stem.split("_")[1])):
            row = rows[path.stem]
            here = (row["epsg"], float(row["easting"]), float(row["northing"]))
            near = any(
                zone == here[0] and max(abs(x - here[1]), abs(y - here[2])) < 1000
                for zone, x, y in places
            )
            if not near and len(places) < PER_CLASS:
                places.append(here)
                chosen.append((folder.name, path))
    return chosen


def write_mosaic(tiles: list[tuple[str, Path]], path: Path) -> None:
    """Lay tiles into one scene, row by row."""
    rows = -(-len(tiles) // COLUMNS)
    mosaic = np.zeros((3, rows * TILE, COLUMNS * TILE), dtype=np.uint8)
    for number, (_, source) in enumerate(tiles):
        y, x = number // COLUMNS * TILE, number % COLUMNS * TILE
        image = np.asarray(Image.open(source).convert("RGB"))
        mosaic[:, y : y + TILE, x : x + TILE] = image.transpose(2, 0, 1)
    profile = {
        "driver": "GTiff",
        "count": 3,
        "dtype": "uint8",
        "height": mosaic.shape[1],
        "width": mosaic.shape[2],
        "crs": "EPSG:32632",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_400_000),
        "tiled": True,
        "compress": "deflate",
        "nodata": 0,
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(mosaic)


def precision(neighbours: np.ndarray, labels: np.ndarray) -> float:
    """Average the share of neighbours that have the query's label."""
    return float((labels[neighbours] == labels[:, None]).mean())


def by_code(archive: Archive, ids: np.ndarray) -> np.ndarray:
    """Find the K nearest tiles of each, by Hamming distance, itself left out."""
    found = archive.search(archive.codes(ids), k=K + 1).ids
    rows = {int(tile): row for row, tile in enumerate(ids)}
    return np.array(
        [[rows[int(t)] for t in line if t != own][:K] for own, line in zip(ids, found, strict=True)]
    )


def by_feature(hasher: Hasher, images: list[torch.Tensor]) -> np.ndarray:
    """Find the K nearest tiles of each, by cosine of the float features, itself left out."""
    features = torch.cat(
        [hasher.features(torch.stack(images[i : i + 64])) for i in range(0, len(images), 64)]
    )
    unit = torch.nn.functional.normalize(features, dim=1)
    likeness = unit @ unit.T
    likeness.fill_diagonal_(-2)
    return likeness.topk(K).indices.numpy()


def report(
    name: str, archive: Archive, images: list[torch.Tensor], ids: np.ndarray, labels: np.ndarray
) -> dict[str, object]:
    """Make one row of the table."""
    counts = np.unique(labels, return_counts=True)[1]
    chance = float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))
    ceiling = float((counts * np.minimum(counts - 1, K)).sum() / (len(labels) * K))
    return {
        "data": name,
        "tiles": len(labels),
        "classes": len(counts),
        "hasher": archive.hasher().name,
        "precision@10 codes": round(precision(by_code(archive, ids), labels), 3),
        "precision@10 float": round(precision(by_feature(archive.hasher(), images), labels), 3),
        "chance": round(chance, 3),
        "ceiling": round(ceiling, 3),
    }


def measure_mosaic(data: Path, folder: Path, hasher: str) -> dict[str, object]:
    """Index the mosaic and rank its tiles."""
    tiles = spaced_tiles(data)
    write_mosaic(tiles, folder / "mosaic.tif")
    archive = Archive.create(folder / f"mosaic-{hasher}", hasher=hasher)
    scenes = Scenes(folder / "mosaic.tif", nodata=-1)
    archive.add(scenes, tile_size=TILE, progress=True)
    ids = np.arange(archive.num_tiles)
    frame = archive.tiles(ids)
    places = (frame["row"] // TILE * COLUMNS + frame["col"] // TILE).to_numpy(dtype=int)
    keep = places < len(tiles)  # the last row of the mosaic may end early
    ids, places = ids[keep], places[keep]
    labels = np.array([tiles[place][0] for place in places])
    windows = [
        Tile(0, p % COLUMNS * TILE, p // COLUMNS * TILE, TILE, TILE) for p in places.tolist()
    ]
    images = [torch.from_numpy(scenes.read(window).image) for window in windows]
    return report("EuroSAT RGB mosaic", archive, images, ids, labels)


def measure_eurosat100(data: Path, folder: Path, hasher: str) -> dict[str, object]:
    """Index EuroSAT100's files and rank them."""
    archive = Archive.create(folder / f"eurosat100-{hasher}", hasher=hasher)
    splits = [EuroSAT100(str(data / "eurosat100"), split=s) for s in ("train", "val", "test")]
    everything = torch.utils.data.ConcatDataset(splits)
    archive.add(everything, progress=True)
    ids = np.arange(archive.num_tiles)
    frame = archive.tiles(ids)
    by_path = {
        str(Path(path).absolute()): split[i]["image"]
        for split in splits
        for i, (path, _) in enumerate(split.imgs)
    }
    images = [by_path[scene] for scene in frame["scene"]]
    return report("EuroSAT100, 13 bands", archive, images, ids, frame["label"].to_numpy())


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--hashers", default="general-64,itq-64,lsh-64,itq-128")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for hasher in args.hashers.split(","):
            for measure in (measure_mosaic, measure_eurosat100):
                rows.append(measure(args.data, Path(name), hasher))
                print(json.dumps(rows[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
