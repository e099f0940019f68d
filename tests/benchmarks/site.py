"""How fast a static folder answers in a browser over a slow line, and how many bytes it reads.

    python -m tests.benchmarks.site [--tiles 10000000] [--folder DIR] [--chromium PATH]

Writes a folder of invented tiles: random codes of 64 bits, side by side in 100 scenes with 100
dates, in a random order of ids. A host of this process serves it to Chromium. 200 random searches
in a box that holds 1 % of the tiles are compared with a plain loop over all tiles, and their bytes
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from playwright.sync_api import Browser, sync_playwright

from geohash_rs.export.site.folder import site_size, write_site
from geohash_rs.store.code_table import KINDS, CodeTable, fixed_binary
from tests.export.site_host import Host

QUERIES, COLD, SHARE, K = 200, 20, 0.01, 20
LINE = 20e6  # bits per second
BATCH = 65_536
LON, LAT, WIDTH, HEIGHT = 5.0, 46.0, 11.0, 7.5  # degrees that the tiles cover
NUMBERS = [("order", "u1"), ("kind", "<u4"), ("rings", "<u4"), ("n", "<u4"), ("xy", "<f8", (5, 2))]
QUAD = np.dtype(NUMBERS)  # as WKB
ASK = """async ({ tile, box }) => {
  const fresh = new Archive(new WebSource());
  const found = await search(fresh, { good: [tile], k: 20, region: [box] });
  const { bytes, requests } = fresh.source;
  return { ids: found.map((one) => one.tile_id), bytes, requests };
}"""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Ground:
    """Invented tiles; `rows` of them are read like those of an archive.

    Attributes:
        ids: Tile ids, shape (n,).
        codes: Packed codes, shape (n, 8).
        boxes: Footprints as (xmin, ymin, xmax, ymax), degrees, shape (n, 4).
    """

    ids: Array
    codes: Array
    boxes: Array

    @classmethod
    def make(cls, count: int) -> "Ground":
        """Lay tiles side by side, and number them in a random order."""
        rng = np.random.default_rng(0)
        side = int(np.ceil(np.sqrt(count)))
        number = np.arange(count)
        x = LON + (number % side) * (WIDTH / side)
        y = LAT + (number // side) * (HEIGHT / side)
        boxes = np.stack([x, y, x + WIDTH / side, y + HEIGHT / side], axis=1)
        codes = rng.integers(0, 256, (count, 8), dtype=np.uint8)
        return cls(rng.permutation(count), codes, boxes)

    def __iter__(self) -> Iterator[pa.Table]:
        for start in range(0, len(self.ids), BATCH):
            yield self._table(slice(start, start + BATCH))

    def _table(self, part: slice) -> pa.Table:
        boxes = self.boxes[part]
        scene = (10 * (boxes[:, 0] - LON) / WIDTH).astype(int) * 10
        scene += (10 * (boxes[:, 1] - LAT) / HEIGHT).astype(int)
        quads = np.zeros(len(boxes), QUAD)
        quads["order"], quads["kind"], quads["rings"], quads["n"] = 1, 3, 1, 5
        quads["xy"] = boxes[:, [2, 1, 2, 3, 0, 3, 0, 1, 2, 1]].reshape(-1, 5, 2)
        empty = pa.nulls(len(boxes))
        columns: dict[str, Any] = {
            "tile_id": self.ids[part],
            "scene": np.char.add("/none/scene_", scene.astype(str)),
            "datetime": np.datetime64("2023-01-01", "us") + scene * np.timedelta64(3, "D"),
            "col": np.arange(len(boxes)) * 64,
            "row": np.zeros(len(boxes), int),
            "width": np.full(len(boxes), 64),
            "height": np.full(len(boxes), 64),
            "code": fixed_binary(self.codes[part]),
            "geometry": pa.array([one.tobytes() for one in quads], pa.binary()),
        }
        kinds = {**KINDS, "code": pa.binary(8)}
        return pa.table(
            {name: pa.array(columns.get(name, empty)).cast(kind) for name, kind in kinds.items()}
        )

    def table(self) -> CodeTable:
        """Return the tiles as an archive would."""
        return CodeTable.of(self, tuple(KINDS), num_bits=64, fingerprint=None)

    def inside(self, box: tuple[float, ...]) -> Array:
        """Return the rows of the tiles that touch a box."""
        west, south, east, north = box
        b = self.boxes
        return np.flatnonzero(
            (b[:, 0] <= east) & (b[:, 2] >= west) & (b[:, 1] <= north) & (b[:, 3] >= south)
        )

    def nearest(self, row: int, inside: Array) -> list[int]:
        """Return the ids of the tiles nearest to one, by a plain sort."""
        distances = np.bitwise_count(self.codes[inside] ^ self.codes[row]).sum(axis=1)
        order = np.lexsort((self.ids[inside], distances))[:K]
        return [int(one) for one in self.ids[inside][order]]


def random_searches(ground: Ground, count: int) -> list[tuple[int, tuple[float, ...]]]:
    """Choose rows, and boxes of the given share of the ground."""
    rng = np.random.default_rng(1)
    across, down = WIDTH * SHARE**0.5, HEIGHT * SHARE**0.5
    found = []
    for _ in range(count):
        x = round(LON + (WIDTH - across) * rng.random(), 6)
        y = round(LAT + (HEIGHT - down) * rng.random(), 6)
        box = (x, y, round(x + across, 6), round(y + down, 6))
        found.append((int(rng.integers(len(ground.ids))), box))
    return found


def compare(ground: Ground, folder: Path, browser: Browser) -> dict[str, float]:
    """Compare answers with those of a plain loop, and bytes with those of the codes in the box."""
    host = Host(folder)
    page = browser.new_page()
    page.goto(host.address)
    page.wait_for_selector("#in-view:not(:empty)", state="attached")
    equal, shares, requests, millions = 0, [], [], []
    for row, box in random_searches(ground, QUERIES):
        found = page.evaluate(ASK, {"tile": int(ground.ids[row]), "box": list(box)})
        inside = ground.inside(box)
        equal += found["ids"] == ground.nearest(row, inside)
        shares.append(found["bytes"] / (inside.size * 8))
        requests.append(found["requests"])
        millions.append(found["bytes"] / 1e6)
    page.close()
    host.stop()
    return {
        "searches": QUERIES,
        "equal answers": equal,
        "bytes per byte needed, median": round(statistics.median(shares), 3),
        "bytes per byte needed, worst": round(max(shares), 3),
        "MB, median": round(statistics.median(millions), 3),
        "requests, median": statistics.median(requests),
    }


def cold(ground: Ground, folder: Path, browser: Browser) -> dict[str, float]:
    """Open links to searches over a slow line."""
    seconds, millions = [], []
    for row, box in random_searches(ground, COLD):
        host = Host(folder, bits_per_second=LINE)
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        tile = int(ground.ids[row])
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
    """Run everything and print the figures as JSON, one object per step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tiles", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="keep the folder here, and reuse it")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "site"
        ground = Ground.make(options.tiles)
        figures: dict[str, float] = {"tiles": options.tiles}
        if not folder.exists():
            start = time.perf_counter()
            write_site(ground.table(), folder, name="benchmark")
            figures["export, s"] = round(time.perf_counter() - start, 1)
        sizes = {one.name: one.stat().st_size / 1e6 for one in sorted(folder.rglob("*.bin"))}
        figures["MB"] = round(sum(sizes.values()), 1)
        figures["MB estimated"] = round(site_size(options.tiles, 64, pictures=False) / 1e6, 1)
        print(json.dumps(figures | {n: round(s, 2) for n, s in sizes.items()}), flush=True)
        with sync_playwright() as driver:
            flags = ["--no-sandbox", "--disable-gpu"]
            browser = driver.chromium.launch(executable_path=options.chromium, args=flags)
            print(json.dumps(compare(ground, folder, browser)), flush=True)
            print(json.dumps(cold(ground, folder, browser)), flush=True)
            browser.close()


if __name__ == "__main__":
    main()
