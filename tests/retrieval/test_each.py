"""Many queries at once, compared with a loop of single ones."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from pandas.testing import assert_frame_equal
from shapely.geometry.base import BaseGeometry

from geohash_rs import Archive, Hasher, Matches, Scenes
from geohash_rs.errors import GeoHashRSWarning, QueryError, RegionError, UnansweredError
from geohash_rs.retrieval import at_shapes, each, search
from geohash_rs.retrieval.query import query_of_point
from geohash_rs.store.search.filters import parse_region
from geohash_rs.store.search.where import Where
from geohash_rs.store.snapshot import Snapshot
from tests.ground import TILE, mosaic

DATES = ["2019-05-01", "2021-06-01", "2023-07-01"]
SIDE = 0.1  # degrees


def grid(date: int, *, size: int = 64, shift: float = 0.0) -> gpd.GeoDataFrame:
    """Lay 12 x 8 tiles of one date out from longitude 10 and latitude 50."""
    step = SIDE * size / 64
    row, col = np.divmod(np.arange(96 if size == 64 else 24), 12 if size == 64 else 6)
    west, south = 10 + shift + col * step, 50 + row * step
    return gpd.GeoDataFrame(
        {
            "scene": f"/scenes/{size}_{date}.tif",
            "col": col * size,
            "row": row * size,
            "width": size,
            "height": size,
            "datetime": pd.Timestamp(DATES[date], tz="UTC"),
            "label": np.where(col % 2, "odd", "even"),
        },
        geometry=shapely.box(west, south, west + step, south + step),
        crs=4326,
    )


def archive_of(folder: Path, tiles: gpd.GeoDataFrame, *, kinds: int = 40) -> Archive:
    """Make an archive of tiles with codes near those of a few kinds."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 256, (kinds, 8), dtype=np.uint8)[rng.integers(0, kinds, len(tiles))]
    codes[:, 0] ^= rng.integers(0, 4, len(tiles), dtype=np.uint8)
    made = Archive.create(folder / "archive", num_bits=64)
    made.add_codes(codes, tiles)
    return made


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Return 96 tiles of 64 px on each of three dates, the last shifted, and 24 of 128 px."""
    tiles = [grid(0), grid(1), grid(2, shift=SIDE / 3), grid(2, size=128)]
    frame = pd.concat(tiles, ignore_index=True).sample(frac=1, random_state=5)
    return archive_of(tmp_path_factory.mktemp("dated"), frame.reset_index(drop=True))


def test_swapped_coordinates_of_a_layer_are_noticed(dated: Archive) -> None:
    places = [shapely.Point(10.55, 50.35), shapely.Point(50.35, 10.55), shapely.Point(47, -99)]
    places += [shapely.Point(5, 5), shapely.box(50.3, 10.5, 50.5, 10.7)]
    with pytest.warns(GeoHashRSWarning) as told:
        dated.query_each(gpd.GeoSeries(places, crs=4326), k=1)
    said = next(str(one.message) for one in told if one.category is GeoHashRSWarning)
    assert (
        "2, 5: no tile of the archive lies there, but latitude and longitude seem swapped" in said
    )
    assert "3: it lies outside the reach of WGS 84; x is the longitude; latitude and" in said
    assert said.endswith("; 4: no tile of the archive lies there.")


def points(count: int, seed: int = 0) -> gpd.GeoDataFrame:
    """Draw points in the archive, some twice, in UTM and with a height."""
    rng = np.random.default_rng(seed)
    places = rng.uniform([10, 50], [11.2, 50.8], (count, 2))
    places[count // 2] = places[0]
    shapes = shapely.points(np.column_stack([places, np.full(count, 7.0)]))
    ids = [f"p{n}" for n in rng.permutation(count)]
    return gpd.GeoDataFrame({"name": ids}, geometry=shapes, crs=4326).to_crs(32632)


def lonlat(frame: gpd.GeoDataFrame) -> list[BaseGeometry]:
    return list(shapely.force_2d(frame.to_crs(4326).geometry.to_numpy()))


def assert_same(found: Matches, names: list[object], singles: list[Matches]) -> None:
    """Compare the matches of many queries with those of each."""
    single = [one.assign(query=name) for name, one in zip(names, singles, strict=True)]
    expected = pd.DataFrame(pd.concat(single, ignore_index=True))
    columns = ["query", *expected.columns.drop("query")]
    assert list(found.columns) == columns
    assert_frame_equal(pd.DataFrame(found), expected[columns], check_dtype=False)


OPTIONS = [
    {},
    {"k": 3},
    {"k": None, "max_distance": 4},
    {"k": 200, "distinct": True},
    {"k": 2, "distinct": True},
    {"k": 4, "exclude_overlap": True},
    {"k": 30, "exclude_overlap": True, "distinct": True},
    {"time": ("2019", "2021")},
    {"tile_size": 128, "region": (10.2, 50.1, 10.9, 50.6), "within": True},
    {"labels": ["odd"], "scenes": ["/scenes/64_0.tif"], "k": 5, "crs": "EPSG:3857"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_points_have_the_matches_of_single_queries(dated: Archive, options: dict) -> None:
    frame = points(25)
    inside = {"labels": ["even", "odd"]} if "labels" not in options else {}
    asked = {**inside, **options}
    singles, names = [], []
    for name, place in zip(frame["name"], lonlat(frame), strict=True):
        with contextlib.suppress(QueryError):  # no tile of this label lies there
            singles.append(dated.query(point=(place.x, place.y), **asked))
            names.append(name)
    assert 8 < len(names) <= 25
    with expecting(left_out=len(frame) - len(names)):
        found = dated.query_each(frame, id_column="name", **asked)
    assert_same(found, names, singles)
    examples = pd.concat([one.examples for one in singles], ignore_index=True)
    assert found.examples["tile_id"].tolist() == examples["tile_id"].tolist()
    assert found.examples["query"].tolist() == names
    assert found.examples["example"].str.match(r"tile \d+ at 1\d\.").all()


@contextlib.contextmanager
def expecting(*, left_out: int) -> Iterator[None]:
    if not left_out:
        yield
        return
    with pytest.warns(GeoHashRSWarning, match=f"^{left_out} of .* are left out"):
        yield


def test_a_search_that_must_go_deeper_for_one_query_returns_the_same(
    dated: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeper = []

    def counting(*args: object, **options: object) -> object:
        deeper.append(args)
        return best(*args, **options)

    best = each.best
    monkeypatch.setattr(each, "best", counting)
    monkeypatch.setattr(each, "DEEPER", 1)
    monkeypatch.setattr(search, "DEEPER", 2)
    frame = points(12, seed=4)
    options = {"k": 9, "distinct": True, "exclude_overlap": True}
    found = dated.query_each(frame, id_column="name", **options)
    assert 0 < len(deeper) <= 12
    singles = [dated.query(point=(p.x, p.y), **options) for p in lonlat(frame)]
    assert_same(found, list(frame["name"]), singles)


def polygons() -> gpd.GeoDataFrame:
    """Return polygons of many sizes: on several tiles, in one, on the edge, outside, in parts."""
    shapes = [
        shapely.box(10.05, 50.02, 10.42, 50.31),
        shapely.Point(10.512, 50.433).buffer(0.004),
        shapely.box(9.9, 49.9, 10.04, 50.04),
        shapely.box(3, 3, 4, 4),
        shapely.MultiPolygon(
            [shapely.box(10, 50, 10.2, 50.1), shapely.box(11.01, 50.52, 11.3, 50.71)]
        ),
        shapely.Polygon([(10.3, 50.2), (10.93, 50.31), (10.6, 50.76)]),
        shapely.box(10, 50, 11.3, 50.8),
    ]
    return gpd.GeoDataFrame({"parcel": range(70, 77)}, geometry=shapes, crs=4326)


def seen(archive: Archive, polygon: BaseGeometry, where: Where) -> list[int]:
    """List the tiles that are seen in a polygon, by a plain loop."""

    def at(place: BaseGeometry) -> int | None:
        with contextlib.suppress(QueryError):
            return query_of_point(archive, (place.x, place.y), where=where).source
        return None

    tiles = archive.tiles(range(len(archive)))
    centres = {row.tile_id: row.geometry.centroid for row in tiles.itertuples()}
    inside = [t for t, c in centres.items() if polygon.intersects(c) and at(c) == t]
    ground = shapely.box(10, 50, 11.2, 50.8)
    return inside or [at(polygon.intersection(ground).representative_point())]


@pytest.mark.parametrize("options", [{}, {"time": ("2019", "2021")}, {"tile_size": 128, "k": 4}])
def test_a_polygon_stands_for_the_tiles_that_are_seen_in_it(dated: Archive, options: dict) -> None:
    frame = polygons()
    where = Where.parse(**{name: options[name] for name in options if name != "k"})
    meant = {
        row.parcel: seen(dated, row.geometry, where)
        for row in frame.itertuples()
        if row.parcel != 73
    }
    assert all(meant.values())
    assert len(meant[75]) > (1 if "tile_size" in options else 4)
    with pytest.warns(GeoHashRSWarning, match=r"1 of 7 .*: 73: no tile of the archive lies there"):
        found = dated.query_each(frame.to_crs(3035), id_column="parcel", **options)
    tiles = found.examples.groupby("query", sort=False)["tile_id"].agg(lambda ids: sorted(ids))
    assert tiles.to_dict() == {name: sorted(ids) for name, ids in meant.items()}
    assert_same(found, list(meant), [dated.query(tile=ids, **options) for ids in meant.values()])


def test_polygons_looked_up_a_few_at_a_time_mean_the_same(
    dated: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = polygons().drop(index=3).reset_index(drop=True)
    together = dated.query_each(frame)
    monkeypatch.setattr(at_shapes, "MOST_TILES", 150)
    with pytest.warns(GeoHashRSWarning, match=r"1 of 6 .*: 6: it holds more than .* tiles"):
        apart = dated.query_each(frame)
    pd.testing.assert_frame_equal(
        pd.DataFrame(together[together["query"] != 6]), pd.DataFrame(apart)
    )


def test_the_union_is_one_query_that_names_the_nearest(dated: Archive) -> None:
    frame = points(9, seed=2)
    found = dated.query_each(frame, id_column="name", union=True, k=15)
    tiles = found.examples["tile_id"].tolist()
    single = dated.query(tile=list(dict.fromkeys(tiles)), k=15)
    assert_frame_equal(pd.DataFrame(found.drop(columns="query")), pd.DataFrame(single))
    distances = np.array([dated.query(tile=t, k=312)["distance"] for t in tiles])
    order = [dated.query(tile=t, k=312)["tile_id"].tolist() for t in tiles]
    for row in found.itertuples():
        far = [distances[n][order[n].index(row.tile_id)] for n in range(len(tiles))]
        assert row.query == frame["name"].iloc[int(np.argmin(far))]


def test_precision_is_promised_for_queries_of_one_tile(dated: Archive) -> None:
    archive = Archive.open(dated.path, mode="r")
    promise = SimpleNamespace(precision_of=lambda bits: 1 - bits / 64, limit=lambda _: 3)
    archive.calibration = SimpleNamespace(promise=promise, check=lambda _: None)
    frame = points(4, seed=6)
    names = list(frame["name"])
    for options in ({}, {"precision": 0.9, "k": None}, {"tile_size": 64}):
        singles = [archive.query(point=(p.x, p.y), **options) for p in lonlat(frame)]
        assert_same(archive.query_each(frame, id_column="name", **options), names, singles)
    areas = polygons().iloc[[0, 1]]
    promised = (
        archive.query_each(areas).groupby("query")["precision"].agg(lambda p: p.notna().all())
    )
    assert promised.to_dict() == {1: False, 2: True}
    with pytest.warns(GeoHashRSWarning, match="1 of 2 .*: 1: a precision is promised for one tile"):
        found = archive.query_each(areas, precision=0.9)
    assert set(found["query"]) == {2}
    with pytest.raises(QueryError, match="a precision is promised for one tile"):
        archive.query_each(frame, precision=0.9, union=True)


def test_bad_rows_are_named_and_lose_no_others(dated: Archive) -> None:
    good = shapely.Point(10.55, 50.35)
    shapes = [
        good,
        None,
        shapely.Point(),
        shapely.Point(np.nan, 50),
        shapely.LineString([(10, 50), (11, 50.5)]),
        shapely.MultiPoint([(10.1, 50.1), (10.2, 50.2)]),
        shapely.MultiPoint([(10.1, 50.1)]),
        shapely.Polygon([(10, 50), (11, 51), (11, 50), (10, 51)]),
        shapely.Point(50.35, 110.55),  # swapped
        shapely.Point(10.55 - 360, 50.35),
        shapely.box(0, 80, 1, 95),
        shapely.Point(20, 20),
    ]
    frame = gpd.GeoDataFrame(geometry=shapes, crs=4326)
    with pytest.warns(GeoHashRSWarning) as heard:
        found = dated.query_each(frame, k=2)
    (said,) = [str(one.message) for one in heard]
    assert said.startswith("9 of 12 queries of the table of queries are left out: 2, 3: it has no")
    assert "4: its coordinates are not all finite numbers; 5: it is a LineString" in said
    assert said.endswith("; 5 more reasons.")
    assert found["query"].tolist() == [1, 1, 7, 7, 10, 10]
    one = found[found["query"] == 1].drop(columns="query").reset_index(drop=True)
    assert one.equals(found[found["query"] == 10].drop(columns="query").reset_index(drop=True))
    for row, reason in (
        (5, "it is a MultiPoint, but .* split it into single points"),
        (7, "it is not a valid polygon .*Self-intersection"),
        (8, "it lies outside .* x is the longitude"),
        (10, "it cannot be placed: has bounds .* outside"),
        (11, "no tile of the archive lies there"),
    ):
        with pytest.raises(UnansweredError, match=f"all queries .* are left out: 1: {reason}"):
            dated.query_each(frame.iloc[[row]])


def test_limits_that_no_tile_passes_are_told_from_empty_ground(dated: Archive) -> None:
    frame = gpd.GeoDataFrame(geometry=gpd.points_from_xy([10.01, 10.55, 30], [50.01, 50.35, 3]))
    frame = frame.set_crs(4326)
    with pytest.warns(GeoHashRSWarning, match="2 of 3 .*: 1: the tiles there do not pass .* 3: no"):
        found = dated.query_each(frame, scenes=["/scenes/64_2.tif"], k=1)
    assert found["query"].tolist() == [2]


def test_limits_are_the_reason_wherever_tiles_meet_a_polygon(dated: Archive) -> None:
    reaching = shapely.box(2, 49, 10.05, 50.05)  # its middle is far from every tile
    parts = shapely.MultiPolygon([shapely.box(3, 3, 4, 4), shapely.box(10.4, 50.4, 10.5, 50.5)])
    frame = gpd.GeoSeries([reaching, parts, shapely.box(3, 3, 4, 4)], crs=4326)
    with pytest.raises(UnansweredError, match="1, 2: the tiles there do not pass .* 3: no tile"):
        dated.query_each(frame, time=("2030", "2031"))


def test_the_codes_of_one_polygon_are_searched_in_parts(
    dated: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, options = polygons().iloc[[0, 6]], {"k": None, "max_distance": 12}
    expected = dated.query_each(frame, **options)
    pairs = []

    def counting(self: Snapshot, codes: np.ndarray, **given: object) -> object:
        pairs.append(len(codes) * (given["limits"].k or len(self)))
        return find(self, codes, **given)

    find = Snapshot.find
    monkeypatch.setattr(Snapshot, "find", counting)
    for module in (each, search):
        monkeypatch.setattr(module, "AT_ONCE", 2000)
    found = dated.query_each(frame, **options)
    assert found.examples["query"].value_counts().to_dict() == {1: 12, 2: 96}
    assert max(pairs) <= 2000
    assert_frame_equal(pd.DataFrame(found), pd.DataFrame(expected))


def test_a_layer_is_read_from_a_file_in_any_format(dated: Archive, tmp_path: Path) -> None:
    frame = points(6).assign(number=[3, 1, 2, 9, 8, 7])
    expected = dated.query_each(frame, k=2, id_column="number")
    assert expected["query"].tolist() == [3, 3, 1, 1, 2, 2, 9, 9, 8, 8, 7, 7]
    for name in ("a.gpkg", "a.shp", "a.fgb"):
        frame.to_file(tmp_path / name)
    frame.to_crs(4326).to_file(tmp_path / "a.geojson")
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_file(tmp_path / "two.gpkg", layer="points")
    polygons().to_file(tmp_path / "two.gpkg", layer="parcels")
    for name in ("a.gpkg", "a.shp", "a.fgb", "a.geojson", "a.parquet"):
        found = dated.query_each(tmp_path / name, k=2, id_column="number")
        assert found.sort_values(["query", "rank"])["tile_id"].tolist() == (
            expected.sort_values(["query", "rank"])["tile_id"].tolist()
        )
    found = dated.query_each(str(tmp_path / "two.gpkg"), layer="points", k=2)
    assert found["query"].tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    with pytest.raises(RegionError, match=r"2 layers \(points, parcels\)"):
        dated.query_each(tmp_path / "two.gpkg")
    with pytest.raises(RegionError, match="cannot be read as a layer of queries"):
        dated.query_each(tmp_path / "none.gpkg")


def test_a_layer_without_crs_is_taken_as_longitude_and_latitude(dated: Archive) -> None:
    frame = points(5).to_crs(4326)
    with pytest.warns(GeoHashRSWarning, match="has no CRS"):
        found = dated.query_each(gpd.GeoSeries(frame.geometry.to_numpy()), k=1)
    assert found["tile_id"].tolist() == dated.query_each(frame, k=1)["tile_id"].tolist()


def test_ids_that_name_two_rows_or_none_are_refused(dated: Archive) -> None:
    frame = points(5).assign(number=[1.0, 2.0, np.nan, 4.0, 5.0], kind=list("aabbc"))
    with pytest.raises(QueryError, match="'kind' of the table of queries holds a, b more than"):
        dated.query_each(frame, id_column="kind")
    with pytest.raises(QueryError, match="no column 'id' of ids; it has name, number, kind"):
        dated.query_each(frame, id_column="id")
    with pytest.warns(GeoHashRSWarning, match="1 of 5 .*: row 3: it has no id"):
        found = dated.query_each(frame, id_column="number", k=1)
    assert [str(one) for one in found["query"]] == ["1", "2", "4", "5"]
    with pytest.raises(UnansweredError, match="the table of queries is empty"):
        dated.query_each(frame.head(0))
    with pytest.raises(QueryError, match="bands is for patches"):
        dated.query_each(frame, bands=[1])


def test_too_many_matches_are_refused_before_memory_is_full(
    dated: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(each, "MOST_MATCHES", 100)
    monkeypatch.setattr(each, "MOST_CODES", 4)
    with pytest.raises(QueryError, match="8 of 20 queries have 160 matches, but .* at most 100"):
        dated.query_each(points(20))


@pytest.mark.parametrize("zone", [32660, 3832, 4326])
def test_points_and_polygons_across_180_degrees_find_the_tiles_there(
    tmp_path: Path, zone: int
) -> None:
    west = np.arange(178.3, 182, 0.5)
    boxes = [shapely.box(x, 10, x + 0.5, 10.5) for x in west]
    shapes = [parse_region(box).geometry for box in boxes]
    assert [shape.geom_type for shape in shapes].count("MultiPolygon") == 1
    numbers = {"scene": "a.tif", "col": range(8)}
    tiles = gpd.GeoDataFrame(numbers, geometry=shapes, crs=4326)
    archive = archive_of(tmp_path, tiles, kinds=8)
    places = gpd.GeoSeries([*shapely.points(west + 0.2, 10.2), shapely.box(178.9, 10, 180.9, 10.4)])
    frame = gpd.GeoDataFrame(geometry=places, crs=4326)
    frame = frame if zone == 4326 else frame.to_crs(zone)
    found = archive.query_each(frame, k=1)
    cols = archive.tiles(range(8)).set_index("tile_id")["col"]
    asked = found.examples["tile_id"].map(cols).groupby(found.examples["query"]).agg(sorted)
    assert asked.to_dict() == {**{n: [n - 1] for n in range(1, 9)}, 9: [1, 2, 3, 4]}


def test_points_near_a_pole_find_the_tiles_there(tmp_path: Path) -> None:
    side = 50_000
    x, y = np.meshgrid(np.arange(-4.3, 3.7) * side, np.arange(-4.3, 3.7) * side)
    cells = shapely.box(x, y, x + side, y + side).ravel()
    tiles = gpd.GeoDataFrame({"scene": "a.tif", "col": range(64)}, geometry=cells, crs=3413)
    archive = archive_of(tmp_path, tiles, kinds=64)
    centres = gpd.GeoDataFrame(geometry=shapely.centroid(cells), crs=3413)
    found = archive.query_each(centres, k=1)
    cols = archive.tiles(range(64)).set_index("tile_id")["col"]
    assert cols[found.examples["tile_id"]].tolist() == list(range(64))


def test_ten_thousand_points_are_answered_together(dated: Archive) -> None:
    frame = points(10_000)
    found = dated.query_each(frame, id_column="name", k=2)
    assert len(found) == 20_000
    assert found["rank"].tolist() == [1, 2] * 10_000
    assert found["query"].drop_duplicates().tolist() == frame["name"].tolist()
    assert (found["distance"].to_numpy()[::2] == 0).all()


@pytest.fixture(scope="module")
def hashed(
    tmp_path_factory: pytest.TempPathFactory, quick_hasher: Hasher, write_scene: Callable[..., Path]
) -> Archive:
    folder = tmp_path_factory.mktemp("hashed")
    scene = write_scene(folder / "scene_20230601.tif", mosaic(5, 4, 1))
    archive = Archive.create(folder / "archive", hasher=quick_hasher, keep_vectors="float16")
    archive.add(Scenes(scene), tile_size=TILE)
    return archive


@pytest.fixture
def patches(tmp_path: Path, write_scene: Callable[..., Path]) -> Path:
    folder = tmp_path / "patches"
    for number, size in enumerate([(1, 1), (2, 1), (1, 1), (3, 2)]):
        write_scene(folder / f"{number}.tif", mosaic(*size, 20 + number))
    return folder


@pytest.mark.parametrize(
    "options",
    [{}, {"ranking": "asymmetric", "k": 4}, {"ranking": "vectors", "k": 4}, {"distinct": True}],
)
def test_patches_have_the_matches_of_single_queries(
    hashed: Archive, patches: Path, options: dict
) -> None:
    names = ["0.tif", "1.tif", "2.tif", "3.tif"]
    singles = [hashed.query(patches / name, **options) for name in names]
    for given in (patches, str(patches), [patches / name for name in names]):
        found = hashed.query_each(given, **options)
        assert_same(found, names, singles)
    assert found.examples["query"].tolist() == names
    assert found.examples["example"].tolist() == names


def test_patches_that_cannot_be_used_are_named(
    hashed: Archive, patches: Path, write_scene: Callable[..., Path]
) -> None:
    write_scene(patches / "4.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    (patches / "5.tif").write_bytes(b"no raster")
    write_scene(patches / "6.tif", np.ones((2, 64, 64), np.uint8))
    files = [*sorted(patches.glob("*.tif")), patches / "7.tif"]
    with pytest.warns(GeoHashRSWarning) as heard:
        found = hashed.query_each(files, k=1)
    said = [str(one.message) for one in heard if "left out" in str(one.message)]
    assert len(said) == 1
    assert said[0].startswith("4 of 8 queries of the list of patches are left out: 4.tif: ")
    assert "holds nothing but nodata" in said[0]
    assert found["query"].tolist() == ["0.tif", "1.tif", "2.tif", "3.tif"]
    with pytest.raises(UnansweredError, match=r"left out: 7\.tif: cannot be opened: No such file"):
        hashed.query_each([patches / "7.tif"])


def test_patches_that_lack_the_same_are_named_together(
    hashed: Archive, tmp_path: Path, write_scene: Callable[..., Path]
) -> None:
    for year in range(1985, 1993):
        write_scene(tmp_path / f"{year}.tif", np.ones((2, 64, 64), np.uint8))
    with pytest.raises(UnansweredError) as caught:
        hashed.query_each(tmp_path)
    assert ": 1985.tif, 1986.tif, 1987.tif and 5 more: has 2 bands" in str(caught.value)
    assert str(caught.value).count(".tif") == 3


def test_patches_of_the_same_name_are_told_apart_by_their_folders(
    hashed: Archive, patches: Path, write_scene: Callable[..., Path]
) -> None:
    write_scene(patches / "more" / "0.tif", mosaic(1, 1, 50))
    names = hashed.query_each(patches, k=1)["query"].tolist()
    assert names == ["0.tif", "1.tif", "2.tif", "3.tif", str(Path("more/0.tif"))]
    with pytest.raises(QueryError, match=r"holds .*0\.tif more than once"):
        hashed.query_each([patches / "0.tif", patches / "0.tif"])
    with pytest.raises(QueryError, match="id_column is 'name', but the queries are patches"):
        hashed.query_each(patches, id_column="name")
    with pytest.raises(QueryError, match="holds 3; pass the paths of raster files"):
        hashed.query_each([3])
    empty = patches / "empty"
    empty.mkdir()
    with pytest.raises(UnansweredError, match="holds no raster file"):
        hashed.query_each(empty)


def test_patches_are_found_next_to_an_archive_and_parquet_files_alone_are_a_layer(
    hashed: Archive, patches: Path
) -> None:
    shutil.copytree(hashed.path, patches / "archive")
    names = hashed.query_each(patches, k=1)["query"].tolist()
    assert names == ["0.tif", "1.tif", "2.tif", "3.tif"]
    layer = patches.parent / "layer"
    (layer / "part").mkdir(parents=True)
    centres = shapely.centroid(hashed.tiles([2, 5]).geometry.to_numpy())
    gpd.GeoSeries(centres, crs=4326).to_frame("geometry").to_parquet(layer / "part" / "0.parquet")
    assert hashed.query_each(layer, k=1)["tile_id"].tolist() == [2, 5]


def test_doubts_about_many_patches_are_one_warning(
    hashed: Archive, tmp_path: Path, write_scene: Callable[..., Path]
) -> None:
    for number in range(5):
        write_scene(tmp_path / f"{number}.tif", mosaic(1, 1, number).astype(np.uint16) * 40)
    with pytest.warns(GeoHashRSWarning) as heard:
        found = hashed.query_each(tmp_path, k=1)
    said = [str(one.message) for one in heard]
    assert len(said) == 1
    assert said[0].startswith("5 of 5 patches are doubtful: 0.tif")
    assert said[0].count("stretches the patch") == 3
    with pytest.warns(GeoHashRSWarning) as heard:
        single = hashed.query(tmp_path / "3.tif", k=1)
    assert "stretches the patch" in str(heard[-1].message)
    assert found["tile_id"].iloc[3] == single["tile_id"].iloc[0]


def test_the_result_can_be_written_in_every_format(dated: Archive, tmp_path: Path) -> None:
    found = dated.query_each(points(3), id_column="name", k=2)
    names = found["query"].tolist()
    for name in ("a.geojson", "a.parquet", "a.csv"):
        found.to_file(tmp_path / name)
    for name in ("a.gpkg", "a.html"):
        with pytest.warns(GeoHashRSWarning, match="pictures are missing"):
            found.to_file(tmp_path / name)
    assert gpd.read_file(tmp_path / "a.geojson")["query"].tolist() == names
    assert gpd.read_file(tmp_path / "a.gpkg", layer="a")["query"].tolist() == names
    assert gpd.read_parquet(tmp_path / "a.parquet")["query"].tolist() == names
    assert pd.read_csv(tmp_path / "a.csv")["query"].tolist() == names
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    # in a heading, on a card for each match, and at the example
    assert all(text.count(f"query {name}") == 4 for name in names)
    layer = gpd.read_file(tmp_path / "a.gpkg", layer="a_query")
    assert layer["query"].tolist() == found.examples["query"].tolist()
