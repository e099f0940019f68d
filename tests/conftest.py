"""Fixtures that every test may use, the number of processes, and a limit for the end of a run.

PyTorch and the package are imported where they are used: the process that hands the tests out to
others needs neither.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.children import Alarm

if TYPE_CHECKING:
    from geohash_rs import Archive, Hasher

# Small networks gain little from a second thread, and lose much if another process needs it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Processes that tests start print their stacks when they are aborted.
os.environ.setdefault("PYTHONFAULTHANDLER", "1")

# A busy machine is slow for reasons that are not in the test.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

MOST_PROCESSES = 4  # each holds PyTorch, up to 2 GB
END_SECONDS = 120  # from the last test to the end of the process
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser")  # the first is the fastest
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of processes that run tests: none apart from this one for chosen tests."""
    if config.args_source != pytest.Config.ArgsSource.TESTPATHS:
        return 0
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, MOST_PROCESSES) if cores > 1 else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """Abort what a test started shortly before its own time is over."""
    limit = float(item.config.getini("faulthandler_timeout"))
    with Alarm(0.8 * limit) if sys.platform == "linux" else contextlib.nullcontext():
        return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print all stacks and leave if the process waits for a thread or a process at its end."""
    if not hasattr(config, "workerinput"):  # the others wait until this one ends them
        faulthandler.dump_traceback_later(END_SECONDS, exit=True, file=sys.__stderr__)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real imagery, or skip if it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real imagery is not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def chromium():
    """The system's Chromium, headless and restricted to this machine's loopback address."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium-headless-shell")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def write_scene() -> Callable[..., Path]:
    from tests.ground import write

    return write


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes: two zones, two dates over one place."""
    from affine import Affine

    from tests.ground import mosaic, write

    folder = tmp_path_factory.mktemp("scenes")
    write(folder / "a_20230601.tif", mosaic(5, 4, 1))
    write(folder / "a_20230901.tif", mosaic(5, 4, 2))
    east = Affine(10, 0, 300_000, 0, -10, 5_400_000)
    write(folder / "b_20230601.tif", mosaic(4, 4, 3), crs="EPSG:32634", transform=east)
    return folder


@pytest.fixture(scope="session")
def coast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the scenes and patches of the invented coast; not to be written to."""
    from geohash_rs.demo.scenes import write_patches, write_scenes

    folder = tmp_path_factory.mktemp("coast")
    write_scenes(folder / "scenes", seed=0)
    write_patches(folder / "patches", seed=0)
    return folder


@pytest.fixture(scope="session")
def archive_folder(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the scenes with a training-free hasher; not to be written to."""
    from geohash_rs import Archive, Scenes
    from tests.ground import TILE

    path = tmp_path_factory.mktemp("archive") / "archive"
    report = Archive.create(path, hasher="itq-64").add(Scenes(scene_folder), tile_size=TILE)
    assert (report.num_tiles, report.num_scenes, report.skipped) == (56, 3, [])
    return path


@pytest.fixture
def archive(archive_folder: Path) -> Archive:
    from geohash_rs import Archive

    return Archive.open(archive_folder, mode="r")


@pytest.fixture(scope="session")
def quick_hasher() -> Hasher:
    """Return a hasher with 32 px input, for tests of everything around the network."""
    import numpy as np
    import torch

    from geohash_rs import fit_hasher
    from tests.ground import KINDS, TILE, ground

    tiles = torch.from_numpy(np.stack([ground(i % KINDS, TILE, i) for i in range(32)]))
    return fit_hasher([tiles], num_bits=16, input_size=32)


@pytest.fixture
def small_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit hashers that are given by name with 32 px input, for what is not about quality."""
    from geohash_rs.hashing.fit import by_name

    fit = partial(by_name.fit_hasher, input_size=32)
    monkeypatch.setattr(by_name, "fit_hasher", fit)


@pytest.fixture
def quick(quick_hasher: Hasher, tmp_path: Path) -> Archive:
    """Return an empty archive with that hasher."""
    from geohash_rs import Archive

    return Archive.create(tmp_path / "quick", hasher=quick_hasher)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; return its exit code, output and error output."""
    from geohash_rs.cli import main

    def call(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        seen = capsys.readouterr()
        code = left.value.code or 0
        assert isinstance(code, int)
        return code, seen.out, seen.err

    return call
