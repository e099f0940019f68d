"""How fast the page of `geohash-rs serve` is on a large archive: first view, search, memory.

    python -m tests.benchmarks.serve [--tiles 1000000] [--folder DIR] [--chromium PATH]

Makes an archive of invented tiles (random codes, 64 bits, in 100 scenes of one zone each that do
not exist), serves it, and measures over HTTP. With Chromium and Playwright it also loads the page
20 times, from the address to the drawn counts, and moves and searches 50 times to see what the
page's memory does.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from geohash_rs import Archive

RUNS = 20
BATCH = 250_000


def make_archive(folder: Path, count: int) -> Archive:
    """Lay tiles of 640 m side by side in 100 scenes over Central Europe; several dates."""
    archive = Archive.create(folder / "archive", num_bits=64)
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(count / 100)))
    for start in range(0, count, BATCH):
        number = np.arange(start, min(start + BATCH, count))
        scene, place = number // side**2, number % side**2
        x = 5 + (scene % 10) * 1.1 + (place % side) * (1.05 / side)
        y = 46 + (scene // 10) * 0.75 + (place // side) * (0.7 / side)
        tiles = gpd.GeoDataFrame(
            {
                "scene": np.char.add("/none/scene_", np.char.add(scene.astype(str), ".tif")),
                "col": (place % side) * 64,
                "row": (place // side) * 64,
                "width": 64,
                "height": 64,
                "datetime": np.datetime64("2023-01-01") + (scene * 3).astype("timedelta64[D]"),
            },
            geometry=shapely.box(x, y, x + 1.05 / side, y + 0.7 / side),
            crs="EPSG:4326",
        )
        archive.add_codes(rng.integers(0, 256, (len(number), 8), dtype=np.uint8), tiles)
    return archive


def serve(archive: Path) -> str:
    """Serve in a thread of this process; give the address."""
    import socket

    import uvicorn

    from geohash_rs.serve.app import create_app

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(256)
    application = create_app(Archive.open(archive, mode="r"))
    server = uvicorn.Server(uvicorn.Config(application, log_level="error"))
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def ask(url: str, body: object = None) -> tuple[float, bytes]:
    """Time one request, ms."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    start = time.perf_counter()
    with urllib.request.urlopen(request) as answer:
        content = answer.read()
    return 1000 * (time.perf_counter() - start), content


def report(name: str, times: list[float], more: str = "") -> None:
    middle, worst = statistics.median(times), max(times)
    print(f"{name:<44} {middle:8.0f} ms   {worst:8.0f} ms   {more}", flush=True)


def measure_interface(address: str, count: int) -> None:
    views = [(-2 + i * 0.01, 40, 25, 56) for i in range(RUNS)]
    boxes = [",".join(map(str, view)) for view in views]
    answers = [ask(f"{address}/api/tiles?bbox={box}") for box in boxes]
    shown = json.loads(answers[0][1])
    report(
        "whole archive in view: counts", [t for t, _ in answers], f"{len(shown['features'])} cells"
    )
    near = [f"{8 + i * 0.1},49,{8.1 + i * 0.1},49.05" for i in range(RUNS)]
    answers = [ask(f"{address}/api/tiles?bbox={box}") for box in near]
    report("zoomed in: footprints", [t for t, _ in answers], json.loads(answers[0][1])["kind"])
    ids = np.random.default_rng(1).integers(0, count, (RUNS, 4)).tolist()
    region = {
        "type": "Polygon",
        "coordinates": [[[6, 47], [12, 47.5], [13, 52], [7, 51.5], [6, 47]]],
    }
    kinds: dict[str, Callable[[list[int]], dict[str, object]]] = {
        "search by a tile, 24 matches": lambda i: {"tiles": i[:1]},
        "search by a tile, 250 matches": lambda i: {"tiles": i[:1], "k": 250},
        "search within 2023-03 to 2023-08": lambda i: {
            "tiles": i[:1],
            "time": ["2023-03-01", "2023-08-31"],
        },
        "search within a polygon": lambda i: {"tiles": i[:1], "region": region},
        "search by 2 good and 2 bad": lambda i: {"tiles": i[:2], "negatives": i[2:]},
        "search, no two that overlap": lambda i: {"tiles": i[:1], "distinct": True},
    }
    for name, make in kinds.items():
        report(name, [ask(f"{address}/api/search", make(four))[0] for four in ids])


def measure_page(address: str, chromium: str) -> None:
    from playwright.sync_api import sync_playwright

    from tests.conftest import FLAGS

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        times = []
        for _ in range(RUNS):
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            page = context.new_page()
            start = time.perf_counter()
            page.goto(address)
            page.wait_for_selector("body[data-view]", state="attached", timeout=60_000)
            times.append(1000 * (time.perf_counter() - start))
            context.close()
        report("page: from the address to the first view", times)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.wait_for_selector("body[data-view]", state="attached", timeout=60_000)
        session = page.context.new_cdp_session(page)
        heaps = []
        for turn in range(50):
            page.evaluate(f"location.hash = 'tiles={turn * 997}'")
            page.wait_for_timeout(300)
            page.mouse.wheel(0, -400 if turn % 10 < 5 else 400)
            if turn % 10 == 9:
                session.send("HeapProfiler.collectGarbage")
                used = session.send("Runtime.getHeapUsage")["usedSize"]
                heaps.append(f"{used / 2**20:.0f}")
        print(f"page's heap after 10, 20, ... 50 searches and moves: {', '.join(heaps)} MB")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the archive is kept between runs")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.folder or Path(temporary)
        if not (folder / "archive" / "manifest.json").exists():
            make_archive(folder, settings.tiles)
        address = serve(folder / "archive")
        time.sleep(3)  # what is compiled at the start
        print(f"{settings.tiles:,} tiles, {RUNS} runs each: median, largest")
        measure_interface(address, settings.tiles)
        if Path(settings.chromium).exists():
            measure_page(address, settings.chromium)


if __name__ == "__main__":
    main()
