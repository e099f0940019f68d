"""The QGIS plugin, used in the QGIS of the system: its dock, its map tools, its program."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import portalocker
import pytest
from PIL import Image

from geohash_rs import Archive

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SYSTEM_PYTHON = "/usr/bin/python3"
DAY = re.compile(r"\d{4}-\d\d-\d\d")


def environment(**more):
    others = ("PYTHON", "VIRTUAL", "XDG_", "QGIS_")
    known = {k: v for k, v in os.environ.items() if not k.startswith(others)}
    return known | {"LC_ALL": "C.UTF-8"} | more


@pytest.fixture(scope="module")
def screen():
    """The environment of a Python with PyQGIS and a screen, or skip."""
    probe = [SYSTEM_PYTHON, "-c", "import qgis.gui, qgis.PyQt.QtTest"]
    try:
        offscreen = environment(QT_QPA_PLATFORM="offscreen")
        missing = subprocess.run(probe, env=offscreen, capture_output=True, check=False).returncode
    except OSError:
        missing = 1
    if missing:
        pytest.skip("PyQGIS is not installed; on Debian: apt-get install python3-qgis")
    if shutil.which("Xvfb") is None:
        pytest.skip("there is no Xvfb; on Debian: apt-get install xvfb")
    words = ["Xvfb", "-displayfd", "1", "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        number = server.stdout.readline().decode().strip()
        yield environment(DISPLAY=f":{number}", QT_QPA_PLATFORM="xcb")
        server.terminate()


@pytest.fixture(scope="module")
def session(screen, package, coast, tmp_path_factory):
    """What happened in a session with the plugin, which all processes of a test run share."""
    top = tmp_path_factory.getbasetemp()
    shared = (top.parent if os.environ.get("PYTEST_XDIST_WORKER") else top) / "plugin"
    shared.mkdir(exist_ok=True)
    with portalocker.Lock(shared / "lock", timeout=600):
        if not (shared / "done").exists():
            (shared / "done").write_text(str(run_session(screen, package, coast, shared)))
    folder = Path((shared / "done").read_text())
    assert (folder / "report.json").exists(), (folder / "stderr").read_text()
    return json.loads((folder / "report.json").read_text(encoding="utf-8")) | {"folder": folder}


def run_session(screen, package, coast, shared):
    """Use the plugin, unpacked from its zip as QGIS does; return the folder with the report."""
    with zipfile.ZipFile(io.BytesIO(package.make_zip())) as archive:
        archive.extractall(shared / "plugins")
    folder = shared / "session"
    folder.mkdir()
    program = folder / "a folder" / "geohash-rs"
    program.parent.mkdir()
    command = f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m geohash_rs "$@"'
    program.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    program.chmod(0o755)
    words = [SYSTEM_PYTHON, HERE / "plugin_session.py", shared / "plugins", program]
    words += [coast / "scenes", coast / "patches" / "town.tif", folder / "archive"]
    done = subprocess.run(
        [*words, wheel(folder), folder],
        env=screen | {"HOME": str(folder / "home")},  # newer QGIS has its profile there
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    (folder / "stderr").write_text(done.stderr, encoding="utf-8")
    return folder


def wheel(folder):
    """Write a package that only knows its version, as pip installs it without a network."""
    path = folder / "geohash_rs-0.1.7-py3-none-any.whl"
    info = "geohash_rs-0.1.7.dist-info"
    files = {
        "geohash_rs_said.py": "def main():\n    print('geohash-rs, version 0.1.7')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: geohash-rs\nVersion: 0.1.7\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ngeohash-rs = geohash_rs_said:main\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def ids(found):
    return [one["tile_id"] for one in found]


pytestmark = pytest.mark.slow


def test_without_the_right_program_the_dock_says_what_to_do(session):
    assert "nothing here" in session["no_program"]
    assert "version 9.9.1, but this plugin was made for 0.1" in session["older_program"]
    assert "is not geohash-rs: it answered 'hello'" in session["other_program"]
    assert "Open an archive first" in session["not_open"]


def test_an_archive_that_cannot_be_opened_is_explained(session):
    assert "There is no folder" in session["no_folder"]
    assert "scenes" in session["not_an_archive"]
    assert "archive" in session["not_an_archive"]
    assert "moved or deleted" in session["vanished"]
    assert "moved or deleted" in session["vanished_tile"]
    assert len(session["back"]) == 24
    assert session["crashed"] == "geohash-rs has ended; open the archive again."
    assert "Open an archive first" in session["after_crash"]


def test_a_folder_is_indexed_with_progress_and_cancel(session):
    assert session["suggested"].endswith("scenes-archive")
    assert session["cancelled"].startswith("Cancelled")
    assert session["index_said"].startswith("324 tiles of 4 scenes added")
    assert session["progress"][-1] == 100
    assert session["index_words"][3:] == [session["recent"][0], "--tile-size=64", "--progress"]
    assert "324 tiles of 4 scenes, 64 bits" in session["opened"]


@pytest.mark.parametrize("name", ["first", "again", "mercator", "lonlat"])
def test_a_rectangle_around_a_tile_finds_that_tile_in_every_crs(session, name):
    found = session[f"rectangle_{name}"]["found"]
    assert (found[0]["col"], found[0]["row"], found[0]["distance"]) == (256, 256, 0)
    assert found[0]["scene_name"] == "coast_west_20230514.tif"


def test_a_rectangle_on_a_rotated_map_finds_the_tile_below(session):
    found = session["rectangle_rotated"]["found"]
    assert (256, 256) in [(one["col"], one["row"]) for one in found[:3]]


def test_a_rectangle_never_freezes_the_window(session):
    names = ("again", "mercator", "lonlat", "rotated")
    assert min(session[f"rectangle_{name}"]["longest_gap"] for name in names) < 0.3


def test_matches_of_a_rectangle_are_those_of_the_archive(session):
    archive = Archive.open(session["folder"] / "archive", mode="r")
    found = session["rectangle_first"]["found"]
    expected = archive.query(tile=found[0]["tile_id"], k=24)
    assert ids(found) == expected["tile_id"].tolist()
    assert [one["distance"] for one in found] == expected["distance"].tolist()


def test_matches_are_a_styled_layer_and_pictures(session):
    layer = session["layer"]
    assert (layer["count"], layer["crs"], layer["layers"]) == (24, "EPSG:4326", 1)
    assert layer["renderer"] == "QgsGraduatedSymbolRenderer"
    assert len(layer["classes"]) == 5
    assert all(label.endswith("bits") for label in layer["classes"])
    assert (layer["labels"], layer["label"][:4]) == (True, "1\n20")
    assert '"distance"' in layer["tip"]
    assert session["pictures"] == 24
    assert session["kept_pictures"] == [True] * 24
    assert session["visited"] < 0.7, "a double click zooms in on the match"
    drawn = np.asarray(Image.open(session["folder"] / "rectangle.png").convert("RGB"), int)
    reddish = (drawn[..., 0] > 200) & (drawn[..., 1] < 80) & (drawn[..., 2] < 150)
    assert reddish.sum() > 500


def test_of_matches_at_one_place_the_best_is_on_top_and_times_can_be_chosen(session):
    shown = session["same_place"]
    assert shown["on_top"] == "#f0206a", "the colour of the nearest"
    assert shown["in_september"] not in {"#f0206a", "#ffffff"}
    assert shown["in_1999"] == "#ffffff"
    assert shown["labels"] == ["1\n2023-05-14", "2\n2023-09-18", "3"]
    dated, undated = shown["tips"]
    assert "2023-05-14, tile 7<br>a.tif" in dated
    assert "Also here: 2 (2023-09-18)" in dated
    assert f'src="file:///{session["folder"]}/7.png"' in dated
    assert undated.startswith("<b>3: 60 bits</b><br>tile 9")
    assert "Also here" not in undated
    assert "<img" not in undated
    assert shown["form"] > 1000, "the form shows the picture"


def test_marks_change_the_next_search(session):
    assert session["selected"]
    assert session["verdicts"] == ["right", "right", "wrong", "wrong", "wrong"]
    assert not set(session["wrong"]) & set(ids(session["judged"]))


def test_a_click_takes_the_tile_of_the_date_that_is_chosen(session):
    assert [DAY.search(one)[0] for one in session["choices"]] == ["2023-09-18", "2023-05-14"]
    assert session["tile"][0]["datetime"].startswith("2023-09-18")
    assert session["other_tile"][0]["datetime"].startswith("2023-05-14")
    assert [DAY.search(one)[0] for one in session["choices_in_may"]] == ["2023-05-14"]
    assert {one["datetime"][:7] for one in session["tile_in_may"]} == {"2023-05"}
    assert session["tile_in_may"][0]["distance"] == 0
    assert "there are tiles of 2023-05-14, 2023-09-18" in session["tile_in_1999"]
    assert "no tile of the archive lies at 0.0, 0.0" in session["no_tile"]
    assert "yesterday" in session["bad_time"]


def test_a_dropped_file_its_bands_and_limits_are_obeyed(session, coast):
    archive = Archive.open(session["folder"] / "archive", mode="r")
    patch = coast / "patches" / "town.tif"
    assert ids(session["dropped"]) == archive.query(patch, k=24)["tile_id"].tolist()
    five = archive.query(patch, k=5, distinct=True)
    assert ids(session["distinct"]) == five["tile_id"].tolist()
    turned = archive.query(patch, k=5, distinct=True, bands=[2, 2, 2])
    assert ids(session["other_bands"]) == turned["tile_id"].tolist()
    assert session["other_bands"] != session["distinct"]
    assert "7" in session["no_such_band"]
    assert "must be a number" in session["bad_nodata"]
    assert len(session["whole_view"]) == 5


def test_a_search_in_a_rectangle_finds_nothing_outside(session):
    assert session["where_index"] == "drawn"
    assert 0 < session["somewhere"] < 100
    assert session["somewhere_outside"] == 0
    assert session["anywhere"] == 162, "distinct tiles, of one date each"


def test_regions_are_cut_at_the_dateline_and_close_over_a_pole(session):
    regions = {
        name: [[round(edge) for edge in box] for box in boxes]
        for name, boxes in session["regions"].items()
    }
    split = [[-180, 0, -170, 10], [170, 0, 180, 10]]
    assert regions == {
        "plain": [[10, 50, 20, 60]],
        "dateline": [[-180, -20, -170, -10], [170, -20, 180, -10]],
        "repeated": [[10, 50, 20, 60]],
        "world": [[-180, -80, 180, 80]],
        "mercator": split,
        "pacific": split,
        "pole": [[-180, -90, 180, -77]],
    }
    assert "has no CRS" in session["no_crs"]


def test_a_rectangle_across_180_degrees_reads_the_side_where_most_of_it_lies(session):
    assert len(session["columns"]) == 6
    for name, (first, last, ascending) in session["columns"].items():
        assert (first, last, ascending) == (0, 7, True), name
    assert session["box_of_match"] == [179, 0, 181, 1]


def test_a_map_server_without_a_file_is_searched_with(session):
    assert session["map_server"]["valid"]
    assert len(session["map_server"]["found"]) == 24


def test_a_file_in_memory_finds_what_the_file_on_disk_finds(session):
    assert session["memory"]["valid"]
    assert ids(session["memory"]["found"]) == ids(session["of_file"])


def test_pixels_of_a_formula_are_read_and_other_values_are_explained(session):
    assert session["formula"]["valid"]
    assert session["formula"]["found"].startswith("formula holds float64")


def test_a_map_server_that_shows_nothing_is_explained(session):
    assert session["silent_server"].startswith("silent")
    assert "here" in session["silent_server"]


def test_a_rectangle_that_cannot_be_read_is_explained(session):
    assert "lies outside the layer coast_west_20230514" in session["outside"]
    assert "less than one pixel" in session["tiny"]
    assert "gone.tif" in session["gone"]
    assert "Choose a raster layer to draw on" in session["no_layer"]
    assert "gone.tif cannot be read: No such file or directory" in session["no_file"]


def test_errors_of_gdal_are_explained_whether_it_returns_or_raises_them(session):
    returned, no_picture, raised, none_either = session["unreadable"]
    assert returned.startswith("bad cannot be opened: ")
    assert "not recognized as" in returned
    assert raised.startswith("bad cannot be read: ")
    assert "not recognized as" in raised
    assert no_picture is none_either is None


def test_matches_are_saved_with_their_style_and_pictures(session):
    saved = session["saved"]
    assert saved["count"] == 24
    assert "picture" in saved["fields"]
    assert saved["renderer"] == "QgsGraduatedSymbolRenderer"
    assert session["saved_query"] == ["town.tif"]


def test_an_archive_in_a_database_is_asked_by_commands(session, coast):
    archive = Archive.open(session["folder"] / "archive", mode="r")
    expected = archive.query(coast / "patches" / "town.tif", k=6, distinct=True)
    assert ids(session["asked"]) == expected["tile_id"].tolist()
    assert session["asked"][0]["scene_name"].startswith("coast_")
    assert not set(session["asked_wrong"]) & set(ids(session["asked_again"]))
    assert {one["datetime"][:7] for one in session["asked_again"]} == {"2023-09"}
    assert session["asked_point"][0]["col"] == session["asked_point"][0]["row"] == 256
    assert "yesterday" in session["asked_bad_time"]
    assert session["asked_saved"] == 1


def test_the_program_is_installed_apart_after_showing_the_commands(session):
    offered = session["install_offers"].splitlines()
    assert "-m venv" in offered[0]
    assert "pip install" in offered[1]
    assert "geohash-rs[serve,cloud,postgis]==0.1.*" in offered[1]
    assert session["installed"].startswith(session["profile"])
    assert session["profile"].startswith(str(session["folder"]))
    assert session["found_installed"] == [[session["installed"]], ""]


def test_a_layer_of_matches_that_was_removed_is_made_again(session):
    assert session["remade"] == 24


def test_the_plugin_can_be_loaded_again(session):
    assert session["loaded_again"] == [[1, 1], [0, 0]]


def test_processing_offers_both_algorithms_and_unloading_leaves_nothing(session):
    assert session["algorithms"] == ["geohash_rs:geohash_rs_index", "geohash_rs:geohash_rs_query"]
    assert session["imported"] == []
    assert session["left"] == [0, 0, True]
