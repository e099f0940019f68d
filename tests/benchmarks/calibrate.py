"""Make the int8 calibration of EfficientNet-Lite0 that comes with the package.

    python -m tests.benchmarks.calibrate FILE [--data ../shared/data]

The ranges of activations are measured on 224 tiles at 128 px: 96 of EuroSAT RGB, of which half are
stretched from the 1st to the 99th percentile, as scenes of sensors are; 64 images of UC Merced of
256 px, and 64 quarters of a side of others. Prints how far the result is from the shipped file.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from geohash_rs.hashing.fit.general import GENERAL_STAGES
from geohash_rs.hashing.network.calibration import calibrate, shipped_calibration
from geohash_rs.hashing.network.preparation import resize
from geohash_rs.hashing.network.pretrained import load_backbone

SIDE = 128
IMAGE, QUARTER = 256, 64
PER_CLASS = 20
EUROSAT, UCMERCED = 96, 64  # tiles of each kind

Pixels = npt.NDArray[np.uint8]


def read(file: Path) -> Pixels:
    """Read an image, shape (3, height, width)."""
    return np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1)


def read_eurosat(data: Path) -> Pixels:
    """Read some tiles of every class."""
    tiles = []
    for number, folder in enumerate(sorted(p for p in data.iterdir() if p.is_dir())):
        files = sorted(folder.glob("*.jpg"))
        drawn = np.random.default_rng(number).permutation(len(files))[:PER_CLASS]
        tiles += [read(files[i]) for i in drawn]
    return np.stack(tiles)


def read_ucmerced(data: Path) -> tuple[Pixels, Pixels]:
    """Read all whole images, and a part of each."""
    folders = sorted({file.parent for file in data.rglob("*.jpg")})
    opened = (read(file) for folder in folders for file in sorted(folder.glob("*.jpg")))
    whole = [image for image in opened if image.shape == (3, IMAGE, IMAGE)]
    corners = np.random.default_rng(0)
    parts = []
    for image in whole:
        y, x = (corners.integers(0, IMAGE // QUARTER, 2) * QUARTER).tolist()
        parts.append(image[:, y : y + QUARTER, x : x + QUARTER])
    return np.stack(whole), np.stack(parts)


def choose(data: Path) -> list[npt.NDArray[np.float32]]:
    """Choose the tiles, in four groups of one size each."""
    eurosat = read_eurosat(data / "eurosat_rgb")
    whole, parts = read_ucmerced(data / "ucmerced")
    draws = np.random.default_rng(3)
    whole = whole[draws.permutation(len(whole))[:UCMERCED]]
    parts = parts[draws.permutation(len(parts))[:UCMERCED]]
    eurosat = eurosat[draws.permutation(len(eurosat))[:EUROSAT]]
    low, high = np.percentile(eurosat, (1, 99), axis=(0, 2, 3))[..., None, None]
    half = EUROSAT // 2
    stretched = np.clip((eurosat[half:] - low) / (high - low) * 255, 0, 255)
    return [group.astype(np.float32) for group in (eurosat[:half], stretched, whole, parts)]


def to_input(tiles: npt.NDArray[np.float32]) -> Tensor:
    """Resize tiles to the network's input, whole numbers from 0 to 255."""
    return resize(torch.from_numpy(tiles), (SIDE, SIDE)).clamp(0, 255).round()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    settings = parser.parse_args()
    backbone = load_backbone(stages=GENERAL_STAGES).eval()
    pixels = torch.cat([to_input(group) for group in choose(settings.data)])
    made = calibrate(backbone, pixels)
    save_file(made, settings.file)
    shipped = shipped_calibration(backbone) or {}
    apart = {name: float((made[name] - shipped[name]).abs().max()) for name in shipped}
    print(f"{len(pixels)} tiles; largest differences from the shipped file: {apart}")


if __name__ == "__main__":
    main()
