"""All tests run on several cores, and one that hangs ends with the stacks of all threads."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest

ROOT = Path(__file__).resolve().parents[1]
HANGING = """
import threading

def wait_in_a_thread(forever):
    forever.wait()

def test_that_never_ends():
    forever = threading.Event()
    threading.Thread(target=wait_in_a_thread, args=[forever], daemon=True).start()
    forever.wait()

def test_that_comes_after_it():
    pass
"""
CHILDREN = """
import multiprocessing
import subprocess
import sys
import time

CODE = "import time\\ndef wait_in_a_process(): time.sleep(1000)\\nwait_in_a_process()"

def wait_in_a_fork():
    time.sleep(1000)

def test_that_waits_for_a_process():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

def test_that_waits_for_a_fork():
    child = multiprocessing.get_context("fork").Process(target=wait_in_a_fork)
    child.start()
    child.join()
    assert child.exitcode == 0
"""
WAITING = """
import threading

def wait_in_a_thread():
    threading.Event().wait()

def test_that_leaves_a_thread():
    threading.Thread(target=wait_in_a_thread).start()
"""


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder with this project's settings, but for shorter limits."""
    words = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p", "no:cacheprovider"]
    settings = {name: os.environ[name] for name in os.environ if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words, *options, str(folder)],
        cwd=folder,
        env={**settings, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_all_tests_run_on_several_cores_and_chosen_ones_in_one_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = pytest.Config.ArgsSource

    def processes(chosen: Any, cores: int) -> int:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        return conftest.pytest_xdist_auto_num_workers(SimpleNamespace(args_source=chosen))

    assert [processes(source.TESTPATHS, cores) for cores in (1, 2, 16)] == [0, 2, 4]
    assert processes(source.ARGS, 16) == processes(source.INVOCATION_DIR, 16) == 0


def test_every_test_has_a_limit(request: pytest.FixtureRequest) -> None:
    assert 60 <= float(request.config.getini("faulthandler_timeout")) <= 600


def test_a_hanging_test_ends_with_the_stacks_of_all_threads(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    done = run_pytest(tmp_path, "-n=0", "-o", "faulthandler_timeout=4")
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in wait_in_a_thread" in done.stderr
    assert "in test_that_never_ends" in done.stderr


def test_on_several_cores_the_others_go_on_and_what_is_waited_for_shows_its_stacks(
    tmp_path: Path,
) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    (tmp_path / "test_children.py").write_text(CHILDREN)
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    done = run_pytest(tmp_path, "-n=3", "-o", "faulthandler_timeout=12")
    assert "in wait_in_a_thread" in done.stderr
    assert "crashed while running 'test_hanging.py::test_that_never_ends'" in done.stdout
    if sys.platform == "linux":
        assert "in wait_in_a_process" in done.stdout
        assert "in wait_in_a_fork" in done.stderr
    assert "3 failed, 1 passed" in done.stdout


def test_a_run_that_cannot_end_ends_with_the_stacks_of_all_threads(tmp_path: Path) -> None:
    (tmp_path / "test_waiting.py").write_text(WAITING)
    words = "import tests.conftest\ntests.conftest.END_SECONDS = 3\nfrom tests.conftest import *\n"
    (tmp_path / "conftest.py").write_text(words)
    done = run_pytest(tmp_path)
    assert "1 passed" in done.stdout
    assert done.returncode == 1
    assert "in wait_in_a_thread" in done.stderr
    assert "in _shutdown" in done.stderr  # the interpreter joins threads at its end
