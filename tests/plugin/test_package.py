"""The zip of the QGIS plugin: what is in it, and what the plugin repository would refuse."""

import ast
import io
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import geohash_rs

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
NAME = "geohash_rs_qgis"


@pytest.fixture(scope="module")
def files(package):
    """The files of the zip, by name."""
    with zipfile.ZipFile(io.BytesIO(package.make_zip())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


def test_one_command_writes_a_zip_that_follows_the_rules(tmp_path):
    words = [sys.executable, ROOT / "plugin" / "package.py", "-o", tmp_path / "new"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "follows the rules" in done.stdout
    (path,) = (tmp_path / "new").iterdir()
    assert path.name == f"{NAME}-{geohash_rs.__version__}.zip"


def test_the_same_files_make_the_same_zip(package):
    assert package.make_zip() == package.make_zip()


def test_the_zip_holds_the_licence_and_the_processing_scripts(files):
    assert files[f"{NAME}/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    for path in (ROOT / "examples" / "qgis").glob("*.py"):
        assert files[f"{NAME}/algorithms/{path.name}"] == path.read_bytes()


def test_the_plugin_runs_on_the_python_of_qgis_3_22(files):
    for name, content in files.items():
        if name.endswith(".py"):
            ast.parse(content, name, feature_version=(3, 9))


def test_the_plugin_names_the_version_and_addresses_that_it_comes_with(package, files):
    fields = package.metadata(files[f"{NAME}/metadata.txt"].decode())
    assert fields["version"] == geohash_rs.__version__
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    assert fields["repository"] == urls["Repository"]
    assert (fields["tracker"], fields["homepage"]) == (urls["Issues"], urls["Documentation"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"metadata.txt": None}, "metadata.txt is missing"),
        ({"LICENSE": None}, "LICENSE is missing"),
        ({"__init__.py": b""}, "no function classFactory"),
        ({"icon.svg": None}, "there is no icon 'icon.svg'"),
        ({"tool.exe": b"MZ"}, "tool.exe is not of a kind"),
        ({"notes.txt": b"\0"}, "notes.txt is binary"),
        ({"__pycache__/a.py": b""}, "hidden or made by a program"),
        ({".git/config.txt": b""}, "hidden or made by a program"),
        ({"../a.py": b""}, "lies outside the folder"),
        ({"a.py": b"from PyQt5.QtCore import Qt"}, "imports PyQt5.QtCore; import from qgis.PyQt"),
        ({"a.py": b"import torch"}, "imports torch, which QGIS does not have"),
        ({"a.py": b"from geohash_rs import Archive"}, "imports geohash_rs, which"),
    ],
)
def test_what_the_repository_would_refuse_is_named(package, files, change, problem):
    changed = files | {f"{NAME}/{name}": content for name, content in change.items()}
    left = {name: content for name, content in changed.items() if content is not None}
    assert package.check(zipped(files)) == []
    assert any(problem in one for one in package.check(zipped(left)))


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("email=geohash-rs@example.org", "email=nobody", "email is 'nobody'"),
        ("version=0.1.0", "version=next", "version is 'next'"),
        ("tracker=", "was=", "no tracker"),
        ("homepage=https:", "homepage=http:", "write an https address"),
        ("experimental=False", "experimental=perhaps", "experimental is 'perhaps'"),
        ("supportsQt6=True", "supportsQt6=yes", "supportsQt6 is 'yes'; write True or False"),
        ("supportsQt6=True", "supportsQt6=False", "supportsQt6 must be True"),
        ("hasProcessingProvider=yes", "hasProcessingProvider=True", "neither yes nor no"),
        ("MaximumVersion=4.99", "MaximumVersion=3.99", "must be at least 4.0"),
        ("qgisMaximumVersion=", "was=", "must be at least 4.0"),
        ("author=", "author=a/", "author has a slash"),
        ("description=Find", "description=100 % Find", "description has a %"),
        ("category=Raster", "category=Search", "category is not one of"),
        ("name=geohash_rs\n", "name=geohash_rs plugin\n", "says that it is a plugin"),
        ("[general]", "[common]", "no name"),
    ],
)
def test_wrong_metadata_is_named(package, files, before, after, problem):
    name = f"{NAME}/metadata.txt"
    text = files[name].decode()
    assert before in text
    changed = files | {name: text.replace(before, after, 1).encode()}
    assert any(problem in one for one in package.check(zipped(changed)))


def test_every_enum_is_named_as_qt_6_needs_it(package, tmp_path):
    known = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    known |= {"QT_QPA_PLATFORM": "offscreen"}
    probe = ["/usr/bin/python3", "-c", "import qgis.gui"]
    try:
        missing = subprocess.run(probe, env=known, capture_output=True, check=False).returncode
    except OSError:
        missing = 1
    if missing:
        pytest.skip("PyQGIS is not installed; on Debian: apt-get install python3-qgis")
    with zipfile.ZipFile(io.BytesIO(package.make_zip())) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "bad.py").write_text("from qgis.PyQt.QtCore import Qt\nprint(Qt.LeftButton)\n")
    words = ["/usr/bin/python3", HERE / "scopes.py", tmp_path]
    done = subprocess.run(words, env=known, capture_output=True, text=True, check=True)
    *found, number = done.stdout.splitlines()
    assert found == ["bad.py:2: Qt.LeftButton"]
    assert int(number) > 40
