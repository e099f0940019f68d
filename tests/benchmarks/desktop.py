"""Time QGIS from a rectangle on a layer to styled and drawn matches; print JSON.

    python -m tests.benchmarks.desktop ARCHIVE RASTER.tif [--rectangles 11]

It needs PyQGIS of the system and Xvfb, as the tests of the plugin do. The time starts when the
mouse is pressed and includes the drag, 0.02 s. The first rectangle is given apart: it loads the
network. The load is that of the machine at the end, over 1, 5 and 15 minutes.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"


def unpack(folder: Path) -> None:
    """Unpack the plugin as QGIS does."""
    spec = spec_from_file_location("package", ROOT / "plugin" / "package.py")
    package = module_from_spec(spec)
    spec.loader.exec_module(package)
    with zipfile.ZipFile(io.BytesIO(package.make_zip())) as file:
        file.extractall(folder)


def measure(archive: Path, raster: Path, rectangles: int) -> dict[str, object]:
    """Draw rectangles in QGIS and return what it took, seconds."""
    others = ("PYTHON", "VIRTUAL", "XDG_", "QGIS_")
    known = {k: v for k, v in os.environ.items() if not k.startswith(others)}
    words = ["Xvfb", "-displayfd", "1", "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server,
    ):
        unpack(Path(folder) / "plugins")
        program = Path(folder) / "geohash-rs"
        command = f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m geohash_rs "$@"'
        program.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
        program.chmod(0o755)
        known["DISPLAY"] = f":{server.stdout.readline().decode().strip()}"
        known["HOME"] = folder  # nothing of the user's QGIS is read or changed
        session = ROOT / "tests" / "plugin" / "timing_session.py"
        words = [SYSTEM_PYTHON, session, f"{folder}/plugins", program]
        words += [archive.resolve(), raster.resolve(), str(rectangles), f"{folder}/profile"]
        try:
            done = subprocess.run(
                words,
                env=known | {"QT_QPA_PLATFORM": "xcb", "LC_ALL": "C.UTF-8"},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        finally:
            server.terminate()
    return json.loads(done.stdout)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("raster", type=Path)
    parser.add_argument("--rectangles", type=int, default=11)
    args = parser.parse_args()
    facts = measure(args.archive, args.raster, args.rectangles)
    for name in ("styled", "drawn"):
        first, *later = facts.pop(name)
        facts[name] = {
            "first": round(first, 3),
            "median of the others": round(statistics.median(later), 3),
            "slowest of the others": round(max(later), 3),
        }
    json.dump(facts, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
