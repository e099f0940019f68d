"""Made-up tiles and a quiet trainer, for the blocks of the pages that train."""

import importlib
import logging
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ("blue", "green", "red")
# mAP of codes that know nothing is 0.46 on the six test tiles of these classes, 0.43 on the nine
# that validate; a few iterations reach 0.75 and more, differently on each processor
CHANCE = 0.5
QUIET = {"ENABLE_PROGRESS_BAR": "False", "ENABLE_MODEL_SUMMARY": "False", "ACCELERATOR": "cpu"}


def begin() -> None:
    """Work in an empty folder, and keep Lightning from printing."""
    importlib.import_module("lightning.pytorch")  # which makes its logger talk
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ |= {f"PL_TRAINER_{name}": value for name, value in QUIET.items()}
    os.chdir(tempfile.mkdtemp())


def write_classes(folder: str, *, count: int = 12, size: int = 64) -> None:
    """Write a folder of noisy pictures for each of three colours."""
    rng = np.random.default_rng(0)
    for colour, name in enumerate(COLOURS):
        path = Path(folder, name)
        path.mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 90, (size, size, 3))
            pixels[..., colour] += 120
            Image.fromarray(pixels.astype("uint8")).save(path / f"{number:02}.png")
