"""Slow, huge or damaged requests must not harm other requests."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from geohash_rs import Archive
from geohash_rs.errors import PatchError
from geohash_rs.serve import app, guard, uploads
from geohash_rs.serve.app import create_app
from geohash_rs.serve.searching import Searcher
from tests.serve.asking import asker, detail, geotiff
from tests.serve.conftest import start

BOUND = 100  # s; more than any of these takes on a busy machine


@pytest.fixture
def served(coast_archive):
    """Serve the coast with a new application; return its address."""
    url, stop = start(create_app(Archive.open(coast_archive, mode="r")))
    yield url
    stop()


@pytest.fixture
def opened(monkeypatch):
    """The in-memory files of uploads."""
    files = []

    class Recorded(uploads.MemoryFile):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            files.append(self)

    monkeypatch.setattr(uploads, "MemoryFile", Recorded)
    return files


def test_a_damaged_upload_leaves_nothing_in_memory(opened):
    whole = geotiff(256, 256)
    with (
        pytest.raises(PatchError, match="cannot be read"),
        uploads.clean_patch(whole[: len(whole) // 3], name="damaged.tif"),
    ):
        pass
    assert len(opened) == 2, "the upload and its copy"
    assert all(file.closed for file in opened)
    with uploads.clean_patch(whole, name="whole.tif") as path:
        assert path == opened[-1].name
    assert all(file.closed for file in opened)


def half_sent(address, path, length):
    host, port = urlsplit(address).netloc.split(":")
    sender = socket.create_connection((host, int(port)), timeout=BOUND)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {length}\r\n"
    sender.sendall(f"{head}Content-Type: application/json\r\n\r\n{{".encode())
    return sender


@pytest.mark.parametrize("path", ["/api/search", "/api/patch"])
def test_bodies_that_never_arrive_make_room_for_others(served, monkeypatch, path):
    monkeypatch.setattr(guard, "PATIENCE", 0.5)
    senders = [half_sent(served, path, 1000) for _ in range(guard.MOST_AT_ONCE)]
    answers = [sender.recv(4096) for sender in senders]
    for sender in senders:
        sender.close()
    told = {answer.split(b" ", 2)[1] for answer in answers}
    assert b"408" in told
    assert told <= {b"408", b"503"}
    assert asker(served)("POST", "/api/search", {"tiles": [1], "k": 5})[0] == 200


def test_slow_uploads_hold_no_place_that_another_needs(served):
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(half_sent(served, "/api/patch", 1000))
        before = time.monotonic()
        assert asker(served)("POST", "/api/patch", geotiff())[0] == 200
        assert time.monotonic() - before < guard.PATIENCE


def test_uploads_take_a_limited_amount_of_memory(coast_archive, monkeypatch):
    monkeypatch.setattr(app, "MOST_RECEIVED", 100_000)
    url, stop = start(create_app(Archive.open(coast_archive, mode="r")))
    ask, content = asker(url), geotiff()
    last = time.monotonic() + BOUND
    with half_sent(url, "/api/patch", 95_000) as slow:
        slow.sendall(b"x" * 94_000)
        while (answer := ask("POST", "/api/patch", content))[0] != 503:
            assert time.monotonic() < last
        assert "MB of patches are already waiting; try again in a second" in detail(answer)
    while ask("POST", "/api/patch", content)[0] != 200:  # until the one that left is forgotten
        assert time.monotonic() < last
    stop()


@pytest.mark.parametrize(
    ("method", "slow"), [("patch", "upload"), ("scene_picture", "scene"), ("thumbnail", "tile")]
)
def test_slow_reading_does_not_slow_the_search(coast_archive, monkeypatch, method, slow):
    done = threading.Event()
    monkeypatch.setattr(Searcher, method, lambda *_, **__: done.wait(BOUND) and b"")
    url, stop = start(create_app(Archive.open(coast_archive, mode="r")))
    ask = asker(url)
    requests = {
        "upload": lambda _: ask("POST", "/api/patch", geotiff()),
        "scene": lambda number: ask("GET", f"/api/scene/{number}.webp"),
        "tile": lambda number: ask("GET", f"/api/thumbnail/{number}.webp"),
    }
    with ThreadPoolExecutor(12) as pool:
        try:
            slow_ones = [pool.submit(requests[slow], number) for number in range(12)]
            time.sleep(0.5)
            before = time.monotonic()
            assert ask("POST", "/api/search", {"tiles": [1], "k": 5})[0] == 200
            assert time.monotonic() - before < BOUND / 2
            assert not any(one.done() for one in slow_ones)
        finally:
            done.set()
    stop()


def test_more_uploads_than_can_wait_are_told_to_retry(coast_archive, monkeypatch):
    done = threading.Event()
    patch = Searcher.patch

    def slow(self, content, **options):
        done.wait(BOUND)
        return patch(self, content, **options)

    monkeypatch.setattr(Searcher, "patch", slow)
    url, stop = start(create_app(Archive.open(coast_archive, mode="r")))
    ask, content = asker(url), geotiff()
    with ThreadPoolExecutor(40) as pool:
        sent = [pool.submit(ask, "POST", "/api/patch", content) for _ in range(40)]
        last = time.monotonic() + BOUND
        while sum(one.done() for one in sent) < 40 - 2 - 16 and time.monotonic() < last:
            time.sleep(0.01)
        done.set()
        answers = [one.result() for one in sent]
    stop()
    refused = [answer for answer in answers if answer[0] == 503]
    assert len(refused) == 40 - 2 - 16
    assert "16 patches are already waiting" in detail(refused[0])
    assert {answer[0] for answer in answers} == {200, 503}
