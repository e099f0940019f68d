"""List the rooms and files of the package between a public call and its answer.

    python -m tests.benchmarks.walks

One small scene is added to an archive whose hasher is fitted, and a patch of it is asked for, under
a profiler that sees every thread. Of the files whose functions run, those are on the way that stand
on the stack when pixels are read, the network runs, the kernel scans, or a segment or a manifest
is written: a debugger stops in them. The others answer a question of one of these and return.
"""

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import torch

import geohash_rs
from geohash_rs import Archive, Scenes, fit_hasher
from tests.ground import KINDS, TILE, ground, mosaic, write

PACKAGE = Path(geohash_rs.__file__).parent


ENDS = {"read_window", "write_segment", "commit_manifest"}  # and all of these files:
END_FILES = ("torch/nn/modules/module.py", "geohash_rs/store/search/scan_numba.py")


def walk(call: Callable[[], object]) -> dict[str, bool]:
    """Run a call; for each of the package's files that it enters, whether it is on the way."""
    files: dict[str, bool] = {}

    def ours(frame: FrameType) -> str | None:
        path = frame.f_code.co_filename
        inside = path.startswith(str(PACKAGE)) and frame.f_code.co_name != "<module>"
        return str(Path(path).relative_to(PACKAGE)) if inside else None

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (name := ours(frame)):
            files.setdefault(name, False)
        code = frame.f_code
        if event == "call" and (code.co_name in ENDS or code.co_filename.endswith(END_FILES)):
            step: FrameType | None = frame
            while step is not None:
                if name := ours(step):
                    files[name] = True
                step = step.f_back

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return dict(sorted(files.items()))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = mosaic(5, 4, 1)
        write(folder / "scenes" / "first_20230601.tif", image)
        write(folder / "scenes2" / "second_20230901.tif", image)
        patch = write(folder / "patch.tif", image[:, :TILE, :TILE])
        tiles = [ground(number % KINDS, TILE, number) for number in range(32)]
        hasher = fit_hasher([torch.from_numpy(np.stack(tiles))], num_bits=16, input_size=32)
        archive = Archive.create(folder / "archive", hasher=hasher)
        archive.add(Scenes(folder / "scenes"), tile_size=TILE)  # loads and compiles
        archive.query(patch, k=5)
        walks = {
            "Archive.add": walk(lambda: archive.add(Scenes(folder / "scenes2"), tile_size=TILE)),
            "Archive.query": walk(lambda: archive.query(patch, k=5, region=(0, 0, 90, 90))),
        }
    for title, files in walks.items():
        way = [name for name, on_the_way in files.items() if on_the_way]
        rooms = sorted({name.removesuffix(".py").split("/")[0] for name in files})
        print(f"{title}: {len(rooms)} rooms ({', '.join(rooms)}), {len(files)} files")
        print(f"  {len(way)} on the way:", ", ".join(way))
        print("  asked on the way:", ", ".join(name for name in files if name not in way))


if __name__ == "__main__":
    main()
