"""Two processes train one head, and measure what one process measures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geohash_rs.hashing.data.class_folder_module import ClassFolderDataModule
from geohash_rs.hashing.train.task import HashingTask
from tests.hashing.conftest import write_pictures
from tests.hashing.lightning_runs import SMALL, TRAINING_WARNINGS, trainer

ROOT = Path(__file__).resolve().parents[3]
pytestmark = TRAINING_WARNINGS

SCRIPT = """
import json, sys
from pathlib import Path
from lightning.pytorch import Trainer, seed_everything
from torch.utils.data import DataLoader
from geohash_rs import ClassFolderDataModule, HashingTask

class Shuffled(ClassFolderDataModule):
    def train_dataloader(self):
        return DataLoader(self.train_dataset, batch_size=6, shuffle=True)

root, out, settings = json.loads(sys.argv[1])
quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
quiet |= {"accelerator": "cpu", "enable_checkpointing": False}
for cache in (None, False):
    seed_everything(0)
    data = Shuffled(root, size=40, fractions=(0.6, 0.3), samples_per_class=4)
    task = HashingTask(**settings, cache=cache)
    run = Trainer(devices=2, strategy="ddp", max_epochs=2, **quiet)
    run.fit(task, datamodule=data)
    run.save_checkpoint(Path(out, f"{cache}.ckpt"))
    seen = {name: float(value) for name, value in run.callback_metrics.items()}
    seen["weights"] = float(sum(weight.double().abs().sum() for weight in task.head.parameters()))
    Path(out, f"{cache}, {run.global_rank} of {run.world_size}.json").write_text(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train on features and on images, in the same two processes; return the folder."""
    out = tmp_path_factory.mktemp("ddp")
    write_pictures(out / "data")
    (out / "train.py").write_text(SCRIPT, encoding="utf-8")
    words = json.dumps([str(out / "data"), str(out), SMALL])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(out / "train.py"), words],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
@pytest.mark.parametrize("cache", [None, False])  # False divides the nine tiles of validation
def test_two_processes_share_weights_and_measure_what_one_measures(trained, tmp_path, cache):
    first, second = (
        json.loads((trained / f"{cache}, {rank} of 2.json").read_text(encoding="utf-8"))
        for rank in range(2)
    )
    assert first["weights"] == second["weights"]
    data = ClassFolderDataModule(str(trained / "data"), size=40, fractions=(0.6, 0.3))
    task = HashingTask.load_from_checkpoint(trained / f"{cache}.ckpt")
    (alone,) = trainer(tmp_path).validate(task, datamodule=data, verbose=False)
    for name, value in alone.items():
        assert first[name] == second[name] == pytest.approx(value, abs=1e-6), name
