"""``geohash-rs learn``, ``judge``, ``calibrate --concept`` and ``query --concept``."""

import json

import geopandas as gpd
import pytest

from geohash_rs import Archive
from tests.trust.test_labels import layer, town

__all__ = ["town"]


@pytest.fixture
def wood(run, town, tmp_path):
    """An archive of wood and fields, and a concept of wood that the command line learnt."""
    town.close()
    path = tmp_path / "wood.concept"
    shown = ["--right", 0, "--right", "10.015,50.015", "--wrong", 3]
    code, _, err = run("learn", town.path, *shown, "-o", path)
    assert code == 0, err
    assert "wood: 2 right, 1 wrong, 16 bits, not calibrated" in err
    assert f"next: geohash-rs judge {town.path} {path}" in err
    return town.path, path


def is_wood(frame):
    return frame["col"] // 3 % 2 == 0


def test_marks_are_added_and_taken_back(run, wood, tmp_path):
    archive, path = wood
    other = tmp_path / "other.concept"
    code, _, err = run(
        "learn", archive, "--concept", path, "--right", 60, "--forget", 3, "-o", other
    )
    assert code == 0, err
    assert "wood: 3 right, 0 wrong" in err
    assert "note: no mark is wrong" in err
    assert '"right": 2' in path.read_text(), "the former file stays as it was"
    assert json.loads(other.read_text())["right"] == 3


def test_tiles_are_judged_in_a_table(run, wood, tmp_path):
    archive, path = wood
    table = tmp_path / "next.gpkg"
    code, _, err = run("judge", archive, path, "-k", 12, "-o", table)
    assert code == 0, err
    assert "12 tiles to judge" in err
    frame = gpd.read_file(table, layer="next")
    assert not {0, 3} & set(frame["tile_id"])
    frame.assign(right=is_wood(frame)).to_file(table, layer="next")
    code, _, err = run("learn", archive, "--concept", path, "--judged", table)
    assert code == 0, err
    concept = Archive.open(archive, mode="r").concept(path)
    assert len(concept.marks) == 15
    given = dict(zip(frame["tile_id"], is_wood(frame), strict=True))
    assert {m.tile: m.right for m in concept.marks if m.tile in given} == given
    code, out, _ = run("judge", archive, path)
    assert (code, len(out.splitlines())) == (0, 9)


def test_a_concept_is_calibrated_with_labels_and_its_promise_is_kept(run, wood, tmp_path):
    archive, path = wood
    layer().to_file(tmp_path / "use.gpkg")
    words = [tmp_path / "use.gpkg", "--column", "class", "--right", "wood", "--block-km", 1]
    code, out, err = run("calibrate", archive, "--concept", path, *words)
    assert code == 0, err
    assert out.split()[:4] == ["cost", "score", "tiles", "blocks"]
    assert "calibrated" in err
    code, out, err = run("query", archive, "--concept", path, "--precision", 0.5, "--json")
    assert code == 0, err
    rows = [feature["properties"] for feature in json.loads(out)["features"]]
    assert len(rows) > 100
    assert min(row["precision"] for row in rows) >= 0.5
    assert sum(row["col"] // 3 % 2 == 0 for row in rows) >= 0.5 * len(rows)


def test_a_concept_is_calibrated_with_a_random_draw(run, wood, tmp_path):
    archive, path = wood
    table = tmp_path / "draw.csv"
    draw = ["--min-score", 0.3, "--seed", 4]
    code, _, err = run("judge", archive, path, "--random", *draw, "-o", table)
    assert code == 0, err
    assert f"geohash-rs calibrate {archive} --concept {path} --judged {table}" in err
    import pandas as pd

    frame = pd.read_csv(table)
    assert len(frame) == 60
    frame.assign(right=is_wood(frame)).to_csv(table, index=False)
    fresh = tmp_path / "fresh.concept"
    fresh.write_bytes(path.read_bytes())
    code, _, err = run("calibrate", archive, "--concept", path, "--judged", table, *draw)
    assert code == 0, err
    known = json.loads(path.read_text())["calibrated"]
    assert (known["tiles"], known["seed"], known["min_score"]) == (60, 4, 0.3)
    code, _, err = run("calibrate", archive, "--concept", fresh, "--judged", table, "--seed", 5)
    assert (code, "drawn" in err) == (1, True), err


def test_a_query_takes_a_concept(run, wood):
    archive, path = wood
    code, out, err = run("query", archive, "--concept", path, "-k", 50, "--json")
    assert code == 0, err
    rows = [feature["properties"] for feature in json.loads(out)["features"]]
    concept = Archive.open(archive, mode="r").concept(path)
    assert [row["tile_id"] for row in rows] == concept.query(50)["tile_id"].tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--column", "class"], "--column needs LABELS; --judged names tiles one by one"),
        (["--block-km", "2"], "--block-km needs LABELS"),
        (["--min-share", "0.5"], "--min-share needs LABELS"),
        (["--labels-layer", "a"], "--labels-layer needs LABELS"),
        (["--right", "wood"], "--right needs LABELS and --concept"),
    ],
)
def test_options_of_labels_do_not_fit_judgements(run, wood, words, message):
    archive, path = wood
    code, _, err = run("calibrate", archive, "--concept", path, "--judged", "draw.csv", *words)
    assert (code, message in err) == (2, True), err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "a.concept"], "pass --right, --wrong or --judged"),
        (["--right", "1"], "pass -o FILE.concept"),
        (["--right", "1", "--forget", "2", "-o", "a.concept"], "--forget needs --concept"),
    ],
)
def test_wrong_use_of_learn_is_explained(run, town, words, message):
    code, _, err = run("learn", town.path, *words)
    assert (code, message in err) == (2, True), err


def test_limits_need_a_concept(run, town, tmp_path):
    layer().to_file(tmp_path / "use.gpkg")
    words = [tmp_path / "use.gpkg", "--column", "class", "--time", "2023/2024"]
    code, _, err = run("calibrate", town.path, *words)
    assert (code, "limits such as --time need --concept" in err) == (2, True), err
