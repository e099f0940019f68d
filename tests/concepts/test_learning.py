"""Weights follow the marks, and a threshold follows from the marks alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from geohash_rs.codes import hamming_distances, pack_codes, unpack_codes
from geohash_rs.concepts.learning import Model, fit_model
from geohash_rs.errors import ConceptError
from geohash_rs.store.search.weights import MOST_COST, BitWeights

EVERY = np.arange(256, dtype=np.uint8)[:, None]  # all codes of 8 bits: a balanced background
NONE = np.empty((0, 1), np.uint8)


def random_codes(count: int, *, bits: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, bits // 8), dtype=np.uint8)


def around(centre: np.ndarray, count: int, *, flips: float, seed: int) -> np.ndarray:
    """Make codes that differ from one in a share of the bits."""
    bits = unpack_codes(centre[None])
    turned = np.random.default_rng(seed).random((count, bits.shape[1])) < flips
    return pack_codes((bits ^ turned).astype(float))


def model_of(offset: float, unit: float) -> Model:
    weights = BitWeights(code=np.zeros(1, np.uint8), weights=np.full(8, 2, np.uint16))
    return Model(weights=weights, offset=offset, unit=unit)


def test_scores_are_logistic_in_the_cost() -> None:
    model = model_of(10, np.log(3))
    assert model.scores([9, 10, 11]) == pytest.approx([0.75, 0.5, 0.25])


@pytest.mark.parametrize(
    ("score", "cost"), [(0.5, 10), (0.51, 9), (0.249, 11), (0.251, 10), (0.0, 16), (0.99999, -1)]
)
def test_the_largest_cost_of_a_score_is_found(score: float, cost: int) -> None:
    assert model_of(10, np.log(3)).cost_at(score) == cost


def test_extreme_costs_have_scores_without_a_warning() -> None:
    scores = model_of(8, 50.0).scores(np.arange(17))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) <= 0).all()


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ConceptError, match="not a number; use one from 0 to 1"):
        model_of(8, 1.0).cost_at(float("nan"))


def test_one_right_tile_in_a_balanced_archive_ranks_by_hamming_distance() -> None:
    right = np.array([[0b1011_0010]], np.uint8)
    weights = fit_model(right, NONE, EVERY).weights
    assert np.ptp(weights.weights.astype(int)) <= 2
    assert np.array_equal(weights.code, right[0])
    order = np.argsort(hamming_distances(right, EVERY)[0], kind="stable")
    assert (np.diff(weights.costs(EVERY)[order]) >= -16).all()


def test_only_the_bit_that_tells_right_from_wrong_weighs() -> None:
    weights = fit_model(EVERY[128:], EVERY[:128], EVERY).weights
    assert weights.code[0] & 0b1000_0000
    assert weights.weights[0] > 0.999 * MOST_COST
    assert weights.weights[1:].max() < 10


def test_weights_are_those_of_scikit_learn() -> None:
    background = random_codes(900, bits=32, seed=0)
    right = around(background[0], 20, flips=0.2, seed=1)
    wrong = around(background[0], 30, flips=0.35, seed=2)
    weights = fit_model(right, wrong, background).weights
    signs = 2.0 * unpack_codes(np.concatenate([right, wrong, background])) - 1
    peer = LogisticRegression(C=1 / 16, tol=1e-8, max_iter=5000)  # ridge: half the bits
    counts = np.concatenate([np.ones(50), np.full(900, 30 / 900)])
    peer.fit(signs - signs[50:].sum(0) / 920, np.arange(950) < 20, sample_weight=counts)
    wanted = peer.coef_[0]
    assert np.array_equal(unpack_codes(weights.code[None])[0], wanted > 0)
    ours = weights.weights / weights.weights.sum()
    assert ours == pytest.approx(np.abs(wanted) / np.abs(wanted).sum(), abs=5e-4)
    floats = signs @ wanted
    costs = weights.costs(np.concatenate([right, wrong, background]))
    assert np.corrcoef(floats, costs)[0, 1] < -0.99999


def test_marks_improve_on_the_distance_to_the_first_tile() -> None:
    random = np.random.default_rng(0)
    telling = np.arange(64) < 12  # bits that a class shares; the others are noise
    bits = random.integers(0, 2, (4000, 64))
    bits[:200, telling] = random.random((200, 12)) < 0.95
    codes = pack_codes(bits.astype(float))
    right, wrong = codes[:10], codes[3000:3020]
    costs = fit_model(right, wrong, codes).weights.costs(codes)
    plain = hamming_distances(codes[:1], codes)[0]
    found = [np.mean(np.argsort(c, kind="stable")[:200] < 200) for c in (costs, plain)]
    assert found[0] > 0.6
    assert found[1] < 0.4


@pytest.mark.parametrize("last_is_right", [True, False])
def test_the_threshold_moves_with_marks_at_it(*, last_is_right: bool) -> None:
    background = random_codes(2000, bits=64, seed=3)
    right = around(background[0], 6, flips=0.15, seed=4)
    before = fit_model(right, background[-2:], background)
    costs = before.weights.costs(background)
    edge = background[np.argsort(np.abs(costs - before.offset))[:6]]
    both = (np.concatenate([right, edge]), background[-2:])
    if not last_is_right:
        both = (right, np.concatenate([background[-2:], edge]))
    after = fit_model(*both, background)
    shares = [np.mean(m.weights.costs(background) <= m.offset) for m in (before, after)]
    assert (shares[1] > shares[0]) == last_is_right


def test_the_background_says_nothing_about_the_share_of_right_tiles() -> None:
    right = np.repeat(EVERY[-1:], 40, axis=0)
    model = fit_model(right, EVERY[:40], np.repeat(EVERY[-1:], 5000, axis=0))
    assert model.scores(model.weights.costs(right[:1]))[0] > 0.8
    assert model.scores(model.weights.costs(EVERY[:1]))[0] < 0.2


def test_marks_weigh_the_same_in_any_order() -> None:
    background = random_codes(500, bits=64, seed=5)
    right, wrong = background[:9], background[9:30]
    one, other = fit_model(right, wrong, background), fit_model(right[::-1], wrong, background)
    assert np.abs(one.weights.weights.astype(int) - other.weights.weights).max() <= 2
    assert one.offset == pytest.approx(other.offset, rel=1e-3)


@settings(max_examples=30)
@given(
    bits=st.sampled_from([8, 16, 64, 1024]),
    right=st.integers(1, 12),
    wrong=st.integers(0, 12),
    background=st.sampled_from([1, 2, 50]),
    kinds=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_any_codes_give_a_valid_model(
    bits: int, right: int, wrong: int, background: int, kinds: int, seed: int
) -> None:
    """With few kinds of codes, the same ones are right, wrong and in the background."""
    chosen = np.random.default_rng(seed).integers(0, kinds, right + wrong + background)
    codes = random_codes(kinds, bits=bits, seed=seed)[chosen]
    parts = codes[:right], codes[right : right + wrong], codes[right + wrong :]
    model = fit_model(*parts)
    assert 0 < model.weights.most <= MOST_COST
    assert 0 <= model.offset <= model.weights.most
    assert model.unit > 0
    costs = np.sort(model.weights.costs(codes))
    assert np.isfinite(model.scores(costs)).all()
    assert (np.diff(model.scores(costs)) <= 0).all()
    for score in (0.0, 0.3, 0.5, 0.9):
        cost = model.cost_at(score)
        assert cost < 0 or model.scores(cost) >= score
        assert cost == model.weights.most or model.scores(cost + 1) < score
    again = fit_model(*parts)
    assert np.array_equal(again.weights.weights, model.weights.weights)
    assert (again.offset, again.unit) == (model.offset, model.unit)


def test_constant_bits_hardly_weigh() -> None:
    codes = random_codes(1000, bits=64, seed=6)
    codes[:, 4:] = 0b1010_1010
    weights = fit_model(codes[:5], codes[5:20], codes).weights.weights
    assert weights[32:].mean() < 0.1 * weights[:32].mean()


def test_thousands_of_marks_teach() -> None:
    codes = random_codes(6000, bits=64, seed=7)
    is_right = (unpack_codes(codes)[:, :5].sum(axis=1) >= 3) ^ (np.arange(6000) % 25 == 0)
    model = fit_model(codes[is_right], codes[~is_right], codes)
    said = model.scores(model.weights.costs(codes)) > 0.5
    assert (said == is_right).mean() > 0.92


@pytest.mark.parametrize(
    ("right", "wrong", "background", "says"),
    [
        (NONE, EVERY, EVERY, "no tile is marked right; mark at least one"),
        (EVERY, NONE, NONE, "gave no codes to compare with; add scenes"),
        (EVERY, np.empty((0, 2), np.uint8), EVERY, "codes have 8, 16 bits"),
    ],
)
def test_codes_that_cannot_teach_are_refused(
    right: np.ndarray, wrong: np.ndarray, background: np.ndarray, says: str
) -> None:
    with pytest.raises(ConceptError, match=says):
        fit_model(right, wrong, background)
