"""Suggestions are uncertain, and unlike marks and each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohash_rs.codes import hamming_distances
from geohash_rs.concepts.learning import Model
from geohash_rs.concepts.suggestions import choose, num_candidates
from geohash_rs.store.search.weights import BitWeights

NONE = np.empty((0, 1), np.uint8)
MODEL = Model(
    weights=BitWeights(code=np.zeros(1, np.uint8), weights=np.full(8, 10, np.uint16)),
    offset=40.0,
    unit=0.1,
)


def chosen(codes: list[int], costs: list[int], *, k: int, right: int = 0) -> list[int]:
    packed = np.array(codes, np.uint8)[:, None]
    marked = np.array([[right]], np.uint8)
    return choose(packed, np.array(costs), MODEL, marked, NONE, k=k).tolist()


def test_of_uncertain_tiles_that_most_unlike_the_marks_comes_first() -> None:
    assert chosen([0b1, 0b11, 0b111, 0b1111_1111], [38, 41, 55, 80], k=1) == [1]


def test_a_second_choice_is_unlike_the_first() -> None:
    codes = [0b1111_0000, 0b1110_0000, 0b1111_0000, 0b0000_0011]
    assert chosen(codes, [40, 40, 40, 40], k=2) == [0, 3]


def test_ties_go_to_the_first_candidate() -> None:
    assert chosen([0b11] * 5, [40] * 5, k=3) == [0, 1, 2]


def test_without_candidates_nothing_is_chosen() -> None:
    found = choose(NONE, np.empty(0, np.int32), MODEL, NONE, NONE, k=8)
    assert found.shape == (0,)
    assert found.dtype == np.intp


@given(
    count=st.integers(0, 40),
    k=st.integers(1, 12),
    right=st.integers(1, 6),
    wrong=st.integers(0, 6),
    seed=st.integers(0, 999),
)
def test_choices_equal_those_of_a_plain_loop(
    count: int, k: int, right: int, wrong: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (count, 1), dtype=np.uint8)
    costs = random.integers(0, 80, count)
    good, bad = (random.integers(0, 256, (m, 1), dtype=np.uint8) for m in (right, wrong))
    found = choose(codes, costs, MODEL, good, bad, k=k).tolist()
    unsure = sorted(range(count), key=lambda row: (abs(costs[row] - 40), row))[: 2 * k]
    seen, wanted = np.concatenate([good, bad]), []
    while unsure and len(wanted) < k:
        near = hamming_distances(seen, codes[unsure]).min(axis=0)
        wanted.append(unsure.pop(int(near.argmax())))
        seen = np.concatenate([seen, codes[wanted[-1:]]])
    assert found == wanted


@pytest.mark.parametrize("k", [1, 8, 100_000])
def test_there_are_candidates_enough_for_each_choice(k: int) -> None:
    assert num_candidates(k) >= 2 * k
