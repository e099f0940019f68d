"""Pool the output of a stage over the image: its means, or how its channels vary together."""

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["COVARIANCE", "covariance", "module_of", "pool", "products", "projection", "upper"]

COVARIANCE = ":covariance"  # behind the name of a stage
WIDTH = 48  # projections of the channels: all pairs of channels would be too many features
LEAST = 1e-4  # below the root, so that its gradient stays small


def module_of(stage: str) -> str:
    """Return the name of the module whose output a stage pools."""
    return stage.removesuffix(COVARIANCE)


def pool(stage: str, output: Tensor) -> Tensor:
    """Pool the output of a module as its stage asks.

    Args:
        stage: Name of the module, with `COVARIANCE` behind it for `covariance`, not the mean.
        output: Shape (tiles, channels, height, width).

    Returns:
        Shape (tiles, channels), or (tiles, `WIDTH` * (`WIDTH` + 1) / 2).
    """
    return covariance(output) if stage.endswith(COVARIANCE) else output.mean((2, 3))


def covariance(output: Tensor) -> Tensor:
    """Compute how projections of the channels vary together over the image.

    The means of channels say what there is in the image; their covariances also, what occurs in the
    same places. Each is replaced by its signed square root, which is of the same unit as the means.

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
    signs = projection(channels).to(output)
    seen = signs @ output.flatten(2) / channels**0.5
    seen = seen - seen.mean(2, keepdim=True)
    values = upper(seen @ seen.transpose(1, 2) / places)
    return values.sign() * (values.abs() + LEAST).sqrt()


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
