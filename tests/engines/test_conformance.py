"""Every implementation of `Searchable` gives the same answers as a plain loop over all tiles."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely

from geohash_rs.errors import (
    CodeLengthError,
    QueryError,
    RegionError,
    TileNotFoundError,
    TimeRangeError,
    VectorError,
)
from geohash_rs.retrieval.at_shapes import first_at
from geohash_rs.retrieval.each import retrieve_each
from geohash_rs.retrieval.query import query_of_point, query_of_tile
from geohash_rs.retrieval.search import retrieve
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.weights import BitWeights
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable
from tests.engines.random_archive import RandomArchive, make_archive, sizes_of

ENGINES = ["folder", "ray", "postgis", "storage"]
KINDS = {"three segments": (300, 5000, 700), "merged segments": (60,) * 20}


@pytest.fixture(scope="module", params=KINDS)
def truth(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> RandomArchive:
    sizes = KINDS[request.param]
    num_bits = 64 if len(sizes) < 10 else 24
    folder = tmp_path_factory.mktemp("archive") / "archive"
    return make_archive(folder, seed=len(sizes), sizes=sizes, num_bits=num_bits)


@pytest.fixture(scope="module", params=ENGINES)
def archive(request: pytest.FixtureRequest, truth: RandomArchive) -> Any:
    if request.param == "folder":
        with CodeStore.open(truth.folder, mode="r") as opened:
            yield opened
    elif request.param == "ray":
        request.getfixturevalue("ray_cluster")
        from geohash_rs.engines.ray import RayArchive

        with RayArchive.open(truth.folder, num_actors=2) as opened:
            yield opened
    elif request.param == "storage":
        pytest.importorskip("fsspec")
        from geohash_rs.engines.cloud import open_archive, push

        folder = request.getfixturevalue("tmp_path_factory").mktemp("storage")
        push(truth.folder, f"file://{folder}/archive")
        with open_archive(f"file://{folder}/archive", cache=folder / "cache") as opened:
            yield opened
    else:
        from geohash_rs.engines.postgis import PostGISArchive, publish

        dsn = request.getfixturevalue("postgis")
        table = f"conformance_{len(truth.tiles)}"
        publish(CodeStore.open(truth.folder), dsn, table=table)
        with PostGISArchive.open(dsn, table=table) as opened:
            yield opened


CIRCLE = shapely.Point(10.5, 50.4).buffer(0.37)
CASES: dict[str, dict[str, Any]] = {
    "the nearest": {},
    "one": {"k": 1},
    "more than there are": {"k": 100_000},
    "a radius": {"k": None, "max_distance": 9},
    "a radius that nothing meets": {"k": None, "max_distance": 0},
    "k within a radius": {"k": 7, "max_distance": 12},
    "a box": {"region": (10.0, 50.0, 10.35, 50.45)},
    "a box whose edge tiles touch": {"region": (10.1, 50.1, 10.1, 50.3), "k": 500},
    "a box across the antimeridian": {"region": (179.9, -17.0, -179.9, -15.0), "k": 300},
    "inside a box across the antimeridian": {
        "region": (179.9, -17.0, -179.5, -15.0),
        "within": True,
        "k": 300,
    },
    "the whole globe": {"region": (-180, -90, 180, 90), "k": 50},
    "a circle": {"region": CIRCLE, "k": 300},
    "inside a circle": {"region": CIRCLE, "within": True, "k": 300},
    "a point": {"region": shapely.Point(10.15, 50.15), "k": 300},
    "a range of time": {"time": ("2023-01-01", "2023-03-31")},
    "since": {"time": ("2024-01-01", None)},
    "until, to the microsecond": {"time": (None, "2022-06-20T10:30:00.123456")},
    "any time": {"time": (None, None), "k": 5000},
    "before all": {"time": (None, "1066")},
    "labels": {"labels": ['it\'s "odd", \n; DROP TABLE x; --', ""]},
    "scenes": {"scenes": ["/data/sc'en\"e, 0_0.tif", "/data/sc'en\"e, 0_1.tif", "none"]},
    "no scene": {"scenes": []},
    "one tile size": {"tile_size": 64},
    "some tile sizes": {"tile_size": [100, 128, 90, 10**12], "k": 500},
    "no tile size": {"tile_size": []},
    "not over a region": {"exclude_region": (9.0, 49.0, 11.25, 51.0)},
    "not some": {"exclude_ids": [0, 1, 2, 3, 4, 5, 10**12]},
    "everything at once": {
        "region": (-61.0, -20.0, 12.0, 51.0),
        "time": ("2022-07-01", "2023-12-31"),
        "labels": ["field", "forest"],
        "tile_size": (64, 100, 128),
        "exclude_region": CIRCLE,
        "exclude_ids": range(200),
        "max_distance": 40,
        "k": 33,
    },
}


def queries_for(truth: RandomArchive) -> np.ndarray:
    """Return a code near many tiles, one near none, and one of a tile."""
    far = np.full(truth.codes.shape[1], 0b01010101, np.uint8)
    return np.stack([truth.codes[7] ^ 1, far, truth.codes[-3]])


@pytest.mark.parametrize("case", CASES)
def test_search_equals_a_plain_loop(archive: Searchable, truth: RandomArchive, case: str) -> None:
    queries = queries_for(truth)
    found = archive.search(queries, **CASES[case])
    assert (found.ids.dtype, found.distances.dtype) == (np.int64, np.int32)
    expected = [truth.loop(query, **CASES[case]) for query in queries]
    assert found.ids.shape == (3, max(map(len, expected)))
    for ids, distances, pairs in zip(found.ids, found.distances, expected, strict=True):
        real = ids >= 0
        assert list(zip(distances[real], ids[real], strict=True)) == pairs
        assert not real[len(pairs) :].any()
        assert (distances[~real] == -1).all()


def weights_for(truth: RandomArchive, kind: str) -> np.ndarray:
    """Return one weight per bit."""
    num_bits = truth.codes.shape[1] * 8
    if kind == "the heaviest":
        weights = np.random.default_rng(num_bits).exponential(size=num_bits) ** 3
        weights[[1, -1]] = 0
        weights = (weights / weights.sum() * 65_000).astype(int)
        weights[0] += 65_535 - weights.sum()
    else:
        weights = {"one bit": np.arange(num_bits) == 3, "none": np.zeros(num_bits)}[kind]
    return weights.astype(np.uint16)


def cost_limit(distance: int, weights: np.ndarray) -> int:
    """Return a cost that limits a search about as much as a distance."""
    return int(np.sort(weights)[-distance:].sum() // 2) if distance else 0


@pytest.mark.parametrize("kind", ["the heaviest", "one bit", "none"])
@pytest.mark.parametrize("case", CASES)
def test_a_search_by_weights_equals_a_plain_loop(
    archive: Searchable, truth: RandomArchive, case: str, kind: str
) -> None:
    weights, code = weights_for(truth, kind), queries_for(truth)[0]
    options = dict(CASES[case])
    if "max_distance" in options:
        options["max_distance"] = cost_limit(options["max_distance"], weights)
    expected = truth.loop(code, weights=weights, **options)
    limits = Limits(k=options.pop("k", 20), max_distance=options.pop("max_distance", None))
    asked = BitWeights(code=code, weights=weights)
    found = archive.find(asked, limits=limits, where=Where.parse(**options))
    assert (found.ids.dtype, found.distances.dtype) == (np.int64, np.int32)
    assert list(zip(found.distances[0], found.ids[0], strict=True)) == expected


def test_weights_of_one_are_the_distance(archive: Searchable, truth: RandomArchive) -> None:
    code = truth.codes[9]
    ones = BitWeights(code=code, weights=np.ones(8 * len(code), np.uint16))
    found = archive.find(ones, limits=Limits(k=300), where=Where())
    expected = archive.search(code[None], k=300)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_weights_of_another_length_are_refused(archive: Searchable, truth: RandomArchive) -> None:
    bits = truth.codes.shape[1] * 8
    short = BitWeights(code=np.zeros(2, np.uint8), weights=np.ones(16, np.uint16))
    with pytest.raises(CodeLengthError, match=rf"for 16 bits, but the codes of .* have {bits}"):
        archive.find(short, limits=Limits(k=3), where=Where())


@pytest.mark.parametrize("count", [1, 50, 1000, 10**6, 2**70])
def test_a_sample_is_the_same_everywhere(
    archive: Searchable, truth: RandomArchive, count: int
) -> None:
    every = truth.tiles["tile_id"].tolist()
    chosen = sorted(every, key=lambda one: (one % 2147483647 * 742938285 % 2147483647, one))
    expected = sorted(chosen[:count])
    ids, codes = archive.sample(count)
    assert (ids.dtype, codes.dtype) == (np.int64, np.uint8)
    assert ids.tolist() == expected
    np.testing.assert_array_equal(codes, truth.codes[np.isin(every, expected)])


def test_a_sample_of_nothing_is_refused(archive: Searchable) -> None:
    with pytest.raises(QueryError, match="count is 0"):
        archive.sample(0)


def test_the_cases_find_some_tiles_and_leave_out_others(truth: RandomArchive) -> None:
    query = queries_for(truth)[0]
    found = {name: len(truth.loop(query, **{**case, "k": None})) for name, case in CASES.items()}
    nothing = {"a radius that nothing meets", "before all", "no scene", "no tile size"}
    assert all((found[name] == 0) == (name in nothing) for name in found), found
    everything = {"the nearest", "one", "more than there are"}
    assert all(found[name] == len(truth.tiles) for name in everything), found
    assert all(found[n] < len(truth.tiles) for n in set(found) - everything), found


FILTERS = {
    name: {key: value for key, value in case.items() if key not in ("k", "max_distance")}
    for name, case in CASES.items()
}


@pytest.mark.parametrize("case", [name for name, filters in FILTERS.items() if filters])
def test_a_table_has_the_tiles_that_pass_the_filters(
    archive: Searchable, truth: RandomArchive, case: str
) -> None:
    expected = truth.loop(truth.codes[0], k=None, **FILTERS[case])
    found = archive.to_table(["tile_id", "code"], **FILTERS[case]).reader().read_all()
    assert sorted(found["tile_id"].to_pylist()) == sorted(tile for _, tile in expected)
    codes = dict(zip(truth.tiles["tile_id"], map(bytes, truth.codes), strict=True))
    for tile, code in zip(found["tile_id"].to_pylist(), found["code"].to_pylist(), strict=True):
        assert code == codes[tile]


def test_a_table_has_all_that_was_added(archive: Searchable, truth: RandomArchive) -> None:
    table = archive.to_table()
    frame = table.to_geopandas().sort_values("tile_id", ignore_index=True)
    assert [len(pa.table(table)), len(frame)] == [len(truth.tiles)] * 2
    assert frame["code"].tolist() == list(map(bytes, truth.codes))
    assert frame["tile_size"].tolist() == sizes_of(truth.tiles).tolist()
    expected = archive.tiles(truth.tiles["tile_id"].to_numpy())
    assert {*frame.columns} == {*expected.columns, "code"}
    for name in expected.columns:
        assert frame[name].equals(expected[name]), name


def test_a_table_of_a_column_that_does_not_exist_is_refused(archive: Searchable) -> None:
    with pytest.raises(QueryError, match=r"columns is \['colour'\]"):
        archive.to_table(["colour"])
    with pytest.raises(QueryError, match="labels is the string"):
        archive.to_table(labels="farm")


def test_an_archive_without_vectors_says_so(archive: Searchable) -> None:
    with pytest.raises(VectorError, match=r"(keeps|holds) no vectors"):
        archive.vectors([0])


def test_no_queries_return_no_results(archive: Searchable, truth: RandomArchive) -> None:
    found = archive.search(truth.codes[:0])
    assert found.ids.shape == (0, 0)


def test_tiles_are_the_rows_that_were_added(archive: Searchable, truth: RandomArchive) -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(truth.tiles), 40)
    expected = truth.tiles.iloc[rows].reset_index(drop=True)
    frame = archive.tiles(expected["tile_id"].to_numpy())
    assert frame.crs == "EPSG:4326"
    names = ["tile_id", "scene", "col", "row", "width", "height", "datetime", "geometry"]
    optional = ("datetime_end", "label", "tile_size", "source")
    assert [name for name in frame.columns if name not in optional] == names
    assert frame["tile_size"].tolist() == sizes_of(expected).tolist()
    for name in ("tile_id", "scene", "col", "row", "width", "height"):
        assert frame[name].tolist() == expected[name].tolist(), name
    for name in ("datetime", "datetime_end"):
        assert frame[name].dtype == "datetime64[us, UTC]"
        given = expected[name].dt.as_unit("us")
        assert frame[name].equals(given.astype("datetime64[us, UTC]")), name
    for name in ("label", "source"):
        given, got = expected[name], frame[name]
        assert got.isna().tolist() == given.isna().tolist()
        assert got.dropna().tolist() == given.dropna().tolist()
    mine, theirs = frame.geometry.to_numpy(), expected.geometry.to_numpy()
    assert shapely.equals_identical(mine, theirs).sum() == (~shapely.is_missing(theirs)).sum()
    assert (shapely.is_missing(mine) == shapely.is_missing(theirs)).all()


def test_codes_and_counts_are_those_that_were_added(
    archive: Searchable, truth: RandomArchive
) -> None:
    assert len(archive) == len(truth.tiles)
    assert archive.num_bits == truth.codes.shape[1] * 8
    ids = truth.tiles["tile_id"].to_numpy()
    np.testing.assert_array_equal(archive.codes(ids[::-1]), truth.codes[::-1])
    assert archive.codes([]).shape == (0, truth.codes.shape[1])
    assert len(archive.tiles([])) == 0


def test_scenes_are_listed_in_the_order_they_were_added(
    archive: Searchable, truth: RandomArchive
) -> None:
    embedded = CodeStore.open(truth.folder, mode="r").scenes()
    assert archive.scenes() == embedded
    assert len(embedded) > 1


def test_a_removed_tile_is_not_found(archive: Searchable, truth: RandomArchive) -> None:
    live = set(truth.tiles["tile_id"])
    gone = next(number for number in range(10_000) if number not in live)
    for method in (archive.tiles, archive.codes):
        with pytest.raises(TileNotFoundError, match=f"no tile with id {gone}"):
            method([min(live), gone])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, QueryError, "k is 0"),
        ({"max_distance": -1}, QueryError, "max_distance is -1"),
        ({"k": None}, QueryError, "pass one of them"),
        ({"num_threads": 0}, QueryError, "num_threads is 0"),
        ({"scenes": "one.tif"}, QueryError, "scenes is the string 'one.tif'"),
        ({"labels": "farm"}, QueryError, "labels is the string 'farm'"),
        ({"tile_size": 0}, QueryError, "tile_size is 0, but it must be a whole number"),
        ({"region": (1, 2, 3)}, RegionError, "four numbers"),
        ({"region": shapely.Polygon()}, RegionError, "empty Polygon"),
        ({"exclude_region": (0, 95, 1, 96)}, RegionError, "outside longitude"),
        ({"time": ("2023", "2022")}, TimeRangeError, "ends before it starts"),
    ],
)
def test_bad_input_is_refused(
    archive: Searchable,
    truth: RandomArchive,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        archive.search(truth.codes[:1], **options)


def test_codes_of_another_length_are_refused(archive: Searchable, truth: RandomArchive) -> None:
    bits = truth.codes.shape[1] * 8
    with pytest.raises(CodeLengthError, match=f"have 8 bits but the archive was made with {bits}"):
        archive.search(truth.codes[:1, :1])
    with pytest.raises(CodeLengthError, match="must be uint8"):
        archive.search(truth.codes[0])


def test_no_queries_with_a_radius_return_no_results(
    archive: Searchable, truth: RandomArchive
) -> None:
    found = archive.search(truth.codes[:0], k=None, max_distance=9)
    assert found.ids.shape == found.distances.shape == (0, 0)


def test_a_query_finds_the_same_matches_everywhere(
    archive: Searchable, truth: RandomArchive
) -> None:
    embedded = CodeStore.open(truth.folder, mode="r")
    tile = int(truth.tiles["tile_id"].iloc[5])
    where = Where.parse(region=(-20, -20, 180, 60))
    for query in (query_of_tile, query_of_point):
        what: Any = tile if query is query_of_tile else (10.25, 50.25)
        mine, theirs = (
            retrieve(one, query(one, what), limits=Limits(k=30), where=where, exclude_overlap=True)
            for one in (archive, embedded)
        )
        assert len(theirs) == 30
        assert mine.columns.tolist() == theirs.columns.tolist()
        assert mine.equals(theirs)


def test_many_queries_have_the_matches_of_single_ones_everywhere(
    archive: Searchable, truth: RandomArchive
) -> None:
    embedded = CodeStore.open(truth.folder, mode="r")
    tiles = truth.tiles[truth.tiles["tile_id"] % 40 == 0]
    queries = [query_of_tile(archive, tile) for tile in tiles["tile_id"].tolist()]
    names = pd.Series(np.arange(len(queries)))
    limits, where = Limits(k=7), Where.parse(region=(-20, -20, 180, 60))
    found, owners = retrieve_each(archive, queries, names, limits=limits, where=where)
    for number, query in enumerate(queries):
        mine = found[owners == number].drop(columns="query").reset_index(drop=True)
        single = retrieve(embedded, query, limits=limits, where=where)
        assert mine["tile_id"].tolist() == single["tile_id"].tolist()
        assert mine["distance"].tolist() == single["distance"].tolist()
    places = shapely.point_on_surface(truth.tiles.geometry.dropna().to_numpy()[::60])
    assert first_at(archive, places, where=Where()).tolist() == (
        first_at(embedded, places, where=Where()).tolist()
    )
