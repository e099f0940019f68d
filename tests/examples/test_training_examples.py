"""The examples of training run as they are written, on fewer tiles and for fewer steps."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from geohash_rs import load_hasher
from geohash_rs.hashing import load_backbone
from geohash_rs.hashing.lightning_cli import run_lightning_cli
from tests.hashing.lightning_runs import TRAINING_WARNINGS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = [
    *TRAINING_WARNINGS,
    # the command line sets the seed of NumPy's old generator, and says so of workers
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::UserWarning:jsonargparse"),
]


@pytest.fixture
def ucmerced(shared_data, tmp_path):
    """Lay out four classes of UC Merced with a few tiles each, as TorchGeo wants them."""
    source, root = shared_data / "ucmerced", tmp_path / "ucmerced"
    classes = ("agricultural", "beach", "forest", "harbor")
    for part, most in {"train": 6, "val": 3, "test": 3}.items():
        names = (source / f"uc_merced-{part}.txt").read_text().split()
        chosen = [n for c in classes for n in [n for n in names if n.startswith(c)][:most]]
        for name in chosen:
            picture = next(source.rglob(name))
            target = root / picture.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(picture)
        (root / f"uc_merced-{part}.txt").write_text("\n".join(chosen))
    return root


def run(example, *arguments, monkeypatch, folder):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [example, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / example), run_name="__main__")


def test_the_best_recipe_trains_and_is_tested_from_its_configuration(
    ucmerced, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    config = str(EXAMPLES / "01_train_ucmerced.yaml")
    small = [
        "--config", config, "--data.dict_kwargs.root", str(ucmerced),
        "--data.dict_kwargs.download", "false",  # the whole data set would be checked
        "--model.init_args.input_size", "64", "--model.init_args.iterations", "20",
        "--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false",
    ]  # fmt: skip
    run_lightning_cli(["fit", *small])
    assert load_hasher("features/hasher.safetensors").num_bits == 32
    run_lightning_cli(["test", *small, "--ckpt_path", "features/hasher.ckpt"])
    assert "test_map" in capsys.readouterr().out


def test_thirteen_bands_train_from_their_configuration(shared_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_lightning_cli([
        "fit", "--config", str(EXAMPLES / "04_thirteen_bands.yaml"),
        "--data.dict_kwargs.root", str(shared_data / "eurosat100"),
        "--model.init_args.input_size", "64", "--model.init_args.iterations", "20",
        "--trainer.enable_progress_bar", "false",
    ])  # fmt: skip
    hasher = load_hasher("features/hasher.safetensors")
    # as TorchGeo's data set names them
    assert (len(hasher.bands), hasher.bands[12], hasher.num_bits) == (13, "B8A", 64)


def test_a_torchgeo_script_learns_to_hash(ucmerced, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = runpy.run_path(str(EXAMPLES / "02_torchgeo_script.py"))
    script["main"](str(ucmerced), iterations=20)
    assert load_hasher(tmp_path / "my-hasher.safetensors").name == "ucmerced-64"


def test_your_class_folders_train(ucmerced, tmp_path, monkeypatch, capsys):
    run(
        "03_your_class_folder.py", ucmerced, "mine.safetensors", "--iterations", 20,
        monkeypatch=monkeypatch, folder=tmp_path,
    )  # fmt: skip
    assert "48 tiles of 4 classes: agricultural, beach" in capsys.readouterr().out
    assert load_hasher(tmp_path / "mine.safetensors").tile_size == 256


@pytest.mark.parametrize("more", [[], ["--validate"]])
def test_the_whole_network_is_fine_tuned(ucmerced, tmp_path, monkeypatch, capsys, more):
    run(
        "05_fine_tune.py", ucmerced, "tuned.safetensors", "--epochs", 2, "--input-size", 64,
        "--bits", 16, *more, monkeypatch=monkeypatch, folder=tmp_path,
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    figures = [line for line in lines if line.startswith("mAP@20 with")]
    assert [line.split()[2] for line in figures] == ["1", "4", "8"]
    assert all(float(line.split()[-1]) > 0.5 for line in figures)  # chance is 0.25
    tuned = load_hasher(tmp_path / "tuned.safetensors")
    assert (tuned.backbone.weights, tuned.num_bits, tuned.tile_size) == ("fine-tuned", 16, 256)
    new = load_backbone("tf_efficientnet_lite0", stages=tuned.backbone.stages).network
    same = [
        # the average of equal weights rounds
        torch.allclose(tuned.backbone.network.get_parameter(name), new.get_parameter(name))
        for name in ("conv_stem.weight", "conv_head.weight")
    ]
    assert same == [True, False]
