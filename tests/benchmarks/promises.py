"""Measure how often a promised precision is broken, and how much is found.

    python -m tests.benchmarks.promises [--data ../shared/data] [--cache DIR] [--json FILE]

Blocks of ground are split at random: two fifths calibrate, and on the others it is counted how many
of the tiles up to the limit are right. A promise is broken if that share is lower. That is harder
than the promise, which is about the true share: the other blocks are a sample, too. Sets are UC
Merced cut into quarters (a block is an image), EuroSAT RGB (a block is a square of ground) and
invented coasts on two dates (a block is a place). Codes are `general-64` of each set. A query is
pooled over all tiles of the split; a concept is a random class, learnt from 10 right and 20 wrong
tiles, whose blocks are left out as in `Concept.calibrate`. What is found is the share of all right
pairs or tiles; "best" is the most that a limit chosen with the answers could find.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
import torch

from geohash_rs import fit_hasher
from geohash_rs.codes import pack_codes
from geohash_rs.concepts.learning import fit_model
from geohash_rs.demo.landscape import Cover, Landscape
from geohash_rs.demo.render import render
from geohash_rs.demo.scenes import DATES, Place
from geohash_rs.hashing.data.blocks import block_numbers
from geohash_rs.hashing.data.class_folders import ClassFolders
from geohash_rs.hashing.data.features import cached_features
from geohash_rs.hashing.fit.general import GENERAL_VIEWS, general_head
from geohash_rs.trust.calibration import count_pairs
from geohash_rs.trust.labels import outside_blocks
from geohash_rs.trust.promise import Promise, promise_of, promise_of_counts

NUM_BITS = 64
BATCH = 64
BLOCK_KM = 20
QUARTER = 128
COASTS, ACROSS, DOWN, PLACE_SIZE, SPACING = 10, 6, 4, 256, 2700
TILE = 64
CALIBRATING = 0.4  # share of blocks
RIGHT, WRONG, BACKGROUND = 10, 20, 4096  # tiles that teach a concept
FEWEST = 100  # tiles of a class that is taught
PRECISIONS = (0.8, 0.9)
SEEDS = {"query": 0, "concept": 1}


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Tiles of known classes.

    Attributes:
        codes: Packed codes, uint8, shape (tiles, bits / 8).
        labels: Class of each tile, a number.
        blocks: Number of the block of ground of each tile.
    """

    codes: np.ndarray
    labels: np.ndarray
    blocks: np.ndarray


def quarters(data: Path) -> tuple[Iterator[torch.Tensor], np.ndarray, np.ndarray]:
    """Cut the images of UC Merced into quarters; an image is a block."""
    images = ClassFolders.open(data / "ucmerced")

    def batches() -> Iterator[torch.Tensor]:
        for start in range(0, len(images), BATCH // 4):
            read = [
                images.read(number) for number in range(start, min(start + BATCH // 4, len(images)))
            ]
            yield torch.stack(
                [
                    image[:, y : y + QUARTER, x : x + QUARTER]
                    for image in read
                    for y in (0, image.shape[1] - QUARTER)
                    for x in (0, image.shape[2] - QUARTER)
                ]
            )

    return batches(), images.labels.repeat(4), np.arange(len(images)).repeat(4)


def eurosat(data: Path) -> tuple[Iterator[torch.Tensor], np.ndarray, np.ndarray]:
    """Read EuroSAT RGB; blocks are squares of ground."""
    tiles = ClassFolders.open(data / "eurosat_rgb")
    places = pd.read_csv(data / "eurosat_rgb" / "locations.csv", index_col="filepath")
    found = places.loc[[f"{path.parent.name}/{path.name}" for path in tiles.paths]]
    points = shapely.points(found["longitude"], found["latitude"])
    return tiles.batches(size=BATCH), tiles.labels, block_numbers(points, block_km=BLOCK_KM)


def coasts() -> tuple[Iterator[torch.Tensor], np.ndarray, np.ndarray]:
    """Draw places of invented coasts on two dates; a place is a block, its main cover the class."""
    places = [
        (seed, Place(name="", epsg=32632, east=(x + 0.5 - ACROSS / 2) * SPACING,
                     north=(y + 0.5 - DOWN / 2) * SPACING, size=PLACE_SIZE))
        for seed in range(COASTS)
        for x in range(ACROSS)
        for y in range(DOWN)
    ]  # fmt: skip
    side = PLACE_SIZE // TILE

    def cut(image: np.ndarray) -> np.ndarray:
        parts = image.reshape(-1, side, TILE, side, TILE).transpose(1, 3, 0, 2, 4)
        return parts.reshape(side * side, -1, TILE, TILE)

    surfaces = [place.surface(Landscape(seed=seed)) for seed, place in places]
    main = [
        np.bincount(tile.ravel(), minlength=len(Cover)).argmax()
        for surface in surfaces
        for _ in DATES
        for tile in cut(surface.cover[None])
    ]

    def batches() -> Iterator[torch.Tensor]:
        for (seed, _), surface in zip(places, surfaces, strict=True):
            landscape = Landscape(seed=seed)
            drawn = [cut(render(landscape, surface, season=season)) for season in DATES]
            yield torch.from_numpy(np.concatenate(drawn))

    return batches(), np.array(main), np.arange(len(places)).repeat(len(DATES) * side * side)


def hash_tiles(batches: Iterator[torch.Tensor], cache: Path | None) -> np.ndarray:
    """Fit the general head on all tiles, and hash them, uint8, shape (tiles, bits / 8)."""
    first = next(batches)
    hasher = fit_hasher([first], num_bits=8, method="general")
    hasher.accelerate()
    parts = [cached_features(hasher.extractor, [first], views=GENERAL_VIEWS, folder=cache)]
    parts.append(cached_features(hasher.extractor, batches, views=GENERAL_VIEWS, folder=cache))
    features = torch.cat(parts)
    head = general_head(features[:, 0], features[::4], num_bits=NUM_BITS, parts=hasher.head.parts)
    with torch.inference_mode():
        return pack_codes(head(features[:, 0]).numpy())


def read_sets(data: Path, cache: Path | None) -> Iterator[tuple[str, Labelled]]:
    """Yield the sets, each with its name."""
    sets = {
        "ucmerced quarters": lambda: quarters(data),
        "eurosat_rgb": lambda: eurosat(data),
        "coasts, two dates": coasts,
    }
    for name, opened in sets.items():
        batches, labels, blocks = opened()
        yield name, Labelled(codes=hash_tiles(batches, cache), labels=labels, blocks=blocks)


def outcome(
    promise: Promise, precision: float, tiles: np.ndarray, right: np.ndarray
) -> dict[str, Any]:
    """Compare a promise with the other blocks, whose counts are by value and cumulative."""
    share = right / np.maximum(tiles, 1)
    good = np.flatnonzero((share >= precision) & (tiles > 0))
    kept = np.flatnonzero(promise.promised >= precision - 1e-9)
    found = {"promised": len(kept) > 0, "broken": False, "found": 0.0}
    found["best"] = right[good[-1]] / right[-1] if len(good) else 0.0
    if len(kept):
        limit = promise.values[kept[-1]]
        found["broken"] = bool(share[limit] < precision)
        found["found"] = right[limit] / right[-1]
    return found


def try_queries(data: Labelled, rng: np.random.Generator, delta: float) -> list[dict[str, Any]]:
    """Calibrate queries on some blocks, and compare with the others, for each precision."""
    mine = split(data, rng)
    tiles, right = count_pairs(data.codes[mine], data.labels[mine], data.blocks[mine])
    promise = promise_of_counts(np.arange(NUM_BITS + 1), tiles, right, delta=delta)
    others = count_pairs(data.codes[~mine], data.labels[~mine], data.blocks[~mine])
    tiles, right = (counts.sum(axis=0).cumsum() for counts in others)
    return [outcome(promise, precision, tiles, right) for precision in PRECISIONS]


def try_concept(data: Labelled, rng: np.random.Generator, delta: float) -> list[dict[str, Any]]:
    """Teach a concept, calibrate it on some blocks, and compare with the others."""
    classes, counts = np.unique(data.labels, return_counts=True)
    is_right = data.labels == rng.choice(classes[counts >= FEWEST])
    good = rng.choice(np.flatnonzero(is_right), RIGHT, replace=False)
    bad = rng.choice(np.flatnonzero(~is_right), WRONG, replace=False)
    background = rng.choice(len(data.codes), min(BACKGROUND, len(data.codes)), replace=False)
    model = fit_model(data.codes[good], data.codes[bad], data.codes[background])
    costs = model.weights.costs(data.codes)
    free = outside_blocks(data.blocks, data.blocks[np.concatenate([good, bad])])
    mine = split(data, rng)
    cal, others = mine & free, ~mine & free
    promise = promise_of(costs[cal], is_right[cal], data.blocks[cal], delta=delta)
    most = model.weights.most + 1
    tiles = np.bincount(costs[others], minlength=most).cumsum()
    right = np.bincount(costs[others & is_right], minlength=most).cumsum()
    return [outcome(promise, precision, tiles, right) for precision in PRECISIONS]


def split(data: Labelled, rng: np.random.Generator) -> np.ndarray:
    """Choose the blocks that calibrate; return whether each tile lies in one."""
    blocks = np.unique(data.blocks)
    chosen = rng.choice(blocks, round(CALIBRATING * len(blocks)), replace=False)
    return np.isin(data.blocks, chosen)


def measure(sets: dict[str, Labelled], *, splits: int, delta: float) -> Iterator[dict[str, Any]]:
    """Yield one row for each set, kind of search and precision."""
    for name, data in sets.items():
        for kind, tried in (("query", try_queries), ("concept", try_concept)):
            results = [
                tried(data, np.random.default_rng([SEEDS[kind], number]), delta)
                for number in range(splits)
            ]
            for column, precision in enumerate(PRECISIONS):
                table = pd.DataFrame([result[column] for result in results])
                yield {
                    "data": name,
                    "search": kind,
                    "precision": precision,
                    "delta": delta,
                    "splits": splits,
                    **table.mean().round(3).to_dict(),
                }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, help="folder that keeps features for the next run")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--delta", type=float, default=0.1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sets, rows = dict(read_sets(args.data, args.cache)), []
    for row in measure(sets, splits=args.splits, delta=args.delta):
        rows.append(row)
        print(json.dumps(row), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
