"""Promises of precision, against worked figures and simulations."""

import json

import numpy as np
import pytest

from geohash_rs.codes import hamming_distances
from geohash_rs.errors import CalibrationError
from geohash_rs.trust.bounds import Moments, beta_quantile, share_bounds, t_quantile
from geohash_rs.trust.calibration import count_pairs
from geohash_rs.trust.promise import Promise, promise_of, promise_of_counts, thresholds
from geohash_rs.trust.sequence import best_needed, needed_blocks, passed


def labelled(num_blocks: int, *, seed: int = 0, per_block: int = 6, hard: float = 1.0):
    """Tiles whose blocks are alike; nearer ones are more often right."""
    rng = np.random.default_rng(seed)
    blocks = np.arange(num_blocks).repeat(per_block)
    right = rng.random(len(blocks)) < 1 / (1 + np.exp(-hard * rng.normal(0, 1, num_blocks)))[blocks]
    values = np.clip(rng.normal(22 - 12 * right, 4), 0, 64).astype(int)
    return values, right, blocks


def test_quantiles_are_those_of_tables():
    # Student's t, one-sided 0.1 and 0.05; the rule of three: 0.1^(1/22) for 22 right of 22
    assert t_quantile([1, 9, 100], 0.1) == pytest.approx([3.0777, 1.3830, 1.2901], abs=1e-3)
    assert t_quantile([2, 30], 0.05) == pytest.approx([2.9200, 1.6973], abs=1e-3)
    assert beta_quantile([22.0], [1.0], 0.1) == pytest.approx([0.1 ** (1 / 22)], abs=1e-4)
    assert beta_quantile([3.0], [3.0], 0.5) == pytest.approx([0.5], abs=1e-4)


def test_sums_over_blocks_are_those_of_a_plain_loop(monkeypatch):
    values, right, blocks = labelled(40)
    monkeypatch.setattr("geohash_rs.trust.bounds.AT_ONCE", 100)  # several pieces
    found = Moments.count(values, right, blocks, num_steps=65)
    for threshold in (0, 9, 20, 64):
        near = values <= threshold
        tiles = [int((near & (blocks == block)).sum()) for block in range(40)]
        good = [int((near & right & (blocks == block)).sum()) for block in range(40)]
        assert found.tiles[threshold] == sum(tiles)
        assert found.right[threshold] == sum(good)
        assert found.blocks[threshold] == sum(count > 0 for count in tiles)
        assert found.tiles_squared[threshold] == sum(n * n for n in tiles)
        assert found.right_squared[threshold] == sum(n * n for n in good)
        assert found.product[threshold] == sum(n * r for n, r in zip(tiles, good, strict=True))


def test_tiles_that_are_all_alike_in_a_block_count_as_one():
    blocks, right = np.arange(40).repeat(25), (np.arange(40) % 10 > 0).repeat(25)  # 36 of 40
    alike = Moments.count(np.zeros(1000, int), right, blocks, num_steps=1)
    apart = Moments.count(np.zeros(40, int), right[::25], np.arange(40), num_steps=1)
    one, other = (share_bounds(m, paired=False, level=0.1) for m in (alike, apart))
    assert one[0] == pytest.approx(other[0], abs=1e-9)
    assert 0.79 < one[0][0] < 0.85 < 0.9 < one[1][0] < 0.97  # Clopper and Pearson: 0.812, 0.955


def test_a_pair_takes_part_in_two_blocks():
    counts = np.full((605, 1), 50)
    tiles = Moments.of_counts(counts, 5 + 4 * (np.arange(605)[:, None] % 11))  # half of them right
    alone = 0.5 - share_bounds(tiles, paired=False, level=0.1)[0][0]
    both = 0.5 - share_bounds(tiles, paired=True, level=0.1)[0][0]
    assert both == pytest.approx(2 * alone, rel=0.05)  # twice the standard error


def test_each_precision_is_tested_from_the_nearest_threshold_until_it_fails():
    bound = np.array([0.3, 0.96, 0.93, 0.88, 0.95, 0.7])  # the second 0.95 mends no failure
    best = np.array([0.5, 0.962, 0.962, 0.962, 0.962, 0.962])
    found = passed(bound, best, paired=False)
    assert found.tolist() == [0, 0.95, 0.93, 0.88, 0.88, 0.7]


def test_nothing_is_promised_of_the_nearest_tiles_alone():
    # ten places of one wrong tile each, then sixty of a hundred right ones
    values = np.concatenate([np.arange(10), 10 + np.arange(60).repeat(100)])
    blocks = np.concatenate([np.arange(10), 10 + np.arange(60).repeat(100)])
    promise = promise_of(values, values >= 10, blocks)
    table = promise.table()
    nearest = table[table["share"] == 0]
    assert len(nearest)
    assert nearest["promised"].isna().all()
    tested_here = table.dropna(subset="promised")
    assert (tested_here["share"] >= tested_here["promised"]).all()
    assert promise.limit(0.9) >= 10
    assert promise.precision_of([9])[0] == promise.promised[0] >= 0.9  # that of the set around it


def test_where_nothing_is_right_the_interval_is_that_of_clopper_and_pearson():
    one = Moments.count(np.zeros(20, int), np.zeros(20, bool), np.arange(20), num_steps=1)
    low, high = share_bounds(one, paired=False, level=0.1)
    assert low.tolist() == [0]
    assert high == pytest.approx([1 - 0.1 ** (1 / 20)], abs=1e-4)
    alike = Moments.count(
        np.zeros(500, int), np.zeros(500, bool), np.arange(20).repeat(25), num_steps=1
    )
    assert share_bounds(alike, paired=False, level=0.1)[1] == pytest.approx(high, abs=1e-6)


def test_a_threshold_that_must_fail_is_not_tested():
    # a large block at the second threshold: 0.85 is the most that right tiles could show
    bound = np.array([0.97, 0.85, 0.96, 0.7])
    best = np.array([0.999, 0.85, 0.999, 0.999])
    assert passed(bound, best, paired=False).tolist() == [0.97, 0.83, 0.96, 0.7]
    assert passed(bound, np.full(4, 0.999), paired=False).tolist() == [0.97, 0.85, 0.85, 0.7]


def test_one_large_block_does_not_undo_many_small_ones():
    # the nearest 40 are right in 40 blocks; then 12 of one block come, then 200 of others
    blocks = np.concatenate([np.arange(40), np.full(12, 40), np.arange(41, 241)])
    values = np.arange(len(blocks)) // 2
    promise = promise_of(values, np.ones(len(blocks), bool), blocks)
    assert promise.limit(0.9) == values[-1]
    assert promise.limit(0.8) == values[-1]


@pytest.mark.parametrize("paired", [False, True])
def test_as_many_blocks_are_needed_as_make_a_test(paired):
    for precision in (0.5, 0.8, 0.9):
        needed = needed_blocks(precision, 0.1, paired=paired)
        for count in (needed - 1, needed):
            one = np.full((count, 1), 1000)
            best, _ = share_bounds(Moments.of_counts(one, one), paired=paired, level=0.1)
            assert (best[0] >= best_needed(precision, paired=paired)) == (count == needed)


def test_a_limit_is_the_largest_threshold_that_is_promised():
    values, right, blocks = labelled(400)
    promise = promise_of(values, right, blocks)
    limit = promise.limit(0.8)
    assert promise.share[promise.values == limit] > 0.8
    assert promise.precision_of([limit])[0] >= 0.8
    assert not promise.precision_of([limit + 1])[0] >= 0.8
    assert np.isnan(promise.precision_of([1000])).all()
    assert promise.limit(0.8) >= promise.limit(0.85)
    assert ((promise.low < promise.share) & (promise.share <= promise.high)).all()


def test_promises_are_broken_as_rarely_as_they_say():
    many = labelled(20_000, seed=99)
    true = {v: float(many[1][many[0] <= v].mean()) for v in range(65) if (many[0] <= v).any()}
    broken = found = 0
    for seed in range(200):
        promise = promise_of(*labelled(120, seed=seed))
        good = promise.values[promise.promised >= 0.8]
        broken += bool(len(good)) and true[int(good[-1])] < 0.8
        found += bool(len(good))
    assert found > 150
    assert broken <= 200 * 0.1 + 2 * (200 * 0.1 * 0.9) ** 0.5


def test_thresholds_depend_on_values_alone_and_are_few():
    values = np.random.default_rng(0).integers(0, 60_000, 5000)
    chosen = thresholds(values, most=200)
    assert len(chosen) <= 200
    assert chosen[0] == np.sort(values)[9]
    assert chosen[-1] == values.max()
    assert thresholds(np.array([3, 3, 3]), most=200).tolist() == [3]


@pytest.mark.parametrize("precision", [1.0, 0.0, -0.2, 1.5, float("nan"), 0.999])
def test_a_precision_out_of_range_is_refused(precision):
    promise = promise_of(*labelled(50))
    with pytest.raises(CalibrationError, match=r"precision is .*(such as 0\.9|at most 0\.99)"):
        promise.limit(precision)


def test_too_few_blocks_are_counted():
    with pytest.raises(CalibrationError, match=r"in 7 blocks of ground, .* 3 more"):
        promise_of(*labelled(7))
    promise = promise_of([1] * 100, [True] * 100, np.arange(20).repeat(5))
    assert promise.limit(0.8) == 1
    with pytest.raises(CalibrationError, match=r"in 20 blocks .* at least 26 are needed, 6 more"):
        promise.limit(0.9)


def test_of_a_draw_tiles_are_counted_instead_of_places():
    def draw(right):
        return promise_of(np.ones(len(right), int), right, np.arange(len(right)), drawn=True)

    with pytest.raises(CalibrationError, match=r"^7 tiles were drawn and judged, .* 3 more"):
        draw(np.ones(7, bool))
    rng = np.random.default_rng(0)
    for right, says in (
        (np.ones(20, bool), "20 tiles were drawn .* 26 are needed, 6 more; .*judge a larger draw"),
        (rng.random(200) < 0.5, "of the best tiles drawn, at most .* judging more would not help"),
        (np.arange(60) % 15 > 0, r"93% of the best 60 tiles drawn .* draw of about \d+ tiles more"),
    ):
        with pytest.raises(CalibrationError, match=says) as caught:
            draw(right).limit(0.9)
        assert "block" not in str(caught.value)
        assert "place" not in str(caught.value)


def test_what_more_labels_would_change_is_said():
    rng = np.random.default_rng(0)
    blocks = np.arange(40).repeat(5)
    half = promise_of(np.ones(200, int), rng.random(200) < 0.5, blocks)
    with pytest.raises(CalibrationError, match=r"more labels would not help"):
        half.limit(0.9)
    nearly = promise_of(np.ones(200, int), np.arange(200) % 14 > 0, blocks)
    with pytest.raises(CalibrationError, match=r"92% of .* label about \d+ blocks more"):
        nearly.limit(0.9)


def test_right_tiles_of_few_places_ask_for_more_places():
    # the best 190 are right, in 19 blocks; then wrong ones of 20 others
    blocks = np.concatenate([np.arange(19).repeat(10), np.arange(19, 39).repeat(20)])
    values = np.arange(len(blocks))
    promise = promise_of(values, values < 190, blocks)
    with pytest.raises(CalibrationError, match=r"% of the best .* in \d+ blocks .* label") as no:
        promise.limit(0.9)
    assert "would not help" not in str(no.value)


def test_arrays_of_different_lengths_and_a_wrong_delta_are_refused():
    with pytest.raises(CalibrationError, match="have the shapes"):
        promise_of([1, 2], [True], [0, 1])
    with pytest.raises(CalibrationError, match=r"delta is 0\.7"):
        promise_of(*labelled(20), delta=0.7)


def test_a_promise_survives_json():
    promise = promise_of(*labelled(60), delta=0.2)
    again = Promise.from_json(json.loads(json.dumps(promise.to_json())))
    for name, column in promise.to_json().items():
        assert again.to_json()[name] == column


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("values", [3, 2, 1]),
        ("values", "1,2"),
        ("tiles", [1]),
        ("right", [10**6]),
        ("share", [float("nan")]),
        ("tested", [2.0]),
        ("tested", [0.99, 0.99]),
        ("right", [0, 0]),
        ("right", [60, 59]),
        ("tiles", [60, 60]),
        ("blocks", [60, 59]),
        ("blocks", [3, 3]),
        ("share", [0.9, 0.9]),
        ("drawn", None),
        ("low", [True]),
        ("paired", 1),
        ("delta", "0.1"),
        ("delta", 0.9),
        ("values", [1e300]),
        ("blocks", None),
    ],
)
def test_figures_that_cannot_be_are_refused(name, value):
    good = promise_of([1] * 60 + [2] * 60, [True] * 120, np.arange(120)).to_json()
    if isinstance(value, list) and len(value) == 1:
        value = [*value, *good[name][1:]]
    with pytest.raises(CalibrationError):  # noqa: PT011 - each has its own message
        Promise.from_json({**good, name: value})
    with pytest.raises(CalibrationError, match="has the entries"):
        Promise.from_json([])


def test_pairs_are_counted_as_by_a_plain_loop(monkeypatch):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (30, 2)).astype(np.uint8)
    labels, blocks = rng.integers(0, 3, 30), rng.integers(0, 7, 30)
    distances = hamming_distances(codes, codes)
    tiles, right = np.zeros((2, 7, 17), int)
    for i in range(30):
        for j in range(30):
            if blocks[i] != blocks[j]:
                tiles[blocks[i], distances[i, j]] += 1
                right[blocks[i], distances[i, j]] += labels[i] == labels[j]
    monkeypatch.setattr("geohash_rs.trust.calibration.AT_ONCE", 100)
    counted = count_pairs(codes, labels, blocks)
    assert (counted[0] == tiles).all()
    assert (counted[1] == right).all()
    promise = promise_of_counts(
        np.arange(17), np.tile(tiles, (4, 1)), np.tile(right, (4, 1)), delta=0.1
    )
    assert promise.tiles[-1] == 4 * tiles.sum()
    assert promise.right[-1] == 4 * right.sum()
