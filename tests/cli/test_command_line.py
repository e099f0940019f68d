"""The command line as scripts use it: exit codes, errors on one line, and valid JSON."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from geohash_rs import Archive, Hasher
from geohash_rs.errors import SceneError, one_line
from geohash_rs.hashing import Backbone, Extractor, LinearHead, Scaling
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord
from tests.store.helpers import make_grid

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Make an archive of given codes, 30 tiles of two scenes, without a network."""
    path = tmp_path_factory.mktemp("cli") / "archive"
    made = Archive.create(path, num_bits=64)
    codes = np.random.default_rng(0).integers(0, 256, (30, 8), dtype=np.uint8)
    col = np.arange(30) % 15 * 64
    tiles = gpd.GeoDataFrame(
        {
            "scene": np.where(np.arange(30) < 15, "/scenes/a.tif", "/scenes/b.tif"),
            "col": col,
            "row": 0,
            "width": 64,
            "height": 64,
            "datetime": np.datetime64("2023-06-01"),
        },
        geometry=[shapely.box(i, 50, i + 1, 51) for i in range(30)],
        crs="EPSG:4326",
    )
    made.add_codes(codes, tiles)
    return path


@pytest.fixture
def empty_tif(tmp_path):
    path = tmp_path / "empty.tif"
    path.write_bytes(b"")
    return path


def test_query_by_tile_prints_geojson_that_parses(run, archive):
    code, out, err = run("query", archive, "--tile", 3, "-k", 5, "--json")
    assert (code, err) == (0, "")
    features = json.loads(out)["features"]
    assert [f["properties"]["rank"] for f in features] == [1, 2, 3, 4, 5]
    assert features[0]["properties"]["datetime"] == "2023-06-01T00:00:00Z"


def test_query_by_point_with_region_writes_a_file(run, archive, tmp_path):
    code, out, err = run(
        "query",
        archive,
        "--point",
        "3.5,50.5",
        "--bbox",
        "0.5,49,9.5,52",
        "-o",
        tmp_path / "m.gpkg",
    )
    assert (code, out) == (0, "")
    (tile,) = Archive.open(archive, mode="r").query(point=(3.5, 50.5), k=1).examples.itertuples()
    used = f"Searching with tile {tile.tile_id} at 3.5, 50.5: {Path(tile.scene).name}, 2023-"
    assert err.startswith(used)
    assert len(gpd.read_file(tmp_path / "m.gpkg", layer="m")) == 10


def test_query_by_point_and_time_prints_the_tile_apart_from_the_matches(run, archive):
    words = ("query", archive, "--point", "3.5,50.5", "-k", 2, "--json")
    everything = json.loads(run(*words)[1])
    day = everything["features"][0]["properties"]["datetime"][:10]
    code, out, err = run(*words, "--time", day)
    assert code == 0
    assert json.loads(out)["features"][0]["properties"]["datetime"][:10] == day
    assert err.rstrip().endswith(f", {day}.")
    code, out, err = run(*words, "--time", "1990/1991")
    assert (code, out) == (2, "")
    assert f"from 1990-01-01 to 1991-12-31; there are tiles of {day}" in err


def test_query_takes_positive_and_negative_examples(run, archive):
    words = ("--tile", 3, "--tile", 20, "--negative", 4, "--distinct", "-k", 30, "--json")
    code, out, err = run("query", archive, *words)
    assert (code, err) == (0, "")
    expected = Archive.open(archive, mode="r").query(
        tile=[3, 20], negatives=[4], distinct=True, k=30
    )
    shown = [feature["properties"] for feature in json.loads(out)["features"]]
    assert [row["tile_id"] for row in shown] == expected["tile_id"].tolist()
    assert 4 not in expected["tile_id"].to_numpy()


def test_asymmetric_ranking_without_a_patch_says_what_it_needs(run, archive):
    code, out, err = run("query", archive, "--tile", 3, "--ranking", "asymmetric")
    assert (code, out) == (2, "")
    assert "search with patches or vectors only" in err


def test_export_writes_every_tile_with_the_columns_of_a_match(run, archive, tmp_path):
    assert run("export", archive, "-o", tmp_path / "all.geojson")[0] == 0
    read = gpd.read_file(tmp_path / "all.geojson")
    assert len(read) == 30
    columns = ["tile_id", "scene", "col", "row", "width", "height", "datetime", "geometry"]
    assert list(read.columns) == columns


@pytest.mark.parametrize("name", ["codes.parquet", "codes.zarr"])
def test_export_writes_codes_and_stac(run, archive, tmp_path, name):
    code, out, _ = run("export", archive, "-o", tmp_path / name, "--stac", "--json")
    assert code == 0
    assert json.loads(out) == {"tiles": len(Archive.open(archive)), "output": str(tmp_path / name)}
    item = json.loads((tmp_path / f"{name}.item.json").read_text())
    models = [link["href"] for link in item["links"] if link["rel"] == "emb:model"]
    assert models == ["urn:geohash-rs:hasher:unknown"]
    assert "geohash_rs:features" not in item["properties"]
    assert (tmp_path / f"{name}.collection.json").is_file()


def test_export_says_what_a_folder_will_hold_before_it_writes_it(run, archive_folder, tmp_path):
    code, out, err = run(
        "export", archive_folder, "-o", f"{tmp_path}/site/", "--pictures", "--json"
    )
    assert code == 0, err
    count = len(Archive.open(archive_folder, mode="r"))
    assert json.loads(out)["tiles"] == count
    assert f"will hold {count} tiles in roughly" in err
    assert "only if their licence allows that" in err
    assert (tmp_path / "site" / "index.html").is_file()
    assert (tmp_path / "site" / "data" / "pictures.bin").stat().st_size > 1000
    assert run("export", archive_folder, "-o", f"{tmp_path}/site")[0] == 0  # replaces it
    assert not (tmp_path / "site" / "data" / "pictures.bin").exists()


def test_export_names_the_hasher_of_codes_and_the_network_behind_it(run, archive_folder, tmp_path):
    assert run("export", archive_folder, "-o", tmp_path / "codes.parquet")[0] == 0
    emb = json.loads(pq.read_metadata(tmp_path / "codes.parquet").metadata[b"emb"])
    archive = Archive.open(archive_folder, mode="r")
    assert emb["model"]["source"] == f"urn:geohash-rs:hasher:{archive.hasher_fingerprint}"
    assert emb["geohash_rs:features"].startswith(archive.hasher().backbone.model_name)


def test_export_checks_the_places_of_stac_before_any_work(run, archive, tmp_path):
    (tmp_path / "codes.parquet.item.json").write_text("mine")
    code, out, err = run("export", archive, "-o", tmp_path / "codes.parquet", "--stac")
    assert (code, out) == (2, "")
    assert "codes.parquet.item.json does not describe codes.parquet" in err
    assert not (tmp_path / "codes.parquet").exists()


def test_info_describes_every_sensor_on_a_line(run, archive):
    code, out, _ = run("info", archive)
    bits = np.unpackbits(Archive.open(archive).codes(range(30)), axis=1)
    pairs = [(bits[i] != bits[j]).sum() for i in range(30) for j in range(i)]
    line = f"unknown: 30 tiles of 2 scenes; two tiles differ in {np.mean(pairs):.1f} bits"
    assert code == 0
    assert re.search(rf"^sensors +{re.escape(line)} on average; 0 constant bits$", out, re.M)


def test_info_shows_the_card_of_the_hasher(run, tmp_path):
    backbone = Backbone("test_resnet")
    scaling = Scaling(low=(0,) * 3, high=(255,) * 3, mean=backbone.mean, std=backbone.std)
    extractor = Extractor(
        backbone, scaling=scaling, bands=("red", "green", "blue"), tile_size=32, input_size=32
    )
    notes = {
        "not_for": "classes that\nit was not taught",
        "classes": ["field", "lake"],
        "figures": {"map@20": {"milan": 0.9, "float": 0.7}},
    }
    head = LinearHead(backbone.num_features, 8)
    Archive.create(tmp_path / "a", hasher=Hasher(extractor, head, notes=notes))
    code, out, _ = run("info", tmp_path / "a")
    assert code == 0
    assert re.search(r"^hasher_notes +classes: field, lake$", out, re.M)
    assert re.search(r'^ +figures: {"map@20": {"float": 0.7, "milan": 0.9}}$', out, re.M)
    assert re.search(r"^ +not_for: classes that\\u000ait was not taught$", out, re.M)
    assert json.loads(run("info", tmp_path / "a", "--json")[1])["hasher_notes"] == notes


def test_info_lists_a_scene_on_each_line_and_counts_the_others(run, tmp_path):
    archive = Archive.create(tmp_path / "a", num_bits=16)
    tiles = make_grid(22).assign(scene=[f"/data/{number:02}.tif" for number in range(22)])
    records = [SceneRecord(scene=name, num_tiles=1) for name in tiles["scene"]]
    archive.add_codes(np.zeros((22, 2), np.uint8), tiles, scenes=records)
    code, out, _ = run("info", tmp_path / "a")
    assert code == 0
    lines = out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("scenes "))
    assert lines[first].split() == ["scenes", "/data/00.tif"]
    assert lines[first + 19].split() == ["/data/19.tif"]
    assert lines[first + 20].split() == ["...", "and", "2", "more", "(--json", "lists", "all)"]


def test_a_crs_in_which_nothing_is_written_gets_a_warning(run, archive, tmp_path):
    words = ("query", archive, "--tile", 3, "-k", 2, "--crs", "EPSG:3857")
    said = "--crs EPSG:3857 has no effect: only .gpkg and .parquet files are written in it"
    for more in (["--json"], ["-o", tmp_path / "a.geojson"], ["-o", tmp_path / "a.csv"], []):
        code, _, err = run(*words, *more)
        assert code == 0
        assert said in err
    code, _, err = run(*words, "-o", tmp_path / "a.gpkg", "--json")
    assert (code, said in err) == (0, False)
    assert gpd.read_file(tmp_path / "a.gpkg", layer="a").crs == "EPSG:3857"


@pytest.mark.parametrize("command", ["info", "verify", "compact"])
def test_maintenance_commands_print_json(run, archive, command):
    code, out, err = run(command, archive, "--json")
    assert (code, err) == (0, "")
    assert isinstance(json.loads(out), dict)


WRONG_USE = [
    (("query", "{archive}"), "pass a PATCH.tif, --point, --tile, --vector, --each or --concept"),
    (
        ("query", "{archive}", "--negative", 3),
        "pass a PATCH.tif, --point, --tile, --vector, --each or --concept",
    ),
    (("query", "{archive}", "--tile", 3, "--window", "1,2,3,4"), "--window needs a patch"),
    (("query", "{archive}", "--tile", 3, "--bands", "1,2,3"), "--bands needs a patch"),
    (("query", "{archive}", "--tile", 3, "--ranking", "best"), "'best' is not one of"),
    (("query", "{archive}", "--tile", 3, "-k", 0), "0 is not in the range"),
    (("query", "{archive}", "--tile", 3, "-k", -4), "-4 is not in the range"),
    (("query", "{archive}", "--tile", 3, "--max-distance", -1), "-1 is not in the range"),
    (("query", "{archive}", "--tile", 3, "--bbox", "1,2,3"), "minlon,minlat,maxlon,maxlat"),
    (("query", "{archive}", "--tile", 3, "--bbox", "0,60,10,40"), "60"),
    (("query", "{archive}", "--tile", 3, "--time", "2024-01-01/2023-01-01"), "2024-01-01"),
    (("query", "{archive}", "--tile", 3, "--time", "yesterday/today"), "yesterday"),
    (("query", "{archive}", "--tile", 3, "-o", "{tmp}/m.shp"), "'.shp'"),
    (("query", "{archive}", "p.tif", "--window", "1,2,x,4"), "col,row,w,h"),
    (("index", "x.tif"), "--archive"),
    (
        ("index", "x.tif", "--archive", "{tmp}/a", "--tile-size", 0),
        "'0' is not a whole number of pixels from 1 on",
    ),
    (("index", "x.tif", "--archive", "s3://b/a"), "not s3://...; index into a folder, then"),
    (("index", "x.tif", "--archive", "a", "--engine", "local", "--workers", 2), "--workers 2 is"),
    (("query", "postgresql://h/d", "--tile", 3, "--engine", "local"), "--engine needs an archive"),
    (("query", "a", "--tile", 3, "--schema", "public"), "--schema needs an archive in PostGIS"),
    (
        ("query", "a", "--tile", 3, "--table", "x"),
        "--table needs an archive in PostGIS, which a is",
    ),
    (("nonsense",), "nonsense"),
    (("info", "{archive}", "--nonsense"), "--nonsense"),
    (("export", "{archive}", "-o", "{tmp}/all.csv", "--stac"), "needs -o with .parquet or .zarr"),
    (("export", "{archive}", "-o", "{tmp}/all.csv", "--pictures"), "needs -o with a folder"),
    (("export", "{archive}", "-o", "{tmp}/site/", "--remote-scenes"), "a folder with --pictures"),
]


@pytest.mark.parametrize(("words", "message"), WRONG_USE)
def test_wrong_use_is_one_line_and_exit_code_2(run, archive, tmp_path, words, message):
    code, out, err = run(*(str(w).format(archive=archive, tmp=tmp_path) for w in words))
    assert code == 2, err
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err


FAILURES = [
    (("info", "{tmp}"), "archive"),
    (("info", "{tmp}/nowhere"), "nowhere"),
    (("verify", "{tmp}/nowhere"), "nowhere"),
    (("query", "{archive}", "--tile", 999), "999"),
    (("query", "{archive}", "--point", "100,10"), "100"),
    (("query", "{archive}", "{tmp}/empty.tif"), "hasher"),
    (("remove", "{archive}", "--scene", "c.tif"), "c.tif"),
    (("index", "{tmp}/empty.tif", "--archive", "{tmp}/new"), "empty.tif"),
    (("index", "{tmp}/nowhere.tif", "--archive", "{tmp}/new"), "nowhere.tif"),
    (("export", "{archive}", "-o", "{tmp}/none/all.geojson"), "does not exist"),
    (("export", "{archive}", "-o", "{tmp}/none/codes.zarr"), "does not exist"),
    (("export", "{archive}", "-o", "{archive}/site/"), "lies in the archive"),
    (("export", "{archive}", "-o", "{tmp}"), "folder with other files"),
    (
        ("export", "{archive}", "-o", "{tmp}/all.geojson", "--stac"),
        "needs -o with .parquet or .zarr",
    ),
]


@pytest.mark.parametrize(("words", "message"), FAILURES)
def test_a_failure_is_one_line(run, archive, tmp_path, empty_tif, words, message):
    code, _, err = run(*(str(w).format(archive=archive, tmp=tmp_path) for w in words))
    assert code in {1, 2}, err
    assert len(err.splitlines()) == 1, err
    assert message in err
    assert "Traceback" not in err


def test_help_needs_neither_torch_nor_geopandas():
    script = (
        "import sys\nfrom geohash_rs.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'geopandas', 'rasterio', 'numba'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    for command in ("demo", "index", "query", "info", "remove", "compact", "verify", "export"):
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)


def test_commands_of_the_readme_are_commands(run):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"geohash-rs ([a-z]+)", text))
    assert {"demo", "index", "query", "info"} <= named
    for command in named:
        code, out, _ = run(command, "--help")
        assert code == 0
        options = {
            word
            for line in text.splitlines()
            if f"geohash-rs {command}" in line
            for word in re.findall(r"(?<= )--[a-z-]+", line)
        }
        if command != "demo":
            assert all(option in out for option in options - {"--archive"}), options


def test_the_readme_has_one_command_to_try_it_and_one_to_test_it():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "lat/lon cell" in next(line for line in lines[1:] if line)
    commands = [line for line in lines if line.startswith("python -m pip install")]
    assert len(commands) == 2
    assert commands[0].endswith("&& geohash-rs demo")
    assert commands[1].endswith("&& python -m pytest")


class Dropping:
    """Raises a KeyboardInterrupt where Python cannot pass it on."""

    def __del__(self):
        raise KeyboardInterrupt


@pytest.fixture
def interruptible():
    """Take Ctrl-C as Python does, even where this process was started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_that_a_destructor_swallows_still_ends_a_command(run, monkeypatch, archive):
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the handlers of this process stay

    def work(*_arguments, **_options):
        Dropping()  # and so is destroyed
        time.sleep(60)

    monkeypatch.setattr(CodeStore, "open", work)
    interrupted = "geohash-rs: interrupted; everything committed so far is kept."
    assert run("info", archive) == (130, "", f"\n{interrupted}\n")


def test_an_end_of_file_is_not_taken_for_an_interrupt(run, monkeypatch, archive):
    def work(*_arguments, **_options):
        raise EOFError("the pipe closed")

    monkeypatch.setattr(CodeStore, "open", work)
    code, _, err = run("info", archive)
    assert code == 1
    assert err.splitlines()[-1].startswith("geohash-rs: EOFError: the pipe closed (see")


@pytest.mark.parametrize(
    "problem",
    [
        "PROJ: internal_proj_identify: Cannot find proj.db",
        "PROJ: internal_proj_identify: SQLite error [ file is not a database ]",
    ],
)
def test_data_of_proj_that_cannot_be_used_name_the_variable(problem, monkeypatch):
    monkeypatch.setenv("PROJ_LIB", "/nowhere")
    monkeypatch.delenv("PROJ_DATA", raising=False)
    assert one_line(SceneError(problem)) == f"{problem}; unset PROJ_LIB, which leads there."
    assert one_line(SceneError("an unknown CRS")) == "an unknown CRS"


def test_a_result_does_not_replace_what_is_read(run, archive, tmp_path):
    region = tmp_path / "r.geojson"
    gpd.GeoDataFrame(geometry=[shapely.box(-180, -90, 180, 90)], crs=4326).to_file(region)
    before = region.read_bytes()
    code, _, err = run("query", archive, "--tile", 0, "--region", region, "-o", region)
    assert (code, region.read_bytes()) == (2, before)
    assert "r.geojson is an input of this search; write the result to another file." in err


def test_missing_data_of_proj_lead_to_the_doctor(run, monkeypatch, archive):
    def work(*_arguments, **_options):
        raise SceneError("PROJ: internal_proj_identify: Cannot find proj.db")

    monkeypatch.setattr(CodeStore, "open", work)
    code, _, err = run("info", archive)
    assert (code, err.endswith("proj.db (run 'geohash-rs doctor')\n")) == (1, True)
