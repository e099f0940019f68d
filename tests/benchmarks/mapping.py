"""How long each step from the first mark to areas takes on the page of a large archive.

    python -m tests.benchmarks.mapping [--scenes 100] [--folder DIR]

Makes an archive of invented codes (64 bits, alike in patches of 8 x 8 tiles) in scenes of 10,000
tiles each that do not exist, serves it, and measures over HTTP. Each run has other marks and
another slider, so that nothing was computed before.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from affine import Affine

from geohash_rs.footprints.windows import footprints
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord
from tests.benchmarks.serve import ask, report, serve

RUNS = 7
SIDE = 100  # tiles along a scene
PX = 64  # of a tile
CRS = "EPSG:32633"
VIEW = "5,40,30,65"
SHARES = (0.001, 0.005, 0.02, 0.1, 1.0)  # of all tiles, up to the slider


def make_archive(folder: Path, scenes: int) -> Path:
    """Lay scenes of 64 km side by side, with patches of similar codes."""
    rng = np.random.default_rng(0)
    kinds = rng.random((200, 64)) < 0.5
    patches = rng.integers(0, len(kinds), (scenes, 13, 13))
    archive = CodeStore.create(folder / "archive", num_bits=64)
    rows, cols = np.divmod(np.arange(SIDE**2), SIDE)
    windows = np.stack([cols * PX, rows * PX, np.full_like(rows, PX), np.full_like(rows, PX)], 1)
    for number in range(scenes):
        x, y = 200_000 + number % 10 * 64_000, 5_400_000 + number // 10 * 64_000
        transform = Affine(10, 0, x, 0, -10, y)
        record = SceneRecord(
            scene=f"/none/scene_{number}.tif",
            width=SIDE * PX,
            height=SIDE * PX,
            crs=CRS,
            transform=tuple(transform)[:6],
            settings={
                "tile_size": PX,
                "stride": PX,
                "edges": "shift",
                "max_nodata": 0.5,
                "resolution": None,
            },
        )
        day = pd.Timestamp("2023-05-01", tz="UTC") + pd.Timedelta(days=number % 5)
        columns = dict(zip(("col", "row", "width", "height"), windows.T, strict=True))
        tiles = gpd.GeoDataFrame(
            {"scene": record.scene, **columns, "datetime": pd.Series([day] * len(windows))},
            geometry=footprints(transform, windows, crs=CRS),
            crs="EPSG:4326",
        )
        bits = kinds[patches[number, rows // 8, cols // 8]] ^ (rng.random((len(rows), 64)) < 0.08)
        archive.add_codes(np.packbits(bits, axis=1), tiles, scenes=[record])
    return archive.path


def cost_at(answer: dict[str, object], share: float) -> int:
    """Find the cost up to which about a share of the tiles lies."""
    counts = np.cumsum(answer["counts"])  # type: ignore[arg-type]
    bars = int(np.searchsorted(counts, share * counts[-1]))
    return min(65_535, round(float(answer["low"]) + float(answer["width"]) * (bars + 1)))  # type: ignore[arg-type]


def measure(address: str, count: int) -> None:
    """Time every step with other marks in each run."""
    rng = np.random.default_rng(1)
    times: dict[str, list[float]] = {}
    shown: dict[str, str] = {}
    for _ in range(RUNS):
        ids = rng.choice(count, 12, replace=False).tolist()
        marks = {"right": ids[:6], "wrong": ids[6:]}
        took, content = ask(f"{address}/api/concept", marks)
        times.setdefault("learn from 12 marks, score all tiles", []).append(took)
        answer = json.loads(content)
        for kind, name in (("teach", "suggest 8 tiles"), ("check", "draw 60 random tiles")):
            took, _ = ask(
                f"{address}/api/concept/tiles",
                {**marks, "kind": kind, "k": 60 if kind == "check" else 8},
            )
            times.setdefault(name, []).append(took)
        for share in SHARES:
            name = f"move the slider to {share:.1%} of the tiles"
            asked = {**marks, "max_cost": cost_at(answer, share), "view": VIEW}
            took, content = ask(f"{address}/api/concept/areas", asked)
            drawn = json.loads(content)
            times.setdefault(name, []).append(took)
            shown[name] = f"{drawn['tiles']:,} tiles, {drawn['kind']}, {len(content) // 1024} KB"
        asked = {**marks, "max_cost": cost_at(answer, SHARES[1]), "format": "gpkg"}
        times.setdefault("download areas of 0.5%", []).append(
            ask(f"{address}/api/concept/export", asked)[0]
        )
    for name, values in times.items():
        report(name, values, shown.get(name, ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=100, help="10,000 tiles each")
    parser.add_argument("--folder", type=Path, help="where to make the archive")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = make_archive(asked.folder or Path(folder), asked.scenes)
        address = serve(path)
        time.sleep(3)  # the server loads what it needs
        print(f"{'step':<44} {'median':>11}   {'worst':>11}")
        measure(address, asked.scenes * SIDE**2)


if __name__ == "__main__":
    main()
