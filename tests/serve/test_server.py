"""The serve command: what it prints, whom it answers, which base maps it accepts."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from geohash_rs.cli.serve import serve_command
from geohash_rs.engines.cloud import open_archive, push
from geohash_rs.serve import addresses, server
from tests.serve.asking import asker
from tests.serve.conftest import start, uvicorn


@pytest.fixture
def run(coast_archive, monkeypatch):
    """Run the server until it would wait; return its application and its output."""

    def run_server(host, **options):
        said, kept = [], []

        def no_run(self, *, sockets):
            kept.append(self.config.app)
            for listening in sockets:
                listening.close()

        listen = server._listen
        monkeypatch.setattr(server, "_listen", lambda _, port: listen("127.0.0.1", port))
        monkeypatch.setattr(uvicorn.Server, "run", no_run)
        server.run_server(coast_archive, host=host, port=0, say=said.append, **options)
        monkeypatch.undo()
        return kept[0], said

    return run_server


def test_a_server_on_all_networks_prints_and_accepts_its_addresses(run, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "Box.example.org")
    monkeypatch.setattr(server, "own_addresses", lambda family: ["198.51.100.7"])
    application, said = run("0.0.0.0")  # noqa: S104 - what is tested; it listens to this machine
    assert said[0].startswith("324 tiles of ")
    assert " at http://localhost:" in said[0]
    assert " and http://198.51.100.7:" in said[0]
    url, stop = start(application)
    ask = asker(url)
    for name in ("198.51.100.7:8765", "box.example.org", "box.local:80", "[2001:db8::7]:8765"):
        assert ask("GET", "/api/archive", Host=name)[0] == 200
    assert ask("GET", "/api/archive", Host="rebound.example")[0] == 421
    stop()


def test_a_local_server_prints_one_address_and_accepts_no_other(run, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    application, said = run("127.0.0.1")
    assert said[0].count("http://") == 1
    assert " at http://127.0.0.1:" in said[0]
    url, stop = start(application)
    for name in ("198.51.100.7", "box", "box.local"):
        assert asker(url)("GET", "/api/archive", Host=name)[0] == 421
    stop()


def picture(application):
    url, stop = start(application)
    status = asker(url)("GET", "/api/thumbnail/0.webp")[0]
    stop()
    return status


def test_others_see_only_scenes_below_the_folders_that_the_server_was_started_with(
    run, coast, tmp_path
):
    nothing = "No pictures are drawn; name the folders of scenes that others may see with --scenes."
    application, said = run("127.0.0.1")
    assert picture(application) == 200
    assert nothing not in said
    application, said = run("0.0.0.0")  # noqa: S104 - what is tested; it listens to this machine
    assert picture(application) == 404
    assert nothing in said
    for options, status in (
        ({"folders": [coast / "scenes"]}, 200),
        ({"folders": [tmp_path]}, 404),
        ({"remote_scenes": True}, 200),
    ):
        application, said = run("0.0.0.0", **options)  # noqa: S104 - as above
        assert picture(application) == status
        assert nothing not in said
        if "folders" in options:
            assert picture(run("127.0.0.1", **options)[0]) == status


def test_folders_and_any_source_contradict_each_other(coast_archive, tmp_path):
    words = [str(coast_archive), "--scenes", str(tmp_path), "--remote-scenes"]
    answer = CliRunner().invoke(serve_command, words)
    assert answer.exit_code == 2
    assert "either --scenes" in answer.output


def test_addresses_can_stand_in_a_url_and_none_is_found_without_a_network(monkeypatch):
    for address in addresses.own_addresses(socket.AF_INET6):
        kind = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
        socket.inet_pton(kind, address.strip("[]"))
    assert not any("[" in one for one in addresses.own_addresses(socket.AF_INET))

    def unreachable(self, address):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    assert addresses.own_addresses(socket.AF_INET6) == []


def test_a_base_map_may_have_high_resolution_tiles(coast_archive, monkeypatch):
    taken = []
    monkeypatch.setattr(server, "run_server", lambda *_, base_map, **__: taken.append(base_map))
    url = "https://example.org/{z}/{x}/{y}{ratio}.png"
    answer = CliRunner().invoke(serve_command, [str(coast_archive), "--base-map", url])
    assert (answer.exit_code, taken) == (0, [url]), answer.output


@pytest.mark.parametrize(
    "url",
    [
        "https://{s}.example.org/{z}/{x}/{y}.png",
        "https://example.org/{z}.png",
        "https://example.org/{z}/{x}/{-y}.png",
        "ftp://example.org/{z}/{x}/{y}.png",
    ],
)
def test_a_base_map_that_the_page_cannot_load_is_refused(url, coast_archive):
    answer = CliRunner().invoke(serve_command, [str(coast_archive), "--base-map", url])
    assert answer.exit_code == 2
    assert f"--base-map is {url!r}" in answer.output
    assert "https://HOST/{z}/{x}/{y}.png" in answer.output
    assert "{s}" in answer.output


def test_an_archive_in_object_storage_is_served(run, coast_archive, tmp_path):
    url = "memory://served/coast"
    push(coast_archive, url)
    remote = open_archive(url, cache=tmp_path)
    application, said = run("127.0.0.1", archive=remote)
    assert said[0].startswith("324 tiles of ")
    address, stop = start(application)
    ask = asker(address)
    assert json.loads(ask("GET", "/api/archive")[2])["num_tiles"] == 324
    found = json.loads(ask("POST", "/api/search", {"tiles": [7], "k": 5})[2])["features"]
    assert [one["properties"]["distance"] for one in found][:2] == [0, 0], "7 and its like"
    stop()


def test_a_database_is_refused_with_what_searches_it():
    answer = CliRunner().invoke(serve_command, ["postgresql://reader@localhost/geo"])
    assert answer.exit_code == 2
    assert "geohash-rs query" in answer.output


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no signals")
@pytest.mark.parametrize("handler", ["default_int_handler", "SIG_IGN"])  # as in `script.sh &`
def test_the_server_ends_when_its_owner_is_killed(coast_archive, handler):
    words = [sys.executable, "-m", "geohash_rs", "serve", coast_archive]
    words += ["--port", "0", "--attached"]
    owner = (
        "import signal, subprocess, sys, time\n"
        f"signal.signal(signal.SIGINT, signal.{handler})\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(300)\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", owner, *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    with running:
        assert running.stdout is not None
        child = int(running.stdout.readline())
        os.kill(child, 0)
        running.send_signal(signal.SIGKILL)
        until = time.monotonic() + 30
        while (alive := Path(f"/proc/{child}").exists()) and time.monotonic() < until:
            time.sleep(0.1)
        if alive:
            os.kill(child, signal.SIGKILL)
        assert not alive
