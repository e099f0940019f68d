"""How long whole commands take that answer from an archive; prints a table.

    python -m tests.benchmarks.answers [--tiles 1000000] [--runs 7] [--folder DIR]

Makes an archive of invented tiles (`tests.benchmarks.serve`), and one of the invented coast for
patches. Each command runs in a fresh process, the commands in turn, after one round that is not
counted. Time on the clock depends on what else the machine does; the seconds that the process
itself computed (user and system) hardly do. With a server, that is without the server's own.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np

from geohash_rs import Archive, Scenes
from geohash_rs.demo.scenes import write_patches, write_scenes
from geohash_rs.store.summary import summarise
from tests.benchmarks.serve import make_archive, serve

COMMAND = [sys.executable, "-m", "geohash_rs"]
# Like a package that pip installed: its modules are compiled, which takes 0.1 s.
COMPILED = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def timed(words: Sequence[str]) -> tuple[float, float]:
    """Run a command; give its time on the clock and what it computed, s."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([*COMMAND, *words], check=True, capture_output=True, env=COMPILED)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(commands: dict[str, list[str]], runs: int) -> None:
    """Run the commands in turn, and print a line for each."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, words in commands.items():
            took = timed(words)
            if number:
                times[name].append(took)
    print(f"{'':<40} {'clock, s':>10} {'least':>7} {'computed, s':>12}")
    for name, found in times.items():
        clock, computed = zip(*found, strict=True)
        middle = statistics.median(clock), min(clock), statistics.median(computed)
        print(f"{name:<40} {middle[0]:10.2f} {middle[1]:7.2f} {middle[2]:12.2f}")


def write_points(path: Path, archive: Path, count: int) -> None:
    """Write random points on the tiles of an archive, some of which miss them."""
    west, south, east, north = summarise(Archive.open(archive, mode="r"))["bbox"]
    draw = np.random.default_rng(0)
    lon, lat = draw.uniform(west, east, count), draw.uniform(south, north, count)
    gpd.GeoSeries.from_xy(lon, lat, crs="EPSG:4326").to_file(path)


def main() -> None:
    """Make the archives, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="keep the archives here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        large, coast = folder / "archive", folder / "coast"
        if not large.exists():
            make_archive(folder, args.tiles)
        if not coast.exists():
            write_scenes(coast / "scenes", seed=0)
            write_patches(coast / "patches", seed=0)
            Archive.create(coast / "archive").add(Scenes(coast / "scenes"), tile_size=64)
        patch = str(coast / "patches" / "town.tif")
        servers = [serve(at) for at in (large, coast / "archive")]
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        tile, point = ["--tile", "3"], ["--point", "9.0,48.0"]
        measure(
            {
                "info": ["info", str(large)],
                "query --tile": ["query", str(large), *tile],
                "query --point": ["query", str(large), *point],
                "query PATCH": ["query", str(coast / "archive"), patch],
                "query --server --tile": ["query", "--server", servers[0], *tile],
                "query --server --point": ["query", "--server", servers[0], *point],
                "query --server PATCH": ["query", "--server", servers[1], patch],
            },
            args.runs,
        )
        places, found = folder / "places.gpkg", folder / "found.parquet"
        write_points(places, large, 10_000)
        measure(
            {
                "query --each, 10,000 points": [
                    "query",
                    str(large),
                    "--each",
                    str(places),
                    "-o",
                    str(found),
                ]
            },
            1,
        )


if __name__ == "__main__":
    main()
