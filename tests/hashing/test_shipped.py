"""The shipped hashers load by name, are small, and describe how they were made."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geohash_rs.evaluate import make_trials
from geohash_rs.hashing.data.class_folders import ClassFolders
from geohash_rs.hashing.fit.itq import lsh_head
from geohash_rs.hashing.shipped import load_hasher, shipped_hashers
from geohash_rs.metrics import measures as metrics

EXAMPLE = Path(__file__).parents[2] / "examples" / "06_train_shipped.py"
NAMES = {"ucmerced-64": 64, "eurosat-rgb-64": 64, "general-rgb-128": 128}


@pytest.mark.parametrize(("name", "num_bits"), NAMES.items())
def test_a_shipped_hasher_is_small_and_has_a_card(name, num_bits, tiles):
    assert shipped_hashers()[name].stat().st_size < 4_000_000
    hasher = load_hasher(name)
    assert hasher.codes(tiles).shape == (6, num_bits // 8)
    assert hasher.name == name
    assert {"about", "data", "split", "figures", "licence", "use"} <= set(hasher.notes)


@pytest.fixture(params=[("ucmerced", "paper"), ("eurosat_rgb", "spatial")], ids=lambda p: p[0])
def few_tiles(request, shared_data):
    """Return four tiles of each class from the part that no supervised hasher was trained on."""
    folder, protocol = request.param
    tiles = ClassFolders.open(shared_data / folder)
    (trial,) = make_trials(tiles, protocol)
    labels = tiles.labels[trial.queries]
    chosen = [trial.queries[labels == number][:4] for number in range(len(tiles.classes))]
    return folder, tiles.take(np.concatenate(chosen))


def measure(distances, labels):
    np.fill_diagonal(distances, np.inf)
    return metrics.mean_average_precision(distances, labels[:, None] == labels, k=20)


def hamming(activations):
    bits = activations.detach().numpy() > 0.5
    return (bits[:, None] != bits).sum(2).astype(float)


def test_a_supervised_hasher_finds_its_classes(few_tiles):
    folder, tiles = few_tiles
    hasher = load_hasher(f"{folder.replace('_', '-')}-64")
    assert tuple(hasher.notes["classes"]) == tiles.classes
    activations = torch.cat([hasher.activations(batch) for batch in tiles.batches()])
    assert measure(hamming(activations), tiles.labels) > 0.9  # 0.94 and 0.97 as shipped
    assert hasher.notes["figures"]["map@20"] > 0.9


def test_the_general_hasher_is_better_than_hyperplanes_and_close_to_float_features(few_tiles):
    _, tiles = few_tiles
    hasher = load_hasher("general-rgb-128")
    features = torch.cat([hasher.features(batch) for batch in tiles.batches()])
    unit = torch.nn.functional.normalize(features, dim=1).numpy()
    ours = measure(hamming(hasher.head(features)), tiles.labels)
    assert ours >= 0.97 * measure(1.0 - unit @ unit.T, tiles.labels)
    assert ours > measure(hamming(lsh_head(features, num_bits=128)(features)), tiles.labels)


def test_the_card_of_the_general_hasher_names_data_that_it_was_not_fitted_on():
    figures = load_hasher("general-rgb-128").notes["figures"]
    assert len(figures) == 4
    for row in figures.values():
        assert row["general-rgb-128, adapted"] > row["itq-128"]
        assert row["general-rgb-128, adapted"] >= 0.97 * row["float"]


def test_the_command_that_made_them_is_reproducible(shared_data, tmp_path, monkeypatch, capsys):
    for name in ("ucmerced", "eurosat_rgb"):
        folders = sorted({path.parent for path in (shared_data / name).rglob("*1.jpg")})
        for folder in folders[:4]:
            target = tmp_path / name / folder.name
            target.mkdir(parents=True)
            for path in sorted(folder.glob("*.jpg"))[:5]:
                shutil.copy(path, target)
    shutil.copy(shared_data / "eurosat_rgb" / "locations.csv", tmp_path / "eurosat_rgb")

    def run(output):
        options = {"ucmerced": "ucmerced", "eurosat": "eurosat_rgb", "cache": "cache"}
        paths = [x for key, value in options.items() for x in (f"--{key}", str(tmp_path / value))]
        rest = ["--iterations", "5", "--output", str(tmp_path / output)]
        monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *paths, *rest])
        runpy.run_path(str(EXAMPLE), run_name="__main__")
        files = sorted((tmp_path / output).glob("*.safetensors"))
        return [load_hasher(path) for path in files], capsys.readouterr().out

    made, printed = run("first")
    again, _ = run("second")
    assert {hasher.name: hasher.num_bits for hasher in made} == NAMES
    assert [h.fingerprint for h in made] == [h.fingerprint for h in again]
    cards = [json.dumps(h.notes["figures"], indent=2, sort_keys=True) for h in made]
    assert all(card in printed for card in cards)
