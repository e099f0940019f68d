"""Make the pictures of the documentation from the code, each time it is built."""

import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

from curves import MEASURED, draw_curves
from sphinx.util import logging

FOLDER = Path(__file__).parent / "_generated" / "pictures"
LOG = logging.getLogger(__name__)
FLAGS = ["--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def make_pictures(app) -> None:
    """Draw what was measured; index the invented coast, search it, and draw what a person sees."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if MEASURED.exists():
        draw_curves(FOLDER / "choosing.png")
    else:
        draw_absent(FOLDER / "choosing.png", "tests.benchmarks.choosing has not been run")
    if app.builder.name != "html":  # doctest looks at no picture
        for name in ("grid.png", "page.png"):
            if not (FOLDER / name).exists():
                draw_absent(FOLDER / name, "only the html builder makes it")
        return
    from geohash_rs import Archive, Scenes
    from geohash_rs.demo import write_patches, write_scenes

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_scenes(folder / "scenes", seed=0)
        patches = write_patches(folder / "patches", seed=0)
        archive = Archive.create(folder / "coast", hasher="general-64")
        archive.add(Scenes(folder / "scenes"), tile_size=64)
        matches = archive.query(patches["town"], k=12)
        matches.plot_grid().savefig(FOLDER / "grid.png", dpi=110)
        draw_page(archive, FOLDER / "page.png")


def draw_page(archive, path: Path) -> None:
    """Take a picture of the page, where there is a Chromium; else say that it is missing."""
    try:
        import uvicorn
        from playwright.sync_api import sync_playwright

        from geohash_rs.serve import create_app
    except ImportError as error:
        draw_absent(path, f"{error.name} is not installed")
        return
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        draw_absent(path, "Chromium is not installed")
        return
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    server = uvicorn.Server(uvicorn.Config(create_app(archive), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/#tiles=49,38&not=42"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(address)
        page.wait_for_selector("#cards[aria-busy=false] .card", timeout=60_000)
        page.wait_for_timeout(3000)
        page.screenshot(path=path)
        browser.close()
    server.should_exit = True
    thread.join(10)
    listening.close()


def draw_absent(path: Path, reason: str) -> None:
    """Draw a picture that says why there is none."""
    from matplotlib.figure import Figure

    LOG.info("no picture: %s", reason)
    figure = Figure(figsize=(8, 1.5))
    text = f"No picture was made: {reason}."
    figure.text(0.5, 0.5, text, ha="center", va="center")
    figure.savefig(path)
