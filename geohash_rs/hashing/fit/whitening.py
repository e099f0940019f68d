"""Shorten the directions in which features move although nothing of interest changes."""

from torch import Tensor, linalg

__all__ = ["inverse_power"]


def inverse_power(scatter: Tensor, power: float, *, floor: float) -> Tensor:
    """Raise a scatter to a negative power, directions in which nothing moves held back.

    Args:
        scatter: Second moments of what should not count, float64, shape (features, features).
        power: 0 leaves features as they are, 0.5 whitens altogether.
        floor: Share of the mean variance that is added to every direction.

    Returns:
        ``(scatter + floor * mean variance * I)^-power``, shape (features, features).

    References:
        Hatch, Kajarekar and Stolcke, Within-class covariance normalization, Interspeech 2006,
        https://doi.org/10.21437/Interspeech.2006-183
    """
    values, vectors = linalg.eigh(scatter)
    values = values.clamp_min(0) + floor * values.mean().clamp_min(1e-12)
    result: Tensor = vectors * values.pow(-power) @ vectors.T
    return result
