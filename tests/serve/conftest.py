"""A server of a synthetic coast, and a browser that can reach nothing else."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from geohash_rs import Archive, Scenes
from tests.serve.browser import Page

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")


@pytest.fixture(scope="session")
def coast_archive(coast, tmp_path_factory):
    path = tmp_path_factory.mktemp("coast-archive") / "archive"
    Archive.create(path, hasher="itq-64").add(Scenes(coast / "scenes"), tile_size=64)
    return path


def start(application):
    """Serve an application in a thread; return its address and a function that stops it."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    config = uvicorn.Config(application, log_level="error", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended as it started"
        time.sleep(0.01)

    def stop():
        server.should_exit = True
        thread.join(10)
        listening.close()

    return f"http://127.0.0.1:{listening.getsockname()[1]}", stop


@pytest.fixture(scope="session")
def address(coast_archive):
    from geohash_rs.serve.app import create_app

    url, stop = start(create_app(Archive.open(coast_archive, mode="r")))
    yield url
    stop()


@pytest.fixture(scope="session")
def screenshots():
    """The folder for screenshots, $GEOHASH_RS_SCREENSHOTS, or None."""
    chosen = os.environ.get("GEOHASH_RS_SCREENSHOTS")
    if not chosen:
        return None
    folder = Path(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(chromium, address, screenshots):
    """Open the page, by default of this server; check at the end that nothing went wrong in it."""
    opened = []

    def begin(*, at=address, **options):
        opened.append(Page(chromium, at, screenshots, **options))
        return opened[-1]

    yield begin
    for one in opened:
        one.check()
