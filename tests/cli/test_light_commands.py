"""Commands that read no pixels import nothing that does: no network, no dataset."""

import subprocess
import sys
from pathlib import Path

import pytest

PIXELS = ("torch", "torchvision", "torchgeo", "timm", "lightning", "onnxruntime", "matplotlib")
TABLES = ("pandas", "geopandas", "pyproj")
SEARCHES = ("numba", "scipy", "rasterio")
HEAVY = (*PIXELS, *TABLES, *SEARCHES)
ALLOWED = {  # besides, `info` imports neither tables nor maps, and one query compiles nothing
    "query": {*TABLES},
    "learn": {*TABLES, *SEARCHES},
    "export": {*TABLES, *SEARCHES},
    "remove": {*TABLES, *SEARCHES},
    "verify": {*TABLES, *SEARCHES},
}
CODE = """
import sys
from geohash_rs.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ending:
    code = ending.code
print("imported", *[name for name in {heavy} if name in sys.modules])
sys.exit(code)
"""


@pytest.mark.parametrize(
    "command",
    [
        ["info", "ARCHIVE"],
        ["query", "ARCHIVE", "--tile", "3"],
        ["query", "ARCHIVE", "--point", "15.001,48.749"],
        ["query", "ARCHIVE", "--tile", "3", "-o", "OUT.geojson"],
        ["learn", "ARCHIVE", "--right", "3", "--wrong", "8", "-o", "OUT.concept"],
        ["export", "ARCHIVE", "-o", "OUT.geojson"],
        ["remove", "ARCHIVE", "--scene", "none.tif"],
        ["relocate", "ARCHIVE", "/none", "/other", "--dry-run"],
        ["prune", "ARCHIVE", "--dry-run"],
        ["verify", "ARCHIVE"],
    ],
    ids=lambda command: "-".join(part.strip("-") for part in command[:1] + command[2:3]),
)
def test_a_command_without_pixels_imports_no_network(
    archive_folder: Path, tmp_path: Path, command: list[str]
) -> None:
    if command[0] == "remove":  # opens it for writing
        import shutil

        shutil.copytree(archive_folder, tmp_path / "archive")
        archive_folder = tmp_path / "archive"
    words = [
        word.replace("ARCHIVE", str(archive_folder)).replace("OUT", str(tmp_path / "out"))
        for word in command
    ]
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(heavy=HEAVY), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    fails = command[0] in ("remove", "relocate")  # there is no such scene
    assert done.returncode == (1 if fails else 0), done.stderr
    allowed = ALLOWED.get(command[0], set())
    assert set(done.stdout.splitlines()[-1].split()[1:]) <= allowed
