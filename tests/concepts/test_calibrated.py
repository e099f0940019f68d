"""How often a concept is right: of which tiles that is known, and of which it is not."""

import warnings

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.errors import CalibrationError, ConceptError, GeoHashRSWarning
from tests.trust.test_labels import ACROSS, DOWN, SIDE, kind, layer, town

__all__ = ["town"]

EAST = (10.151, 50, 10.3, 50.2)


def is_wood(archive, ids):
    return kind(archive.tiles(ids)["col"].to_numpy()) == "wood"


@pytest.fixture
def wood(town):
    ids = np.arange(len(town))
    bits = np.unpackbits(town.codes(ids), axis=1).sum(axis=1)
    truth = is_wood(town, ids)
    right, wrong = ids[truth & (bits < 4)][::40], ids[~truth & (bits > 12)][::40]
    return town.learn(right=right.tolist(), wrong=wrong.tolist(), name="wood")


def best(concept):
    """The highest precision that is promised."""
    return float(concept.promise.promised.max())


def judge(concept, k, **how):
    """Draw tiles and judge all of them by the truth."""
    ids = concept.check(k, **how)["tile_id"].to_numpy()
    right = is_wood(concept.archive, ids)
    return concept.checked(right=ids[right], wrong=ids[~right], k=k, **how)


def test_a_draw_promises_no_more_than_is_right(town, wood):
    known = judge(wood, 120)
    assert known.calibrated["checks"] == 1
    assert known.promise.tiles[-1] == 120
    assert best(known) > 0.4
    matches = known.query(None, precision=best(known))
    assert is_wood(town, matches["tile_id"].to_numpy()).mean() >= best(known)
    assert (matches["precision"] == best(known)).all()
    assert (known.map(precision=best(known))["precision"] == best(known)).all()
    assert known.histogram(bins=4).precision is not None
    assert "precision" not in known.check(5).columns
    with pytest.raises(CalibrationError, match="judge a larger draw|draw of about"):
        known.query(precision=0.98)


def test_a_draw_says_nothing_of_other_tiles(town, wood):
    known = judge(wood, 100, region=EAST)
    assert len(known.query(None, precision=best(known), region=EAST))
    for other in ({}, {"region": (10, 50, 10.2, 50.2)}, {"region": EAST, "time": "2020/.."}):
        with pytest.raises(CalibrationError, match="calibrated with only region in 10.151 50"):
            known.query(None, precision=0.7, **other)
        with pytest.raises(CalibrationError, match="pass the same limits"):
            known.map(precision=0.7, **other)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "no tile")
            assert "precision" not in known.query(3, **other).columns
            assert known.histogram(bins=3, **other).precision is None
    assert "precision" not in known.map(min_score=0.5).columns
    whole = judge(wood, 100)
    with pytest.raises(CalibrationError, match="calibrated with all tiles, and this is only reg"):
        whole.query(None, precision=0.7, region=EAST)


def test_a_promise_and_its_limits_are_kept_in_the_file(town, wood, tmp_path):
    known = judge(wood, 100, region=EAST)
    known.save(tmp_path / "wood.concept")
    again = town.concept(tmp_path / "wood.concept")
    assert again.calibrated == known.calibrated
    same = again.query(None, precision=best(known), region=EAST)
    own = known.query(None, precision=best(known), region=EAST)
    assert same["tile_id"].tolist() == own["tile_id"].tolist()
    with pytest.raises(CalibrationError, match="pass the same limits"):
        again.query(None, precision=0.7)


def more_tiles(archive, count, *, scene="new"):
    """Add wrong tiles that look right."""
    columns = np.arange(count)
    tiles = gpd.GeoDataFrame(
        {"scene": scene, "col": columns, "row": 0, "width": 1, "height": 1},
        geometry=shapely.box(20 + columns * SIDE, 50, 20 + (columns + 1) * SIDE, 50 + SIDE),
        crs=4326,
    )
    archive.add_codes(np.repeat(archive.codes([0]), count, axis=0), tiles)


@pytest.mark.parametrize("limited", [{}, {"region": (-180, -90, 180, 90)}])
def test_a_draw_from_an_archive_that_has_changed_promises_nothing(town, wood, tmp_path, limited):
    known = judge(wood, 100, **limited)
    known.save(tmp_path / "wood.concept")
    more_tiles(town, 300)
    with pytest.raises(CalibrationError, match="a random draw from tiles that"):
        known.query(None, precision=0.7, **limited)
    with pytest.warns(GeoHashRSWarning, match="a random draw from tiles that"):
        assert "precision" not in known.query(3, **limited).columns
    if limited:
        assert town.concept(tmp_path / "wood.concept").promise is not None  # found out in use
    else:
        with pytest.warns(GeoHashRSWarning, match=r"check it again\. It is dropped"):
            again = town.concept(tmp_path / "wood.concept")
        assert (again.promise, again.calibrated) == (None, None)


def test_a_draw_is_dropped_on_another_archive_and_labels_are_kept(
    town, wood, quick_hasher, tmp_path
):
    other = Archive.create(tmp_path / "other", hasher=quick_hasher)
    tiles = town.tiles(range(600)).assign(scene="other")
    kept = ["scene", "col", "row", "width", "height", "geometry"]
    other.add_codes(town.codes(range(600))[::-1].copy(), tiles[kept])
    with pytest.warns(GeoHashRSWarning, match="It is dropped"):
        assert judge(wood, 60).on(other).promise is None
    known = wood.calibrate(layer(), column="class", right="wood", block_km=2)
    moved = known.on(other)
    assert moved.promise is known.promise
    assert len(moved.query(None, precision=best(known)))


def test_a_second_check_must_spend_more(wood):
    once = judge(wood, 60)
    with pytest.raises(CalibrationError, match=r"with failure rate 0\.1.* pass delta=0\.2"):
        judge(once, 100)
    ids = once.check(100)["tile_id"].to_numpy()
    right = is_wood(wood.archive, ids)
    judged = {"right": ids[right], "wrong": ids[~right], "k": 100}
    twice = once.checked(**judged, delta=0.2)
    alone = wood.checked(**judged, delta=0.1)
    assert (twice.promise.delta, twice.calibrated["checks"]) == (0.2, 2)
    assert twice.promise.tested.tolist() == alone.promise.tested.tolist()
    assert once.learn(wrong=[5]).promise is None


def test_labels_allow_places_like_theirs_but_no_other_kinds(town, wood):
    known = wood.calibrate(layer(), column="class", right="wood", block_km=2)
    everywhere = known.query(None, precision=best(known))
    assert is_wood(town, everywhere["tile_id"].to_numpy()).mean() >= best(known) > 0.4
    assert len(known.query(None, precision=best(known), region=EAST)) < len(everywhere)
    for kinds in ({"labels": ["a"]}, {"tile_size": 1}):
        with pytest.raises(CalibrationError, match="this is only"):
            known.query(None, precision=0.8, **kinds)
    east = wood.calibrate(layer(), column="class", right="wood", block_km=1, region=EAST)
    with pytest.raises(CalibrationError, match="pass the same limits"):
        east.query(None, precision=0.7)
    assert len(east.query(None, precision=best(east), region=EAST, scenes=["town"]))


def test_blocks_with_marks_do_not_count(town, wood):
    known = wood.calibrate(layer(), column="class", right="wood", block_km=2)
    assert known.calibrated["blocks with marks, left out"] > 5
    assert known.calibrated["tiles"] < 600 - 2 * len(wood.marks)
    few = layer(0, 6)
    with pytest.raises(CalibrationError, match=r"Blocks that hold marks do not count; they are \d"):
        wood.calibrate(few, column="class", right="wood", block_km=4)
    with pytest.raises(CalibrationError, match="no labelled tile has the class 'pit'"):
        wood.calibrate(layer(), column="class", right="pit")
    known = layer()
    with pytest.raises(CalibrationError, match="every labelled tile is right"):
        wood.calibrate(known[known["class"] == "wood"], column="class", right="wood")


def test_marked_ground_on_other_dates_promises_nothing(quick_hasher, tmp_path):
    archive = Archive.create(tmp_path / "dates", hasher=quick_hasher)
    rng = np.random.default_rng(1)
    col, row = (axis.ravel() for axis in np.meshgrid(np.arange(20), np.arange(20)))
    west, south = 10 + col * SIDE * 3, 50 + row * SIDE * 3  # places far from each other
    shapes = shapely.box(west, south, west + SIDE, south + SIDE)
    codes = rng.integers(0, 256, (400, 2)).astype(np.uint8)
    pit = rng.random(400) < 0.5  # whatever the codes are
    for date in range(6):
        tiles = gpd.GeoDataFrame(
            {"scene": f"s{date}", "col": col, "row": row, "width": 1, "height": 1},
            geometry=shapes,
            crs=4326,
        )
        archive.add_codes(codes, tiles)
    labels = gpd.GeoDataFrame({"class": np.where(pit, "pit", "other")}, geometry=shapes, crs=4326)
    first = archive.tiles(range(2400)).query("scene == 's0'")
    place = first["row"].to_numpy() * 20 + first["col"].to_numpy()  # row of the labels
    chosen = np.concatenate([np.flatnonzero(pit[place])[:60], np.flatnonzero(~pit[place])[:60]])
    ids, marked = first["tile_id"].to_numpy()[chosen].tolist(), place[chosen]
    taught = archive.learn(right=ids[:60], wrong=ids[60:])
    with pytest.raises(CalibrationError, match="in 0 blocks .* they are 120"):
        taught.calibrate(labels.iloc[marked], column="class", right="pit", block_km=1)
    known = taught.calibrate(labels, column="class", right="pit", block_km=1)
    assert known.calibrated["tiles"] == 280 * 6
    assert known.promise.promised.max() < 0.65


def test_what_is_not_calibrated_has_no_table(wood):
    with pytest.raises(CalibrationError, match="is not calibrated; see Concept.check"):
        wood.table()
    table = judge(wood, 60).table()
    assert list(table.columns)[:2] == ["cost", "score"]
    assert table["tiles"].iloc[-1] == 60


def test_a_draw_needs_tiles_and_a_rate(wood):
    with pytest.raises(ConceptError, match="no unmarked tile has a score of 1"):
        wood.check(min_score=1.0)
    with pytest.raises(CalibrationError, match=r"delta is 0\.7"):
        wood.checked(right=[], wrong=[], delta=0.7)
    assert len(wood.query(min_score=1.0)) == 0
    assert wood.check(10_000)["similarity"].min() >= 0.5
    assert len(wood.archive) == ACROSS * DOWN
