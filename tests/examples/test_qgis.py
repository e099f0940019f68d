"""The Processing scripts of QGIS, run by the QGIS of the system."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from PIL import Image

from geohash_rs import Matches
from geohash_rs.concepts.regions import regions_of
from geohash_rs.errors import GeoHashRSWarning
from tests.concepts.places import chosen, record_of, tiles_of
from tests.concepts.test_areas import mapped

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def qgis():
    """The environment of a Python with PyQGIS, or skip."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    environment |= {"QT_QPA_PLATFORM": "offscreen", "LC_ALL": "C.UTF-8"}
    probe = [SYSTEM_PYTHON, "-c", "import qgis.core"]
    try:
        found = subprocess.run(probe, env=environment, capture_output=True, check=False).returncode
    except OSError:
        found = 1
    if found:
        pytest.skip("PyQGIS is not installed; on Debian: apt-get install python3-qgis")
    return environment


def test_what_both_scripts_need_is_the_same_in_both():
    def shared(name):
        text = (ROOT / "examples" / "qgis" / name).read_text(encoding="utf-8")
        return text[text.index("def run(") : text.index("class ")]

    assert shared("geohash_rs_index.py") == shared("geohash_rs_query.py")


@pytest.mark.slow
def test_qgis_indexes_and_queries_and_opens_matches_styled_with_pictures(qgis, coast, tmp_path):
    (tmp_path / "scenes").mkdir()
    shutil.copy(coast / "scenes" / "coast_west_20230514.tif", tmp_path / "scenes")
    program = tmp_path / "a folder" / "geohash-rs"
    program.parent.mkdir()
    command = f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m geohash_rs "$@"'
    program.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    program.chmod(0o755)
    words = [SYSTEM_PYTHON, ROOT / "tests" / "examples" / "qgis_session.py"]
    words += [
        ROOT / "examples" / "qgis",
        tmp_path / "scenes",
        coast / "patches" / "town.tif",
        program,
        tmp_path,
    ]
    done = subprocess.run(words, env=qgis, capture_output=True, text=True, check=False, timeout=300)
    assert (tmp_path / "report.json").exists(), done.stderr
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (report["indexed"], report["found"], report["refused"]) == (True, True, True)
    assert "begun" in report["told"]
    assert report["seconds"] < 30, "a silent command is stopped as well"
    assert report["features"] == 12
    assert report["renderer"] == "QgsGraduatedSymbolRenderer"
    assert report["labels"]
    assert all("bit" in label for label in report["labels"])
    assert report["tip"].startswith("<b>1: ")
    assert 'src="data:image/jpeg;base64,' in report["tip"]
    drawn = np.asarray(Image.open(tmp_path / "qgis.png").convert("RGB"), int)
    reddish = (drawn[..., 0] > 200) & (drawn[..., 1] < 120)
    assert reddish.sum() > 500


def test_qgis_offers_matches_and_query_but_not_their_styles(qgis, tmp_path):
    footprints = [shapely.box(x, 45, x + 0.1, 45.1) for x in (9, 10, 11)]
    found = Matches(
        gpd.GeoDataFrame(
            {"rank": [1, 2], "distance": [0, 3], "tile_id": [4, 5], "scene": "/gone/a.tif"}
            | dict.fromkeys(("col", "row"), 0)
            | dict.fromkeys(("width", "height"), 64)
            | {"datetime": pd.Timestamp("2023-05-14T10:31Z")},
            geometry=footprints[:2],
            crs="EPSG:4326",
        )
    )
    found.examples = gpd.GeoDataFrame(
        found.drop(columns=["rank", "distance", "geometry"]).assign(
            example=["town.tif", "tile 5"], positive=[True, False], tile_id=[pd.NA, 5]
        ),
        geometry=footprints[1:],
        crs="EPSG:4326",
    )
    with pytest.warns(GeoHashRSWarning, match="a.tif: it does not exist"):
        found.to_file(tmp_path / "m.gpkg")
    words = [SYSTEM_PYTHON, ROOT / "tests" / "examples" / "qgis_query.py"]
    words += [tmp_path / "m.gpkg", "m_query"]
    done = subprocess.run(words, env=qgis, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["offered"] == ["m", "m_query"]
    right, wrong = report["shown"]
    assert (right["legend"], wrong["legend"]) == (["searched with"], ["unlike this"])
    assert right["tip"].startswith("<b>town.tif</b>, searched with<br>")
    assert "2023-05-14 10:31" in right["tip"]
    assert "no picture of a.tif: it does not exist" in right["tip"]
    assert right["labelled"] == "example"


def test_qgis_opens_areas_and_totals_of_regions_with_their_styles(qgis, tmp_path):
    record = record_of()
    tiles = chosen(tiles_of(record), [(1, 1), (2, 1), (6, 5)]).assign(score=[0.6, 0.9, 0.95])
    west, south, east, north = tiles_of(record).total_bounds
    middle = (west + east) / 2
    halves = [shapely.box(west, south, middle, north), shapely.box(middle, south, east, north)]
    layer = gpd.GeoDataFrame({"name": ["left", "right"]}, geometry=halves, crs="EPSG:4326")
    mapped(tiles, [record], by=regions_of(layer, column="name")).to_file(tmp_path / "a.gpkg")
    words = [SYSTEM_PYTHON, ROOT / "tests" / "examples" / "qgis_areas.py", tmp_path / "a.gpkg"]
    words.append(tmp_path)
    done = subprocess.run(words, env=qgis, capture_output=True, text=True, check=False, timeout=120)
    assert (tmp_path / "report.json").exists(), done.stderr
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    areas, totals = report["areas"], report["totals"]
    assert (areas["features"], totals["features"]) == (2, 2)
    assert areas["drawn"] == totals["drawn"] == [True, True]
    assert areas["classes"][0].startswith("score 0.75 to ")
    assert areas["tip"].startswith("<b>area 1: 0.82")
    assert "on 2023-05-14" in areas["tip"]
    assert areas["label"].startswith("0.82 km")
    assert totals["label"].startswith("left\n0.82 km")
    assert totals["tip"].startswith("<b>left</b>")
    drawn = np.asarray(Image.open(tmp_path / "qgis.png").convert("RGB"), int)
    reddish = (drawn[..., 0] > 180) & (drawn[..., 1] < 180) & (drawn[..., 2] < 200)
    assert 1500 < reddish.sum() < 3500  # the area with the higher score, one tile
