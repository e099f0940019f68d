"""Measure how often a promised precision is broken, and how much is found.

    python -m tests.benchmarks.promises [--data ../shared/data] [--cache DIR] [--json FILE]

TODO
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
import torch

from geohash_rs import fit_hasher
from geohash_rs.codes import pack_codes
from geohash_rs.demo.landscape import Cover, Landscape
from geohash_rs.demo.render import render
from geohash_rs.demo.scenes import DATES, Place
from geohash_rs.hashing.data.blocks import block_numbers
from geohash_rs.hashing.data.class_folders import ClassFolders
from geohash_rs.hashing.data.features import cached_features
from geohash_rs.hashing.fit.general import GENERAL_VIEWS, general_head

NUM_BITS = 64
BATCH = 64
BLOCK_KM = 20
QUARTER = 128
COASTS, ACROSS, DOWN, PLACE_SIZE, SPACING = 10, 6, 4, 256, 2700
TILE = 64


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
