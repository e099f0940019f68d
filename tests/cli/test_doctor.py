"""The command `doctor`, in environments that are actually broken."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from rasterio import __gdal_version__, __proj_version__
from rasterio.env import PROJDataFinder

import geohash_rs
from geohash_rs.cli.checks import CHECKS
from geohash_rs.cli.doctor import diagnose, run_check
from tests.ground import mosaic

ROOT = Path(__file__).resolve().parents[2]
EVERY_VARIABLE = {one for _, suspects in CHECKS.values() for one in suspects}


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """Unset all variables that a check suspects."""
    for name in EVERY_VARIABLE - {"TMPDIR"}:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shadow(tmp_path, monkeypatch):
    """Put a module with a given name and content before the real one."""

    def put(name: str, text: str) -> None:
        folder = tmp_path / "shadow" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(text)
        monkeypatch.syspath_prepend(str(folder.parent))

    return put


@pytest.fixture
def old_proj(tmp_path):
    """Make PROJ data like those of an older installation."""
    folder = tmp_path / "old-proj"
    folder.mkdir()
    shutil.copy(Path(PROJDataFinder().search()) / "proj.db", folder)
    with sqlite3.connect(folder / "proj.db") as database:
        database.execute(
            "UPDATE metadata SET value = 0 WHERE key = 'DATABASE.LAYOUT.VERSION.MINOR'"
        )
    database.close()
    return folder


@pytest.mark.slow
def test_the_command_shows_versions_and_passes_if_everything_works():
    """Run the whole command as a user does; a broken library would fail other tests too."""
    done = subprocess.run(
        [sys.executable, "-m", "geohash_rs", "doctor"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    versions, checks = done.stdout.split("\n\n")
    names = [line.split()[0] for line in versions.splitlines()]
    assert {"geohash_rs", "Python", "system", "processor", "numpy", "torch", "torchgeo"} < set(
        names
    )
    assert f"geohash_rs    {geohash_rs.__version__} in " in versions
    assert [line.split()[:2] for line in checks.splitlines()] == [["ok", name] for name in CHECKS]
    assert "GDAL 3." in checks
    assert "EPSG v" in checks


def test_a_variable_that_points_to_older_proj_data_is_named(old_proj, monkeypatch):
    monkeypatch.setenv("PROJ_DATA", str(old_proj))
    monkeypatch.setenv("GDAL_DRIVER_PATH", "/nowhere")  # also set, but harmless
    outcome = diagnose("rasterio")
    assert not outcome.ok
    assert "proj.db" in outcome.found
    assert outcome.remedy.startswith(f"unset PROJ_DATA (now '{old_proj}'): it works without")


READ = """
import sys
from geohash_rs.errors import SceneError
from geohash_rs.scenes.finding import find_scenes
from geohash_rs.scenes.dates import DateRule

try:
    find_scenes([sys.argv[1]], rule=DateRule(), bands=None, strict=False)
except SceneError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["PROJ_DATA", "PROJ_LIB"])
def test_a_scene_read_with_proj_data_of_an_older_installation_names_the_variable_once(
    old_proj, tmp_path, write_scene, name
):
    scene = write_scene(tmp_path / "scene.tif", mosaic(1, 1, 1))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(scene)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, name: str(old_proj)},
    )
    assert "scene.tif" in done.stdout
    assert "another PROJ installation" in done.stdout
    assert done.stdout.count(f"unset {name}, which leads there") == 1


def test_two_variables_that_are_both_wrong_are_both_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJ_LIB", str(tmp_path))
    monkeypatch.setenv("GDAL_DATA", str(tmp_path))
    outcome = diagnose("rasterio")
    assert not outcome.ok
    assert outcome.remedy.startswith(f"unset PROJ_LIB (now '{tmp_path}') and GDAL_DATA (now ")


def test_gdal_data_elsewhere_is_noticed_although_gdal_still_works(tmp_path, monkeypatch):
    monkeypatch.setenv("GDAL_DATA", str(tmp_path))
    outcome = diagnose("rasterio")
    assert not outcome.ok
    missing = f"GDAL's data files are not in {tmp_path}: gdalvrt.xsd is missing"
    assert outcome.found == f"{missing} (GDAL {__gdal_version__}, PROJ {__proj_version__})"
    assert outcome.remedy.startswith("unset GDAL_DATA")


def test_a_numba_that_may_not_compile_is_noticed(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    outcome = diagnose("numba")
    assert not outcome.ok
    assert outcome.remedy.startswith("unset NUMBA_DISABLE_JIT (now '1')")


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")  # not even root can make a folder inside a file
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    outcome = run_check("folders")
    assert not outcome.ok
    assert outcome.found.startswith(f"{tmp_path / 'file'} cannot be written")
    assert outcome.remedy == "set XDG_CACHE_HOME to a folder that you can write"


def test_an_installation_that_cannot_store_kernels_names_the_variable(tmp_path, monkeypatch):
    """Neither the package's folder, nor the user's cache, nor the temporary folder is writable."""
    shutil.copytree(
        ROOT / "geohash_rs",
        tmp_path / "geohash_rs",
        ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"),
    )
    (tmp_path / "geohash_rs" / "store" / "search" / "__pycache__").write_text("")
    user = os.getuid() if hasattr(os, "getuid") else 0
    private = tmp_path / "tmp" / f"geohash_rs-kernels-{user}"
    private.parent.mkdir()
    private.write_text("")
    monkeypatch.setenv("TMPDIR", str(private.parent))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".cache").mkdir()
    (tmp_path / "home" / ".cache" / "numba").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    outcome = run_check("folders")
    assert not outcome.ok
    assert outcome.found.startswith("no folder can store the compiled search")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))  # follow the advice
    assert run_check("folders").ok


@pytest.mark.parametrize(
    ("check", "package", "text", "words"),
    [
        (
            "rasterio",
            "rasterio",
            "raise ImportError('libgdal.so.36: cannot open shared object file')",
            "ImportError: libgdal.so.36: cannot open shared object file",
        ),
        ("pyproj", "pyproj", "import os\nos.abort()", "it crashed (exit code"),
        ("onnxruntime", "onnxruntime", "", "AttributeError: "),
        (
            "numba",
            "numba",
            "raise ImportError('Numba needs NumPy 2.3 or less')",
            "Numba needs NumPy",
        ),
    ],
)
def test_a_library_that_cannot_be_imported_fails_its_own_check(shadow, check, package, text, words):
    shadow(package, text)
    outcome = diagnose(check)
    assert not outcome.ok
    assert words in outcome.found
    assert package in outcome.remedy or "NUMBA" in outcome.remedy


def test_what_a_library_prints_does_not_hide_the_outcome(shadow):
    shadow("onnx", "print('hello')\nraise ImportError('half')")
    assert run_check("onnxruntime").found == "ImportError: half"


def test_a_check_that_hangs_is_killed(shadow):
    shadow("pyproj", "import time\ntime.sleep(600)")
    outcome = run_check("pyproj", timeout=5)
    assert not outcome.ok
    assert outcome.found == "it did not end within 5 s"


def test_a_package_in_another_version_is_named_with_what_to_install(tmp_path, monkeypatch):
    info = tmp_path / "torchgeo-0.7.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchgeo\nVersion: 0.7.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    outcome = diagnose("requirements")
    assert not outcome.ok
    assert "torchgeo<0.11,>=0.8 (0.7.0 is installed)" in outcome.found
    assert outcome.remedy == 'python -m pip install "torchgeo<0.11,>=0.8"'


@pytest.mark.slow
def test_missing_weights_are_noticed(tmp_path, monkeypatch):
    shutil.copytree(
        ROOT / "geohash_rs",
        tmp_path / "geohash_rs",
        ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"),
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    outcome = diagnose("hasher")
    assert not outcome.ok
    assert outcome.found == "the weights that come with geohash_rs are missing"
