"""Run a frozen backbone fast: fp32 with fused operations on a CPU, mixed precision on CUDA."""

import logging
import tempfile
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geohash_rs.hashing.backbones import Backbone

__all__ = ["CpuRuntime", "mixed_precision"]

logger = logging.getLogger(__name__)


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Choose the precision of a frozen backbone's arithmetic.

    Args:
        device: Where it runs.

    Returns:
        On CUDA a context in which convolutions and products are bfloat16, or float16 where the
        hardware has no bfloat16; elsewhere one that changes nothing.
    """
    if device.type != "cuda":
        return nullcontext()
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast("cuda", dtype=torch.bfloat16 if has_bfloat16 else torch.float16)


class CpuRuntime:
    """A backbone in ONNX Runtime: fp32 with fused operations, so that hardly a bit changes."""

    def __init__(self, session: Any) -> None:  # noqa: ANN401 - onnxruntime has no types
        """Hold a session; use `build`.

        Args:
            session: An ``onnxruntime.InferenceSession`` with one input and one output.
        """
        self.session = session

    @classmethod
    def build(cls, backbone: Backbone, *, input_size: int) -> "CpuRuntime | None":
        """Trace a backbone into ONNX Runtime; this takes a few seconds.

        Args:
            backbone: The network, in evaluation mode, on the CPU.
            input_size: Side of its input, px.

        Returns:
            The runtime, or None where ONNX Runtime is not installed or the network has an
            operation that cannot be traced: then PyTorch is used as it is.
        """
        example = torch.zeros(2, backbone.in_chans, input_size, input_size)
        try:
            import onnxruntime

            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "backbone.onnx"
                with warnings.catch_warnings(), torch.no_grad():
                    # PyTorch deprecates its tracing exporter; the newer one needs onnxscript too.
                    warnings.simplefilter("ignore")
                    torch.onnx.export(
                        backbone,
                        (example,),
                        path,
                        dynamo=False,
                        input_names=["images"],
                        output_names=["features"],
                        dynamic_axes={"images": {0: "tiles"}, "features": {0: "tiles"}},
                    )
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = torch.get_num_threads()
                session = onnxruntime.InferenceSession(
                    path, options, providers=["CPUExecutionProvider"]
                )
        except (ImportError, RuntimeError, ValueError, TypeError) as error:
            logger.info("%s runs in eager PyTorch: %s", backbone.model_name, error)
            return None
        return cls(session)

    def __call__(self, images: Tensor) -> Tensor:
        """Compute features.

        Args:
            images: Network input, float32, shape (tiles, bands, height, width).

        Returns:
            Features, float32, shape (tiles, num_features).
        """
        outputs = self.session.run(None, {"images": images.contiguous().numpy()})
        return torch.from_numpy(outputs[0])
