"""Protocols keep training, queries and archive apart, and the measures are those of the codes."""

import json

import numpy as np
import pytest
from PIL import Image

from geohash_rs.errors import CodeLengthError, TrainingError
from geohash_rs.evaluate import evaluate, make_trials, summary_table, write_plots
from geohash_rs.hashing.class_folders import ClassFolders, split_by_class

SMALL = {
    "stages": (),
    "components": 0,
    "iterations": 30,
    "input_size": 64,
    "classes_per_batch": 3,
    "samples_per_class": 4,
}


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Four classes of coloured noise, which any backbone can tell apart, with locations."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = ["filepath,class,latitude,longitude,epsg,easting,northing"]
    for index, name in enumerate(("forest", "lake", "sand", "town")):
        (root / name).mkdir()
        for number in range(10):
            colour = np.array([40, 90, 140]) + 25 * index
            pixels = colour + rng.normal(0, 6 + 12 * index, (48, 48, 3))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(root / name / f"{name}_{number}.png")
            rows.append(f"{name}/{name}_{number}.png,{name},0,0,32632,{number * 60_000},0")
    (root / "locations.csv").write_text("\n".join(rows))
    return ClassFolders.open(root)


@pytest.mark.parametrize("protocol", ["paper", "clean", "unseen", "spatial"])
def test_queries_and_training_never_overlap(tiles, protocol):
    for trial in make_trials(tiles, protocol):
        assert not set(trial.train) & set(trial.queries)
        if trial.archive == "held apart":
            assert not set(trial.searched) & (set(trial.queries) | set(trial.train))
    if protocol == "unseen":
        trained = set(tiles.labels[trial.train])
        assert not trained & set(tiles.labels[trial.queries])
    if protocol == "spatial":
        blocks = [{tiles.paths[i].stem[-1] for i in rows} for rows in (trial.train, trial.queries)]
        assert not blocks[0] & blocks[1]


def test_the_paper_split_is_60_to_40_in_every_class(tiles):
    (trial,) = make_trials(tiles, "paper")
    assert np.bincount(tiles.labels[trial.train]).tolist() == [6] * 4
    assert trial.queries is trial.searched


def test_lists_beside_the_data_give_the_split(shared_data):
    tiles = ClassFolders.open(shared_data / "ucmerced")
    train, held, test = (trial_rows for trial_rows in _parts(make_trials(tiles, "clean")))
    assert (len(train), len(held), len(test)) == (1260, 420, 420)
    listed = (shared_data / "ucmerced" / "uc_merced-test.txt").read_text().split()
    assert {tiles.paths[i].stem for i in test} == {n.rsplit(".", 1)[0] for n in listed}


def _parts(trials):
    return trials[1].train, trials[1].searched, trials[1].queries


def test_every_method_is_measured_and_learning_beats_chance(tiles, tmp_path):
    methods = ("milan", "paper", "itq", "lsh", "kslsh", "classifier", "float")
    result = evaluate(
        tiles, methods=methods, bits=(8, 16), seeds=2, changes=SMALL | {"mining": "batch_hard"},
        cache=tmp_path,
    )  # fmt: skip
    rows = result["rows"]
    assert len(rows) == 6 * 2 * 2 + 1
    assert json.loads(json.dumps(result)) == result
    by_method = {m: np.mean([r["map@20"] for r in rows if r["method"] == m]) for m in methods}
    assert min(by_method.values()) > 0.3  # chance is 0.2
    assert by_method["milan"] > 0.6
    table = summary_table(result)
    assert all(f"| {m} | test |" in table for m in methods)
    assert "relevant tiles found in the first k" in table
    assert [p.name for p in write_plots(result, tmp_path / "p")] == [
        "map_by_bits.png",
        "losses.png",
    ]


def test_a_cached_run_gives_the_same_figures(tiles, tmp_path):
    def run():
        return evaluate(
            tiles, methods=("milan",), bits=(8,), seeds=1, changes=SMALL, cache=tmp_path
        )["rows"]

    first = run()
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert run() == first


def test_wrong_requests_are_refused(tiles, tmp_path):
    with pytest.raises(TrainingError, match=r"methods \['bert'\] are unknown"):
        evaluate(tiles, methods=("bert",))
    with pytest.raises(CodeLengthError, match="num_bits is 20"):
        evaluate(tiles, bits=(20,))
    with pytest.raises(TrainingError, match="protocol 'mine' is not one of paper"):
        make_trials(tiles, "mine")
    with pytest.raises(TrainingError, match="a recipe has no colour"):
        evaluate(tiles, changes={"colour": 1})
    with pytest.raises(TrainingError, match="is not a folder"):
        ClassFolders.open(tmp_path / "none")
    with pytest.raises(TrainingError, match="no pictures of class 'moon'"):
        ClassFolders.open(tiles.root, classes=["moon"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="holds no folders of pictures"):
        ClassFolders.open(tmp_path / "empty")
    with pytest.raises(TrainingError, match="leave nothing"):
        split_by_class([0, 1], fractions=(0.6, 0.4))
