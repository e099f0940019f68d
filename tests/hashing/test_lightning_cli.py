"""Configurations train with TorchGeo's command line and ours, and save the best hasher."""

import os
import pickle
from pathlib import Path
from unittest import mock

import pytest
import torch
import yaml

from geohash_rs import HashingTask, load_hasher
from geohash_rs.errors import HasherError
from geohash_rs.hashing.lightning_cli import run_lightning_cli
from tests.hashing.lightning_runs import SMALL, TRAINING_WARNINGS

pytestmark = [
    *TRAINING_WARNINGS,
    # the command line seeds NumPy's legacy generator, also in workers, and warns about it
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::UserWarning:jsonargparse"),
]


@pytest.fixture
def configuration(folder, tmp_path):
    """Write a configuration of three epochs; the first one's checkpoint is the best."""
    best = {"monitor": "step", "mode": "min", "dirpath": str(tmp_path), "filename": "best"}
    settings = {
        "trainer": {
            "max_epochs": 3, "accelerator": "cpu", "logger": False,
            "default_root_dir": str(tmp_path), "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [
                {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": best}
            ],
        },
        "model": {"class_path": "geohash_rs.HashingTask", "init_args": {**SMALL, "lr": 0.01}},
        "data": {
            "class_path": "geohash_rs.hashing.data.balanced.BalancedBatches",
            "init_args": {
                "data": {
                    "class_path": "geohash_rs.ClassFolderDataModule",
                    "init_args": {"root": str(folder)},
                }
            },
        },
    }  # fmt: skip
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_torchgeos_own_command_line_trains_the_task(configuration, tmp_path):
    from torchgeo.main import main

    with mock.patch.dict(os.environ):  # TorchGeo sets options of GDAL there
        main(["fit", "--config", str(configuration)])
    task = HashingTask.load_from_checkpoint(tmp_path / "best.ckpt", map_location="cpu")
    task.hasher(name="mine").save(tmp_path / "mine.safetensors")
    hasher = load_hasher(tmp_path / "mine.safetensors")
    assert (hasher.num_bits, hasher.tile_size, hasher.scaling.high) == (16, 40, (255.0,) * 3)


def test_the_hasher_of_the_best_epoch_is_saved(configuration, tmp_path):
    run_lightning_cli(["fit", "--config", str(configuration)])
    state = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert state["epoch"] == 0
    saved = load_hasher(tmp_path / "hasher.safetensors").head.state_dict()
    for name, tensor in saved.items():
        assert torch.equal(tensor, state["state_dict"][f"head.{name}"])


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_a_checkpoint_is_never_fetched(configuration, command):
    address = "http://127.0.0.1:9/stranger.ckpt"
    words = [command, "--config", str(configuration), "--ckpt_path", address]
    with pytest.raises(HasherError, match=f"{address}, but checkpoints are read from files only"):
        run_lightning_cli(words)


def test_code_in_a_checkpoint_does_not_run(configuration, tmp_path):
    class Stranger:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"state_dict": {}, "more": Stranger()}, tmp_path / "stranger.ckpt")
    path = str(tmp_path / "stranger.ckpt")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        run_lightning_cli(["test", "--config", str(configuration), "--ckpt_path", path])
    assert not (tmp_path / "ran").exists()
