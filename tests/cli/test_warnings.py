"""The command line shows warnings about the user's work, ours and those of other libraries."""

import json

import numpy as np
import pytest
from PIL import Image

from geohash_rs.cli import main
from tests.hashing.lightning_runs import SMALL, TRAINING_WARNINGS

pytestmark = TRAINING_WARNINGS


def fit(tmp_path, capsys, **settings):
    """Run a fit on identical tiles; return the warnings shown."""
    for name in ("lake", "town"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(6):  # identical pictures, so identical codes
            picture = Image.fromarray(np.full((32, 32, 3), 90, dtype=np.uint8))
            picture.save(tmp_path / "data" / name / f"{number}.png")
    trainer = {"accelerator": "cpu", "max_epochs": 1, "logger": False}
    trainer |= {"enable_progress_bar": False, "enable_checkpointing": False}
    trainer |= {"default_root_dir": str(tmp_path / "out"), "enable_model_summary": False}
    trainer |= settings
    data = {"class_path": "geohash_rs.ClassFolderDataModule"}
    data["init_args"] = {"root": str(tmp_path / "data")}
    model = {"class_path": "geohash_rs.HashingTask", "init_args": SMALL}
    config = tmp_path / "fit.yaml"
    config.write_text(json.dumps({"trainer": trainer, "data": data, "model": model}))
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--config", str(config)])
    seen = capsys.readouterr()
    hasher = tmp_path / "out" / "hasher.safetensors"
    assert hasher.exists()
    assert f"The hasher, of the last epoch, is in {hasher}; index with it:" in seen.out
    assert f"  geohash-rs index SCENES --archive ARCHIVE --hasher {hasher}\n" in seen.out
    return [line for line in seen.err.splitlines() if "arning" in line]


def test_collapsed_codes_are_reported_in_one_line(tmp_path, capsys):
    told = fit(tmp_path, capsys)
    assert len(told) == 1
    assert told[0].startswith("geohash-rs: warning: codes have collapsed: mean bit entropy")


@pytest.mark.filterwarnings("default:You passed .Trainer")
def test_settings_that_lightning_overrules_are_reported(tmp_path, capsys):
    told = fit(tmp_path, capsys, precision="16-mixed")
    assert any(line.startswith("geohash-rs: warning: You passed `Trainer(") for line in told)
