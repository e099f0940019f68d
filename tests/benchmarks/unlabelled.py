"""Measure hashers that learn from places and views, next to ITQ and supervised MiLaN.

    python -m tests.benchmarks.unlabelled [--data ../shared/data] [--cache DIR] [--json FILE]

EuroSAT RGB: the 3,000 tiles of the 20 km blocks that hold the most, each where it really lies; a
place is 2 km. UC Merced: 30 pictures a class, cut into four; a place is a picture. All methods see
the same frozen features (EfficientNet-Lite0, 224 px). ITQ, pairs and triplets see every tile and no
label; MiLaN sees the labels of 60 percent, by blocks or pictures. The other 40 percent are queries
and archive, without tiles that overlap the query or are of its picture. Ties in expectation.
"""

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import shapely
import torch

from geohash_rs import fit_hasher
from geohash_rs.hashing.data.blocks import block_numbers, split_by_blocks
from geohash_rs.hashing.data.class_folders import ClassFolders, split_by_class
from geohash_rs.hashing.data.features import cached_features
from geohash_rs.hashing.fit.itq import itq_head
from geohash_rs.hashing.fit.unlabelled import FOUR_VIEWS, pairs_head, triplets_head
from geohash_rs.hashing.network.heads import Head
from geohash_rs.hashing.train.on_features import train_head
from geohash_rs.hashing.train.recipes import Recipe
from geohash_rs.metrics import measures as metrics

# milan alone sees labels
METHODS = ("itq", "pairs-views", "pairs-places", "pairs", "triplets", "milan")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Features of all tiles, their classes and places, and who is trained on and who asks."""

    name: str
    features: torch.Tensor  # (tiles, views, num_features)
    labels: np.ndarray
    places: np.ndarray
    train: np.ndarray
    test: np.ndarray
    same: np.ndarray  # (test, test): no candidates


def features_of(batches: Callable[[], Iterator[torch.Tensor]], cache: Path | None) -> torch.Tensor:
    """Compute the frozen features of four views."""
    extractor = fit_hasher([next(batches())], num_bits=8).extractor
    return cached_features(extractor, batches(), views=FOUR_VIEWS, folder=cache)


def eurosat(data: Path, cache: Path | None, most: int) -> Archive:
    """Take the tiles of dense blocks, where neighbours are neighbours."""
    tiles = ClassFolders.open(data / "eurosat_rgb")
    with (data / "eurosat_rgb" / "locations.csv").open() as file:
        rows = {Path(row["filepath"]).stem: row for row in csv.DictReader(file)}
    lonlat = np.array(
        [
            [float(rows[path.stem][name]) for name in ("longitude", "latitude")]
            for path in tiles.paths
        ]
    )
    half = (
        0.32 / 111.32 * np.column_stack([1 / np.cos(np.radians(lonlat[:, 1])), np.ones(len(tiles))])
    )
    footprints = shapely.box(*(lonlat - half).T, *(lonlat + half).T)
    blocks = block_numbers(footprints, block_km=20)
    order = np.argsort(-np.bincount(blocks)[blocks], kind="stable")[:most]
    rows_kept = np.sort(order)
    tiles, footprints = tiles.take(rows_kept), footprints[rows_kept]
    train, val, test = split_by_blocks(footprints, tiles.labels, block_km=20, fractions=(0.5, 0.1))
    same = shapely.intersects(footprints[test][:, None], footprints[test][None])
    return Archive(
        name="EuroSAT RGB",
        features=features_of(tiles.batches, cache),
        labels=tiles.labels,
        places=block_numbers(footprints, block_km=2),
        train=np.concatenate([train, val]),
        test=test,
        same=same,
    )


def ucmerced(data: Path, cache: Path | None, per_class: int) -> Archive:
    """Cut pictures into four, which lie next to each other."""
    tiles = ClassFolders.open(data / "ucmerced")
    tiles = tiles.take(np.flatnonzero(np.arange(len(tiles)) % 100 < per_class))

    def quarters() -> Iterator[torch.Tensor]:
        for batch in tiles.batches(size=16):
            height, width = batch.shape[-2] // 2, batch.shape[-1] // 2
            cut = batch[..., : 2 * height, : 2 * width].unfold(2, height, height)
            cut = cut.unfold(3, width, width).permute(0, 2, 3, 1, 4, 5)
            yield cut.reshape(-1, batch.shape[1], height, width)

    train, test = split_by_class(tiles.labels, fractions=(0.6,))
    parts = [(4 * part[:, None] + np.arange(4)).ravel() for part in (train, test)]
    picture = np.repeat(np.arange(len(tiles)), 4)
    return Archive(
        name="UC Merced quarters",
        features=features_of(quarters, cache),
        labels=np.repeat(tiles.labels, 4),
        places=picture,
        train=parts[0],
        test=parts[1],
        same=picture[parts[1]][:, None] == picture[parts[1]][None],
    )


def fit(archive: Archive, method: str, *, bits: int, iterations: int) -> Head:
    """Fit one method."""
    features, places, train = archive.features, archive.places, archive.train
    alone = np.arange(len(places))
    if method == "itq":
        return itq_head(features[:, 0], num_bits=bits)
    if method == "triplets":
        return triplets_head(features, places, num_bits=bits, iterations=iterations)
    if method == "milan":
        recipe = Recipe().with_(train_views=FOUR_VIEWS, iterations=iterations, proxy=0.3)
        labels = torch.from_numpy(archive.labels[train])
        return train_head(features[train], labels, num_bits=bits, recipe=recipe)[0]
    views = features[:, :1] if method == "pairs-places" else features
    return pairs_head(views, alone if method == "pairs-views" else places, num_bits=bits)


def rank(archive: Archive, head: Head) -> float:
    """Return mAP@20 of the test part."""
    with torch.inference_mode():
        signs = torch.where(head(archive.features[archive.test, 0]) > 0.5, 1.0, -1.0).numpy()
    distances = np.rint((signs.shape[1] - signs @ signs.T) / 2).astype(float)
    distances[archive.same] = np.inf
    labels = archive.labels[archive.test]
    return metrics.mean_average_precision(distances, labels[:, None] == labels[None], k=20)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, help="folder that keeps features for the next run")
    parser.add_argument("--tiles", type=int, default=3000, help="tiles of EuroSAT")
    parser.add_argument("--pictures", type=int, default=30, help="pictures a class of UC Merced")
    parser.add_argument("--iterations", type=int, default=1000, help="batches of a training")
    parser.add_argument("--sets", default="eurosat,ucmerced")
    parser.add_argument("--bits", default="32,64")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    make = {
        "eurosat": lambda: eurosat(args.data, args.cache, args.tiles),
        "ucmerced": lambda: ucmerced(args.data, args.cache, args.pictures),
    }
    for archive in (make[name]() for name in args.sets.split(",")):
        counts = np.bincount(archive.places)
        about = {
            "data": archive.name,
            "tiles": len(archive.places),
            "in places of several": int(counts[counts > 1].sum()),
            "queries": len(archive.test),
        }
        for bits, method in product(map(int, args.bits.split(",")), args.methods.split(",")):
            start = time.perf_counter()
            head = fit(archive, method, bits=bits, iterations=args.iterations)
            seconds = round(time.perf_counter() - start, 1)
            row = {"bits": bits, "method": method, "map@20": round(rank(archive, head), 4)}
            rows.append(about | row | {"fit s": seconds})
            print(json.dumps(rows[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
