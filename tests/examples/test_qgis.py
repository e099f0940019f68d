"""The Processing scripts of QGIS, run by the QGIS of the system."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
