"""Bound a share that was counted in blocks of ground, whose tiles are alike."""

import dataclasses
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

__all__ = ["PAIR_BLOCKS", "Moments", "beta_quantile", "share_bounds", "t_quantile"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PRIOR_BLOCKS = 0.5  # blocks, wrong throughout, that are added before the spread is estimated
PAIR_BLOCKS = 4  # blocks of pairs that say as much as one block of tiles
POINTS, REACH = 2001, 40.0  # of the integration, and its half width in standard deviations
AT_ONCE = 1 << 22  # counts in memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Sums over blocks, for each threshold; every array has shape (thresholds,).

    Attributes:
        tiles: Tiles (or pairs) up to the threshold.
        right: Those of them that are right.
        blocks: Blocks that hold any.
        tiles_squared: Sum over blocks of the square of their tiles.
        right_squared: Sum over blocks of the square of their right ones.
        product: Sum over blocks of tiles times right ones.
    """

    tiles: Floats
    right: Floats
    blocks: Ints
    tiles_squared: Floats
    right_squared: Floats
    product: Floats

    @classmethod
    def count(
        cls,
        steps: npt.NDArray[np.intp],
        right: npt.NDArray[np.bool_],
        blocks: npt.NDArray[np.intp],
        *,
        num_steps: int,
    ) -> "Moments":
        """Count tiles one by one.

        Args:
            steps: Number of the first threshold that lets a tile in, shape (tiles,).
            right: Whether it is right, shape (tiles,).
            blocks: Its block, from 0 without gaps, shape (tiles,).
            num_steps: Number of thresholds.

        Returns:
            The sums.
        """
        order = np.argsort(blocks, kind="stable")
        steps, right, blocks = steps[order], right[order], blocks[order]
        num_blocks = int(blocks[-1]) + 1
        size = max(1, AT_ONCE // num_steps)
        parts = []
        for first in range(0, num_blocks, size):
            last = min(first + size, num_blocks)
            rows = slice(*np.searchsorted(blocks, [first, last]))
            cells = (blocks[rows] - first) * num_steps + steps[rows]
            shape, most = (last - first, num_steps), (last - first) * num_steps
            tiles = np.bincount(cells, minlength=most).reshape(shape)
            good = np.bincount(cells[right[rows]], minlength=most).reshape(shape)
            parts.append(cls.of_counts(tiles, good))
        return cls(**{name: sum(getattr(p, name) for p in parts) for name in cls.__annotations__})

    @classmethod
    def of_counts(cls, tiles: Ints, right: Ints) -> "Moments":
        """Add counts up.

        Args:
            tiles: Tiles of each block that each threshold newly lets in, shape (blocks,
                thresholds).
            right: Those of them that are right, same shape.

        Returns:
            The sums.
        """
        n, r = tiles.cumsum(axis=1).astype(float), right.cumsum(axis=1).astype(float)
        return cls(
            tiles=n.sum(axis=0),
            right=r.sum(axis=0),
            blocks=(n > 0).sum(axis=0),
            tiles_squared=(n * n).sum(axis=0),
            right_squared=(r * r).sum(axis=0),
            product=(n * r).sum(axis=0),
        )

    def all_right(self) -> "Moments":
        """Return what the sums would be if all tiles were right."""
        return dataclasses.replace(
            self, right=self.tiles, right_squared=self.tiles_squared, product=self.tiles_squared
        )

    @property
    def typical(self) -> Floats:
        """Tiles in the block of a typical tile."""
        return self.tiles_squared / np.maximum(self.tiles, 1)


def share_bounds(moments: Moments, *, paired: bool, level: float) -> tuple[Floats, Floats]:
    """Compute a lower and an upper bound of the share of right tiles, blocks being independent.

    The share of right tiles is a ratio of two sums over blocks, whose variance follows from the
    residuals ``right - share * tiles`` of the blocks. It says how many independent tiles would
    have the same variance; the bounds are those of Clopper and Pearson for that many. Where few
    tiles are wrong, the residuals understate the variance, so half a block is added to them that is
    wrong throughout. If no tile is right, they are of Clopper and Pearson for the blocks of equal
    size that would say as much.

    If tiles are pairs of a query and a tile, each block of ground counts as the query's and as
    the tile's. To first order, a block then moves the share twice as far as its own residual
    says, and the variance is four times as large: that of a U-statistic.

    Args:
        moments: Sums over blocks.
        paired: Whether the tiles are pairs, each counted in the block of its query, and each also
            the other way round.
        level: Error rate of each bound alone, above 0 and below 0.5.

    Returns:
        Lower and upper bounds, shape (thresholds,); 0 and 1 where fewer than two blocks hold tiles.

    References:
        Korn and Graubard, Confidence intervals for proportions with small expected number of
        positive counts estimated from survey data, Survey Methodology 1998; Hoeffding, A class of
        statistics with asymptotically normal distribution, 1948
    """
    low, high = np.zeros(len(moments.tiles)), np.ones(len(moments.tiles))
    several = moments.blocks >= 2
    none = several & (moments.right == 0)  # nothing varies, so blocks count as if alike throughout
    if none.any():
        alike = moments.tiles / np.maximum(moments.typical, 1) / (PAIR_BLOCKS if paired else 1)
        count = alike[none]
        high[none] = beta_quantile(np.ones(len(count)), count, 1 - level)
    known = several & (moments.right > 0)
    if not known.any():
        return low, high
    m = Moments(**{name: getattr(moments, name)[known] for name in Moments.__annotations__})
    extra = PRIOR_BLOCKS * m.typical
    cautious = m.right / (m.tiles + extra)
    residuals = m.right_squared - 2 * cautious * m.product + cautious**2 * m.tiles_squared
    residuals += PRIOR_BLOCKS * (cautious * m.typical) ** 2
    variance = (
        (PAIR_BLOCKS if paired else 1)
        * m.blocks
        / (m.blocks - 1)
        * residuals
        / (m.tiles + extra) ** 2
    )
    alike = np.minimum(cautious * (1 - cautious) / variance, m.tiles)
    few = NormalDist().inv_cdf(1 - level) / t_quantile(m.blocks - 1, level)
    size = alike * few**2
    good = np.minimum(m.right / m.tiles, 1) * size
    bad = size - good
    low[known] = beta_quantile(good, bad + 1, level)
    high[known] = np.where(bad > 0, beta_quantile(good + 1, np.maximum(bad, 1e-9), 1 - level), 1)
    return low, high


def t_quantile(freedom: npt.ArrayLike, level: float) -> Floats:
    """Return the values that Student's t exceeds with a probability.

    Args:
        freedom: Degrees of freedom, at least 1, shape (n,).
        level: The probability, above 0 and below 0.5.

    Returns:
        The values, to about four digits, shape (n,).
    """
    distinct, rows = np.unique(np.asarray(freedom, dtype=float), return_inverse=True)
    part = beta_quantile(distinct / 2, np.full(len(distinct), 0.5), 2 * level)
    found: Floats = np.sqrt(distinct * (1 / part - 1))[rows.reshape(-1)]
    return found


def beta_quantile(a: npt.ArrayLike, b: npt.ArrayLike, level: float) -> Floats:
    """Return quantiles of beta distributions.

    The density over the logit, ``u^a (1 - u)^b``, has one smooth peak, and is summed there.

    Args:
        a: First parameters, above 0, shape (n,).
        b: Second parameters, above 0, shape (n,).
        level: Probability of a smaller value, above 0 and below 1.

    Returns:
        The values, to about four digits, shape (n,).
    """
    first, second = (np.asarray(given, dtype=float)[:, None] for given in (a, b))
    wide = np.sqrt(1 / first + 1 / second)
    logit = np.log(first / second) + wide * np.linspace(-REACH, REACH, POINTS)
    peaked = -first * np.logaddexp(0, -logit) - second * np.logaddexp(0, logit)
    density = np.exp(peaked - peaked.max(axis=1, keepdims=True))
    below = np.cumsum(density, axis=1) - density / 2
    below /= density.sum(axis=1, keepdims=True)
    at = np.array([np.interp(level, *pair) for pair in zip(below, logit, strict=True)])
    found: Floats = 1 / (1 + np.exp(-at))
    return found
