"""Measure quality against tiles a second, by the side that the network sees and its precision.

    python -m tests.benchmarks.looking [--data ../shared/data] [--json docs/measured/looking.json]
    python -m tests.benchmarks.looking --bands   # 13 bands against their own red, green and blue

Sets: EuroSAT RGB, 64 px (every fifth of the tiles in --data), and UC Merced, as tiles of 64, 128
and 256 px (one of each image). Every tile is a query, tiles of its own image do not count, and a
match is right if it has the class of the query. Scores are mAP@20 of the general head with 64 and
128 bits, ties in expectation, means of three seeds of its rotation; the head is fitted on the
tiles themselves, each network on its own features.

Speed is that of `Hasher.codes` on batches of 256 tiles and all cores. The ratio compares with what
was the default until 0.1.0: fp32 at 224 px. Both are timed in turns in one process, so it holds on
a busy machine, and the tiles a second do not. With `--quick`, a tenth of the tiles.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from PIL import Image
from torch import Tensor

from geohash_rs import Hasher, fit_hasher
from geohash_rs.hashing.fit.general import GENERAL_VIEWS, general_head
from geohash_rs.hashing.network.views import view
from geohash_rs.metrics import measures

IMAGE = 256
K = 20
BITS = (64, 128)
SEEDS = range(3)
FORMER = (224, "fp32")
CHOICES = (FORMER, (128, "fp32"), *((size, "int8") for size in (64, 96, 128, 160, 192, 224)))
VIEWED = 1024  # tiles of which other views are computed
ROUNDS = 3
BATCH = 256
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Tiles with a class each, and the image that each was cut from."""

    name: str
    pixels: Tensor
    classes: Ints
    images: Ints


def read_sets(data: Path, *, step: int) -> Iterator[Tiles]:
    """Read the sets, or what there is of them."""
    files = sorted((data / "eurosat_rgb").rglob("*.jpg"))[:: 5 * step]
    if files:
        pixels = torch.stack([_read(file) for file in files])
        yield Tiles(
            name="eurosat", pixels=pixels, classes=_classes(files), images=np.arange(len(files))
        )
    files = sorted((data / "ucmerced").rglob("*.jpg"))[::step]
    whole = [(file, image) for file in files if (image := _read(file)).shape[1:] == (IMAGE, IMAGE)]
    if not whole:
        return
    classes = _classes([file for file, _ in whole])
    corners = np.random.default_rng(0)
    for size in (64, 128, 256):
        cut = []
        for _, image in whole:
            y, x = (corners.integers(0, IMAGE // size, 2) * size).tolist()
            cut.append(image[:, y : y + size, x : x + size])
        images = np.arange(len(cut))
        yield Tiles(
            name=f"ucmerced-{size}", pixels=torch.stack(cut), classes=classes, images=images
        )


def _read(file: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)


def _classes(files: list[Path]) -> Ints:
    names = np.unique([file.parent.name for file in files], return_inverse=True)
    return names[1].astype(np.int64)


def score(hasher: Hasher, tiles: Tiles) -> dict[str, float]:
    """Fit general heads of several lengths, and return their mean mAP@20."""
    features = hasher.features(tiles.pixels)
    some = np.random.default_rng(0).permutation(len(features))[:VIEWED]
    turned = hasher.features(view(tiles.pixels[some], GENERAL_VIEWS[1]))
    views = torch.stack([features[some], turned], 1)
    scores = {}
    for bits in BITS:
        found = []
        for seed in SEEDS:
            head = general_head(
                features, views, num_bits=bits, parts=hasher.backbone.parts, seed=seed
            )
            with torch.inference_mode():
                signs = np.where(head(features).numpy() >= 0.5, 1, -1).astype(np.float32)
            found.append(_map(signs, tiles))
        scores[f"map@{K}, {bits} bits"] = round(float(np.mean(found)), 4)
    return scores


def _map(signs: npt.NDArray[np.float32], tiles: Tiles) -> float:
    parts = []
    for rows in np.array_split(np.arange(len(signs)), max(1, len(signs) // 256)):
        distances = (signs.shape[1] - signs[rows] @ signs.T) / 2
        distances[tiles.images[rows][:, None] == tiles.images] = np.inf
        same = tiles.classes[rows][:, None] == tiles.classes
        same &= np.isfinite(distances)
        parts.append(measures.average_precision(distances, same, k=K))
    return float(np.concatenate(parts).mean())


def speeds(hashers: list[Hasher], pixels: Tensor) -> list[float]:
    """Time hashers in turns; tiles a second of each."""
    batch = pixels[:BATCH]
    taken: list[list[float]] = [[] for _ in hashers]
    for hasher in hashers:
        hasher.accelerate().codes(batch[:16])
    for _ in range(ROUNDS):
        for hasher, times in zip(hashers, taken, strict=True):
            start = time.perf_counter()
            hasher.codes(batch)
            times.append(time.perf_counter() - start)
    return [len(batch) / median(times) for times in taken]


def curves(data: Path, *, step: int) -> list[dict[str, object]]:
    """Measure every set with every side and precision."""
    rows: list[dict[str, object]] = []
    for tiles in read_sets(data, step=step):
        former = fit_hasher(
            [tiles.pixels[:256]], num_bits=64, method="general", input_size=224, precision="fp32"
        )
        for size, precision in CHOICES:
            hasher = former
            if (size, precision) != FORMER:
                hasher = fit_hasher(
                    [tiles.pixels[:256]],
                    num_bits=64,
                    method="general",
                    input_size=size,
                    precision=precision,
                )
            ours, theirs = speeds([hasher, former], tiles.pixels)
            row: dict[str, object] = {"set": tiles.name, "input_size": size}
            row |= {"precision": precision, **score(hasher, tiles)}
            row |= {"tiles a second": round(ours), "times the former": round(ours / theirs, 2)}
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def bands(data: Path) -> list[dict[str, object]]:
    """Measure precision@10 on EuroSAT100 with 13 bands, and with some of them."""
    files = sorted((data / "eurosat100").rglob("*.tif"))
    pixels = torch.stack([_read_bands(file) for file in files])
    rows: list[dict[str, object]] = []
    for names in (("B04", "B03", "B02"), ("B04", "B03", "B02", "B08"), BANDS):
        tiles = Tiles(
            name="eurosat100",
            pixels=pixels[:, [BANDS.index(name) for name in names]],
            classes=_classes(files),
            images=np.arange(len(files)),
        )
        found = []
        for seed in SEEDS:
            hasher = fit_hasher(
                [tiles.pixels], num_bits=64, method="general", bands=names, seed=seed
            )
            codes = np.unpackbits(hasher.codes(tiles.pixels), axis=1).astype(np.float32) * 2 - 1
            distances = (64 - codes @ codes.T) / 2
            np.fill_diagonal(distances, np.inf)
            same = (tiles.classes[:, None] == tiles.classes) & np.isfinite(distances)
            found.append(measures.precision_at(distances, same, k=10).mean())
        rows.append({"bands": " ".join(names), "precision@10": round(float(np.mean(found)), 3)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _read_bands(file: Path) -> Tensor:
    with rasterio.open(file) as source:
        return torch.from_numpy(source.read().astype(np.int32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--bands", action="store_true")
    parser.add_argument("--quick", action="store_true")
    settings = parser.parse_args()
    if settings.bands:
        bands(settings.data)
        return
    rows = curves(settings.data, step=10 if settings.quick else 1)
    if settings.json:
        about = {"command": "python -m tests.benchmarks.looking --json docs/measured/looking.json"}
        settings.json.write_text(json.dumps({"settings": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
