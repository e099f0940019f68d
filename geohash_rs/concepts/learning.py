"""Learn from judged tiles which bits matter, and from which cost on a tile is more likely wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.codes import pack_codes, unpack_codes
from geohash_rs.errors import ConceptError
from geohash_rs.store.search.weights import MOST_COST, BitWeights

__all__ = ["NUM_BACKGROUND", "Model", "fit_model"]

Codes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

NUM_BACKGROUND = 16_384  # codes of the archive that a model is told apart from

# Chosen on UC Merced and EuroSAT: tests/benchmarks/marks.py
BACKGROUND_WEIGHT = 30.0  # what the background weighs, in wrong marks: a few of it may be right
MOST_OF_ONE = 0.05  # what one code of it weighs at most, if there are few
RIDGE_PER_BIT = 0.5  # so codes of any length start with log odds of variance 2
CALM = 20.0  # codes of a balanced background that are added to the means of the bits
INTERCEPT_RIDGE = 1e-3

STEPS, SMALLEST_STEP, LARGEST_CHANGE = 25, 1e-3, 4.0  # of Newton's method
WORK = 1 << 25  # squared bits times codes of the background: longer codes learn from fewer
FEWEST_CODES = 2048

NUM_THRESHOLDS, NUM_NEARER, NUM_FARTHER = 48, 16, 4
SLOPES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # per standard deviation of the background's costs
QUARTER = np.log(3)  # log odds of 0.75


@dataclass(frozen=True, kw_only=True)
class Model:
    """What each bit costs, and what a cost means.

    Attributes:
        weights: The code at cost 0, and the cost of each bit that differs from it.
        offset: Cost at which a tile is as likely right as wrong, where the score is 0.5.
        unit: Log odds per cost, above 0.

    Raises:
        ConceptError: If the offset is not finite, or the unit not finite and above 0.
    """

    weights: BitWeights
    offset: float
    unit: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.offset) and 0 < self.unit < np.inf):
            msg = (
                f"the score is 0.5 at cost {self.offset} and changes by {self.unit} log odds per "
                "cost; the first must be finite, the second finite and above 0."
            )
            raise ConceptError(msg)

    def scores(self, costs: npt.ArrayLike) -> Floats:
        """Turn costs into scores, for people: they never rise with the cost.

        Args:
            costs: Costs, any shape.

        Returns:
            ``1 / (1 + exp((cost - offset) * unit))``, 0 to 1, same shape.
        """
        log_odds = (self.offset - np.asarray(costs, dtype=np.float64)) * self.unit
        return np.asarray(_sigmoid(log_odds), dtype=np.float64)

    def cost_at(self, score: float) -> int:
        """Find the largest cost whose score is at least a given one.

        Args:
            score: The score, 0 to 1.

        Returns:
            The cost, or -1 if no code reaches the score.

        Raises:
            ConceptError: If the score is not a number.
        """
        if np.isnan(score):
            msg = "the score is not a number; use one from 0 to 1."
            raise ConceptError(msg)
        scores = self.scores(np.arange(self.weights.most + 1))
        return int(np.count_nonzero(scores >= score)) - 1


def fit_model(right: Codes, wrong: Codes, background: Codes) -> Model:
    """Learn the weight of each bit from judged tiles and the archive's other tiles.

    A ridge-regularised logistic regression: right tiles against wrong ones and a background that
    together weighs as much as 30 wrong ones. Where its score is 0.5 is then decided by the marks
    alone, each scored by a model that has not seen it, since a background says nothing about the
    share of right tiles. Before anything is known of that, every order of magnitude of the size of
    the class is as likely as any other.

    Args:
        right: Codes of tiles that are right, uint8, shape (right, bits / 8), at least one.
        wrong: Codes of tiles that are wrong, uint8, shape (wrong, bits / 8).
        background: Codes that were drawn from the archive, judged or not, uint8, shape
            (background, bits / 8), at least one.

    Returns:
        The model; the same for the same codes.

    Raises:
        ConceptError: If no tile is right, the background is empty, or the codes differ in length.

    References:
        Malisiewicz, Gupta and Efros, Ensemble of Exemplar-SVMs, ICCV 2011,
        https://doi.org/10.1109/ICCV.2011.6126229, for one right example against a background;
        King and Zeng, Logistic Regression in Rare Events Data, 2001,
        https://doi.org/10.1093/oxfordjournals.pan.a004868, for its intercept, which is corrected
    """
    _check(right, wrong, background)
    num_bits = 8 * right.shape[1]
    fewer = background[:: max(1, len(background) // max(FEWEST_CODES, WORK // num_bits**2))]
    signs = _signs(np.concatenate([right, wrong, fewer]))
    marks = len(right) + len(wrong)
    centre = signs[marks:].sum(axis=0) / (len(fewer) + CALM)
    judged = np.arange(len(signs)) < len(right)
    counts = np.ones(len(signs), np.float32)
    counts[marks:] = min(BACKGROUND_WEIGHT / len(fewer), MOST_OF_ONE)
    found, unseen = _regression(signs - centre, judged, counts, marks=marks)
    weights, per_odds = _whole(found, right)
    costs = np.concatenate([weights.costs(right), weights.costs(wrong)]).astype(np.float64)
    if len(right) > 1:  # of a single one, nothing can be learnt without it
        costs += unseen * per_odds
    return _calibrated(weights, costs, judged[:marks], weights.costs(background))


def _check(right: Codes, wrong: Codes, background: Codes) -> None:
    """Check that a model can be learnt from these codes.

    Raises:
        ConceptError: If it cannot.
    """
    if not len(right):
        msg = "no tile is marked right; mark at least one."
        raise ConceptError(msg)
    if not len(background):
        msg = "the archive gave no codes to compare with; add scenes to it first."
        raise ConceptError(msg)
    lengths = {codes.shape[1] for codes in (right, wrong, background)}
    if len(lengths) > 1:
        named = ", ".join(str(8 * length) for length in sorted(lengths))
        msg = f"codes have {named} bits; learn from codes of one hasher."
        raise ConceptError(msg)


def _signs(codes: Codes) -> npt.NDArray[np.float32]:
    """Turn bits into -1 and 1, shape (codes, bits)."""
    return np.asarray(2 * unpack_codes(codes).astype(np.float32) - 1)


def _sigmoid(log_odds: Any) -> Any:  # noqa: ANN401 - float32 or float64, as given
    return 1 / (1 + np.exp(-np.maximum(log_odds, -80)))


def _regression(
    signs: npt.NDArray[np.float32],
    judged: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.float32],
    *,
    marks: int,
) -> tuple[Floats, Floats]:
    """Fit a logistic regression by Newton's method.

    Args:
        signs: Centred bits, shape (codes, bits), the marks first.
        judged: Which codes count as right, shape (codes,).
        counts: How much each code weighs, shape (codes,).
        marks: Number of marks.

    Returns:
        Log odds per bit, shape (bits,), and by how much the log odds of each mark would fall if it
        had not been seen, to first order, shape (marks,).
    """
    num_bits = signs.shape[1]
    rows = np.column_stack([signs, np.ones(len(signs), np.float32)])
    ridge = np.append(np.full(num_bits, RIDGE_PER_BIT * num_bits), INTERCEPT_RIDGE)
    found = np.zeros(num_bits + 1)
    for _ in range(STEPS):
        odds = _sigmoid(rows @ found.astype(np.float32))
        spread = counts * odds * (1 - odds)
        curvature = (rows.T @ (rows * spread[:, None])).astype(np.float64) + np.diag(ridge)
        missing = counts * (judged - odds)
        step = np.linalg.solve(curvature, rows.T @ missing - ridge * found)
        # marks far from the present model would throw it off
        largest = float(np.abs(rows[:marks] @ step).max())
        found += step * min(1.0, LARGEST_CHANGE / max(largest, np.finfo(float).tiny))
        if largest < SMALLEST_STEP:
            break
    shown = rows[:marks].astype(np.float64)
    lever = np.einsum("ij,ij->i", np.linalg.solve(curvature, shown.T).T, shown)
    unseen = lever * missing[:marks] / np.maximum(1 - lever * spread[:marks], 0.1)
    return found[:-1], unseen


def _whole(found: Floats, right: Codes) -> tuple[BitWeights, float]:
    """Turn log odds per bit into whole numbers, and return them with the costs per log odds."""
    num_bits = len(found)
    largest = np.abs(found).sum()
    if largest < np.finfo(np.float32).tiny:  # nothing tells the right ones apart
        found = np.where(_signs(right).mean(axis=0) >= 0, 1.0, -1.0)
        largest = float(num_bits)
    scale = (MOST_COST - num_bits) / largest  # rounding up may add half a unit each
    weights = BitWeights(
        code=pack_codes(np.where(found > 0, 1.0, 0.0)),
        weights=np.rint(np.abs(found) * scale).astype(np.uint16),
    )
    return weights, scale / 2  # a bit that differs changes its sign by 2


def _calibrated(
    weights: BitWeights, costs: Floats, judged: npt.NDArray[np.bool_], background: npt.ArrayLike
) -> Model:
    """Find the cost from which tiles are more likely wrong.

    Every threshold and slope of a grid is weighed by how well it explains the marks. Thresholds
    are costs of the background, evenly spaced in the logarithm of their rank, and a few nearer than
    all of it, in case the class is rarer than one in the background, and farther than all of it.

    Args:
        weights: The weights.
        costs: Costs of the marks, each without having been seen, shape (marks,).
        judged: Which marks are right, shape (marks,).
        background: Costs of the background, shape (background,).

    Returns:
        The model.
    """
    known = np.sort(np.asarray(background, dtype=np.float64))
    ranks = np.unique(np.rint(np.geomspace(1, len(known), NUM_THRESHOLDS)).astype(np.int64))
    nearer = np.linspace(0, known[0], NUM_NEARER, endpoint=False)
    farther = np.linspace(weights.most, known[-1], NUM_FARTHER, endpoint=False)
    thresholds = np.concatenate([nearer, known[ranks - 1], farther])
    slopes = np.array(SLOPES) / max(float(known.std()), weights.most / 100, 1.0)
    evidence = np.zeros((len(thresholds), len(slopes)))
    for cost, is_right in zip(costs, judged, strict=True):
        log_odds = (thresholds[:, None] - cost) * slopes
        evidence -= np.logaddexp(0, -log_odds if is_right else log_odds)
    share = np.exp(evidence - evidence.max())
    share /= share.sum()
    grid = np.linspace(0, weights.most, 512)
    odds = np.zeros(len(grid))
    for row, threshold in zip(share, thresholds, strict=True):
        odds += _sigmoid((threshold - grid[:, None]) * slopes) @ row
    rising = np.maximum.accumulate(odds[::-1])
    far, offset, near = np.interp([0.25, 0.5, 0.75], rising, grid[::-1])
    return Model(weights=weights, offset=float(offset), unit=2 * QUARTER / max(far - near, 1.0))
