"""The network as it runs frozen, against plain eager fp32 at the same threads."""

import time
from pathlib import Path

import numpy as np
import torch

from geohash_rs.hashing.fit.training_free import fit_hasher
from geohash_rs.hashing.hasher import Hasher
from tests.benchmarks.feeding.scenes import ground

TILE = 64


def default_hasher(bands: int = 4) -> Hasher:
    """Fit the default hasher of ``geohash-rs index`` on made ground."""
    tiles = [torch.from_numpy(make_tiles(64, bands, seed)) for seed in range(4)]
    return fit_hasher(tiles, num_bits=64, method="general")


def make_tiles(count: int, bands: int, seed: int) -> np.ndarray:
    """Cut tiles from made ground: uint16, shape (count, bands, TILE, TILE)."""
    side = int(np.ceil(np.sqrt(count)))
    image = ground(bands, side * TILE, side * TILE, seed)
    tiles = image.reshape(bands, side, TILE, side, TILE).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(tiles.reshape(-1, bands, TILE, TILE)[:count])


def measure(folder: Path, *, rounds: int = 5, batch: int = 64) -> dict[str, object]:
    """Time one batch in turns, and count the bits that differ over some thousand tiles."""
    del folder
    torch.set_num_threads(2)
    hasher = default_hasher()
    plain = Hasher.from_bytes(hasher.to_bytes())
    plain.backbone.to(memory_format=torch.contiguous_format)
    hasher.accelerate()
    images = hasher.extractor.prepare(torch.from_numpy(make_tiles(batch, 4, 9)))
    contiguous = images.contiguous()
    ours = hasher.extractor.runtime
    if ours is None:
        raise SystemExit("ONNX Runtime cannot trace the network here")
    seconds: dict[str, list[float]] = {"eager fp32": [], "ours": []}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for name, run in (
                ("eager fp32", lambda: plain.backbone(contiguous)),
                ("ours", lambda: ours(contiguous)),
            ):
                start = time.perf_counter()
                run()
                if turn:
                    seconds[name].append(time.perf_counter() - start)
    changed = bits = 0
    for seed in range(10, 26):
        tiles = torch.from_numpy(make_tiles(64, 4, seed))
        changed += int(np.bitwise_count(hasher.codes(tiles) ^ plain.codes(tiles)).sum())
        bits += 64 * len(tiles)
    medians = {name: 1e3 * float(np.median(values)) / batch for name, values in seconds.items()}
    pairs = np.array(seconds["eager fp32"]) / np.array(seconds["ours"])
    return {
        "threads": 2,
        "input, px": hasher.input_size,
        **{f"{name}, ms a tile": round(value, 3) for name, value in medians.items()},
        "eager / ours": round(float(np.median(pairs)), 2),
        "bits": bits,
        "bits changed": changed,
    }
