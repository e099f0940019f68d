"""Measure a GPU: tiles a second, the share of time that it is busy, and the bits that it changes.

    python -m tests.benchmarks.gpu [--data ../shared/data] [--seconds 2]

Needs a GPU that PyTorch sees, and this repository. `general-64` is fitted on the CPU, in int8 and
in fp32, for tiles of 64 and 256 px, RGB in 8 bits and four bands in 16 bits. Each line that is
printed is a JSON object:

- `tiles_a_second` of `Hasher.codes`, from tiles in the memory of the computer to codes, with as
  many tiles in a call as `index` reads at once (`in_batches_of`), and with many more;
- `busy`: the share of that time in which the GPU computed, as torch.profiler saw it;
- `features_changed` and `bits_changed`: shares that are not those of the CPU, once more with
  `torch.set_float32_matmul_precision("high")`. In int8 they must be 0, or the exit code is 1.

Tiles are EuroSAT's where `--data` has them, and invented otherwise. `--device cpu` tests this
script without a GPU, on a few tiles; its figures mean nothing.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from geohash_rs import Hasher, fit_hasher
from geohash_rs.scenes.reader import BATCH_BYTES

SIDE = 64  # px of a tile of EuroSAT
FITTED_ON = 128
COMPARED_PIXELS = 2**20  # 256 tiles of 64 px
FEW = 4  # tiles to fit on, to compare and to time if the device is the CPU
MANY_BYTES = 2**27  # of tiles in a large call
INDEX_BATCH = 512  # tiles that `index` reads at once, unless they exceed `BATCH_BYTES`
KINDS = ("uint8 RGB", "uint16 four bands")


def make_tiles(count: int, *, size: int, kind: str, data: Path) -> Tensor:
    """Return tiles of a kind, shape (count, bands, size, size)."""
    paths = sorted((data / "eurosat_rgb").rglob("*.jpg"))
    side = size // SIDE
    wanted = count * side**2
    if paths:
        chosen = paths[:: max(1, len(paths) // wanted)][:wanted]
        parts = np.stack([np.array(Image.open(path)) for path in chosen])
        parts = np.resize(parts, (wanted, SIDE, SIDE, 3))
    else:
        parts = invented(wanted)
    mosaic = parts.reshape(count, side, side, SIDE, SIDE, 3).transpose(0, 5, 1, 3, 2, 4)
    tiles = mosaic.reshape(count, 3, size, size)
    if kind == KINDS[0]:
        return torch.from_numpy(np.ascontiguousarray(tiles))
    four = np.concatenate([tiles, 255 - tiles[:, :1]], axis=1).astype(np.uint16)
    return torch.from_numpy(four * 16 + 300)


def invented(count: int) -> npt.NDArray[np.uint8]:
    """Return smooth noise, each tile with its own colour, shape (count, 64, 64, 3)."""
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 1, (min(count, 512), SIDE, SIDE, 3)).cumsum(1).cumsum(2)
    waves *= 80 / np.abs(waves).max(axis=(1, 2, 3), keepdims=True)
    colours = rng.uniform(60, 190, (len(waves), 1, 1, 3))
    grains = rng.normal(0, 6, waves.shape)
    pixels = np.clip(waves + colours + grains, 0, 255).astype(np.uint8)
    return np.resize(pixels, (count, SIDE, SIDE, 3))


def speed(hasher: Hasher, tiles: Tensor, *, seconds: float) -> float:
    """Return how many tiles a second are hashed in calls with these tiles."""
    hasher.codes(tiles)  # warm
    start, calls, spent = time.perf_counter(), 0, 0.0
    while not calls or spent < seconds:
        hasher.codes(tiles)
        calls, spent = calls + 1, time.perf_counter() - start
    return round(calls * len(tiles) / spent, 1)


def busy_share(hasher: Hasher, tiles: Tensor) -> float | None:
    """Return the share of time in which the GPU computes, or None on a CPU."""
    if hasher.device.type != "cuda":
        return None
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(3):
            hasher.codes(tiles)
        wall = time.perf_counter() - start
    return round(covered(kernels(profile.events())) / 1e6 / wall, 3)


def kernels(events: Iterable[Any]) -> Iterator[tuple[float, float]]:
    """Yield start and end of what a GPU computed, in microseconds; copies do not count."""
    for event in events:
        computes = not event.name.startswith(("Memcpy", "Memset"))
        if computes and event.device_type == torch.autograd.DeviceType.CUDA:
            yield event.time_range.start, event.time_range.end


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of spans."""
    total, last = 0.0, -np.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, last))
        last = max(last, end)
    return float(total)


def changed(
    here: tuple[npt.NDArray[Any], ...], there: tuple[npt.NDArray[Any], ...]
) -> dict[str, float]:
    """Return the shares of bits and features that differ."""
    bits = np.bitwise_count(here[0] ^ there[0]).sum() / (8 * here[0].size)
    return {"bits_changed": float(bits), "features_changed": float((here[1] != there[1]).mean())}


def measure(
    *, size: int, kind: str, precision: str, device: str, data: Path, seconds: float
) -> dict[str, Any]:
    """Fit a hasher, and measure it on a device."""
    gpu = device != "cpu"
    sample = make_tiles(FITTED_ON if gpu else FEW, size=size, kind=kind, data=data)
    hasher = fit_hasher([sample], num_bits=64, method="general", precision=precision)
    there = Hasher.from_bytes(hasher.to_bytes(), device=device)
    count = COMPARED_PIXELS // size**2 if gpu else FEW
    compared = make_tiles(count, size=size, kind=kind, data=data)
    wanted = hasher.codes_and_features(compared)
    row: dict[str, Any] = {"tile_size": size, "kind": kind, "precision": precision}
    row |= {"input_size": hasher.input_size, "compared": len(compared)}
    row |= changed(wanted, there.codes_and_features(compared))
    torch.set_float32_matmul_precision("high")
    row["in_tf32"] = changed(wanted, there.codes_and_features(compared))
    torch.set_float32_matmul_precision("highest")
    tile_bytes = compared[0].nbytes
    few = min(INDEX_BATCH, max(1, BATCH_BYTES // tile_bytes))
    counts = {few, MANY_BYTES // tile_bytes} if gpu else {FEW}
    row["speed"] = []
    for count in sorted(counts):
        tiles = compared.repeat(-(-count // len(compared)), 1, 1, 1)[:count]
        rate = speed(there, tiles, seconds=seconds)
        part = {"in_batches_of": count, "tiles_a_second": rate, "busy": busy_share(there, tiles)}
        row["speed"].append(part)
    return row


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seconds", type=float, default=2.0, help="to measure each speed")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256])
    chosen = parser.parse_args(arguments)
    gpu = chosen.device != "cpu"
    if gpu and not torch.cuda.is_available():
        print("PyTorch sees no GPU here; --device cpu tests this script.", file=sys.stderr)
        return 2
    about = torch.cuda.get_device_name(chosen.device) if gpu else "a CPU: speeds mean nothing"
    print(json.dumps({"device": about, "torch": torch.__version__}), flush=True)
    exact = True
    for size in chosen.sizes:
        for kind in KINDS:
            for precision in ("int8", "fp32"):
                row = measure(
                    size=size,
                    kind=kind,
                    precision=precision,
                    device=chosen.device,
                    data=chosen.data,
                    seconds=chosen.seconds,
                )
                print(json.dumps(row), flush=True)
                shares = [row[name] for name in ("bits_changed", "features_changed")]
                if precision == "int8" and any([*shares, *row["in_tf32"].values()]):
                    exact = False
    if not exact:
        print("int8 is not what the CPU computes; see the rows above.", file=sys.stderr)
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
