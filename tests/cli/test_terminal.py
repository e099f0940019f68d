"""Whatever a scene or label is called, terminals and spreadsheets only show its name."""

import csv
import json
import re

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.export.plain_text import CONTROLS, plain_cell, plain_text

EVIL = "/s/\x1b]0;title\x07\x9b2J\u202eeman\r\nsecond line\u200b\U000e0041.tif"
SHOWN = (
    "\\u001b]0;title\\u0007\\u009b2J\\u202eeman\\u000d\\u000asecond line\\u200b\\udb40\\udc41.tif"
)
FORMULAS = (
    "=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "\u200b=1",
    "a;=1+1;b; @SUM(A1)",
)  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Codes made elsewhere, with a label for each row; all names are hostile."""
    path = tmp_path_factory.mktemp("evil") / "archive"
    count = len(FORMULAS)
    tiles = gpd.GeoDataFrame(
        {
            "scene": EVIL, "col": np.arange(count) * 8, "row": 0, "width": 8, "height": 8,
            "datetime": np.datetime64("2023-06-01"), "label": FORMULAS,
        },
        geometry=[shapely.box(i, -50, i + 1, -49) for i in range(count)],
        crs="EPSG:4326",
    )  # fmt: skip
    made = Archive.create(path, num_bits=16)
    made.add_codes(np.arange(2 * count, dtype=np.uint8).reshape(count, 2), tiles)
    return path


def test_a_table_of_matches_has_one_line_for_each(run, archive):
    lines = run("query", archive, "--tile", 0, "-k", 3)[1].splitlines()
    assert len(lines) == 4
    assert not CONTROLS.search("".join(lines))
    assert all(SHOWN.removeprefix("/s/") in line for line in lines[1:])


def test_json_keeps_the_name_and_prints_none_of_its_controls(run, archive):
    text = run("query", archive, "--tile", 0, "-k", 2, "--json")[1]
    assert not CONTROLS.search(text.replace("\n", ""))
    assert {f["properties"]["scene"] for f in json.loads(text)["features"]} == {EVIL}


@pytest.mark.parametrize(
    "words",
    [
        ["remove", "{archive}", "--scene", "/s/a\x1b[31m.tif"],
        ["query", "{archive}", "--tile", "0", "--region", "/s/a\x1b[31m.gpkg"],
        ["--traceback", "remove", "{archive}", "--scene", "/s/a\x1b[31m.tif"],
        ["index", "/s/a\x1b[31m.tif", "--archive", "new"],
        ["info", "no\x1b[31m/archive"],
    ],
)
def test_an_error_escapes_the_name_that_it_speaks_of(run, archive, words):
    code, out, err = run(*(word.format(archive=archive) for word in words))
    assert code in {1, 2}
    assert "\\u001b[31m" in err
    assert not CONTROLS.search((out + err).replace("\n", ""))


def test_an_error_hides_the_keys_of_an_address(run):
    address = "http://me:PASSWORD@127.0.0.1:9/a.tif?sig=SECRET&X-Amz-Signature=SECRET"
    code, _, err = run("index", address, "--archive", "new", "--hasher", "lsh-16")
    assert code == 1
    assert "http://***@127.0.0.1:9/a.tif?sig=***&X-Amz-Signature=***" in err
    assert not {"PASSWORD", "SECRET"} & set(re.findall(r"\w+", err))


def test_a_warning_escapes_the_name_that_it_speaks_of(run, archive, tmp_path):
    code, _, err = run("query", archive, "--tile", 0, "-k", 2, "-o", tmp_path / "m.html")
    assert code == 0
    assert not CONTROLS.search(err.replace("\n", ""))


def test_a_spreadsheet_finds_no_formula_and_no_control_characters(run, archive, tmp_path):
    assert run("export", archive, "-o", tmp_path / "all.csv")[0] == 0
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cells = [cell for row in rows for cell in row.values()]
    assert not any(CONTROLS.search(cell) for cell in cells)
    assert {row["label"] for row in rows} == {plain_cell(text) for text in FORMULAS}
    assert all(row["label"].startswith(("'", "\\u", "a")) for row in rows)
    assert {row["scene"] for row in rows} == {f"/s/{SHOWN}"}
    cells_by_semicolon = [part for row in rows for part in row["label"].split(";")]
    assert not [cell for cell in cells_by_semicolon if cell.lstrip()[:1] in set("=+-@\uff1d")]
    assert float(rows[0]["WKT"].split("((")[1].split()[1].rstrip(",")) < 0, "numbers stay numbers"


@pytest.mark.parametrize("ending", ["geojson", "html"])
def test_a_file_of_text_shows_names_without_their_controls(run, archive, tmp_path, ending):
    path = tmp_path / f"\u202eall.{ending}"
    assert run("query", archive, "--tile", 0, "-k", 3, "-o", path)[0] == 0
    text = path.read_text(encoding="utf-8")
    assert not CONTROLS.search(text.replace("\n", ""))
    assert text.count("\\u202eeman") >= 3
    if ending == "geojson":
        assert {f["properties"]["scene"] for f in json.loads(text)["features"]} == {EVIL}


def test_plain_names_stay_as_they_are():
    for name in ("/data/M\u00fcnchen 2023-06-01=a+b.tif", "\u6771\u4eac.tif", "Z\u00fcrich"):
        assert plain_text(name) == plain_cell(name) == name
