"""Compare an int8 hasher on another processor with the same one on this processor.

    python -m tests.benchmarks.processors --under "qemu-x86_64 -cpu Haswell" [--tiles 24]

A hasher is fitted on EuroSAT tiles. Its models and some raw tiles are written to a folder, and
`--python`, behind the words of `--under`, runs them; it needs only NumPy and ONNX Runtime. For ARM,
unpack its Python into a folder, with a text like that of its /proc/cpuinfo at the same place:

    --under "env PYTHONHOME=DIR/usr qemu-aarch64 -cpu max -L DIR" --python DIR/usr/bin/python3.11

All but the head, which computes both codes here, is compared. The second row is a control: the same
network with dense weights of 8 bits. AVX2, and AVX-512 without VNNI, clip sums of their products,
so next to a processor with VNNI features should differ there.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image

from geohash_rs import Hasher, fit_hasher
from geohash_rs.hashing.network.onnx_graphs import integer_model, preparation_model
from geohash_rs.hashing.network.preparation import WholePreparation

FITTED_ON = 400
WORKER = """
import platform, sys
import numpy as np
import onnxruntime
folder, place = sys.argv[1:]
def run(name, images):
    session = onnxruntime.InferenceSession(f"{folder}/{name}.onnx")
    return session.run(None, {"images": images})
pixels, = run("preparation", np.load(f"{folder}/tiles.npy"))
results = {"pixels": pixels}
for name in ("network", "control"):
    results |= {f"{name}{i}": sums for i, sums in enumerate(run(name, pixels))}
np.savez(f"{folder}/{place}.npz", **results)
print(f"{place}: {platform.machine()}, ONNX Runtime {onnxruntime.__version__}")
"""


def read_tiles(data: Path, count: int) -> torch.Tensor:
    """Read tiles of all classes, uint8, shape (count, 3, 64, 64)."""
    paths = sorted((data / "eurosat_rgb").rglob("*.jpg"))
    if not 0 < count <= len(paths):
        raise SystemExit(f"{data} has {len(paths)} EuroSAT tiles, not {count}; see --help.")
    tiles = np.stack([np.array(Image.open(p)) for p in paths[:: len(paths) // count][:count]])
    return torch.from_numpy(tiles.transpose(0, 3, 1, 2).copy())


def with_more_bits(model: bytes) -> bytes:
    """Double dense weights (input 3) and biases (8), and halve the scale of the weights (4)."""
    network = onnx.load_from_string(model)
    constants = {each.name: each for each in network.graph.initializer}
    for node in network.graph.node:
        if any(each.name == "group" and each.i == 1 for each in node.attribute):
            for number, factor in ((3, 2), (4, 0.5), (8, 2)):
                constant = constants[node.input[number]]
                value = onnx.numpy_helper.to_array(constant)
                value = (value * factor).astype(value.dtype)
                constant.CopyFrom(onnx.numpy_helper.from_array(value, constant.name))
    return network.SerializeToString()


def models_of(hasher: Hasher) -> dict[str, bytes]:
    size = hasher.input_size
    step = WholePreparation(hasher.scaling, height=64, width=64, input_size=size)
    network = integer_model(hasher.extractor.integer, input_size=size)
    both = {"network": network, "control": with_more_bits(network)}
    return both | {"preparation": preparation_model(step)}


def results_of(folder: str, *, place: str, python: list[str]) -> dict[str, np.ndarray]:
    subprocess.run([*python, "-c", WORKER, folder, place], check=True)
    return dict(np.load(Path(folder, f"{place}.npz")))


def compare(hasher: Hasher, here: dict[str, np.ndarray], there: dict[str, np.ndarray]) -> None:
    print(f"\npixels that differ: {(here['pixels'] != there['pixels']).mean():.4%}\n")
    print("| dense weights | features that differ | bits that differ |\n|---|---|---|")
    network = hasher.extractor.integer
    for name, words in (("network", "7 bits, as in use"), ("control", "8 bits, control")):
        found = []
        for results in (here, there):
            sums = [torch.from_numpy(results[f"{name}{i}"]) for i in range(len(network.parts))]
            features = network.features(sums, input_size=hasher.input_size)
            with torch.inference_mode():
                found.append((features, hasher.head(features) > 0.5))
        shares = [(a != b).double().mean() for a, b in zip(*found, strict=True)]
        print(f"| {words} | {shares[0]:.4%} | {shares[1]:.4%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--under", default="", help="words before the other Python")
    parser.add_argument("--python", default=sys.executable, help="the other Python")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tiles", type=int, default=24)
    chosen = parser.parse_args()
    hasher = fit_hasher([read_tiles(chosen.data, FITTED_ON)], method="general", precision="int8")
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "tiles.npy"), read_tiles(chosen.data, chosen.tiles).float().numpy())
        for name, model in models_of(hasher).items():
            Path(folder, f"{name}.onnx").write_bytes(model)
        here = results_of(folder, place="here", python=[sys.executable])
        other = [*shlex.split(chosen.under), chosen.python]
        compare(hasher, here, results_of(folder, place="there", python=other))


if __name__ == "__main__":
    main()
