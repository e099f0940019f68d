"""Protocols keep training, queries and archive separate, and measures match the codes."""

import json
import warnings

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from geohash_rs.errors import CodeLengthError, TrainingError
from geohash_rs.evaluate import (
    evaluate,
    make_features,
    make_trials,
    open_tiles,
    summary_table,
    write_plots,
)
from geohash_rs.hashing.data.class_folders import ClassFolders, split_by_class
from geohash_rs.hashing.shipped import load_hasher
from geohash_rs.hashing.train.settings import FeatureSettings
from geohash_rs.hashing.train.validation import ranking_values

SMALL = {
    "stages": (),
    "components": 0,
    "iterations": 30,
    "input_size": 64,
    "classes_per_batch": 3,
    "samples_per_class": 4,
}


TINY = SMALL | {"model": "test_resnet", "weights": False, "input_size": 32}


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Four classes of coloured noise, which any backbone can distinguish, with locations."""
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
    for trial in make_trials(tiles, protocol, seed=1):
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


def test_a_split_without_queries_or_with_ambiguous_locations_is_refused(tmp_path):
    rows = ["id,epsg,easting,northing"]
    for name in ("forest", "lake"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{name}_{number}.png")
            rows.append(f"{name}_{number},32632,{number},0")
    table = tmp_path / "locations.csv"
    table.write_text("\n".join(rows))
    tiles = ClassFolders.open(tmp_path)
    with pytest.raises(TrainingError, match="all 6 tiles of .* lie in one block of 50 km"):
        make_trials(tiles, "spatial")
    table.write_text("\n".join([*rows, "lake_1,32632,90000,0"]))
    with pytest.raises(TrainingError, match=r"1 names, such as lake_1, match several tiles"):
        make_trials(tiles, "spatial")
    (tmp_path / "lake" / "lake_2.png").rename(tmp_path / "lake" / "forest_2.png")
    table.write_text("\n".join(rows))
    with pytest.raises(TrainingError, match=r"1 names, such as forest_2, match several tiles"):
        make_trials(ClassFolders.open(tmp_path), "spatial")
    lonely = tiles.take([0, 3])
    with pytest.raises(
        TrainingError, match=r"paper splits the 2 tiles of .* into 2 for training, 0 q"
    ):
        make_trials(lonely, "paper")


def test_the_range_of_pixel_values_covers_all_classes(tmp_path, monkeypatch):
    monkeypatch.setattr("geohash_rs.evaluate.features.SCALING_TILES", 20)
    for index, name in enumerate(("dark", "bright")):
        (tmp_path / name).mkdir()
        for number in range(40):  # more than a batch
            pixels = np.full((2, 8, 8 + index), 100 + 5000 * index, dtype=np.uint16)
            profile = {"width": 8 + index, "height": 8, "count": 2, "dtype": "uint16"}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                with rasterio.open(
                    tmp_path / name / f"{number}.tif", "w", driver="GTiff", **profile
                ) as file:
                    file.write(pixels)
    wanted = FeatureSettings(
        model="test_resnet", weights=False, input_size=32, train_views=("identity",)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        features = make_features(ClassFolders.open(tmp_path), wanted)
    assert features.extractor.scaling.low == (100.0, 100.0)
    assert features.extractor.scaling.high == (5100.0, 5100.0)


def test_lists_next_to_the_data_define_the_split(shared_data):
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
        tiles, methods=methods, bits=(8, 16), seeds=2, first_seed=10,
        changes=SMALL | {"mining": "batch_hard"}, cache=tmp_path, pictures=True,
    )  # fmt: skip
    rows = result["rows"]
    assert len(rows) == 6 * 2 * 2 + 2
    assert {row["seed"] for row in rows} == {10, 11}
    assert set(result["curves"]) >= {"milan-8-10", "float-0-10"}
    assert json.loads(json.dumps(result)) == result
    by_method = {m: np.mean([r["map@20"] for r in rows if r["method"] == m]) for m in methods}
    assert min(by_method.values()) > 0.3  # chance is 0.2
    assert by_method["milan"] > 0.6
    table = summary_table(result)
    assert all(f"| {m} | test |" in table for m in methods)
    assert "relevant tiles found in the first k" in table
    pair = [r["map@20"] for r in rows if (r["method"], r["bits"]) == ("milan", 8)]
    line = next(text for text in table.splitlines() if text.startswith("| milan "))
    assert f"{np.mean(pair):.3f} ± {abs(pair[0] - pair[1]) / 2**0.5:.3f} |" in line
    written = write_plots(result, tmp_path / "p", root=tiles.root)
    names = ["map_by_bits", "precision_recall", "losses", "projection", "matches"]
    assert [path.stem for path in written] == names
    for path in written:
        with Image.open(path) as picture:
            assert picture.convert("L").getextrema()[0] < 200  # something is drawn


def test_an_interrupted_run_resumes_with_the_same_figures(tiles, tmp_path, monkeypatch):
    def run(cache, bits=(8, 16)):
        return evaluate(
            tiles, methods=("milan", "milan-views"), bits=bits, seeds=1, changes=SMALL, cache=cache
        )["rows"]

    whole = run(None)
    assert run(tmp_path, bits=(8,)) == [row for row in whole if row["bits"] == 8]
    assert len(list((tmp_path / "heads").glob("*.safetensors"))) == 1  # one for both methods
    assert run(tmp_path) == whole
    assert len(list((tmp_path / "heads").glob("*.safetensors"))) == 2
    # everything is read from the cache
    monkeypatch.setattr("geohash_rs.evaluate.fits.train_head", None)
    monkeypatch.setattr("geohash_rs.hashing.extractor.Extractor.features", None)
    assert run(tmp_path) == whole


@pytest.mark.parametrize(
    ("methods", "saved"),
    [(("float", "itq", "milan"), "milan-16"), (("float", "itq"), "itq-16")],
)
def test_the_saved_hasher_gives_the_codes_that_were_measured(tiles, tmp_path, methods, saved):
    path = tmp_path / "new" / "mine.safetensors"
    settings = {"methods": methods, "seeds": 2, "changes": TINY, "cache": tmp_path}
    rows = evaluate(tiles, bits=(8, 16), save_hasher=path, **settings)["rows"]
    hasher = load_hasher(path)
    assert hasher.name == saved
    (trial,) = make_trials(tiles, "paper", seed=0)
    bits = np.unpackbits(hasher.codes(next(tiles.take(trial.queries).batches())), axis=1)
    values = ranking_values(
        torch.from_numpy(bits), torch.from_numpy(tiles.labels[trial.queries]), k=20
    )
    first = {r["method"]: r["map@20"] for r in rows if r["seed"] == 0 and r["bits"] in {0, 16}}
    assert values["map"] == pytest.approx(first[saved.split("-")[0]], abs=0.02)
    notes = hasher.notes
    assert notes["figures"] == {"map@20": {m: round(v, 4) for m, v in first.items()}}
    assert notes["split"] == (
        "protocol paper, split by seed 0: 24 tiles train, 16 others are queries and archive"
    )
    assert notes["data"] == tiles.root.name
    assert notes["classes"] == list(tiles.classes)
    assert ("classes that it was not taught" in notes["not_for"]) == (saved == "milan-16")
    evaluate(tiles, bits=(8,), save_hasher=path, **settings)
    assert load_hasher(path).num_bits == 8  # replaced


def test_a_card_names_the_classes_that_were_taught_and_each_archive(tiles, tmp_path):
    path = tmp_path / "mine.safetensors"
    settings = {"methods": ("itq",), "bits": (8,), "seeds": 1, "changes": TINY, "cache": tmp_path}
    evaluate(tiles, protocol="unseen", save_hasher=path, **settings)
    (trial,) = make_trials(tiles, "unseen", seed=0)
    taught = sorted({tiles.classes[label] for label in tiles.labels[trial.train]})
    assert len(taught) == 2
    assert load_hasher(path).notes["classes"] == taught
    rows = evaluate(tiles, protocol="clean", save_hasher=path, **settings)["rows"]
    notes = load_hasher(path).notes
    assert notes["figures"] == {
        f"map@20, archive {row['archive']}": {"itq": round(row["map@20"], 4)} for row in rows
    }
    assert notes["split"].endswith("24 tiles train, 8 others are queries")


def test_a_hasher_that_cannot_be_saved_is_refused_before_anything_is_computed(
    tiles, tmp_path, monkeypatch
):
    monkeypatch.setattr("geohash_rs.evaluate.run.make_features", None)
    with pytest.raises(TrainingError, match="float ranks by the features themselves"):
        evaluate(tiles, methods=("float",), save_hasher=tmp_path / "mine.safetensors")
    with pytest.raises(TrainingError, match=r"mine\.pth does not end in \.safetensors"):
        evaluate(tiles, methods=("itq",), save_hasher=tmp_path / "mine.pth")
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(TrainingError, match=r"a\.safetensors is a folder"):
        evaluate(tiles, methods=("itq",), save_hasher=tmp_path / "a.safetensors")


def test_every_seed_makes_its_own_split_or_uses_the_lists(shared_data):
    tiles = ClassFolders.open(shared_data / "ucmerced")
    listed, again = (make_trials(tiles, "paper")[0].train for _ in range(2))
    assert np.array_equal(listed, again)
    first, second = (make_trials(tiles, "paper", seed=seed)[0].train for seed in range(2))
    assert len(first) == len(second) == 1260
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, listed)


def test_several_labels_are_measured_by_the_labels_they_share(shared_data, tmp_path):
    patches = open_tiles(shared_data / "bigearthnet_tiny")
    assert patches.labels.shape == (11, len(patches.classes))
    assert patches.labels.sum(1).min() >= 1
    result = evaluate(
        patches, methods=("milan", "itq", "float"), bits=(8,), seeds=1, cache=tmp_path,
        changes=SMALL | {"train_views": ("identity",)}, pictures=True,
    )  # fmt: skip
    for row in result["rows"]:
        assert {"ndcg@20", "acg@20", "weighted_map@20"} <= set(row)
        assert 0 < row["weighted_map@20"] <= row["acg@20"] * 20
    assert "ndcg@20" in summary_table(result)
    assert "weighted_map@20 count the labels" in summary_table(result)
    write_plots(result, tmp_path / "p", root=patches.root)
    with pytest.raises(TrainingError, match="kslsh needs one class per tile"):
        evaluate(patches, methods=("kslsh",), bits=(8,), seeds=1, changes=SMALL)
    with pytest.raises(TrainingError, match="have several labels each"):
        make_trials(patches, "unseen")


def test_wrong_requests_are_refused(tiles, tmp_path):
    with pytest.raises(TrainingError, match=r"methods \['bert'\] are unknown"):
        evaluate(tiles, methods=("bert",))
    with pytest.raises(TrainingError, match="there are no methods; use some of paper"):
        evaluate(tiles, methods=())
    with pytest.raises(TrainingError, match='has no lists .* use split "seed"'):
        evaluate(tiles, split="lists")
    with pytest.raises(TrainingError, match="seeds is 0"):
        evaluate(tiles, seeds=0)
    with pytest.raises(TrainingError, match="first_seed is -1"):
        evaluate(tiles, first_seed=-1)
    with pytest.raises(CodeLengthError, match="num_bits is 20"):
        evaluate(tiles, bits=(20,))
    with pytest.raises(TrainingError, match="protocol 'mine' is not one of paper"):
        make_trials(tiles, "mine")
    with pytest.raises(TrainingError, match="a recipe has no colour"):
        evaluate(tiles, changes={"colour": 1})
    with pytest.raises(TrainingError, match="is not a folder"):
        ClassFolders.open(tmp_path / "none")
    (tiles.root / "moon").mkdir()
    with pytest.raises(TrainingError, match="no pictures of class 'moon'"):
        ClassFolders.open(tiles.root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="holds no folders of pictures"):
        ClassFolders.open(tmp_path / "empty")
    with pytest.raises(TrainingError, match="leave nothing"):
        split_by_class([0, 1], fractions=(0.6, 0.4))
