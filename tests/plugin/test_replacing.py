"""Index with tiles of another size from QGIS, where no terminal asks whether to replace tiles."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"


def test_tiles_of_another_size_are_replaced_only_if_the_box_is_checked(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    environment |= {"QT_QPA_PLATFORM": "offscreen", "LC_ALL": "C.UTF-8", "HOME": str(tmp_path)}
    probe = [SYSTEM_PYTHON, "-c", "import qgis.gui"]
    try:
        missing = subprocess.run(probe, env=environment, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no Python of the system")
    if missing.returncode:
        pytest.skip("PyQGIS is not installed; on Debian: apt-get install python3-qgis")
    words = [SYSTEM_PYTHON, ROOT / "tests" / "plugin" / "replacing.py", ROOT / "plugin"]
    words += [ROOT / "examples" / "qgis" / "geohash_rs_index.py", tmp_path]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert [["--replace" in words for words in said[who]] for who in ("dialog", "script")] == [
        [False, True],
        [False, True],
    ]
