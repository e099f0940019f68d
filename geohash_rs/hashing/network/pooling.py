"""Pool the output of a stage over the image: its means, or how its channels vary together."""

import hashlib
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.errors import HasherError

__all__ = ["COVARIANCE", "covariance", "module_of", "pool", "products", "projection", "upper"]

COVARIANCE = ":covariance"  # behind the name of a stage
WIDTH = 48  # projections of the channels: all pairs of channels would be too many features
LEAST = 1e-4  # below the root, so that its gradient stays small


def module_of(stage: str) -> str:
    """Return the name of the module whose output a stage pools."""
    return stage.removesuffix(COVARIANCE)


def pool(stage: str, output: Tensor | None) -> Tensor:
    """Pool the output of a module as its stage asks.

    Args:
        stage: Name of the module, with `COVARIANCE` behind it for `covariance`, not the mean.
        output: Shape (tiles, channels, height, width); None if the network does not run the module.

    Returns:
        Shape (tiles, channels), or (tiles, `WIDTH` * (`WIDTH` + 1) / 2).

    Raises:
        HasherError: If the output has another shape.
    """
    if not isinstance(output, Tensor) or output.ndim != 4:
        shape = getattr(output, "shape", None)
        found = type(output).__name__ if shape is None else f"of shape {tuple(shape)}"
        msg = (
            f"the output of the stage {module_of(stage)!r} is {found}, not of (tiles, channels, "
            "height, width), and cannot be pooled; name modules whose output is, or no stages."
        )
        raise HasherError(msg)
    return covariance(output) if stage.endswith(COVARIANCE) else output.mean((2, 3))


def covariance(output: Tensor) -> Tensor:
    """Compute how projections of the channels vary together over the image.

    The means of channels say what there is in the image; their covariances also, what occurs in the
    same places. Each is replaced by its signed square root, which is of the same unit as the means.
    Sums of products are computed in float32 also where the network computes in float16, which ends
    at 65,504.

    Args:
        output: Shape (tiles, channels, height, width).

    Returns:
        The upper triangle, row by row, shape (tiles, `WIDTH` * (`WIDTH` + 1) / 2).

    References:
        Lin, RoyChowdhury and Maji, Bilinear CNN models for fine-grained visual recognition, 2015,
        https://arxiv.org/abs/1504.07889; random projections: Gao et al., Compact bilinear pooling,
        2016, https://arxiv.org/abs/1511.06062
    """
    channels, places = output.shape[1], output.shape[2] * output.shape[3]
    with _full_precision(output):
        seen = projection(channels).to(output.device) @ output.float().flatten(2) / channels**0.5
        seen = seen - seen.mean(2, keepdim=True)
        values = upper(seen @ seen.transpose(1, 2) / places)
        values = values.sign() * (values.abs() + LEAST).sqrt()
    return values.to(output.dtype)


def _full_precision(output: Tensor) -> AbstractContextManager[object]:
    """Return a context in which float32 stays float32, whatever the context around it."""
    return nullcontext() if output.is_meta else torch.autocast(output.device.type, enabled=False)


def products(whole: Tensor) -> Tensor:
    """Compute covariances of whole numbers exactly, times the square of the number of places.

    Args:
        whole: Whole numbers from 0 to 255, shape (tiles, channels, height, width).

    Returns:
        Float64, shape (tiles, `WIDTH`, `WIDTH`).
    """
    seen = projection(whole.shape[1]).to(whole.device).double() @ whole.flatten(2).double()
    total = seen.sum(2, keepdim=True)
    return seen @ seen.transpose(1, 2) * seen.shape[2] - total @ total.transpose(1, 2)


def upper(square: Tensor) -> Tensor:
    """Return the upper triangles of matrices, shape (tiles, n, n), row by row."""
    rows, columns = torch.triu_indices(WIDTH, WIDTH, device=square.device)
    return square[:, rows, columns]


def projection(channels: int) -> Tensor:
    """Return random signs that are the same everywhere, 1 and -1, shape (`WIDTH`, channels)."""
    return torch.from_numpy(_signs(channels))


@lru_cache
def _signs(channels: int) -> npt.NDArray[np.float32]:
    data = hashlib.shake_128(b"covariance").digest(WIDTH * channels)
    return (np.frombuffer(data, np.uint8).reshape(WIDTH, channels) % 2 * 2.0 - 1).astype(np.float32)
