"""The command ``geohash-rs refit``, and what other commands say about it."""

import json

import numpy as np
import pytest
import torch

from geohash_rs import Archive, Scenes, fit_hasher
from geohash_rs.scenes import values
from tests.ground import KINDS, TILE, ground, mosaic
from tests.indexing.test_refit import interrupt_after
from tests.scenes.test_stac import item, tiff


@pytest.fixture
def filled(quick, scene_folder):
    quick.add(Scenes(scene_folder), tile_size=TILE)
    return quick


@pytest.fixture
def other_file(tmp_path):
    tiles = torch.from_numpy(np.stack([ground(i % KINDS, TILE, 50 + i) for i in range(24)]))
    path = tmp_path / "other.safetensors"
    fit_hasher([tiles], num_bits=24, input_size=32, seed=3).save(path)
    return path


def test_the_command_reports_what_it_does(filled, other_file, run):
    code, out, err = run("refit", filled.path, "--hasher", other_file)
    assert (code, err) == (0, "")
    first, second, third = out.splitlines()
    assert first.startswith(f"56 tiles of 3 scenes of {filled.path} will be hashed from the pixels")
    assert second.startswith("56 tiles of 3 scenes have new codes by itq-24")
    assert third.startswith("Codes, links with a patch and published copies made before")
    code, out, _ = run("refit", filled.path, "--hasher", other_file, "--json")
    report = json.loads(out)
    assert (report["num_hashed"], report["num_bits"]) == (0, 24)
    code, out, _ = run("refit", filled.path, "--hasher", other_file)
    assert (code, out.count("nothing was changed")) == (0, 1)
    code, out, err = run("refit", filled.path, "--hasher", "nosuch")
    assert (code, out) == (1, "")
    assert err.startswith("geohash-rs: ")


@pytest.mark.usefixtures("small_input")
def test_a_scale_that_only_a_stac_item_states_needs_the_item(
    tmp_path, run, write_scene, monkeypatch
):
    pytest.importorskip("pystac", reason="the extra 'stac' is not installed")
    image = mosaic(4, 4, 3).astype(np.uint16) * 30
    scene = write_scene(tmp_path / "scene.tif", image)
    asset = {**tiff("scene.tif", "data"), "raster:bands": [{"scale": 0.0001, "offset": -0.1}] * 3}
    (tmp_path / "item.json").write_text(json.dumps(item("one", {"all": asset})))
    archive = Archive.create(tmp_path / "archive", hasher="itq-8")
    assert archive.add(Scenes.from_stac(tmp_path / "item.json"), tile_size=TILE).num_tiles == 16
    monkeypatch.setattr(values, "_catalogued", {})  # as in another process
    words = ["refit", archive.path, "--hasher", "itq-16"]
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert f"16 tiles of 1 scenes cannot be read again ({scene}: it has changed" in err
    assert "pass the STAC items" in err
    code, out, err = run(*words, "--items", tmp_path / "item.json")
    assert (code, err) == (0, "")
    assert "16 tiles of 1 scenes have new codes by itq-16" in out


def test_help_says_what_stays_and_what_the_options_do(run):
    code, out, _ = run("refit", "--help")
    words = " ".join(out.split())
    assert code == 0
    assert "Tile ids, footprints, dates and labels stay" in words
    assert "[default: the archive's own, fitted again]" in words
    for option in ("--hasher", "--items", "--workers", "--device", "--json"):
        assert option in out


def test_verify_names_an_unfinished_refit(filled, other_file, monkeypatch, run):
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        filled.refit(other_file, batch_size=10)
    code, out, _ = run("verify", filled.path)
    (name,) = [path.name for path in filled.path.glob("refit-*")]
    assert code == 0
    assert f"unfinished: {name} ('refit' resumes it; delete the folder to give it up)" in out
    assert run("compact", filled.path)[0] == 0
    assert (filled.path / name).is_dir()
