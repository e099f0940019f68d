"""Small Lightning runs, their files, and filters for the warnings that they cannot avoid."""

import json
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Trainer
from PIL import Image
from torch.utils.data import Subset

SMALL = {
    "model": "test_resnet", "weights": False, "num_bits": 16, "input_size": 32, "iterations": 20
}  # fmt: skip
# Lightning and TorchGeo warn that loaders have few workers and that modules log rarely
TRAINING_WARNINGS = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*num_workers.*"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
    # a few steps over random weights
    pytest.mark.filterwarnings("ignore::geohash_rs.hashing.train.validation.CodeCollapseWarning"),
    pytest.mark.filterwarnings("ignore::geohash_rs.hashing.train.worth.NotWorthWarning"),
    # a frozen backbone is in eval mode on purpose
    pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training"),
]


def trainer(path, **settings):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "default_root_dir": path}
    return Trainer(**quiet | settings)


def keep_some(module, parts):
    """Keep every 20th tile of parts of a data module, to save time."""
    for part in parts:
        dataset = getattr(module, f"{part}_dataset")
        rows = range(0, len(dataset), 20)
        setattr(module, f"{part}_dataset", Subset(dataset, rows))


def write_training(folder: Path) -> None:
    """Write ``classes``, a class folder of two classes, and ``fit.yaml``, which trains on it."""
    for name, level in (("lake", 40), ("town", 200)):
        pictures = folder / "classes" / name
        pictures.mkdir(parents=True)
        noise = np.random.default_rng(level)
        for number in range(10):
            pixels = noise.integers(level - 30, level + 30, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(pictures / f"{number}.png")
    trainer = {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": str(folder / "out")}
    model = {"class_path": "geohash_rs.HashingTask", "init_args": {**SMALL, "num_classes": 2}}
    data = {"class_path": "geohash_rs.ClassFolderDataModule", "init_args": {"root": "classes"}}
    settings = {"trainer": trainer, "model": model, "data": data}
    (folder / "fit.yaml").write_text(json.dumps(settings), encoding="utf-8")
