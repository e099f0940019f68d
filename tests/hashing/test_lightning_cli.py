"""Configurations train with TorchGeo's command line and ours, and save the best hasher."""

import os
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
import yaml

from geohash_rs import HashingTask, load_hasher
from geohash_rs.errors import HasherError, TrainingError
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
    fitted = run_lightning_cli(["fit", "--config", str(configuration)])
    assert fitted.hasher == tmp_path / "hasher.safetensors"
    assert (fitted.epoch, fitted.checkpoint) == ("the best epoch by step", tmp_path / "best.ckpt")
    state = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert state["epoch"] == 0
    saved = load_hasher(tmp_path / "hasher.safetensors").head.state_dict()
    for name, tensor in saved.items():
        assert torch.equal(tensor, state["state_dict"][f"head.{name}"])


@pytest.fixture
def checkpoint(tmp_path):
    """Make what a task saves, to which tests add what a stranger might."""
    task = HashingTask(**SMALL)
    task.tile_size = 40
    content = {
        "pytorch-lightning_version": "2.6.0", "epoch": 0, "global_step": 0,
        "callbacks": {}, "state_dict": task.state_dict(), "hyper_parameters": {**task.hparams},
    }  # fmt: skip
    task.on_save_checkpoint(content)
    return content


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
@pytest.mark.parametrize("path", ["http://127.0.0.1:9/stranger.ckpt", "registry:stranger"])
def test_a_checkpoint_is_never_fetched(command, path, configuration):
    words = [command, "--config", str(configuration), "--ckpt_path", path]
    with pytest.raises(TrainingError, match=f"{path}; checkpoints are read from files only"):
        run_lightning_cli(words)
    with pytest.raises(TrainingError, match="checkpoints are read from files only"):
        HashingTask.load_from_checkpoint(path)


def test_code_in_a_checkpoint_does_not_run(configuration, tmp_path):
    class Stranger:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"state_dict": {}, "more": Stranger()}, tmp_path / "stranger.ckpt")
    path = str(tmp_path / "stranger.ckpt")
    with pytest.raises(HasherError, match="without running code from it: it is damaged, or holds"):
        run_lightning_cli(["test", "--config", str(configuration), "--ckpt_path", path])
    with pytest.raises(HasherError, match="without running code from it: it is damaged, or holds"):
        HashingTask.load_from_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "named",
    [
        {"_class_path": "stranger.Task"},
        {"class_path": "stranger.Task", "init_args": {}},
        {"_instantiator": "stranger.make"},
        {"_instantiator": "lightning.pytorch.cli.instantiate_module", "_class_path": "stranger.T"},
    ],
)
def test_a_checkpoint_names_no_class_that_is_imported(
    named, configuration, checkpoint, tmp_path, monkeypatch
):
    (tmp_path / "stranger.py").write_text("raise SystemExit('a stranger was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "stranger.ckpt"
    torch.save({**checkpoint, "hyper_parameters": named | checkpoint["hyper_parameters"]}, path)
    task = HashingTask.load_from_checkpoint(path, map_location="cpu")
    assert type(task) is HashingTask
    run_lightning_cli(["test", "--config", str(configuration), "--ckpt_path", str(path)])
    assert "stranger" not in sys.modules


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("state_dict", 1, "state_dict is missing"),
        ("pytorch-lightning_version", None, "version is missing or of another type"),
        ("loops", 7, "loops is missing or of another type"),
        ("loops", {"fit_loop": 1}, r"cannot resume from the checkpoint \(KeyError: 'test_loop'\)"),
        ("geohash_rs", {}, "lacks 'geohash_rs', which HashingTask stores"),
    ],
)
def test_a_damaged_checkpoint_is_refused(name, value, said, configuration, checkpoint, tmp_path):
    path = tmp_path / "damaged.ckpt"
    torch.save({**checkpoint, name: value}, path)
    with pytest.raises(TrainingError, match=said):
        run_lightning_cli(["test", "--config", str(configuration), "--ckpt_path", str(path)])


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x04."])
@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_a_file_without_weights_is_refused(content, ending, tmp_path):
    path = tmp_path / f"wrong.{ending}"
    path.write_bytes(content)
    with pytest.raises(HasherError, match="cannot be read as weights"):
        HashingTask(**SMALL | {"weights": str(path)})
