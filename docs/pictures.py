"""Make the pictures of the documentation from the code, each time it is built.

Pictures of pages need a browser. Where there is none, as on Read the Docs, the build uses those in
`taken/`, which are copies of what an earlier build made.
"""

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curves import MEASURED, draw_curves
from gallery import draw_footprints, draw_queries
from sensors import draw_bits, write_hazy
from sphinx.util import logging

FOLDER = Path(__file__).parent / "_generated" / "pictures"
EARLIER = Path(__file__).parent / "taken"
LOG = logging.getLogger(__name__)
DRAWN = ("grid.png", "look.png", "queries.png", "footprints.png", "bits.png")
TAKEN = ("page.jpg", "html.jpg")
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def make_pictures(app) -> None:
    """Draw what was measured; index the invented coast, search it, and draw what a person sees."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if MEASURED.exists():
        draw_curves(FOLDER / "choosing.png")
    else:
        draw_absent(FOLDER / "choosing.png", "tests.benchmarks.choosing has not been run")
    if app.builder.name != "html":  # doctest does not look at pictures
        for name in DRAWN:
            if not (FOLDER / name).exists():
                draw_absent(FOLDER / name, "only the html builder makes it")
        copy_taken("only the html builder takes them")
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
        matches.to_file(folder / "matches.html")
        draw_queries(archive, patches, FOLDER / "queries.png")
        few = {name: patches[name] for name in ("town", "fields", "coast")}
        draw_queries(archive, few, FOLDER / "look.png")
        draw_footprints(archive, patches["town"], FOLDER / "footprints.png")
        industry = archive.query(patches["industry"], k=1)
        search = f"tiles={matches['tile_id'][0]}&not={industry['tile_id'][0]}"
        take_pictures(archive, search, folder / "matches.html")
        hazy = write_hazy(folder / "scenes", folder / "hazy")
        draw_bits(archive, hazy, FOLDER / "bits.png")  # changes the archive


def take_pictures(archive, search: str, matches: Path) -> None:
    """Take pictures of the pages in a browser; without a Chromium, copy earlier ones."""
    try:
        from playwright.sync_api import sync_playwright

        from geohash_rs.serve import create_app
    except ImportError as error:
        reason = f"{error.name} is not installed"
    else:
        chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
        reason = "" if chromium else "Chromium is not installed"
    if reason:
        copy_taken(reason)
        return
    with sync_playwright() as driver, serving(create_app(archive)) as address:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(f"{address}/#{search}")
        page.wait_for_selector("#cards[aria-busy=false] .card", timeout=60_000)
        page.wait_for_timeout(3000)
        # without the time that the search took: this machine may be busy
        page.evaluate("document.getElementById('results-note').textContent = ''")
        page.screenshot(path=FOLDER / "page.jpg", quality=80)
        page.set_viewport_size({"width": 1280, "height": 760})
        page.goto(matches.as_uri())
        page.screenshot(path=FOLDER / "html.jpg", quality=80)
        browser.close()


@contextmanager
def serving(application) -> Iterator[str]:
    """Serve an application on a free port of this machine, and yield its address."""
    import uvicorn

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    server = uvicorn.Server(uvicorn.Config(application, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listening.close()


def copy_taken(reason: str) -> None:
    """Copy the earlier pictures of pages where this build has taken none."""
    LOG.info("earlier pictures of pages: %s", reason)
    for name in TAKEN:
        if not (FOLDER / name).exists():
            shutil.copy(EARLIER / name, FOLDER / name)


def draw_absent(path: Path, reason: str) -> None:
    """Draw a picture that says why there is none."""
    from matplotlib.figure import Figure

    LOG.info("no picture: %s", reason)
    figure = Figure(figsize=(8, 1.5))
    text = f"No picture was made: {reason}."
    figure.text(0.5, 0.5, text, ha="center", va="center")
    figure.savefig(path)
