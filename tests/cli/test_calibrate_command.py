"""``geohash-rs calibrate`` and ``query --precision``."""

import json

import pytest

from tests.trust.test_labels import layer, town

__all__ = ["town"]


@pytest.fixture
def landuse(tmp_path):
    path = tmp_path / "landuse.gpkg"
    layer().to_file(path)
    return path


def test_a_calibration_lies_next_to_the_archive_and_is_found_there(run, town, landuse):
    town.close()
    words = (landuse, "--column", "class", "--block-km", 2)
    code, out, err = run("calibrate", town.path, *words)
    assert (code, out.split()[:3]) == (0, ["distance", "pairs", "blocks"])
    kept = town.path.with_name("town.calibration")
    assert f"written to {kept}.\nmost that can be promised: " in err
    code, out, _ = run("query", town.path, "--tile", 0, "--precision", 0.8, "--json")
    rows = [feature["properties"] for feature in json.loads(out)["features"]]
    assert code == 0
    assert len(rows) > 100  # all that can be promised, not 20
    assert min(row["precision"] for row in rows) >= 0.8


def test_another_file_can_be_named(run, town, landuse, tmp_path):
    town.close()
    other = tmp_path / "other"
    assert (
        run("calibrate", town.path, landuse, "--column", "class", "--block-km", 2, "-o", other)[0]
        == 0
    )
    assert not town.path.with_name("town.calibration").exists()
    query = ("query", town.path, "--tile", 0, "--precision", 0.8)
    code, _, err = run(*query)
    assert (code, "is not calibrated" in err) == (1, True)
    code, out, _ = run(*query, "-k", 3, "--calibration", other)
    assert (code, out.split()[:2]) == (0, ["rank", "precision"])


def test_what_cannot_be_done_is_said(run, town, landuse, tmp_path):
    town.close()
    code, _, err = run("calibrate", town.path, landuse, "--column", "class", "--block-km", 20)
    assert (code, "at least 10 are needed" in err) == (1, True)
    code, _, err = run("calibrate", "s3://bucket/town", landuse, "--column", "class")
    assert (code, "pass -o FILE" in err) == (2, True)
    code, _, err = run("calibrate", town.path, landuse, "--column", "class", "-o", landuse)
    assert (code, "is an input" in err) == (2, True)
    (tmp_path / "town.calibration").write_text("{")
    code, _, err = run("query", town.path, "--tile", 0)
    assert (code, "cut short" in err) == (1, True)
