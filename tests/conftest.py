"""Fixtures that every test may use."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine

from geohash_rs import Archive, Hasher, Scenes, fit_hasher
from tests.ground import KINDS, TILE, ground, mosaic, write

# Small networks gain little from a second thread, and lose much if another process needs it.
torch.set_num_threads(1)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
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
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def write_scene() -> Callable[..., Path]:
    return write


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes: two zones, two dates over one place."""
    folder = tmp_path_factory.mktemp("scenes")
    write(folder / "a_20230601.tif", mosaic(5, 4, 1))
    write(folder / "a_20230901.tif", mosaic(5, 4, 2))
    east = Affine(10, 0, 300_000, 0, -10, 5_400_000)
    write(folder / "b_20230601.tif", mosaic(4, 4, 3), crs="EPSG:32634", transform=east)
    return folder


@pytest.fixture(scope="session")
def archive_folder(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the scenes with a training-free hasher; not to be written to."""
    path = tmp_path_factory.mktemp("archive") / "archive"
    report = Archive.create(path, hasher="itq-64").add(Scenes(scene_folder), tile_size=TILE)
    assert (report.num_tiles, report.num_scenes, report.skipped) == (56, 3, [])
    return path


@pytest.fixture
def archive(archive_folder: Path) -> Archive:
    return Archive.open(archive_folder, mode="r")


@pytest.fixture(scope="session")
def quick_hasher() -> Hasher:
    """Return a hasher with 32 px input, for tests of everything around the network."""
    tiles = torch.from_numpy(np.stack([ground(i % KINDS, TILE, i) for i in range(32)]))
    return fit_hasher([tiles], num_bits=16, input_size=32)


@pytest.fixture
def quick(quick_hasher: Hasher, tmp_path: Path) -> Archive:
    """Return an empty archive with that hasher."""
    return Archive.create(tmp_path / "quick", hasher=quick_hasher)
