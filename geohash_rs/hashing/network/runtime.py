"""Run a frozen backbone fast: ONNX Runtime on a CPU, mixed precision on CUDA."""

import logging
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geohash_rs.errors import ignore_warnings
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.integer import IntegerNetwork
from geohash_rs.hashing.network.onnx_graphs import INPUT, integer_model, preparation_model
from geohash_rs.hashing.network.preparation import (
    MAX_PREPARATIONS,
    Preparation,
    WholePreparation,
)
from geohash_rs.hashing.network.scaling import Scaling
from geohash_rs.hashing.network.telemetry import quiet_onnxruntime

__all__ = ["CpuRuntime", "mixed_precision"]

logger = logging.getLogger(__name__)

PASS_PIXELS = 256 * 256  # input pixels per thread and pass: one tile of 224 px
INTEGER_PIXELS = 2 * PASS_PIXELS  # the same in int8


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Choose the precision of a frozen backbone.

    Args:
        device: Device that it runs on.

    Returns:
        On CUDA, a context for convolutions and matrix products in bfloat16, or in float16 if the
        hardware does not support bfloat16; otherwise one that changes nothing.
    """
    if device.type != "cuda":
        return nullcontext()
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast("cuda", dtype=torch.bfloat16 if has_bfloat16 else torch.float16)


Session = Any  # of ONNX Runtime, which has no types
Pixels = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


class CpuRuntime:
    """A backbone in ONNX Runtime, in fp32, which changes almost no bits, or in int8.

    Each thread computes its own tiles. The data of one tile stays in a core's cache, and threads
    do not wait for each other at every layer, as they would when sharing one batch.
    """

    def __init__(
        self,
        compute: Callable[[Pixels], Floats],
        prepare: Callable[[Scaling, int, int], Session],
        *,
        input_size: int,
        pass_pixels: int,
    ) -> None:
        """Store how to compute; use `build` or `of_integers`.

        Args:
            compute: Turns network input into features.
            prepare: Makes a session that turns raw pixels of one size into network input.
            input_size: Side of the network's input, px.
            pass_pixels: Pixels that a thread computes at once.
        """
        self.compute = compute
        self.input_size = input_size
        self.pass_pixels = pass_pixels
        self._preparation = lru_cache(MAX_PREPARATIONS)(prepare)

    @classmethod
    def build(cls, backbone: Backbone, *, input_size: int) -> "CpuRuntime | None":
        """Trace a backbone for ONNX Runtime, which takes a few seconds.

        Args:
            backbone: The network, in evaluation mode, on the CPU.
            input_size: Side of its input, px.

        Returns:
            The runtime, or None if ONNX Runtime is not installed or the network has an operation
            that cannot be traced; the caller then uses PyTorch.
        """
        example = torch.zeros(2, backbone.in_chans, input_size, input_size)
        try:
            session = _trace(backbone, example)
        except (ImportError, RuntimeError, ValueError, TypeError) as error:
            logger.info("%s runs in eager PyTorch: %s", backbone.model_name, error)
            return None

        def compute(images: Pixels) -> Floats:
            features: Floats = session.run(None, {INPUT: images})[0]
            return features

        prepare = partial(_trace_preparation, input_size)
        return cls(compute, prepare, input_size=input_size, pass_pixels=PASS_PIXELS)

    @classmethod
    def of_integers(cls, network: IntegerNetwork, *, input_size: int) -> "CpuRuntime":
        """Run a network in int8; ready at once, and the results are those of PyTorch.

        Args:
            network: The network.
            input_size: Side of its input, px.

        Returns:
            The runtime.
        """
        session = _session(integer_model(network, input_size=input_size))

        def compute(images: Pixels) -> Floats:
            sums = [torch.from_numpy(part) for part in session.run(None, {INPUT: images})]
            return network.features(sums, input_size=input_size).numpy()

        def prepare(scaling: Scaling, height: int, width: int) -> Session:
            step = WholePreparation(scaling, height=height, width=width, input_size=input_size)
            return _session(preparation_model(step))

        return cls(compute, prepare, input_size=input_size, pass_pixels=INTEGER_PIXELS)

    def __call__(self, tiles: Tensor, *, scaling: Scaling | None = None) -> Tensor:
        """Compute features, on as many threads as PyTorch has.

        Args:
            tiles: Network input, shape (tiles, bands, input_size, input_size); with a scaling, raw
                pixels of any real data type, height and width.
            scaling: How to scale raw pixels before they are resized.

        Returns:
            Features, float32, shape (tiles, num_features); NaN for a tile with a NaN pixel, or
            with an infinite one that the scaling does not clip.
        """
        # NumPy has no bfloat16.
        pixels = (tiles.float() if tiles.dtype == torch.bfloat16 else tiles).detach().cpu().numpy()
        height, width = tiles.shape[-2:]
        prepare = None if scaling is None else self._preparation(scaling, height, width)
        step = max(1, self.pass_pixels // max(self.input_size**2, height * width))

        def run(start: int) -> Floats:
            raw = pixels[start : start + step]
            images = np.ascontiguousarray(raw, dtype=np.float32)
            if prepare is not None:
                images = prepare.run(None, {INPUT: images})[0]
            features = self.compute(images)
            if scaling is not None and raw.dtype.kind == "f":
                features[_broken(raw, scaling)] = np.nan
            return features

        starts = range(0, len(pixels), step)
        if len(starts) == 1:
            return torch.from_numpy(run(0))
        with ThreadPoolExecutor(torch.get_num_threads(), "hash-tiles") as threads:
            return torch.from_numpy(np.concatenate(list(threads.map(run, starts))))


def _broken(raw: npt.NDArray[np.floating[Any]], scaling: Scaling) -> npt.NDArray[np.bool_]:
    """Return which tiles cannot have features; ONNX Runtime would clip a NaN to a number."""
    lowest, highest = raw.min(axis=(1, 2, 3)), raw.max(axis=(1, 2, 3))  # NaN if any value is
    broken: npt.NDArray[np.bool_] = np.isnan(lowest)
    if not scaling.clip:
        broken = ~(np.isfinite(lowest) & np.isfinite(highest))
    return broken


def _trace_preparation(input_size: int, scaling: Scaling, height: int, width: int) -> Any:  # noqa: ANN401
    step = Preparation(scaling, height=height, width=width, input_size=input_size)
    return _trace(step, torch.zeros(1, len(scaling.low), height, width))


def _trace(module: nn.Module, example: Tensor) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """Make a single-threaded session for any number of tiles of the example's shape."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "module.onnx"
        # PyTorch has deprecated its tracing exporter; the newer one also needs onnxscript.
        with ignore_warnings(), torch.no_grad():
            torch.onnx.export(
                module,
                (example,),
                path,
                dynamo=False,
                input_names=[INPUT],
                output_names=["output"],
                dynamic_axes={INPUT: {0: "tiles"}, "output": {0: "tiles"}},
            )
        return _session(path.read_bytes())


def _session(model: bytes) -> Session:
    onnxruntime = quiet_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
