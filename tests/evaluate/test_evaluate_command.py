"""The command evaluates the requested backbone and weights, and writes all results."""

import json
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from geohash_rs.cli.evaluate import evaluate_command
from geohash_rs.evaluate import PROTOCOLS
from geohash_rs.hashing.shipped import load_hasher


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for index, name in enumerate(("field", "lake", "town")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(10):
            pixels = 40 + 60 * index + rng.normal(0, 6 + 12 * index, (48, 48, 3))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


def test_a_local_state_dict_is_evaluated_and_everything_is_written(root, tmp_path, run):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet")
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    options = ["--model", "test_resnet", "--weights", str(tmp_path / "weights.pth")]
    options += ["--methods", "milan,paper,itq,float", "--bits", "8,16", "--seeds", "2"]
    options += ["--first-seed", "3"]
    options += ["--stages", "layer2", "--input-size", "32", "--iterations", "20"]
    options += ["--train-views", "2", "--cache", str(tmp_path / "cache")]
    files = ["--json", str(tmp_path / "out" / "all.json"), "--plots", str(tmp_path / "plots")]
    code, table, said = run("evaluate", "--root", root, *options, *files)
    assert code == 0, said
    assert "| milan | test |" in table
    result = json.loads((tmp_path / "out" / "all.json").read_text())
    assert len(result["rows"]) == 3 * 2 * 2 + 2
    assert {row["seed"] for row in result["rows"]} == {3, 4}
    assert result["settings"]["recipes"]["milan"]["train_views"] == ["identity", "hflip"]
    assert result["settings"]["recipes"]["paper"]["stages"] == ["layer2"]
    assert len(list((tmp_path / "plots").glob("*.png"))) == 5
    saved = tmp_path / "mine.safetensors"
    options += ["--dataset", "UC_Merced", "--save-hasher", saved]
    assert run("evaluate", "--root", root, *options) == (
        0, table, f"The hasher is saved in {saved}.\n"
    )  # fmt: skip
    figures = load_hasher(saved).notes["figures"]["map@20"]
    assert set(figures) == {"milan", "paper", "itq", "float"}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--methods", "bert"], "bert is unknown; use some of paper, milan"),
        (["--methods", ","], "no method is named; use some of paper, milan"),
        (["--dataset", "eurosta"], "data set 'eurosta' is unknown; use one of class-folders"),
        (["--bits", "12"], "num_bits is 12"),
        (["--bits", "a"], "'a' is not a list such as 16,24,32"),
        (["--protocol", "mine"], "'mine' is not one of 'paper', 'clean', 'unseen', 'spatial'"),
        (["--seeds", "0"], "0 is not in the range x>=1"),
        (["--iterations", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_arguments_are_reported_in_one_line_with_exit_code_two(root, run, option, said):
    code, _, told = run("evaluate", "--root", root, *option)
    assert code == 2
    assert said in told
    assert len(told.splitlines()) == 1


def test_the_command_offers_exactly_the_existing_protocols():
    (protocol,) = (o for o in evaluate_command.params if o.name == "protocol")
    assert tuple(protocol.type.choices) == PROTOCOLS


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--dataset", "bigearthnet"], "holds no patches of BigEarthNet"),
        (["--protocol", "spatial"], "needs"),
        (["--split", "lists"], 'use split "seed"'),
        (["--methods", "float", "--save-hasher", "mine.safetensors"], "add a method, such as"),
        (["--save-hasher", "mine.pth"], "mine.pth does not end in .safetensors"),
        (["--model", "test_resnet", "--weights", "none.pth"], "none.pth to read weights from"),
    ],
)
def test_data_that_cannot_be_measured_is_reported_in_one_line(root, run, option, said):
    code, _, told = run("evaluate", "--root", root, "--stages", "none", *option)
    assert code == 1
    assert said in told
    assert len(told.splitlines()) == 1


def test_pictures_show_the_first_method_if_there_is_no_recipe(root, tmp_path, run):
    options = ["--model", "test_resnet", "--weights", str(tmp_path / "weights.pth")]
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.pth")
    options += ["--input-size", "32", "--bits", "8", "--seeds", "1", "--plots"]
    for methods in ("float", "itq,float"):
        folder = tmp_path / methods
        code, _, said = run("evaluate", "--root", root, "--methods", methods, *options, folder)
        assert code == 0, said
        written = {path.stem for path in folder.glob("*.png")}
        assert written == {"map_by_bits", "precision_recall", "projection", "matches"}


def test_a_folder_with_more_classes_than_the_data_set_is_refused(root, run):
    for number in range(8):
        shutil.copytree(root / "lake", root / f"lake {number}")
    code, _, told = run("evaluate", "--dataset", "EuroSAT", "--root", root)
    assert code == 1
    assert "has 11 classes, but eurosat has 10" in told
