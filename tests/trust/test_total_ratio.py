"""Ratios of all that is right to what is selected, against a plain loop and simulations."""

import json

import numpy as np
import pytest

from geohash_rs.errors import CalibrationError
from geohash_rs.trust.promise import Promise, promise_of
from geohash_rs.trust.total_ratio import TotalRatio, ratio_of


def landscape(num_blocks: int, *, seed: int):
    """Blocks that hold more or less of a kind; its tiles cost less, but some as much as others."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, num_blocks)
    blocks = np.arange(num_blocks).repeat(sizes)
    right = rng.random(len(blocks)) < rng.beta(0.5, 2, num_blocks)[blocks]
    costs = np.clip(rng.normal(30 - 12 * right, 5), 0, 64).astype(int)
    return costs, right, blocks


def test_a_ratio_is_that_of_a_plain_count():
    costs, right, blocks = landscape(80, seed=1)
    found = ratio_of(costs, right, blocks, thresholds=np.array([14, 20, 26, 33]), delta=0.1)
    assert found.values.tolist() == [14, 20, 26, 33]
    for row, threshold in enumerate(found.values):
        assert found.ratio[row] == right.sum() / (costs <= threshold).sum()
    # the spread that leaving out each block in turn shows
    selected = costs <= 20
    others = [(blocks != block) for block in range(80)]
    jack = np.array([right[o].sum() / selected[o].sum() for o in others])
    spread = np.sqrt(79 / 80 * ((jack - jack.mean()) ** 2).sum())
    assert np.log(found.high[1] / found.ratio[1]) * found.ratio[1] == pytest.approx(
        1.664 * spread, rel=0.1
    )


def test_intervals_fail_as_rarely_as_they_say():
    costs, right, _ = landscape(20_000, seed=99)
    truth = right.sum() / (costs <= 22).sum()
    failed = 0
    for seed in range(300):
        found = ratio_of(*landscape(60, seed=seed), thresholds=np.array([22]), delta=0.1)
        failed += not found.low[0] <= truth <= found.high[0]
    assert 10 <= failed <= 300 * 0.1 + 2 * (300 * 0.1 * 0.9) ** 0.5


def test_between_thresholds_it_is_interpolated_and_beyond_unknown():
    found = TotalRatio(
        values=np.array([10, 20]),
        ratio=np.array([2.0, 1.0]),
        low=np.array([1.0, 0.5]),
        high=np.array([4.0, 2.0]),
    )
    assert found.at(15).tolist() == [1.5, 0.75, 3.0]
    assert np.isnan(found.at(9)).all()
    assert np.isnan(found.at(21)).all()


def test_too_few_blocks_or_nothing_right_give_no_ratio():
    costs, right, blocks = landscape(80, seed=1)
    grid = np.array([20, 30])
    assert ratio_of(costs, np.zeros_like(right), blocks, thresholds=grid, delta=0.1) is None
    few = blocks < 9
    assert ratio_of(costs[few], right[few], blocks[few], thresholds=grid, delta=0.1) is None


def test_a_promise_keeps_its_ratios_in_json():
    costs, right, blocks = landscape(80, seed=2)
    promise = promise_of(costs, right, blocks)
    assert Promise.from_json(promise.to_json()).totals is None
    totals = ratio_of(costs, right, blocks, thresholds=promise.values, delta=0.1)
    given = json.loads(json.dumps({**promise.to_json(), "totals": totals.to_json()}))
    again = Promise.from_json(given)
    assert again.to_json() == given
    np.testing.assert_array_equal(again.totals.at(25), totals.at(25))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("values", [2, 1]),
        ("values", [1.5, 2]),
        ("values", [1]),
        ("ratio", [1, float("nan")]),
        ("ratio", [1, float("inf")]),
        ("ratio", [1, -1]),
        ("ratio", [True, 1]),
        ("ratio", [9, 1]),
        ("low", [3, 1]),
        ("high", "12"),
        ("other", [1, 2]),
    ],
)
def test_ratios_that_cannot_be_are_refused(name, value):
    good = {"values": [1, 2], "ratio": [2.0, 1.0], "low": [1.0, 1.0], "high": [3.0, 1.5]}
    assert TotalRatio.from_json(good).to_json() == good
    with pytest.raises(CalibrationError, match="ratios of totals"):
        TotalRatio.from_json({**good, name: value})
    with pytest.raises(CalibrationError, match="have the entries"):
        TotalRatio.from_json(None)
    empty = {key: [] for key in good}
    with pytest.raises(CalibrationError, match="ratios of totals"):
        TotalRatio.from_json(empty)
