"""Shrink the feature directions that change although nothing of interest does."""

from torch import Tensor, linalg

__all__ = ["inverse_power"]


def inverse_power(scatter: Tensor, power: float, *, floor: float) -> Tensor:
    """Raise a scatter matrix to a negative power, with a floor for directions without variance.

    Args:
        scatter: Second moments of unwanted changes, float64, shape (features, features).
        power: 0 leaves features unchanged, 0.5 whitens fully.
        floor: Share of the mean variance to add to every direction.

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
