"""Rankings beyond plain Hamming distance equal simple loops."""

import math

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from geohash_rs import Archive, Matches
from geohash_rs.codes import hamming_distances, pack_codes, unpack_codes
from geohash_rs.errors import QueryError, TileNotFoundError
from geohash_rs.retrieval.query import Query, join_queries
from geohash_rs.retrieval.ranking import asymmetric_similarity, distinct_rows, feedback_scores
from geohash_rs.retrieval.search import retrieve
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.where import Where

BITS = 32
SIDE = 12  # rows and columns of an overlapping grid of tiles


def random_codes(count: int, seed: int, bits: int = BITS) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, bits // 8), dtype=np.uint8)


def clustered_codes(count: int, seed: int) -> np.ndarray:
    """Make codes around a few centres, so that distances differ, with ties."""
    rng = np.random.default_rng(seed)
    bits = unpack_codes(random_codes(4, seed))[rng.integers(0, 4, count)]
    return pack_codes((bits ^ (rng.random(bits.shape) < 0.15)).astype(float))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Make 144 tiles of 64 px with a step of 32 px, for each of two dates over the same ground."""
    col, row = (part.ravel() * 32 for part in np.meshgrid(np.arange(SIDE), np.arange(SIDE)))
    to_lonlat = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    shapes = [
        shapely.transform(
            shapely.box(5e5 + 10 * c, 54e5 - 10 * (r + 64), 5e5 + 10 * (c + 64), 54e5 - 10 * r),
            lambda xy: np.column_stack(to_lonlat.transform(*xy.T)),
        )
        for c, r in zip(col, row, strict=True)
    ]
    made = Archive.create(tmp_path_factory.mktemp("ranking") / "archive", num_bits=BITS)
    for seed, date in enumerate(("2023-06-01", "2023-09-01")):
        tiles = gpd.GeoDataFrame(
            {
                "scene": f"/scenes/{date}.tif",
                "col": col,
                "row": row,
                "width": 64,
                "height": 64,
                "datetime": np.datetime64(date),
            },
            geometry=shapes,
            crs="EPSG:4326",
        )
        made.add_codes(clustered_codes(len(tiles), seed), tiles)
    return made


def all_codes(archive: Archive) -> np.ndarray:
    return archive.codes(np.arange(len(archive)))


def overlap(matches: Matches, first: int, second: int) -> bool:
    """Return whether two tiles share pixels; the scenes cover the same ground."""
    a, b = matches.iloc[first], matches.iloc[second]
    return abs(a["col"] - b["col"]) < 64 and abs(a["row"] - b["row"]) < 64


def differing(a: np.ndarray, b: np.ndarray) -> int:
    return sum(int(x ^ y).bit_count() for x, y in zip(a.tolist(), b.tolist(), strict=True))


def plain_feedback(code: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> float:
    """Condition a joint normal distribution on the judgements, by inverting its covariance."""
    examples = [*right, *wrong]
    likeness = [[math.exp(-differing(a, b) / (0.15 * BITS)) for b in examples] for a in examples]
    noisy = np.array(likeness) + 0.5 * np.eye(len(examples))
    judged = [1.0] * len(right) + [-0.5] * len(wrong)
    to_code = [math.exp(-differing(a, code) / (0.15 * BITS)) for a in examples]
    return float(np.array(to_code) @ np.linalg.inv(noisy) @ np.array(judged))


def test_feedback_scores_equal_a_plain_gaussian_process() -> None:
    codes = clustered_codes(40, 3)
    right, wrong = codes[:3], codes[3:7]
    expected = [plain_feedback(code, right, wrong) for code in codes]
    assert feedback_scores(codes, right, wrong) == pytest.approx(expected)


def test_scores_do_not_depend_on_how_many_tiles_are_scored_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = random_codes(50, 0)
    activations = np.random.default_rng(0).random((3, BITS))
    whole = feedback_scores(codes, codes[:2], codes[2:4])
    weighted = asymmetric_similarity(codes, activations)
    monkeypatch.setattr("geohash_rs.retrieval.ranking.AT_ONCE", 7)
    assert feedback_scores(codes, codes[:2], codes[2:4]) == pytest.approx(whole)
    assert asymmetric_similarity(codes, activations) == pytest.approx(weighted)


def test_asymmetric_similarity_is_the_weighted_share_of_equal_bits() -> None:
    codes = random_codes(30, 1)
    activations = np.random.default_rng(1).random((2, BITS))
    expected = []
    for code in codes:
        bits = [(byte >> shift) & 1 for byte in code.tolist() for shift in range(7, -1, -1)]
        shares = []
        for wanted in activations.tolist():
            equal = sum(
                abs(2 * a - 1) for a, bit in zip(wanted, bits, strict=True) if bit == (a > 0.5)
            )
            shares.append(equal / sum(abs(2 * a - 1) for a in wanted))
        expected.append(max(shares))
    assert asymmetric_similarity(codes, activations) == pytest.approx(expected)


def test_activations_without_any_certainty_score_all_tiles_the_same() -> None:
    assert np.ptp(asymmetric_similarity(random_codes(5, 2), np.full((1, BITS), 0.5))) == 0


@settings(max_examples=40, deadline=None)
@given(
    corners=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=30),
    most=st.none() | st.integers(1, 6),
)
def test_distinct_rows_equal_a_greedy_loop(
    corners: list[tuple[int, int]], most: int | None
) -> None:
    boxes = [shapely.box(x, y, x + 2, y + 2) for x, y in corners]
    taken: list[int] = []
    for row, (x, y) in enumerate(corners):
        near = any(abs(corners[t][0] - x) < 2 and abs(corners[t][1] - y) < 2 for t in taken)
        if not near and (most is None or len(taken) < most):
            taken.append(row)
    assert distinct_rows(np.array(boxes, dtype=object), most=most).tolist() == taken


def test_each_tile_is_compared_with_the_nearest_example(archive: Archive) -> None:
    codes = all_codes(archive)
    distances = hamming_distances(codes[[5, 80, 200]], codes).min(axis=0)
    expected = np.lexsort((np.arange(len(codes)), distances))[:30]
    matches = archive.query(tile=[5, 80, 200], k=30)
    assert matches["tile_id"].tolist() == expected.tolist()
    assert matches["distance"].tolist() == distances[expected].tolist()


@pytest.mark.parametrize("filters", [{}, {"time": ("2023-08-01", None)}, {"max_distance": 6}])
def test_the_order_with_negatives_equals_a_plain_loop(
    archive: Archive, filters: dict[str, object]
) -> None:
    codes = all_codes(archive)
    right, wrong = [5, 80], [17, 200]
    distances = hamming_distances(codes[right], codes).min(axis=0)
    scores = np.array([plain_feedback(code, codes[right], codes[wrong]) for code in codes])
    allowed = np.setdiff1d(np.arange(len(codes)), wrong)
    if "time" in filters:
        allowed = allowed[allowed >= SIDE * SIDE]
    if "max_distance" in filters:
        allowed = allowed[distances[allowed] <= 6]
    order = np.lexsort((allowed, distances[allowed], -np.round(scores[allowed], 9)))
    expected = allowed[order]
    matches = archive.query(tile=right, negatives=wrong, k=25, **filters)
    assert matches["similarity"].tolist() == pytest.approx(scores[expected[:25]].tolist())
    assert matches["similarity"].is_monotonic_decreasing
    assert matches["distance"].tolist() == distances[matches["tile_id"]].tolist()
    assert set(matches["tile_id"]) == set(expected[:25].tolist())
    everything = archive.query(tile=right, negatives=wrong, k=len(codes), **filters)
    assert sorted(everything["tile_id"]) == sorted(expected.tolist())


def test_more_candidates_are_reordered_than_matches_requested(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geohash_rs.retrieval.search.CANDIDATES", 12)
    codes = all_codes(archive)
    distances = hamming_distances(codes[[5]], codes)[0]
    nearest = np.lexsort((np.arange(len(codes)), distances))
    nearest = nearest[nearest != 17][:40]  # ten for each of four matches
    scores = np.array([plain_feedback(codes[t], codes[[5]], codes[[17]]) for t in nearest])
    matches = archive.query(tile=5, negatives=[17], k=4)
    assert matches["similarity"].tolist() == pytest.approx(np.sort(scores)[::-1][:4].tolist())


@pytest.mark.parametrize("negatives", [None, [100]])
@pytest.mark.parametrize("k", [1, 10, 36, 300])
def test_distinct_matches_equal_a_greedy_loop_over_the_whole_ranking(
    archive: Archive, k: int, negatives: list[int] | None
) -> None:
    everything = archive.query(tile=30, k=len(archive), negatives=negatives)
    taken: list[int] = []
    for row in range(len(everything)):
        if len(taken) < k and not any(overlap(everything, row, other) for other in taken):
            taken.append(row)
    matches = archive.query(tile=30, k=k, negatives=negatives, distinct=True)
    assert matches["tile_id"].tolist() == everything["tile_id"].iloc[taken].tolist()
    assert matches["rank"].tolist() == list(range(1, len(taken) + 1))
    columns = ["distance", "similarity", "scene"]
    assert (
        matches[columns].to_numpy().tolist() == everything[columns].iloc[taken].to_numpy().tolist()
    )


def test_distinct_holds_within_a_radius_too(archive: Archive) -> None:
    matches = archive.query(tile=30, k=None, max_distance=8, distinct=True)
    within = archive.query(tile=30, k=None, max_distance=8)
    assert 1 < len(matches) < len(within)
    pairs = [(a, b) for a in range(len(matches)) for b in range(a)]
    assert not any(overlap(matches, a, b) for a, b in pairs)


def test_overlap_with_any_of_several_examples_is_left_out(archive: Archive) -> None:
    examples = archive.tiles([5, 80])
    matches = archive.query(tile=[5, 80], k=len(archive), exclude_overlap=True)
    for _, example in examples.iterrows():
        near = (matches["col"] - example["col"]).abs() < 64
        assert not (near & ((matches["row"] - example["row"]).abs() < 64)).any()
    assert archive.query(tile=[5, 80], negatives=[7], k=300)["tile_id"].isin([5, 80]).sum() == 2


def test_asymmetric_ranking_orders_what_hamming_distance_finds(archive: Archive) -> None:
    codes = all_codes(archive)
    activations = np.random.default_rng(4).random((2, BITS)).astype(np.float32)
    query = Query(codes=pack_codes(activations), footprint=None, activations=activations)
    similarity = asymmetric_similarity(codes, activations)
    distances = hamming_distances(query.codes, codes).min(axis=0)
    expected = np.lexsort((np.arange(len(codes)), distances, -similarity))[:20]
    matches = retrieve(archive, query, limits=Limits(k=20), where=Where(), ranking="asymmetric")
    assert matches["tile_id"].tolist() == expected.tolist()
    assert matches["similarity"].tolist() == pytest.approx(similarity[expected].tolist())
    assert matches["distance"].tolist() == distances[expected].tolist()


def test_positive_and_negative_windows_of_one_file_are_allowed() -> None:
    code = random_codes(1, 0)
    parts = [Query(codes=code, footprint=None, source=f"a.tif, window {w},") for w in "12"]
    joined = join_queries(parts[:1], parts[1:])
    assert (len(joined.codes), joined.left_out) == (1, ())
    with pytest.raises(QueryError, match=r"a\.tif, window 1, is both a positive and a negative"):
        join_queries(parts[:1], parts[:1])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"negatives": [1, 2]}, QueryError, "has only 2 negative ones"),
        ({"tile": []}, QueryError, "needs a positive example, but has none"),
        (
            {"tile": [3, 4], "negatives": [4]},
            QueryError,
            "tile 4 is both a positive and a",
        ),
        ({"tile": [3, 999]}, TileNotFoundError, "no tile with id 999"),
        ({"tile": 3, "negatives": [999]}, TileNotFoundError, "no tile with id 999"),
        ({"tile": 3, "negatives": [4.5]}, QueryError, "tile id 4.5 is not a whole number"),
        ({"tile": "three"}, QueryError, "tile id 'three' is not a whole number"),
        ({"tile": 3, "ranking": "best"}, QueryError, "ranking is 'best'; use 'hamming'"),
        ({"tile": 3, "ranking": "asymmetric"}, QueryError, "search with patches or vectors only"),
        (
            {"tile": 3, "negatives": [4], "ranking": "asymmetric"},
            QueryError,
            "their own ranking",
        ),
        (
            {"tile": 3, "window": (0, 0, 8, 8)},
            QueryError,
            "needs one patch, but there are 0",
        ),
        (
            {"patch": ["a.tif", "b.tif"], "window": (0, 0, 8, 8)},
            QueryError,
            "needs one patch, but there are 2",
        ),
    ],
)
def test_invalid_examples_are_refused_with_the_reason(
    archive: Archive, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        archive.query(**arguments)


def test_examples_may_be_an_array_of_numpy(archive: Archive) -> None:
    several = archive.query(tile=np.array([5, 80]), negatives=np.array([7]), k=3)
    assert several["tile_id"].tolist() == (
        archive.query(tile=[5, 80], negatives=[7], k=3)["tile_id"].tolist()
    )
    assert archive.query(tile=np.int64(5), k=3)["tile_id"].iloc[0] == 5
