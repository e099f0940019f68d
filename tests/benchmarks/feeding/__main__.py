"""Measure how fast imagery is fed: ``python -m tests.benchmarks.feeding [PART...] [--json FILE]``.

Parts: reading (tiles a second by layout, against rasterio and TorchGeo), files (20,000 against
20), network (against eager fp32), index (the whole against the bare network), memory. Scenes are
made in --folder and stay there for the next run.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from geohash_rs._compat import TORCHGEO_VERSION
from tests.benchmarks.feeding import files, memory, network, reading, whole


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="all if none is named")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/geohash_rs-feeding"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=2048, help="columns and rows of a scene")
    parser.add_argument("--scenes", type=int, default=2)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folder, rounds = args.folder, args.rounds
    parts: dict[str, Callable[[], dict[str, object]]] = {
        "reading": lambda: reading.measure(
            folder, side=args.side, count=args.scenes, rounds=rounds
        ),
        "files": lambda: files.measure(folder, many=args.files, rounds=rounds),
        "network": lambda: network.measure(folder, rounds=rounds),
        "index": lambda: whole.measure(folder, side=args.side, count=args.scenes, rounds=rounds),
        "memory": lambda: memory.measure(folder, files=args.files),
    }
    chosen = args.parts or list(parts)
    if unknown := sorted(set(chosen) - set(parts)):
        parser.error(f"unknown parts {unknown}; choose of {list(parts)}")
    result: dict[str, object] = {"torchgeo": ".".join(map(str, TORCHGEO_VERSION))}
    for name in chosen:
        result[name] = parts[name]()
        print(json.dumps({name: result[name]}, indent=1), flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
