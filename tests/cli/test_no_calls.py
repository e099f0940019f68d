"""No command opens a connection to another machine that it was not told to open."""

import socket
import sys

import pytest

from tests.guarded import run_guarded, sees_native_code
from tests.hashing.lightning_runs import write_training

# One process for all: most of a command's time is spent on imports.
SESSION = """
import os
import signal
import sys
import threading
import time
import urllib.request

from geohash_rs.cli import main


def run(*words):
    try:
        main([*words])
    except SystemExit as end:
        print("####", words[0], "ended with", end.code or 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def visit():
    while True:
        try:
            urllib.request.urlopen(f"{page}/api/archive").read()
            urllib.request.urlopen(f"{page}/api/thumbnail/0.webp").read()
            break
        except OSError:
            time.sleep(0.1)
    print("#### visited")
    os.kill(os.getpid(), signal.SIGINT)


page = f"http://127.0.0.1:{sys.argv[1]}"
run("demo", "demo")
run("index", "demo/patches", "--archive", "own", "--hasher", "general-64", "--tile-size", "64")
run("query", "own", "demo/patches/river.tif", "-o", "river.html")
run("evaluate", "--root", "classes", "--methods", "itq", "--bits", "16", "--input-size", "32")
run("fit", "--config", "fit.yaml")
threading.Thread(target=visit, daemon=True).start()
run("serve", "demo/archive", "--port", sys.argv[1])
"""
PYTHON_CALL = "import socket; socket.create_connection(('127.0.0.1', 9))"
NAME = "import socket; socket.getaddrinfo('localhost', 80)"
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
NATIVE_CALL = "import rasterio; rasterio.open('/vsicurl/http://127.0.0.1:9/a.tif')"


@pytest.fixture
def workplace(tmp_path):
    write_training(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot interrupt itself there")
def test_commands_open_no_connection_to_another_machine(workplace):
    pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    done, calls = run_guarded(
        [sys.executable, "-c", SESSION, port], workplace / "guard", cwd=workplace, timeout=600
    )
    ends = [line for line in done.stdout.splitlines() if line.startswith("####")]
    expected = [
        f"#### {name} ended with 0" for name in ("demo", "index", "query", "evaluate", "fit")
    ]
    assert ends == [*expected, "#### visited", "#### serve ended with 130"], done.stderr
    assert calls == []


@pytest.mark.parametrize("code", [PYTHON_CALL, NAME])
def test_the_guard_sees_and_refuses_calls_of_python(code, tmp_path):
    done, calls = run_guarded([sys.executable, "-c", code], tmp_path / "guard", allowed=())
    assert "this test opens no connection" in done.stderr
    assert len(calls) == 1, "it was refused before it reached the system"
    assert calls[0].startswith("socket.")


@pytest.mark.skipif(not sees_native_code(), reason="strace is not installed, or not allowed")
def test_the_guard_sees_calls_of_compiled_code_in_child_processes(tmp_path):
    words = [sys.executable, "-c", PARENT, NATIVE_CALL]
    _, calls = run_guarded(words, tmp_path / "guard", allowed=())
    assert any("htons(9)" in call for call in calls)
    assert not any(call.startswith("socket.") for call in calls)
    _, calls = run_guarded(words, tmp_path / "again")
    assert calls == []
