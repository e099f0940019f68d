"""Idle, slow and greedy clients hold no place that others need."""

import json
import shutil
import socket
import struct
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import geopandas as gpd
import pytest
import rasterio

from geohash_rs import Archive, Scenes
from geohash_rs.errors import GeoHashRSWarning, PatchError
from geohash_rs.pictures.permission import Permission
from geohash_rs.serve import connections, guard, uploads
from geohash_rs.serve.app import create_app
from geohash_rs.serve.problems import without_folders
from geohash_rs.serve.server import make_server
from tests.serve.asking import asker, detail, geotiff
from tests.serve.conftest import start

BOUND = 100  # s; more than any of these takes on a busy machine
HEAD = b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BODY = b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture
def limited(coast_archive):
    """Serve the coast as the command does; return its address and its connections."""
    app = create_app(Archive.open(coast_archive, mode="r"))
    listening = socket.create_server(("127.0.0.1", 0))
    server = make_server(app, log_level="error")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended as it started"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}", app.connections
    server.should_exit = True
    thread.join(10)
    listening.close()


def connect(address, sent=b""):
    host, port = urlsplit(address).netloc.split(":")
    made = socket.create_connection((host, int(port)), timeout=BOUND)
    made.sendall(sent)
    return made


def search(address):
    return asker(address)("POST", "/api/search", {"tiles": [1], "k": 5})[0]


def is_dropped(client):
    """Return whether the server has closed a connection; wait for what it sends."""
    try:
        return client.recv(4096) == b""
    except ConnectionError:
        return True


def test_a_head_that_never_arrives_ends_the_connection(limited, monkeypatch):
    monkeypatch.setattr(connections, "PATIENCE", 0.3)
    address, _ = limited
    with connect(address) as silent, connect(address, HEAD) as slow:
        assert is_dropped(silent)
        answer = slow.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert "send it again" in json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]
        assert is_dropped(slow)


def test_a_second_request_on_a_connection_has_the_same_time(limited, monkeypatch):
    monkeypatch.setattr(connections, "PATIENCE", 1.0)
    address, _ = limited
    with connect(address, b"GET /api/tile/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as client:
        first = client.recv(65536)
        while b'"scene_name"' not in first:
            first += client.recv(65536)
        assert first.startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET /api")
        second = client.recv(65536)
        while second and b"408" not in second:
            second += client.recv(65536)
        assert b"HTTP/1.1 408 " in second


def test_an_answer_that_nobody_takes_ends_the_connection(limited, monkeypatch):
    monkeypatch.setattr(connections, "PATIENCE", 0.5)
    address, known = limited
    ask = b"GET /static/maplibre-gl.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with connect(address, ask * 20):
        until = time.monotonic() + BOUND
        while len(known) and time.monotonic() < until:
            time.sleep(0.05)
        assert len(known) == 0


def test_besieged_by_one_client_the_server_still_answers_it(limited, monkeypatch):
    address, known = limited
    known.most = 40
    monkeypatch.setattr(connections, "MOST_BODIES_OF_A_CLIENT", 4)
    with ExitStack() as stack:
        for number in range(200):
            sent = [b"", HEAD[: number % 30 + 1], HEAD + BODY][number % 3]
            stack.enter_context(connect(address, sent))
            if number % 20 == 19:
                assert search(address) == 200
                assert len(known) <= 20, "half of all are for one client"


def test_the_body_that_has_been_arriving_longest_gives_way(limited, monkeypatch):
    address, known = limited
    monkeypatch.setattr(connections, "MOST_BODIES_OF_A_CLIENT", 4)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(address, HEAD + BODY)) for _ in range(8)]
        assert all(is_dropped(client) for client in clients[:4])
        assert len(known) == 4
        clients[4].settimeout(0.2)
        with pytest.raises(TimeoutError):
            clients[4].recv(1)


def test_a_client_with_too_many_requests_is_told_to_retry(limited, monkeypatch):
    address, _ = limited
    monkeypatch.setattr(guard, "MOST_REQUESTS_OF_A_CLIENT", 2)
    with connect(address, HEAD + BODY), connect(address, HEAD + BODY):
        answer = asker(address)("GET", "/api/tile/1")
        assert answer[0] == 503
        assert "2 requests are already in progress" in detail(answer)
    until = time.monotonic() + BOUND
    while search(address) != 200:
        assert time.monotonic() < until


def test_a_moved_archive_is_named_as_such_until_it_is_back(coast_archive, tmp_path):
    folder, away = tmp_path / "served", tmp_path / "away"
    shutil.copytree(coast_archive, folder)
    url, stop = start(create_app(Archive.open(folder, mode="r")))
    ask = asker(url)
    requests = [
        ("POST", "/api/search", {"tiles": [1], "k": 5}),
        ("GET", "/api/tile/1"),
        ("GET", "/api/tiles?bbox=0,0,1,1"),
        ("GET", "/api/archive"),
        ("GET", "/api/thumbnail/1.webp"),
    ]
    folder.rename(away)
    for request in requests:
        answer = ask(*request)
        assert answer[0] == 503
        assert "the archive served is no longer where the server opened it" in detail(answer)
    away.rename(folder)
    assert [ask(*request)[0] for request in requests] == [200] * 5
    stop()


def test_another_archive_in_its_place_is_named_until_the_page_is_loaded(coast_archive, tmp_path):
    folder = tmp_path / "served"
    shutil.copytree(coast_archive, folder)
    url, stop = start(create_app(Archive.open(folder, mode="r")))
    ask = asker(url)
    assert ask("POST", "/api/search", {"tiles": [1], "k": 5})[0] == 200
    with Archive.open(folder) as writer:  # a commit is not a replacement
        writer.update_attrs({"a": 1})
    assert ask("POST", "/api/search", {"tiles": [1], "k": 5})[0] == 200
    shutil.rmtree(folder)
    Archive.create(folder, num_bits=64).close()
    answer = ask("POST", "/api/search", {"tiles": [1], "k": 5})
    assert answer[0] == 503
    assert "another archive or an older copy has taken the place of served" in detail(answer)
    assert json.loads(ask("GET", "/api/archive")[2])["num_tiles"] == 0
    assert ask("GET", "/api/tile/1")[0] == 404
    stop()


def test_messages_name_no_folders(coast_archive, tmp_path):
    folder = tmp_path / "served"
    shutil.copytree(coast_archive, folder)
    for path in folder.glob("segments/*/*"):
        path.write_bytes(b"")
    for path in folder.glob("hasher-*"):
        path.write_bytes(b"")
    url, stop = start(create_app(Archive.open(folder, mode="r")))
    ask = asker(url)
    answers = [
        ask("POST", "/api/search", {"tiles": [1], "k": 5}),
        ask("GET", "/api/tile/1"),
        ask("POST", "/api/patch", geotiff()),
    ]
    stop()
    for answer in answers:
        assert answer[0] == 422
        assert " has 0 bytes but the manifest says" in detail(answer)
        assert "served/" in detail(answer)
        assert str(tmp_path) not in detail(answer)


@pytest.fixture(scope="module")
def quoted(tmp_path_factory):
    """An archive of three scenes, one of them damaged, in a folder that is hard to recognise."""
    folder = tmp_path_factory.mktemp("it's, here; (all)")
    for number in range(3):
        transform = rasterio.Affine(10, 0, 500_000 + 2000 * number, 0, -10, 5_400_000)
        (folder / f"{number}.tif").write_bytes(geotiff(transform=transform))
    path = tmp_path_factory.mktemp("quoted") / "archive"
    Archive.create(path, hasher="lsh-16").add(Scenes(folder), tile_size=64)
    (folder / "0.tif").write_bytes((folder / "0.tif").read_bytes()[:900])
    return path, folder


@pytest.mark.parametrize("others", [True, False])
def test_others_see_no_folders_of_this_machine(quoted, others):
    path, folder = quoted
    permission = Permission(folders=(folder,) if others else None)
    url, stop = start(create_app(Archive.open(path, mode="r"), permission=permission))
    ask = asker(url)
    answers = [
        ask("POST", "/api/search", {"tiles": [0], "k": 3}),
        ask("GET", "/api/tile/0"),
        ask("GET", "/api/scenes?bbox=-180,-90,180,90"),
        *(
            ask("POST", "/api/export", {"format": kind, "tiles": [{"tile_id": 0}]})
            for kind in ("csv", "geojson", "parquet")
        ),
    ]
    pictures = [ask("GET", f"/api/thumbnail/{number}.webp") for number in range(3)]
    pictures += [ask("GET", f"/api/scene/{number}.webp") for number in range(3)]
    stop()
    assert [answer[0] for answer in answers] == [200] * 6
    named = [str(folder).encode() in answer[2] for answer in answers]
    assert named == ([False] * 6 if others else [True, True, False, True, True, True])
    assert sorted(answer[0] for answer in pictures) == [200, 200, 200, 200, 404, 404]
    for answer in pictures:
        if answer[0] == 404:
            assert detail(answer).startswith("no picture of 0.tif")
            assert "here; (all)" not in detail(answer)


@pytest.mark.parametrize("allowed", [True, False])
def test_files_for_others_hold_only_pictures_that_they_may_see(
    quoted, tmp_path, monkeypatch, allowed
):
    path, folder = quoted
    elsewhere = tmp_path / "elsewhere"  # with other files of these names
    shutil.copytree(folder, elsewhere)
    monkeypatch.chdir(elsewhere)
    permission = Permission(folders=(folder if allowed else tmp_path / "other",))
    url, stop = start(create_app(Archive.open(path, mode="r"), permission=permission))
    tiles = Archive.open(path, mode="r").tiles(range(3))
    ids = {Path(scene).name: int(tile) for tile, scene in tiles[["tile_id", "scene"]].to_numpy()}
    request = {"tiles": [ids["1.tif"]], "negatives": [ids["0.tif"]], "format": "gpkg"}
    match = {"tile_id": ids["2.tif"], "distance": 1, "similarity": 0.5}
    query = {name: request[name] for name in ("tiles", "negatives")}
    kept = {"tiles": [match], "format": "gpkg", "query": query}
    files = {"search": ("/api/search/file", request), "kept": ("/api/export", kept)}
    ask = asker(url)
    with pytest.warns(GeoHashRSWarning):  # of 0.tif, which is damaged
        answers = {name: ask("POST", *asked) for name, asked in files.items()}
    for name, (status, _, content) in answers.items():
        assert status == 200, content
        assert b"here; (all)" not in content
        (tmp_path / f"{name}.gpkg").write_bytes(content)
    stop()
    found = gpd.read_file(tmp_path / "search.gpkg", layer="matches")
    assert set(found["scene"]) == {"1.tif", "2.tif"}
    for name in answers:
        examples = gpd.read_file(tmp_path / f"{name}.gpkg", layer="matches_query")
        assert examples["scene"].tolist() == ["1.tif", "0.tif"]
        assert examples["picture"].notna().tolist() == [allowed, False]
        assert "0.tif" in examples["no_picture"].iloc[1]
    for table in (found, gpd.read_file(tmp_path / "kept.gpkg", layer="matches")):
        assert ("picture" in table and table["picture"].notna().all()) == allowed


def test_a_refused_picture_names_the_options_of_the_server(quoted):
    url, stop = start(
        create_app(Archive.open(quoted[0], mode="r"), permission=Permission(folders=()))
    )
    answer = asker(url)("GET", "/api/thumbnail/0.webp")
    stop()
    assert answer[0] == 404
    assert "whoever runs the server can allow it with --scenes or --remote-scenes" in detail(answer)
    assert "remote_scenes=True" not in detail(answer)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/data/my scenes/a.tif cannot be read", "a.tif cannot be read"),
        ("cannot read '/data/a.tif' (gone)", "cannot read 'a.tif' (gone)"),
        (r"C:\data\scenes\a.tif is missing", "a.tif is missing"),
        ("../scenes/a.tif is missing", "a.tif is missing"),
        ("/srv/archive/segments/0/codes.bin is cut", "archive/segments/0/codes.bin is cut"),
        ("/srv/archive is locked", "archive is locked"),
        ("pass 3/4 of https://example.org/a/b.tif", "pass 3/4 of https://example.org/a/b.tif"),
    ],
)
def test_only_the_last_part_of_a_path_is_shown(text, shown):
    assert without_folders(text, Path("/srv/archive")) == shown


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_file_of_many_pages_is_refused_before_gdal_lists_them(order):
    mark = b"II" if order == "<" else b"MM"
    pages = b"".join(struct.pack(f"{order}HI", 0, 8 + 6 * (n + 1)) for n in range(500))
    content = mark + struct.pack(f"{order}HI", 42, 8) + pages
    with (
        pytest.raises(PatchError, match="has more than 100 pages, overviews and masks"),
        uploads.clean_patch(content, name="many.tif"),
    ):
        pass


def test_a_file_of_many_bands_is_refused():
    with (
        pytest.raises(PatchError, match=r"has 1,025 bands, but the limit is 1,024"),
        uploads.clean_patch(geotiff(1, 1, 1025), name="many.tif"),
    ):
        pass
    with uploads.clean_patch(geotiff(1, 1, 1024), name="many.tif") as path:
        assert path.endswith("many.tif")
