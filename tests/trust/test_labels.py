"""Labels of archives, calibrations and queries with a precision."""

import json
import warnings

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.errors import (
    CalibrationError,
    GeoHashRSWarning,
    HasherMismatchError,
    LabelError,
    QueryError,
)
from geohash_rs.trust.calibration import Calibration
from geohash_rs.trust.labels import label_archive

SIDE = 0.01  # degrees; about 1.1 km
ACROSS, DOWN = 30, 20
HASHER = "f" * 64


def kind(column: np.ndarray) -> np.ndarray:
    return np.where(column // 3 % 2 == 0, "wood", "field")


@pytest.fixture
def town(quick_hasher, tmp_path):
    """An archive of 600 tiles whose codes follow their class, but for every twelfth."""
    archive = Archive.create(tmp_path / "town", hasher=quick_hasher)
    column, row = (axis.ravel() for axis in np.meshgrid(np.arange(ACROSS), np.arange(DOWN)))
    rng = np.random.default_rng(0)
    looks = np.where(np.arange(len(column)) % 12 == 5, "wood", kind(column))
    codes = np.where(looks[:, None] == "wood", 0, 255).astype(np.uint8).repeat(2, axis=1)
    codes ^= np.uint8(1) << rng.integers(0, 8, codes.shape).astype(np.uint8)
    tiles = gpd.GeoDataFrame(
        {"scene": "town", "col": column, "row": row, "width": 1, "height": 1},
        geometry=shapely.box(
            10 + column * SIDE, 50 + row * SIDE, 10 + (column + 1) * SIDE, 50 + (row + 1) * SIDE
        ),
        crs=4326,
    )
    archive.add_codes(codes, tiles)
    return archive


def layer(first: int = 0, last: int = ACROSS) -> gpd.GeoDataFrame:
    """Stripes of three columns, each a polygon."""
    starts = np.arange(first, last, 3)
    shapes = shapely.box(10 + starts * SIDE, 50, 10 + (starts + 3) * SIDE, 50 + DOWN * SIDE)
    return gpd.GeoDataFrame({"class": kind(starts)}, geometry=shapes, crs=4326)


def test_polygons_label_the_tiles_that_they_cover(town):
    found = label_archive(town, layer(), column="class", block_km=2)
    tiles = town.tiles(found.ids)
    assert found.ids.tolist() == list(range(600))
    assert (found.labels == kind(tiles["col"].to_numpy())).all()
    assert found.num_contradicting == 0
    assert len(np.unique(found.blocks)) > 100
    assert label_archive(town, layer(), column="class").block_km == pytest.approx(8.9, abs=0.2)


def test_points_label_the_tiles_that_hold_them(town):
    points = gpd.GeoDataFrame(
        {"class": ["wood", "field", "wood"]},
        geometry=gpd.points_from_xy([10.005, 10.015, 10.0151], [50.005, 50.015, 50.035]),
        crs=4326,
    )
    found = label_archive(town, points.to_crs(32632), column="class")
    places = town.tiles(found.ids)[["col", "row"]].itertuples(index=False, name=None)
    expected = {(0, 0): "wood", (1, 1): "field", (1, 3): "wood"}
    assert dict(zip(places, found.labels, strict=True)) == expected


def test_removed_tiles_are_not_labelled(quick_hasher, town):
    more = gpd.GeoDataFrame(
        {"scene": "gone", "col": [0], "row": [0], "width": 1, "height": 1},
        geometry=[shapely.box(10, 50, 10.01, 50.01)],
        crs=4326,
    )
    town.add_codes(np.zeros((1, 2), np.uint8), more)
    assert 600 in label_archive(town, layer(), column="class").ids
    town.remove_scenes(["gone"])
    assert 600 not in label_archive(town, layer(), column="class").ids


def test_labels_that_contradict_each_other_are_left_out_or_refused(town):
    wrong = layer()
    extra = wrong.iloc[[0]].assign(**{"class": "field"})
    with pytest.warns(GeoHashRSWarning, match="60 of 600 labelled tiles .* left out"):
        found = label_archive(town, gpd.pd.concat([wrong, extra]), column="class")
    assert (found.num_contradicting, len(found.ids)) == (60, 540)
    swapped = wrong.assign(**{"class": kind(np.arange(3, 33, 3))})
    with pytest.raises(LabelError, match="600 of 600 labelled tiles .* mend the labels"):
        label_archive(town, gpd.pd.concat([wrong, swapped]), column="class")


def test_labels_that_cannot_be_used_are_refused(town):
    with pytest.raises(LabelError, match=r"label no tile of .* 0 tiles lie"):
        label_archive(town, layer().translate(40).to_frame("geometry").assign(c="a"), column="c")
    with pytest.raises(LabelError, match="has no CRS"):
        label_archive(town, layer().set_crs(None, allow_override=True), column="class")
    with pytest.raises(LabelError, match="have no class"):
        label_archive(town, layer().assign(**{"class": [None, *"wfwfwfwfw"]}), column="class")
    with pytest.raises(LabelError, match="has no column 'kind'"):
        label_archive(town, layer(), column="kind")
    with pytest.raises(LabelError, match="min_share is 0"):
        label_archive(town, layer(), column="class", min_share=0)
    with pytest.raises(CalibrationError, match="block_km is -1"):
        label_archive(town, layer(), column="class", block_km=-1)


def test_a_query_returns_what_can_be_promised(town):
    found = town.calibrate(layer(), column="class", block_km=2)
    assert town.calibration is found
    limit = found.promise.limit(0.8)
    matches = town.query(tile=0, k=None, precision=0.8)
    assert matches["distance"].max() <= limit < 12
    assert (matches["precision"] >= 0.8).all()
    assert list(matches.columns)[-2:] == ["precision", "geometry"]
    kinds = kind(matches["col"].to_numpy())
    is_right = kinds == kind(town.tiles([0])["col"].to_numpy())
    assert 0.85 < is_right.mean() < 0.99
    every = town.query(tile=0, k=600)
    assert every["precision"].isna().sum() == 0
    assert (np.diff(every["precision"]) <= 0).all()
    assert every["precision"].iloc[-1] < 0.6
    assert town.query(tile=[0, 1], k=5)["precision"].isna().all()
    assert len(town.query(tile=0, k=None, precision=0.8, max_distance=1)) < len(matches)


def test_a_precision_that_cannot_be_promised_is_refused(town):
    with pytest.raises(CalibrationError, match="is not calibrated"):
        town.query(tile=0, precision=0.8)
    town.calibrate(layer(), column="class", block_km=2)
    with pytest.raises(CalibrationError, match=r"0\.99 cannot be promised"):
        town.query(tile=0, precision=0.99)
    with pytest.raises(CalibrationError, match="No number of labels"):
        town.query(tile=0, precision=1.0)
    with pytest.raises(QueryError, match="the order of their distance"):
        town.query(tile=0, negatives=[4], precision=0.8)
    for kinds in ({"labels": ["a"]}, {"tile_size": 1}):
        with pytest.raises(QueryError, match="leave out labels and tile_size"):
            town.query(tile=0, precision=0.8, **kinds)
    assert town.query(tile=0, tile_size=1)["precision"].isna().all()
    with pytest.raises(QueryError, match="the examples are 2"):
        town.query(tile=[0, 1], precision=0.8)


def test_an_empty_result_says_why(town):
    found = town.calibrate(layer(), column="class", block_km=2)
    limit = found.promise.limit(0.8)
    codes = town.codes(np.arange(600))
    with pytest.warns(GeoHashRSWarning, match=f"no tile lies within {limit} bits"):
        empty = town.query(
            tile=0, precision=0.8, k=None, scenes=["town"], region=(10.1, 50, 10.1001, 50.0001),
            max_distance=limit,
        )  # fmt: skip
    assert empty.empty
    assert "precision" in empty.columns
    assert (codes[0] != codes[9]).any()


def test_too_few_places_and_one_class_are_refused(town):
    with pytest.raises(CalibrationError, match=r"at least 10 are needed, \d more"):
        town.calibrate(layer(), column="class", block_km=20)
    with pytest.raises(CalibrationError, match="have the class 'wood'"):
        town.calibrate(layer(0, 3), column="class", block_km=1)


def test_a_calibration_is_kept_in_a_file(town, tmp_path):
    found = town.calibrate(layer(), column="class", block_km=2, delta=0.2)
    found.save(tmp_path / "town.calibration")
    again = Calibration.load(tmp_path / "town.calibration")
    assert again.promise.to_json() == found.promise.to_json()
    assert (again.classes, again.block_km, again.created) == (found.classes, 2, found.created)
    assert again.classes == {"field": 300, "wood": 300}
    assert again.labels == "a table, column class"
    assert str(found) == str(again)
    assert "<table" in again._repr_html_()
    assert again.table()["promised"].iloc[0] >= 0.8


def test_a_calibration_of_another_hasher_is_refused(town, tmp_path):
    town.calibrate(layer(), column="class", block_km=2).save(tmp_path / "a")
    body = json.loads((tmp_path / "a").read_text())
    (tmp_path / "b").write_text(json.dumps({**body, "hasher": HASHER}))
    town.calibration = Calibration.load(tmp_path / "b")
    with pytest.raises(HasherMismatchError, match="ffff with 16 bits.*calibrate again"):
        town.query(tile=0, precision=0.8)
    with pytest.warns(GeoHashRSWarning, match="column precision is left out"):
        assert "precision" not in town.query(tile=0).columns


@pytest.mark.parametrize(
    "change",
    [
        {"num_bits": 15},
        {"num_bits": 8},
        {"num_bits": True},
        {"num_bits": None},
        {"classes": [1]},
        {"classes": {"a": -1}},
        {"classes": {"a" * 5000: 1}},
        {"created": "yesterday"},
        {"hasher": 7},
        {"block_km": float("nan")},
        {"block_km": "2"},
        {"labels": None},
        {"num_tiles": 1e400},
        {"promise": {"values": []}},
        {"promise": None},
    ],
    ids=repr,
)
def test_a_hostile_file_is_refused(town, tmp_path, change):
    path = tmp_path / "a"
    town.calibrate(layer(), column="class", block_km=2).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CalibrationError, match="a is damaged: "):
        Calibration.load(path)


def test_what_is_no_calibration_is_refused(town, tmp_path):
    path = tmp_path / "a"
    town.calibrate(layer(), column="class", block_km=2).save(path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(CalibrationError, match="cut short"):
            Calibration.load(path)
    for content, says in (
        (b"[]", "is not a calibration"),
        (b"[" * 100_000, "cut short"),
        (b"\xff\xfe", "cut short"),
        (b" " * (9 << 20), "larger than 8 MB"),
        (whole.replace(b'"version": 1', b'"version": 2'), "install a newer"),
    ):
        path.write_bytes(content)
        with pytest.raises(CalibrationError, match=says):
            Calibration.load(path)
    (tmp_path / "link").symlink_to(path)
    for name in ("link", "missing", "."):
        with pytest.raises(CalibrationError, match="cannot be read"):
            Calibration.load(tmp_path / name)


@pytest.mark.parametrize("block_km", [2, 4])
def test_of_many_tiles_a_part_of_every_block_is_drawn(town, monkeypatch, block_km):
    monkeypatch.setattr("geohash_rs.trust.calibration.MOST_TILES", 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = town.calibrate(layer(), column="class", block_km=block_km)
    assert found.num_tiles == 200
    places = label_archive(town, layer(), column="class", block_km=block_km)
    assert found.promise.blocks.max() > 0.7 * len(np.unique(places.blocks))


def test_tiles_in_blocks_with_marks_are_found(town):
    found = label_archive(town, layer(), column="class", block_km=2)
    at = town.tiles([0, 311]).geometry.to_crs(32632).centroid.to_crs(4326)
    apart = found.away_from(zip(at.x, at.y, strict=True))
    taught = found.blocks[np.isin(found.ids, [0, 311])]
    assert (apart == ~np.isin(found.blocks, taught)).all()
    assert 0 < (~apart).sum() < 40
    assert found.away_from([]).all()
    assert found.away_from([(0.0, 0.0)]).all()
