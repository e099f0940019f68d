"""How fast a static folder answers in a browser over a slow line, and how many bytes it reads.

    python -m tests.benchmarks.site [--tiles 10000000] [--folder DIR] [--chromium PATH]

Makes an archive of invented tiles (random codes, 64 bits, in 100 scenes side by side with 100
dates), exports it as a folder, and serves that to Chromium from a host of this process. 200 random
searches in a box that holds 1 % of the tiles are compared with the archive's own, and their bytes
with those of the codes of the tiles in the box, which no search can do without. Then the page is
opened 20 times, each time by a new browser context over a line of 20 Mbit/s, with a link to such a
search; the time ends when the matches are shown.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from geohash_rs import Archive
from geohash_rs.export.site.folder import site_size, write_site
from tests.benchmarks.serve import make_archive
from tests.export.site_host import Host

QUERIES, COLD, SHARE, K = 200, 20, 0.01, 20
LINE = 20e6  # bits per second
WIDTH, HEIGHT = 11.0, 7.5  # degrees that the tiles cover, from 5 E and 46 N
ASK = """async ({ tile, box }) => {
  const fresh = new Archive(new WebSource());
  const found = await search(fresh, { good: [tile], k: 20, region: [box] });
  return { ids: found.map((one) => one.tile_id), bytes: fresh.source.bytes, requests: fresh.source.requests };
}"""


def random_searches(archive: Archive, count: int) -> list[tuple[int, tuple[float, ...]]]:
    """Choose tiles, and boxes of the given share of the ground."""
    rng = np.random.default_rng(1)
    across, down = WIDTH * SHARE**0.5, HEIGHT * SHARE**0.5
    return [
        (
            int(rng.integers(len(archive))),
            (x, y, x + across, y + down),
        )
        for x, y in zip(
            (5 + (WIDTH - across) * rng.random(count)).round(6).tolist(),
            (46 + (HEIGHT - down) * rng.random(count)).round(6).tolist(),
            strict=True,
        )
    ]


def compare(archive: Archive, folder: Path, browser: Browser) -> dict[str, float]:
    """Compare answers with the archive's, and bytes with those of the codes in the box."""
    host = Host(folder)
    page = browser.new_page()
    page.goto(host.address)
    page.wait_for_function("archive !== null")
    equal, shares, requests, millions = 0, [], [], []
    for tile, box in random_searches(archive, QUERIES):
        found = page.evaluate(ASK, {"tile": tile, "box": list(box)})
        expected = archive.search(archive.codes([tile]), k=K, region=box)
        equal += found["ids"] == expected.ids[0].tolist()
        inside = sum(len(piece) for piece in archive.to_table(["tile_id"], region=box).reader())
        shares.append(found["bytes"] / (inside * archive.num_bits / 8))
        requests.append(found["requests"])
        millions.append(found["bytes"] / 1e6)
    page.close()
    host.stop()
    return {
        "equal answers": equal,
        "bytes per byte needed, median": round(statistics.median(shares), 3),
        "bytes per byte needed, worst": round(max(shares), 3),
        "MB, median": round(statistics.median(millions), 3),
        "requests, median": statistics.median(requests),
    }


def cold(archive: Archive, folder: Path, browser: Browser) -> dict[str, float]:
    """Open links to searches over a slow line."""
    seconds, millions = [], []
    for tile, box in random_searches(archive, COLD):
        host = Host(folder, bits_per_second=LINE)
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        link = f"{host.address}/#good={tile}&k={K}&box={','.join(map(str, box))}"
        start = time.perf_counter()
        page.goto(link, wait_until="commit")
        page.wait_for_selector(".card", state="attached")
        seconds.append(time.perf_counter() - start)
        millions.append(sum(size for _, size in host.asked) / 1e6)
        page.context.close()
        host.stop()
    return {
        "cold, median s": round(statistics.median(seconds), 2),
        "cold, worst s": round(max(seconds), 2),
        "cold with the page, median MB": round(statistics.median(millions), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tiles", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="keep archive and folder here, and reuse them")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = options.folder or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        path = place / "archive"
        archive = (
            Archive.open(path, mode="r") if path.exists() else make_archive(place, options.tiles)
        )
        folder = place / "site"
        figures: dict[str, float] = {"tiles": len(archive)}
        if not folder.exists():
            start = time.perf_counter()
            write_site(archive.to_table(), folder, name="benchmark")
            figures["export, s"] = round(time.perf_counter() - start, 1)
        sizes = {one.name: one.stat().st_size / 1e6 for one in folder.rglob("*.bin")}
        figures["MB"] = round(sum(sizes.values()), 1)
        figures["MB estimated"] = round(site_size(len(archive), 64, pictures=False) / 1e6, 1)
        print(json.dumps(figures | {n: round(s, 2) for n, s in sizes.items()}), flush=True)
        with sync_playwright() as driver:
            flags = ["--no-sandbox", "--disable-gpu"]
            browser = driver.chromium.launch(executable_path=options.chromium, args=flags)
            print(json.dumps(compare(archive, folder, browser)), flush=True)
            print(json.dumps(cold(archive, folder, browser)), flush=True)
            browser.close()


if __name__ == "__main__":
    main()
