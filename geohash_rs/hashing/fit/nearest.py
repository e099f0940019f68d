"""The general head of embeddings: codes that keep which vectors are nearest by cosine."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geohash_rs.errors import HasherError
from geohash_rs.hashing.fit.itq import principal_axes
from geohash_rs.hashing.network.heads import LinearHead
from geohash_rs.hashing.network.rotations import random_rotation, rotate

__all__ = ["nearest_head"]

MOST_ROWS = 20_000  # to fit on; more change nothing
LEAST_VARIANCE = 1e-10  # of an axis, as a share of the largest: smaller ones are rounding
FEWEST_TO_CHOOSE = 64  # vectors; with fewer, the first way is taken
ROWS_TO_CHOOSE, QUERIES, NEIGHBOURS = 6000, 400, 10
BITS_OF_ITQ = 128  # with more bits, ITQ mostly keeps fewer than the rotation it starts from


@dataclass(frozen=True)
class Way:
    """A way to place the hyperplanes.

    Attributes:
        spread: Share of the vectors between the median and the outermost threshold, 0 to 0.5. With
            0, all hyperplanes pass through the middle of the vectors and only directions from
            there count; with more, distances from there count as well.
        strength: How far the variances of the axes are evened out: 0 not at all, 0.5 fully.
        iterations: Alternations of ITQ; 0 keeps the random rotation.
    """

    spread: float = 0.0
    strength: float = 0.0
    iterations: int = 0


WAYS = (Way(), Way(spread=0.2), Way(spread=0.4), Way(strength=0.25, iterations=15))


def nearest_head(
    features: Tensor, *, num_bits: int, parts: tuple[int, ...] = (), seed: int = 0
) -> LinearHead:
    """Fit hyperplanes after which the nearest codes are those of the nearest vectors by cosine.

    The vectors, at unit length, are projected onto as many principal axes as there are bits. A
    random rotation, or for more bits than axes a tight frame, then gives all bits about the same
    share of the variance. Where the hyperplanes best lie depends on the vectors: if few directions
    hold nearly all variance, thresholds at different quantiles keep more than medians; if there
    are few bits, ITQ may. So each way is fitted on half of the vectors, and the one is taken that
    keeps most of the ten nearest of the other half.

    Args:
        features: Vectors, float32, shape (n, num_features).
        num_bits: Bits per code, also more than num_features.
        parts: Lengths of the parts of a vector that are normalised separately.
        seed: Seed of the rotation, the order of the thresholds and the halves.

    Returns:
        The fitted head.

    Raises:
        HasherError: If there are fewer than two vectors, or all are equal.
        CodeLengthError: If the bits cannot be packed.

    References:
        Rotations of principal axes: Jégou, Douze, Schmid and Pérez, Aggregating local descriptors
        into a compact image representation, CVPR 2010,
        https://doi.org/10.1109/CVPR.2010.5540039; ITQ as in `itq_head`
    """
    head = LinearHead(features.shape[1], num_bits, parts=parts)
    generator = torch.Generator().manual_seed(seed)
    if len(features) > MOST_ROWS:
        features = features[torch.randperm(len(features), generator=generator)[:MOST_ROWS]]
    prepared = head.prepare(features.double())
    if len(prepared) < 2 or not float((prepared - prepared[0]).abs().max()) > 1e-6:
        count = len(features)
        alike = f"all {count} vectors are equal" if count > 1 else f"there {_few(count)}"
        msg = (
            f"a head learns how vectors differ, but {alike}; fit on more vectors, or use "
            "lsh-64, which needs none that differ."
        )
        raise HasherError(msg)
    way = _best_way(prepared, num_bits=num_bits, seed=seed)
    mean, directions, thresholds = _fit(prepared, [way], num_bits=num_bits, seed=seed)[0]
    head.get_buffer("shift").copy_(mean)
    with torch.no_grad():
        head.projection.weight.copy_(directions.T)
        head.projection.bias.copy_(-thresholds)
    return head


def _few(count: int) -> str:
    """Return the words for one vector, or none."""
    return "is one" if count else "are none"


def _best_way(prepared: Tensor, *, num_bits: int, seed: int) -> Way:
    """Choose the way that keeps most neighbours of vectors on which it was not fitted."""
    if len(prepared) < FEWEST_TO_CHOOSE:
        return WAYS[0]
    ways = [way for way in WAYS if not way.iterations or num_bits <= BITS_OF_ITQ]
    generator = torch.Generator().manual_seed(seed)
    some = prepared[torch.randperm(len(prepared), generator=generator)[:ROWS_TO_CHOOSE]]
    fitted_on, unseen = some[::2], some[1::2]
    queries = min(QUERIES, len(unseen))
    near = unseen[:queries] @ unseen.T
    near.fill_diagonal_(-torch.inf)
    true = near.topk(NEIGHBOURS).indices
    kept = []
    for mean, directions, thresholds in _fit(fitted_on, ways, num_bits=num_bits, seed=seed):
        signs = ((unseen - mean) @ directions > thresholds).float() * 2 - 1
        alike = signs[:queries] @ signs.T
        alike.fill_diagonal_(-torch.inf)
        found = alike.sort(dim=1, descending=True, stable=True).indices[:, :NEIGHBOURS]
        kept.append(int((found[:, :, None] == true[:, None]).sum()))
    return ways[kept.index(max(kept))]


def _fit(
    prepared: Tensor, ways: list[Way], *, num_bits: int, seed: int
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Fit hyperplanes in several ways.

    Args:
        prepared: Vectors of unit length, float64, shape (n, num_features), not all equal.
        ways: The ways.
        num_bits: Bits per code.
        seed: Seed of the rotation and of the order of the thresholds.

    Returns:
        For each way the mean, shape (num_features,), directions as columns, shape (num_features,
        num_bits), and thresholds of the projections of centred vectors, shape (num_bits,).
    """
    generator = torch.Generator().manual_seed(seed)
    mean = prepared.mean(0)
    centred = prepared - mean
    most = min(num_bits, prepared.shape[1], len(prepared) - 1)
    axes = principal_axes(centred, most, generator)
    projected = centred @ axes
    variances = projected.square().mean(0)
    real = variances > LEAST_VARIANCE * variances.max()
    axes, projected, variances = axes[:, real], projected[:, real], variances[real]
    start = random_rotation(num_bits, generator)[: len(variances)]
    places = 2 * (torch.randperm(num_bits, generator=generator) + 0.5) / num_bits - 1
    fits = []
    for way in ways:
        scales = variances.pow(-way.strength / 2)
        rotation = rotate(projected * scales, start, iterations=way.iterations)
        turned = scales[:, None] * rotation
        ordered = (projected @ turned).sort(dim=0).values
        ranks = (0.5 + way.spread * places) * (len(ordered) - 1)
        low = ranks.long().clamp_max(len(ordered) - 2)
        below, above = (ordered.gather(0, row[None])[0] for row in (low, low + 1))
        fits.append((mean, axes @ turned, below + (ranks - low) * (above - below)))
    return fits
