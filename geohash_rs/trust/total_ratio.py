"""Estimate how much ground is right in all, from the ground that a threshold selects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import CalibrationError
from geohash_rs.trust.bounds import PRIOR_BLOCKS, Floats, Ints, Moments, t_quantile
from geohash_rs.trust.sequence import FEWEST_BLOCKS

__all__ = ["TotalRatio", "ratio_of"]

COLUMNS = ("values", "ratio", "low", "high")
MOST_SAVED = 100_000  # thresholds of a file
MOST_RATIO = 1e9


@dataclass(frozen=True, kw_only=True, eq=False)
class TotalRatio:
    """Labelled tiles that are right, for each labelled tile up to a threshold.

    Above 1, the tiles up to the threshold miss more than they wrongly hold. Times the ground of an
    archive's tiles up to the threshold, it estimates the ground that is right in all, if labels are
    of the same mixture as the archive. All arrays have shape (thresholds,).

    Attributes:
        values: Distances or costs, ascending, int64.
        ratio: All right tiles, those beyond the threshold too, by tiles up to the threshold.
        low: Lower end of an interval for the ratio that fails with the rate of the promise.
        high: Upper end of that interval.

    References:
        Olofsson et al., Good practices for estimating area and assessing accuracy of land change,
        https://doi.org/10.1016/j.rse.2014.02.015
    """

    values: Ints
    ratio: Floats
    low: Floats
    high: Floats

    def at(self, value: float) -> Floats:
        """Return the ratio and the ends of its interval at a threshold.

        Args:
            value: A distance or cost; between two thresholds, they are interpolated.

        Returns:
            Ratio, low and high, shape (3,); NaN outside all thresholds.
        """
        columns = (self.ratio, self.low, self.high)
        found = [np.interp(value, self.values, one, left=np.nan, right=np.nan) for one in columns]
        return np.array(found)

    def to_json(self) -> dict[str, Any]:
        """Return it as a dict of lists."""
        return {name: getattr(self, name).tolist() for name in COLUMNS}

    @classmethod
    def from_json(cls, given: object) -> Self:
        """Build it from what `to_json` returned.

        Args:
            given: What was read from a file, whoever wrote it.

        Returns:
            The ratios.

        Raises:
            CalibrationError: If something is missing, or cannot be.
        """
        if not isinstance(given, Mapping) or set(given) != set(COLUMNS):
            msg = f"ratios of totals have the entries {', '.join(COLUMNS)}, and no others."
            raise CalibrationError(msg)
        lists = [given[name] for name in COLUMNS]
        numbers = all(
            isinstance(one, list)
            and 0 < len(one) <= MOST_SAVED
            and all(isinstance(n, int | float) and not isinstance(n, bool) for n in one)
            and all(0 <= n <= MOST_RATIO for n in one)
            for one in lists
        )
        if not numbers or len({len(one) for one in lists}) != 1:
            msg = f"the ratios of totals are not equal lists of numbers from 0 to {MOST_RATIO:g}."
            raise CalibrationError(msg)
        values, ratio, low, high = (np.array(one, dtype=np.float64) for one in lists)
        sound = (
            (values == values.round()).all()
            and (np.diff(values) > 0).all()
            and ((low <= ratio) & (ratio <= high)).all()
        )
        if not sound:
            msg = "the ratios of totals contradict each other."
            raise CalibrationError(msg)
        return cls(values=values.astype(np.int64), ratio=ratio, low=low, high=high)


def ratio_of(
    values: npt.ArrayLike,
    right: npt.ArrayLike,
    blocks: npt.ArrayLike,
    *,
    thresholds: Ints,
    delta: float,
) -> TotalRatio | None:
    """Compare all labelled tiles that are right with those up to each threshold.

    Both are sums over blocks of ground, which are independent. The variance of their ratio follows
    from the residuals ``right - ratio * selected`` of the blocks; the interval is symmetric in the
    logarithm. As in `share_bounds`, half a block is added that is wrong throughout.

    Args:
        values: Distance or cost of every labelled tile, whole numbers, shape (tiles,). None may be
            left out, however far, since what is missed counts.
        right: Whether it is right, shape (tiles,).
        blocks: Number of its block of ground, shape (tiles,).
        thresholds: Ascending, shape (thresholds,).
        delta: Rate at which an interval fails, above 0 and below 0.5.

    Returns:
        The ratios where ten blocks or more hold selected tiles; None if nowhere or nothing is
        right.
    """
    costs, good = np.asarray(values), np.asarray(right, dtype=bool)
    _, numbers = np.unique(np.asarray(blocks), return_inverse=True)
    places = numbers.reshape(-1)
    if not good.any():
        return None
    # tiles beyond the last threshold are never selected
    steps = np.searchsorted(thresholds, costs)
    m = Moments.count(steps, good, places, num_steps=len(thresholds) + 1)
    in_block = np.bincount(places[good], minlength=int(places.max()) + 1).astype(float)
    crossed = np.bincount(steps, weights=in_block[places], minlength=len(thresholds) + 1).cumsum()
    kept = np.flatnonzero(m.blocks[:-1] >= FEWEST_BLOCKS)
    if not len(kept):
        return None
    selected, num_blocks = m.tiles[kept], m.blocks[kept]
    ratio = good.sum() / selected
    residuals = (in_block**2).sum() - 2 * ratio * crossed[kept] + ratio**2 * m.tiles_squared[kept]
    residuals += PRIOR_BLOCKS * (ratio * m.typical[kept]) ** 2
    spread = np.sqrt(num_blocks / (num_blocks - 1) * residuals) / (selected * ratio)
    reach = np.exp(t_quantile(num_blocks - 1, delta / 2) * spread)
    return TotalRatio(
        values=thresholds[kept],
        ratio=ratio,
        low=ratio / reach,
        high=np.minimum(ratio * reach, MOST_RATIO),
    )
