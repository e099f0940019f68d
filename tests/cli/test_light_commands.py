"""Commands that read no pixels import nothing that does: no network, no dataset."""

import subprocess
import sys
from pathlib import Path

import pytest

PIXELS = (
    "torch",
    "torch._dynamo",
    "torchvision",
    "torchgeo",
    "timm",
    "lightning",
    "onnxruntime",
    "matplotlib",
)
TABLES = ("pandas", "geopandas", "pyproj")
SEARCHES = ("numba", "scipy", "rasterio")
HEAVY = (*PIXELS, *TABLES, *SEARCHES)
ALLOWED = {"info": set(), "query": {*TABLES}}  # one query compiles nothing
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


def imported(words: list[str], *, code: int = 0) -> set[str]:
    """Run a command in a fresh process; return which slow packages it imported."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(heavy=HEAVY), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


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
    fails = command[0] in ("remove", "relocate")  # there is no such scene
    allowed = ALLOWED.get(command[0], {*TABLES, *SEARCHES})
    assert imported(words, code=1 if fails else 0) <= allowed


def test_a_query_by_patch_imports_only_the_network_that_it_runs(
    archive_folder: Path, scene_folder: Path
) -> None:
    patch = next(iter(sorted(scene_folder.rglob("*.tif"))))
    window = ["--window", "0,0,64,64"]
    found = imported(["query", str(archive_folder), str(patch), *window])
    assert found <= {*TABLES, "rasterio", "torch", "onnxruntime"}
