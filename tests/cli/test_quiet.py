"""Users who make no mistakes see no warnings, in commands or in Python."""

import json
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.ground import mosaic, write
from tests.hashing.lightning_runs import SMALL, write_training

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
termios = pytest.importorskip("termios", reason="this system has no pseudo-terminals")

ROOT = Path(__file__).resolve().parents[2]
# First the Python lines of the README, with Python's default filters, then commands.
SESSION = """
import json
import os
import signal
import sys
import threading
from pathlib import Path

from lightning.pytorch import Trainer

from geohash_rs import Archive, ClassFolderDataModule, HashingTask, Scenes
from geohash_rs.cli import main
from geohash_rs.hashing import BalancedBatches

sys.scenes = Scenes("scenes/")  # is still open when Python ends
archive = Archive.create("archive", hasher="lsh-16")
archive.add(sys.scenes, tile_size=64, workers=2, progress=True)
matches = archive.query("patch.tif", k=3, region=(5, 45, 30, 60))
for ending in ("geojson", "gpkg", "parquet", "csv", "html"):
    matches.to_file(f"matches.{ending}")
data = BalancedBatches(ClassFolderDataModule("classes"), classes_per_batch=2, samples_per_class=2)
trainer = Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
trainer.fit(HashingTask(**json.loads(sys.argv[1]), num_classes=2), datamodule=data)
archive.close()

store = f"file://{Path.cwd()}/store"


def run(words, *, seconds=None):
    print("####", words, file=sys.stderr)
    timer = threading.Timer(seconds or 0, os.kill, (os.getpid(), signal.SIGINT))
    if seconds is not None:
        timer.start()
    try:
        main(words.split())
    except SystemExit as end:
        timer.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print(words, "ended with", end.code or 0)


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
    f"push archive {store}",
    f"pull {store} pulled",
    "fit --config fit.yaml",
    "evaluate --root classes --methods lsh --bits 16 --seeds 1 --input-size 32 --plots plots",
    *sys.argv[2:],
):
    run(words)
dense = "--tile-size 64 --stride 1 --hasher lsh-16"
run(f"index scenes --archive new/third {dense}", seconds=4)
run(f"index scenes --archive new/third {dense} --workers 2", seconds=4)
run("fit --config fit.yaml --trainer.max_epochs 100000", seconds=4)
run("serve archive --port 0", seconds=4)
"""
# What Lightning reports about a run.
PROGRESS = re.compile(
    r"Seed set to|GPU available|[TH]PU available|Loading `train_|`Trainer.fit` stopped|\s*$"
)
TABLE = re.compile(r"[-\s]*$|.*\| |[\d.]+( [KM])? +(Trainable|Non-trainable|Total|Modules)")
BAR = re.compile(r"(index|push|pull|training|features of \d+ tiles): .*\[[^\]]*\](\^C)?$")


def in_a_terminal(words, **options):
    """Run a command whose error output is a terminal; return it, its output and those lines."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 160))
    said = bytearray()

    def listen():
        with suppress(OSError):  # Linux reports the end in this way
            while text := os.read(ours, 65536):
                said.extend(text)
        os.close(ours)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=theirs, text=True, check=False, **options
        )
    finally:
        os.close(theirs)
    listener.join(60)
    lines = said.decode().replace("\r\n", "\n").split("\n")
    return done, [line.rsplit("\r", 1)[-1] for line in lines]


@pytest.mark.slow
def test_a_session_without_mistakes_shows_no_warnings(tmp_path):
    for number, name in enumerate(("a_20230601.tif", "b_20230901.tif")):
        write(tmp_path / "scenes" / name, mosaic(2, 2, number))
    write(tmp_path / "patch.tif", mosaic(1, 1, 0))
    write_training(tmp_path)
    # Adds again what was removed: the first scenes of an archive are read without a cluster.
    cluster = ["index scenes --archive second --tile-size 64 --engine local"]
    more = cluster if find_spec("ray") else []
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    done, lines = in_a_terminal(
        [sys.executable, "-c", SESSION, json.dumps(SMALL), *more],
        timeout=900,
        cwd=tmp_path,
        env=plain | {"PYTHONPATH": str(ROOT)},
    )
    told = "\n".join(lines)
    assert done.returncode == 0, told
    assert done.stdout.count("ended with 0") == 13 + len(more), done.stdout
    said = [line for line in lines if not PROGRESS.match(line) and not TABLE.match(line)]
    said = [line for line in said if not BAR.match(line) and not line.startswith("####")]
    tips = [line for line in said if "Tip: " in line]
    assert len(tips) <= 1, told  # from the Trainer made in Python; the command mutes them
    # Our own: codes of a network that saw a few batches of noise, their worth, the files written.
    ours = re.compile(r".*codes have collapsed|mAP@20 of 4 validation|.*found\.gpkg\.$")
    rest = [line for line in said if line not in tips and not ours.match(line)]
    assert done.stdout.count("ended with 130") == 4, done.stdout
    assert rest == ["geohash-rs: interrupted; everything committed so far is kept."] * 4, told
    assert not (tmp_path / "new").exists()
