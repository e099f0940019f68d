"""Costs by bit weights equal a plain loop, in NumPy and in the compiled scan."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geohash_rs.codes import hamming_distances, unpack_codes
from geohash_rs.errors import CodeLengthError, QueryError
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.search import compiled, nearest
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.weighing import weighing_of
from geohash_rs.store.search.weights import MOST_COST, BitWeights
from geohash_rs.store.search.where import Where
from tests.store.helpers import make_grid

TILES = 9000  # two whole blocks, and a tail that ends inside a span


def draw_weights(rng: np.random.Generator, num_bits: int, *, heavy: float) -> np.ndarray:
    """Draw weights that sum to at most the limit; the larger `heavy`, the fewer bits weigh much."""
    weights = rng.exponential(size=num_bits) ** heavy
    return (weights / weights.sum() * MOST_COST).astype(np.uint16)


def costs_by_hand(weights: BitWeights, codes: np.ndarray) -> list[int]:
    """Sum the weights of differing bits, one code at a time."""
    mine = unpack_codes(weights.code)
    return [
        sum(int(w) for w, a, b in zip(weights.weights, mine, bits, strict=True) if a != b)
        for bits in unpack_codes(codes)
    ]


@st.composite
def any_weights(draw: st.DrawFn) -> BitWeights:
    num_bytes = draw(st.sampled_from([1, 2, 3, 8, 9, 16, 64]))
    code = draw(hnp.arrays(np.uint8, num_bytes))
    most = MOST_COST // (8 * num_bytes)
    top = draw(st.sampled_from([1, 3, 17, most]))
    weights = draw(hnp.arrays(np.uint16, 8 * num_bytes, elements=st.integers(0, min(top, most))))
    if draw(st.booleans()):  # one weighs nearly all that is left
        weights[draw(st.integers(0, len(weights) - 1))] = 0
        weights[0] += MOST_COST - int(weights.sum(dtype=int))
    return BitWeights(code=code, weights=weights)


@given(any_weights(), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_costs_equal_a_plain_loop(weights: BitWeights, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 256, (9, len(weights.code)), np.uint8)
    codes[0], codes[1] = weights.code, ~weights.code
    costs = weights.costs(codes)
    assert costs.dtype == np.int32
    assert costs.tolist() == costs_by_hand(weights, codes)
    assert costs[:2].tolist() == [0, weights.most]


@given(any_weights(), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_the_fast_comparison_never_finds_a_code_dearer_than_it_is(
    weights: BitWeights, seed: int
) -> None:
    codes = np.random.default_rng(seed).integers(0, 256, (9, len(weights.code)), np.uint8)
    codes[1] = ~weights.code
    weighing = weighing_of(weights)
    words = np.array(weighing.masks)
    masks = words.view(np.uint8).reshape(-1, len(weights.code))
    differs = codes ^ weights.code
    coarse = sum(
        np.bitwise_count(differs & mask).sum(axis=1, dtype=int) << j for j, mask in enumerate(masks)
    )
    assert (coarse << weighing.shift <= weights.costs(codes)).all()
    assert (weights.most >> weighing.shift) + 1 < 2 ** (8 * words.itemsize)


def test_weights_of_one_are_hamming_distances() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (200, 12), np.uint8)
    ones = BitWeights(code=codes[0], weights=np.ones(96, np.uint16))
    np.testing.assert_array_equal(ones.costs(codes), hamming_distances(codes[:1], codes)[0])


def test_weights_cannot_be_changed_from_outside() -> None:
    given = np.arange(8, dtype=np.uint16)
    weights = BitWeights(code=np.zeros(1, np.uint8), weights=given)
    given[:] = 9
    assert weights.weights.tolist() == list(range(8))
    with pytest.raises(ValueError, match="read-only"):
        weights.code[0] = 1


@pytest.mark.parametrize(
    ("code", "weights", "message"),
    [
        (np.zeros(8, np.int64), np.ones(64, np.uint16), r"code .* dtype int64 and shape \(8,\)"),
        (np.zeros((1, 8), np.uint8), np.ones(64, np.uint16), r"code .* shape \(1, 8\)"),
        (np.zeros(0, np.uint8), np.ones(0, np.uint16), r"code .* shape \(0,\)"),
        (np.zeros(129, np.uint8), np.ones(1032, np.uint16), "of 8 to 1024 bits"),
        (np.zeros(8, np.uint8), np.ones(63, np.uint16), r"shape \(63,\), but the code of 64 bits"),
        (np.zeros(8, np.uint8), np.ones(64), "weights have dtype float64"),
        (np.zeros(1, np.uint8), np.full(8, 8192, np.uint16), "sum to 65,536, over 65,535"),
    ],
)
def test_bad_weights_are_refused(code: np.ndarray, weights: np.ndarray, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        BitWeights(code=code, weights=weights)


def test_codes_of_another_length_cannot_be_weighed() -> None:
    ones = BitWeights(code=np.zeros(8, np.uint8), weights=np.ones(64, np.uint16))
    with pytest.raises(CodeLengthError, match="weights are for 64 bits, but .* have 32"):
        ones.costs(np.zeros((5, 4), np.uint8))


def test_an_archive_without_codes_cannot_be_weighed(tmp_path) -> None:
    ones = BitWeights(code=np.zeros(8, np.uint8), weights=np.ones(64, np.uint16))
    empty = CodeStore.create(tmp_path / "a", pending_hasher="general-64")
    with pytest.raises(QueryError, match="is empty: its hasher general-64"):
        empty.find(ones, limits=Limits(k=1), where=Where())


@pytest.fixture(scope="module", params=[24, 48, 64, 72, 256])
def archive(request, tmp_path_factory):
    """Write an archive of each kind of word: three bytes, three of 16 bits, ..., nine bytes."""
    rng = np.random.default_rng(request.param)
    archive = CodeStore.create(tmp_path_factory.mktemp("weighed") / "a", num_bits=request.param)
    centres = rng.integers(0, 256, (40, request.param // 8), dtype=np.uint8)
    for count in (TILES, 30):
        codes = centres[rng.integers(0, 40, count)]
        for _ in range(3):
            bits = rng.integers(0, request.param, count)
            codes[np.arange(count), bits >> 3] ^= (128 >> (bits & 7)).astype(np.uint8)
        archive.add_codes(codes, make_grid(count))
    archive.remove_tiles(rng.choice(TILES, 400, replace=False))
    return archive


@pytest.mark.parametrize("heavy", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("scanner", ["NumPy", "compiled"])
def test_both_scanners_find_the_cheapest_ties_included(
    archive: CodeStore, monkeypatch: pytest.MonkeyPatch, scanner: str, heavy: float
) -> None:
    monkeypatch.setattr(compiled.Spent, "most", float("inf") if scanner == "NumPy" else -1)
    monkeypatch.setattr(nearest, "WEIGHED_HEAP_K", 5000)
    ids, codes = archive.sample(10**6)
    rng = np.random.default_rng(3)
    weights = draw_weights(rng, archive.num_bits, heavy=heavy)
    if heavy == 1:
        weights >>= 9  # many ties
    asked = BitWeights(code=codes[77], weights=weights)
    costs = asked.costs(codes)
    order = np.lexsort((ids, costs))
    near = int(np.sort(costs)[60])
    region = (9.0, 47.0, 11.5, 49.95)
    inside = archive.search(codes[:1], k=10**6, region=region).ids[0]
    placed = order[np.isin(ids[order], inside)]
    assert 100 < len(placed) < len(ids) - 100
    for limits, where, kept in [
        (Limits(k=25), Where(), order),
        (Limits(k=5000), Where(), order),
        (Limits(k=5007), Where(), order),
        (
            Limits(k=25, num_threads=2),
            Where.parse(region=region),
            order[np.isin(ids[order], inside)],
        ),
        (Limits(k=None, max_distance=near), Where(), order[costs[order] <= near]),
        (Limits(k=None, max_distance=10**9), Where(), order),
        (Limits(k=None, max_distance=0), Where(), order[costs[order] == 0]),
        (Limits(k=9, max_distance=near), Where(), order[costs[order] <= near]),
    ]:
        found = archive.find(asked, limits=limits, where=where)
        expected = kept[: limits.k]
        assert found.ids[0].tolist() == ids[expected].tolist(), limits
        assert found.distances[0].tolist() == costs[expected].tolist(), limits


def test_a_sample_is_spread_and_survives_merging(tmp_path) -> None:
    archive = CodeStore.create(tmp_path / "a", num_bits=32)
    rng = np.random.default_rng(0)
    for count in (700, 20, 1300):
        codes = rng.integers(0, 256, (count, 4), np.uint8)
        archive.add_codes(codes, make_grid(count))
    before = archive.sample(100)
    gaps = np.diff(before[0])
    assert len(before[0]) == 100
    assert (gaps.min() > 1, gaps.max() < 100) == (True, True), "no run of neighbours, no hole"
    archive.remove_tiles(np.setdiff1d(np.arange(0, 2020, 2), before[0]))
    archive.compact()
    for old, new in zip(before, archive.sample(100), strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_empty_archive_has_an_empty_sample(tmp_path) -> None:
    ids, codes = CodeStore.create(tmp_path / "a", num_bits=32).sample(5)
    assert (ids.shape, codes.shape) == ((0,), (0, 4))
