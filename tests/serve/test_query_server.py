"""``geohash-rs query --server``: the answers of a query without it."""

import json
import re
import socket
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import geopandas as gpd
import pytest

from geohash_rs import Archive
from geohash_rs.cli import query_server
from geohash_rs.serve.addresses import place_of
from tests.serve.conftest import start

IMPORTED = """
import sys
from geohash_rs.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ending:
    code = ending.code
print("imported", *[n for n in ("numpy", "pyarrow", "pandas", "torch") if n in sys.modules])
sys.exit(code)
"""


@pytest.fixture(scope="session")
def patch(coast):
    return next(iter(sorted((coast / "patches").glob("*.tif"))))


@pytest.mark.parametrize(
    "words",
    [
        ["PATCH", "-k", "3"],
        ["PATCH", "PATCH", "--bands", "3,2,1", "--negative", "5"],
        ["--tile", "3", "--tile", "8", "--negative", "PATCH", "--distinct"],
        ["--tile", "3", "--exclude-overlap", "--max-distance", "20", "-k", "9", "--json"],
        ["PATCH", "--tile-size", "64", "--time", "2023-05-01/2023-05-31", "--json"],
        ["--point", "POINT", "--time", "2023"],
        ["--tile", "3", "--bbox", "BOX", "--within"],
        ["--tile", "3", "-k", "5", "--bbox", "0,0,1,1"],
        ["--tile", "3", "-k", "5", "--label", "none", "--json"],
        ["--tile", "3", "-k", "5", "--scene", "coast_west_20230514.tif"],
    ],
    ids=lambda words: "".join(words).replace("--", "-"),
)
def test_a_server_gives_the_answer_of_a_query_without_it(address, coast_archive, patch, run, words):
    archive = Archive.open(coast_archive, mode="r")
    place = archive.tiles([4]).geometry.iloc[0].centroid
    west, south, east, north = archive.tiles(range(40)).total_bounds
    given = {
        "PATCH": patch,
        "POINT": f"{place.x},{place.y}",
        "BOX": f"{west + 0.001},{south},{east},{north}",
    }
    words = [str(given.get(word, word)) for word in words]
    alone = run("query", coast_archive, *words)
    served = run("query", "--server", address, *words)
    assert alone[0] == served[0] == 0, (alone, served)
    assert served[1:] == alone[1:]


@pytest.mark.parametrize("ending", ["geojson", "json", "csv", "parquet", "gpkg"])
def test_a_server_writes_the_same_file(address, coast_archive, patch, run, tmp_path, ending):
    for name, words in {"a": [coast_archive], "b": ["--server", address]}.items():
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"found.{ending}"
        code, out, err = run("query", *words, patch, "-k", "4", "-o", path)
        assert (code, out, err) == (0, "", f"4 matches written to {path}.\n")
    if ending in ("geojson", "json", "csv"):
        texts = [(tmp_path / name / f"found.{ending}").read_bytes() for name in "ab"]
        assert texts[0] == texts[1]
        return
    read = (
        gpd.read_parquet if ending == "parquet" else lambda path: gpd.read_file(path, layer="found")
    )
    frames = [read(tmp_path / name / f"found.{ending}") for name in "ab"]
    frames = [frame.drop(columns="picture", errors="ignore") for frame in frames]
    assert len(frames[0]) == 4
    assert frames[0].to_csv() == frames[1].to_csv()


def test_a_query_of_a_server_imports_no_numbers_and_no_network(address, patch):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, "query", "--server", address, str(patch), "-k", "2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "imported"
    assert lines[0].split()[:3] == ["rank", "distance", "tile_id"]


def test_auto_asks_the_server_of_the_archive_and_no_other(
    address, coast_archive, run, monkeypatch, tmp_path
):
    words = ("--tile", "3", "-k", "2")
    alone = run("query", coast_archive, *words)
    monkeypatch.setattr(query_server, "PORT", int(address.rpartition(":")[2]))
    asked = []
    real = query_server.Server.query
    monkeypatch.setattr(
        query_server.Server, "query", lambda *a, **k: asked.append(1) or real(*a, **k)
    )
    assert run("query", coast_archive, *words, "--server", "auto") == alone
    assert asked == [1]
    other = tmp_path / "other"
    Archive.create(other, num_bits=64)
    assert run("query", other, "--tile", "3", "--server", "auto")[0] == 1
    assert asked == [1]
    with monkeypatch.context() as forwarded:  # the port leads to a machine with the same folders
        forwarded.setattr(query_server, "place_of", lambda _: place_of(coast_archive))
        assert run("query", other, "--tile", "3", "--server", "auto")[0] == 1
    assert asked == [1]
    monkeypatch.setattr(query_server, "PORT", _free_port())  # no server
    assert run("query", coast_archive, *words, "--server", "auto") == alone
    assert asked == [1]


def test_a_server_answers_from_the_newest_state(coast_archive, run, tmp_path):
    import shutil

    from geohash_rs.serve.app import create_app

    copy = tmp_path / "copy"
    shutil.copytree(coast_archive, copy)
    url, stop = start(create_app(Archive.open(copy, mode="r")))
    try:
        writer = Archive.open(copy)
        writer.remove_scenes([writer.scenes()[0].scene])
        tile = int(writer.tiles(writer.sample(1)[0])["tile_id"].iloc[0])
        words = ("--tile", tile, "-k", "1000")
        assert run("query", "--server", url, *words) == run("query", copy, *words)
    finally:
        stop()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tile", "3", "--crs", "EPSG:3857"], "--server cannot be used with --crs"),
        (["--tile", "3", "--each", "a.gpkg"], "leave out --tile"),
        (["--each", "a.gpkg"], "--server cannot be used with --each"),
        (
            ["--tile", "3", "--engine", "local", "--device", "cuda"],
            "cannot be used with --engine and --device",
        ),
        (["--tile", "3", "--max-distance", "3"], "needs -k, at most 1000; pass -k 1000 or"),
        (["--tile", "3", "-k", "2000"], "--server needs -k, at most 1000; pass -k 1000 or less"),
        (["--tile", "3", "--crs", "EPSG:3857"], "; leave out --server, or --crs"),
        (["--tile", "3", "-o", "a.html"], "writes .geojson, .json, .gpkg, .parquet, .csv, not"),
        (["PATCH", "--tile-size", "64,128"], "takes one --tile-size with a patch"),
        (["ARCHIVE", "--tile", "3"], "is an archive, not a patch"),
        (["--tile", "99999999"], "answers: archive has no tile with id 99999999"),
        (["none.tif"], "none.tif cannot be read (No such file or directory)"),
        (["--tile", "3", "--time", "2024/2023"], "time ends before it starts: 2024 to 2023"),
        (["--tile", "3", "--time", " "], "--time is empty"),
        (["README", "-k", "3"], "answers: README.md is not a GeoTIFF"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_a_server_cannot_do_is_refused_by_name(
    address, coast_archive, patch, run, tmp_path, words, said
):
    (tmp_path / "README.md").write_text("not a picture")
    given = {"PATCH": patch, "ARCHIVE": coast_archive, "README": tmp_path / "README.md"}
    code, out, err = run("query", "--server", address, *(given.get(word, word) for word in words))
    assert (code > 0, out) == (True, "")
    assert said in err


@pytest.mark.parametrize(
    "words",
    [
        ["PATCH", "--negative", "PATCH"],
        ["--tile", "5", "--negative", "5"],
        ["--tile", "5", "--tile-size", "63"],
        ["--tile", "99999999"],
        ["--tile", "5", "--bbox", "7,91,8,92"],
        ["--tile", "5", "--time", "2024/2023"],
        ["--point", "0,0"],
        ["--point", "47.02,-99.15"],
        ["--point", "190,5"],
        ["PATCH", "--bands", "3,2"],
    ],
    ids=lambda words: "".join(words).replace("--", "-"),
)
def test_a_server_refuses_what_is_refused_without_it(address, coast_archive, patch, run, words):
    words = [str(patch) if word == "PATCH" else word for word in words]
    alone = run("query", coast_archive, *words)
    served = run("query", "--server", address, *words)
    assert served[:2] == alone[:2]
    why = alone[2].removeprefix("geohash-rs: ").partition(";")[0].replace(f"{patch.parent}/", "")
    why = re.sub(", window [0-9,]+,", "", why).replace(f"{coast_archive} ", "archive ")
    assert why in served[2]


def test_bands_of_another_number_than_the_hasher_expects_are_counted(
    address, coast_archive, patch, run
):
    said = (
        "--bands 3,2 are 2, but the hasher expects 3 (red, green, blue); choose 3 bands of "
        f"{patch.name}."
    )
    for archive in ([coast_archive], ["--server", address]):
        code, _, err = run("query", *archive, patch, "--bands", "3,2")
        assert code == 1
        assert err.endswith(f"{said}\n")


def test_a_point_out_of_range_is_refused_before_a_server_is_asked(run):
    for address in (f"http://127.0.0.1:{_free_port()}", "http://nowhere.invalid"):
        code, _, err = run("query", "--server", address, "--point", "47.02,-99.15")
        assert (code, "if this is latitude, longitude, pass" in err) == (2, True)


def test_auto_answers_without_the_server_what_that_cannot_do(
    address, coast_archive, run, monkeypatch, tmp_path
):
    monkeypatch.setattr(query_server, "PORT", int(address.rpartition(":")[2]))
    monkeypatch.setattr(query_server.Server, "query", None)
    for words in (
        ["--max-distance", "12"],
        ["-k", "1001"],
        ["-o", tmp_path / "found.html"],
        ["-o", tmp_path / "found.gpkg", "--crs", "EPSG:3857"],
    ):
        alone = run("query", coast_archive, "--tile", "3", *words)
        assert alone[0] == 0
        assert run("query", coast_archive, "--tile", "3", *words, "--server", "auto") == alone


@pytest.mark.parametrize("words", [[], ["--server", "auto"], ["--tile", "3"]])
def test_a_patch_in_place_of_the_archive_is_named(run, patch, words):
    code, out, err = run("query", patch, "-k", "3", *words)
    assert (code, out) == (2, "")
    assert f"{patch} is a GeoTIFF, not an archive; put the archive before it" in err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:FREE", "no geohash-rs server answers at http://127.0.0.1:"),
        ("127.0.0.1:8765", "pass the address that 'geohash-rs serve' printed"),
        ("http://127.0.0.1:99999", "pass the address that 'geohash-rs serve' printed"),
        ("http://127.0.0.1:8765/api", "pass the address that 'geohash-rs serve' printed"),
    ],
)
def test_an_address_without_a_server_is_named(run, url, said):
    url = url.replace("FREE", str(_free_port()))
    code, out, err = run("query", "--server", url, "--tile", "3")
    assert (code > 0, out) == (True, "")
    assert said in err


@pytest.mark.parametrize(
    "texts",
    [
        {"": b"<html>hello</html>"},
        {"": b"[]"},
        {"": b"{}"},
        {"": b"\xff"},
        {"": b"null", "/api/archive": b'{"place": "a", "commit": "b"}'},
    ],
)
def test_another_program_at_the_address_is_named(
    coast_archive, patch, run, monkeypatch, other_program, texts
):
    url = other_program(texts)
    for words in (["--tile", "3"], [patch]):
        code, out, err = run("query", "--server", url, *words)
        assert (code, out) == (1, "")
        assert f"what answers at {url} is not the 'geohash-rs serve' of this version" in err
    words = ["query", coast_archive, "--tile", "3", "-k", "2"]
    alone = run(*words)
    monkeypatch.setattr(query_server, "PORT", int(url.rpartition(":")[2]))
    assert alone[0] == 0
    assert run(*words, "--server", "auto") == alone


def test_a_program_without_the_address_of_archives_is_named(run, tmp_path):
    folder = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code, _, err = run(
            "query", "--server", f"http://127.0.0.1:{server.server_port}", "--tile", "3"
        )
        server.shutdown()
    assert code == 1
    assert "is not the 'geohash-rs serve' of this version (status 404 File not found)" in err
    assert "pass the address that it printed" in err


@pytest.fixture
def other_program():
    """Serve fixed texts by their path, otherwise that of ""; return the address."""
    servers = []

    def begin(texts):
        class Answers(BaseHTTPRequestHandler):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(texts.get(self.path, texts[""]))

            do_POST = do_GET  # noqa: N815 - as the base class calls it

            def log_message(self, *_):
                """Print nothing."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Answers))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_query_without_server_still_needs_an_archive(run):
    for words in ([], ["--server", "auto"]):
        code, _, err = run("query", *words, "--tile", "3")
        assert code == 2
        assert "Missing argument 'ARCHIVE|s3://...|postgresql://...'" in err


def test_places_of_an_archive_are_those_that_the_server_names(address, coast_archive, run):
    about = query_server.Server(address).refresh()
    assert about["place"] == place_of(coast_archive)
    assert json.loads(json.dumps(about)) == about


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
