"""Users who make no mistakes see no warnings, in commands or in Python."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.ground import mosaic, write
from tests.hashing.lightning_runs import SMALL

ROOT = Path(__file__).resolve().parents[2]
# First the Python lines of the README, with Python's default filters, then commands.
SESSION = """
import json
import sys

from lightning.pytorch import Trainer

from geohash_rs import Archive, ClassFolderDataModule, HashingTask, Scenes
from geohash_rs.cli import main
from geohash_rs.hashing import BalancedBatches

sys.scenes = Scenes("scenes/")  # is still open when Python ends
archive = Archive.create("archive", hasher="lsh-16")
archive.add(sys.scenes, tile_size=64, workers=2)
matches = archive.query("patch.tif", k=3, region=(5, 45, 30, 60))
for ending in ("geojson", "gpkg", "parquet", "csv", "html"):
    matches.to_file(f"matches.{ending}")
data = BalancedBatches(ClassFolderDataModule("classes"), classes_per_batch=2, samples_per_class=2)
trainer = Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
trainer.fit(HashingTask(**json.loads(sys.argv[1]), num_classes=2), datamodule=data)
archive.close()

for words in (
    "index scenes --archive second --hasher lsh-16 --tile-size 64 --workers 1",
    "query archive patch.tif -k 3",
    "query archive --tile 0 --distinct -o found.gpkg",
    "info archive",
    "verify archive",
    "export archive -o all.geojson",
    "remove second --scene scenes/a_20230601.tif",
    "compact second",
    "weights",
    "fit --config fit.yaml",
):
    try:
        main(words.split())
    except SystemExit as end:
        print(words, "ended with", end.code or 0)
"""
PROGRESS = re.compile(r"Seed set to|GPU available|[TH]PU available|`Trainer.fit` stopped|\s*$")
TABLE = re.compile(r"[-\s]*$|.*\| |[\d.]+( [KM])? +(Trainable|Non-trainable|Total|Modules)")
BAR = re.compile(r"Epoch|Training|Validat|Sanity")  # progress bars


@pytest.mark.slow
def test_a_session_without_mistakes_shows_no_warnings(tmp_path):
    for number, name in enumerate(("a_20230601.tif", "b_20230901.tif")):
        write(tmp_path / "scenes" / name, mosaic(2, 2, number))
    write(tmp_path / "patch.tif", mosaic(1, 1, 0))
    for name, level in (("lake", 40), ("town", 200)):
        folder = tmp_path / "classes" / name
        folder.mkdir(parents=True)
        noise = np.random.default_rng(level)
        for number in range(10):
            pixels = noise.integers(level - 30, level + 30, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    trainer = {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": str(tmp_path / "out")}
    model = {"class_path": "geohash_rs.HashingTask", "init_args": {**SMALL, "num_classes": 2}}
    data = {"class_path": "geohash_rs.ClassFolderDataModule", "init_args": {"root": "classes"}}
    settings = {"trainer": trainer | {"logger": False}, "model": model, "data": data}
    (tmp_path / "fit.yaml").write_text(json.dumps(settings))
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    done = subprocess.run(
        [sys.executable, "-c", SESSION, json.dumps(SMALL)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=tmp_path,
        env=plain | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ended with 0") == 10, done.stdout
    said = [
        line
        for line in done.stderr.splitlines()
        if not PROGRESS.match(line) and not TABLE.match(line) and not BAR.match(line)
    ]
    tips = [line for line in said if "Tip: " in line]
    assert len(tips) <= 1  # from the Trainer made in Python; the command mutes them
    # Our own: codes of a network that saw a few batches of noise, and the files written.
    ours = re.compile(r".*codes have collapsed|.*found\.gpkg\.$")
    assert [line for line in said if line not in tips and not ours.match(line)] == []
