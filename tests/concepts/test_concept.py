"""Concepts: what marks teach about every tile of an archive."""

import dataclasses
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.codes import hamming_distances
from geohash_rs.concepts import marking
from geohash_rs.concepts.concept import Concept
from geohash_rs.concepts.mark import Mark
from geohash_rs.concepts.mark_examples import examples_of_marks
from geohash_rs.errors import CalibrationError, ConceptError, GeoHashRSError, HasherMismatchError
from tests.ground import kind_at


def kinds(frame) -> np.ndarray:  # noqa: ANN001 - a table of tiles
    return np.array([kind_at(c, r) for c, r in zip(frame["col"], frame["row"], strict=True)])


@pytest.fixture
def stripes(archive: Archive) -> Concept:
    """Stripes are right, all other ground is wrong."""
    tiles = archive.tiles(range(len(archive)))
    tiles = tiles[[Path(scene).name == "a_20230601.tif" for scene in tiles["scene"]]]
    ids, kind = tiles["tile_id"].to_numpy(), kinds(tiles)
    right, wrong = ids[kind == 0][:3].tolist(), ids[kind != 0][:6].tolist()
    return archive.learn(right=right, wrong=wrong, name="stripes")


def test_the_best_tiles_are_those_of_the_kind(archive: Archive, stripes: Concept) -> None:
    every = archive.tiles(range(len(archive)))
    count = int((kinds(every) == 0).sum())
    found = stripes.query(count)
    assert (kinds(found) == 0).mean() >= 0.9
    assert found["similarity"].is_monotonic_decreasing
    assert found["rank"].tolist() == list(range(1, count + 1))


def test_every_tile_is_scored_as_a_plain_loop_scores_it(archive: Archive, stripes: Concept) -> None:
    found = stripes.query(None, min_score=0)
    assert sorted(found["tile_id"]) == list(range(len(archive)))
    costs = stripes.model.weights.costs(archive.codes(found["tile_id"].to_numpy()))
    expected = stripes.model.scores(costs)
    np.testing.assert_array_equal(found["similarity"], expected)
    order = np.lexsort((found["tile_id"], costs))
    np.testing.assert_array_equal(order, np.arange(len(found)))
    right = archive.codes([m.tile for m in stripes.marks if m.right])
    near = hamming_distances(right, archive.codes(found["tile_id"].to_numpy())).min(axis=0)
    np.testing.assert_array_equal(found["distance"], near)


def test_the_marks_are_the_examples_of_the_matches(archive: Archive, scene_folder: Path) -> None:
    patch = scene_folder / "a_20230601.tif"
    concept = archive.learn(right=[3, patch], wrong=[5, 7])
    examples = concept.query(2).examples
    assert examples is not None
    assert examples["example"].to_list() == ["tile 3", "a_20230601.tif", "tile 5", "tile 7"]
    assert examples["positive"].to_list() == [True, True, False, False]
    tile = archive.tiles([3]).iloc[0]
    assert examples["scene"].to_list()[:2] == [tile["scene"], str(patch)]
    assert examples.geometry[0].equals(tile.geometry)
    window = [int(number) for number in examples.loc[1, ["col", "row", "width", "height"]]]
    (record,) = (one for one in archive.scenes() if one.scene == str(patch))
    assert window == [0, 0, record.width, record.height]
    removed = dataclasses.replace(concept.marks[0], tile=10_000)
    (name,) = examples_of_marks(archive, [removed])["example"]
    assert name == Path(tile["scene"]).name


def test_filters_hold(archive: Archive, stripes: Concept) -> None:
    found = stripes.query(None, min_score=0, time=("2023-09-01", "2023-09-30"))
    assert set(found["datetime"].dt.month) == {9}
    marked = {mark.tile for mark in stripes.marks}
    assert not marked & set(stripes.query(None, min_score=0, exclude_marks=True)["tile_id"])
    best = stripes.query(None, min_score=0.7)
    assert best["similarity"].min() >= 0.7
    rest = stripes.query(None, min_score=0)["similarity"]
    assert len(best) == (rest >= 0.7).sum()


def test_distinct_tiles_do_not_overlap(stripes: Concept) -> None:
    found = stripes.query(5, distinct=True)
    assert len(found) == 5
    shapes = found.geometry.to_numpy()
    for row in range(4):
        rest = shapely.area(shapely.intersection(shapes[row + 1 :], shapes[row]))
        assert rest.max() < 0.02 * shapes[row].area


def test_suggestions_are_not_marked_yet(stripes: Concept) -> None:
    found = stripes.suggest(6)
    assert len(found) == 6
    assert not {mark.tile for mark in stripes.marks} & set(found["tile_id"])


def test_more_marks_make_a_new_concept(archive: Archive, stripes: Concept) -> None:
    marked = {mark.tile for mark in stripes.marks}
    good, bad, free = [tile for tile in range(len(archive)) if tile not in marked][:3]
    other = stripes.learn(right=[good], wrong=[bad])
    assert len(other.marks) == len(stripes.marks) + 2
    first = stripes.marks[0].tile
    changed = other.learn(wrong=[first])
    assert [mark.right for mark in changed.marks if mark.tile == first] == [False]
    less = other.learn(forget=[good, bad])
    np.testing.assert_array_equal(less.model.weights.weights, stripes.model.weights.weights)
    with pytest.raises(ConceptError, match=f"tile {free} is not marked"):
        other.learn(forget=[free])
    with pytest.raises(ConceptError, match="both right and wrong"):
        other.learn(right=[free], wrong=[free])


def test_a_concept_needs_something_right_and_a_name(archive: Archive) -> None:
    with pytest.raises(ConceptError, match="only 1 wrong"):
        archive.learn(right=[], wrong=[3])
    with pytest.raises(ConceptError, match="the name is"):
        archive.learn(right=[1], name="a\nb")
    assert "no mark is wrong" in archive.learn(right=[1]).notes[0]


def test_an_uncalibrated_concept_promises_nothing(stripes: Concept) -> None:
    with pytest.raises(CalibrationError, match="not calibrated"):
        stripes.query(precision=0.9)
    with pytest.raises(ConceptError, match="min_score is 1.5"):
        stripes.query(min_score=1.5)


def test_labels_tell_what_a_map_misses(archive: Archive, stripes: Concept, tmp_path: Path) -> None:
    everything = archive.tiles(range(len(archive)))
    shapes = shapely.centroid(np.asarray(everything.geometry.array))
    labels = gpd.GeoDataFrame({"kind": kinds(everything).astype(str)}, geometry=shapes, crs=4326)
    known = stripes.calibrate(labels, column="kind", right="0", block_km=1)
    assert known.promise is not None
    assert known.promise.totals is not None
    score = float(known.table()["score"].iloc[-1])
    chosen = stripes.query(None, min_score=score)
    ratio = (kinds(everything) == 0).sum() / len(chosen)  # marks count as well
    assert known.promise.totals.ratio[-1] == pytest.approx(ratio)
    known.save(tmp_path / "known.concept")
    again = archive.concept(tmp_path / "known.concept")
    assert again.promise is not None
    assert again.promise.to_json() == known.promise.to_json()
    day = everything["datetime"].iloc[0]
    areas = known.map(min_score=score, time=f"{day:%Y-%m-%d}")
    expected = ratio * areas["area_km2"].sum()
    assert areas.totals["estimated_km2"].iloc[0] == pytest.approx(expected, rel=0.05)


def test_a_histogram_counts_every_tile(archive: Archive, stripes: Concept) -> None:
    found = stripes.histogram(bins=10)
    scores = stripes.query(None, min_score=0)["similarity"]
    np.testing.assert_array_equal(found.counts, np.histogram(scores, found.edges)[0])
    assert found.precision is None
    with pytest.raises(ConceptError, match="bins is 0"):
        stripes.histogram(bins=0)


def test_a_draw_is_random_and_the_same_again(stripes: Concept) -> None:
    first, again = stripes.check(10, min_score=0.1), stripes.check(10, min_score=0.1)
    assert first["tile_id"].tolist() == again["tile_id"].tolist()
    other = stripes.check(10, min_score=0.1, seed=1)
    assert other["tile_id"].tolist() != first["tile_id"].tolist()
    assert first["similarity"].min() >= 0.1
    assert not {mark.tile for mark in stripes.marks} & set(first["tile_id"])


def test_only_complete_draws_count(stripes: Concept) -> None:
    ids = stripes.check(10, min_score=0.1)["tile_id"].tolist()
    with pytest.raises(CalibrationError, match=f"1 of the 10 tiles .* such as tile {ids[0]};"):
        stripes.checked(right=ids[1:], wrong=[], k=10, min_score=0.1)
    with pytest.raises(CalibrationError, match="both right and wrong"):
        stripes.checked(right=ids, wrong=ids[:1], k=10, min_score=0.1)
    with pytest.raises(CalibrationError, match="10 of the 10 tiles"):
        stripes.checked(right=[], wrong=[], k=10, min_score=0.1)
    with pytest.raises(CalibrationError, match="were not judged, .* pass its k"):
        stripes.checked(right=ids, wrong=[], min_score=0.1)
    free = set(range(len(stripes.archive))) - set(ids)
    with pytest.raises(CalibrationError, match=f"is not one of the 10 .* tile {ids[0]} was not"):
        stripes.checked(right=[*ids[1:], min(free)], wrong=[], k=10, min_score=0.1)


def test_a_saved_concept_is_the_same_again(
    archive: Archive, stripes: Concept, tmp_path: Path
) -> None:
    path = tmp_path / "stripes.concept"
    stripes.save(path)
    again = archive.concept(path)
    assert (again.name, again.marks, again.created) == (
        stripes.name,
        stripes.marks,
        stripes.created,
    )
    np.testing.assert_array_equal(again.query(9)["tile_id"], stripes.query(9)["tile_id"])
    assert path.read_text().count('"right": true') == 3


def test_another_archive_of_the_same_hasher_takes_a_concept(
    archive: Archive, stripes: Concept, scene_folder: Path, tmp_path: Path
) -> None:
    from geohash_rs import Scenes

    other = Archive.create(tmp_path / "other", hasher=archive.hasher())
    other.add(Scenes(scene_folder / "b_20230601.tif"), tile_size=64)
    moved = stripes.on(other)
    assert {mark.tile for mark in moved.marks} == {None}  # these ids are other tiles there
    assert (kinds(moved.query(4)) == 0).all()
    assert not set(moved.suggest(4)["tile_id"]) - set(range(16))


def test_another_hasher_refuses_a_concept(stripes: Concept, tmp_path: Path, quick: Archive) -> None:
    stripes.save(tmp_path / "stripes.concept")
    with pytest.raises(HasherMismatchError, match="learn it again there"):
        quick.concept(tmp_path / "stripes.concept")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"format": "geohash_rs concept"', '"format": "x"', "is not a concept"),
        ('"version": 1', '"version": 9', "reads 1"),
        ('"unit": ', '"unit": "', "not a concept, or was cut short"),
        ('"offset": ', '"offset": 1e999, "other": ', "is not a number"),
        ('"name": "stripes"', '"name": ""', "the name is"),
        ('"right": true', '"right": 1', "instead of true or false"),
        ('"weights": [', '"weights": [70000, ', "whole numbers from 0"),
        ('"weights": [', '"weights": [1, ', "needs uint16"),
        ('"marks": [', '"marks": 3, "x": [', "is damaged"),
        ('"unit": ', '"unit": -', "finite and above 0"),
        ('"num_bits": 64', '"num_bits": 128', "num_bits is 128, but the file holds 64"),
        ('"right": 3', '"right": 300', "right is 300, but the file holds 3"),
        ('"wrong": 6', '"wrong": null', "wrong is None, but the file holds 6"),
    ],
)
def test_a_damaged_file_is_refused(
    archive: Archive, stripes: Concept, tmp_path: Path, old: str, new: str, words: str
) -> None:
    path = tmp_path / "stripes.concept"
    stripes.save(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ConceptError, match=words):
        archive.concept(path)


def test_a_file_cut_anywhere_is_refused(archive: Archive, stripes: Concept, tmp_path: Path) -> None:
    path = tmp_path / "stripes.concept"
    stripes.save(path)
    content = path.read_bytes().rstrip()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(ConceptError, match="stripes.concept"):
            archive.concept(path)
    for hostile in (b"[" * 100_000, b"\x00\xff", b"null", b'{"format": "geohash_rs concept"}'):
        path.write_bytes(hostile)
        with pytest.raises(ConceptError, match="stripes.concept"):
            archive.concept(path)
    with pytest.raises(ConceptError, match="none.concept cannot be read"):
        archive.concept(tmp_path / "none.concept")


def test_an_archive_never_changes(archive: Archive, stripes: Concept, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in archive.path.rglob("*")}
    stripes.save(tmp_path / "a.concept")
    stripes.suggest(3)
    with pytest.raises(GeoHashRSError, match="lies in the archive"):
        stripes.save(archive.path / "a.concept")
    assert {p: p.stat().st_mtime_ns for p in archive.path.rglob("*")} == before


@pytest.fixture
def refitted(quick: Archive, scene_folder: Path) -> tuple[Archive, Concept]:
    """An archive that was refitted to other bits after a concept of it was learnt."""
    from geohash_rs import Scenes

    quick.add(Scenes(scene_folder), tile_size=64)
    concept = quick.learn(right=[0, 4], wrong=[1, 2, 3], name="old")
    quick.refit("itq-24", workers=1)
    return quick, concept


@pytest.mark.usefixtures("small_input")
def test_after_a_refit_a_concept_learns_from_the_new_codes(
    refitted: tuple[Archive, Concept],
) -> None:
    archive, old = refitted
    with pytest.raises(HasherMismatchError, match=r"with Concept\.learn"):
        old.query()
    for new in (old.learn(), old.learn(right=[8])):
        assert new.hasher == archive.hasher_fingerprint != old.hasher
        tiles = [mark.tile for mark in new.marks]
        assert [mark.code for mark in new.marks] == [bytes(c) for c in archive.codes(tiles)]
        assert len(new.query(5)) == 5
    fresh = archive.learn(right=[0, 4], wrong=[1, 2, 3])
    np.testing.assert_array_equal(old.learn().model.weights.weights, fresh.model.weights.weights)


@pytest.mark.usefixtures("small_input")
def test_after_a_refit_codes_without_a_tile_are_refused(
    refitted: tuple[Archive, Concept],
) -> None:
    archive, old = refitted
    lost = tuple(dataclasses.replace(m, tile=None) if m.tile == 4 else m for m in old.marks)
    torn = dataclasses.replace(old, marks=lost)
    with pytest.raises(HasherMismatchError, match="1 of 5 marks have only a code"):
        torn.learn(right=[8])
    archive.remove_tiles([4])
    with pytest.raises(HasherMismatchError, match="such as tile 4"):
        old.learn(right=[8])
    assert old.learn(right=[8], forget=[4]).hasher == archive.hasher_fingerprint
    assert old.hasher is not None
    with pytest.raises(HasherMismatchError, match="1 of 1 marks"):
        Concept.of_marks(archive, lost[1:2], name="x", hasher=old.hasher)


def test_marks_of_removed_tiles_lose_only_their_ids(archive: Archive, stripes: Concept) -> None:
    tiles = [10**6, *range(2 * len(archive), 2 * len(archive) + 5_000)]
    extra = [Mark(right=True, code=b"\x00" * 8, tile=tile, source="x") for tile in tiles]
    moved = dataclasses.replace(stripes, marks=(*stripes.marks, *extra)).on(archive)
    assert moved.marks[: len(stripes.marks)] == stripes.marks
    assert {mark.tile for mark in moved.marks[len(stripes.marks) :]} == {None}


def test_a_score_that_no_code_reaches_finds_nothing(stripes: Concept) -> None:
    model = dataclasses.replace(stripes.model, offset=-1.0, unit=1.0)
    low = dataclasses.replace(stripes, model=model)
    assert low.model.cost_at(0.9) == -1
    found = low.query(min_score=0.9)
    assert len(found) == 0
    assert list(found.columns) == list(stripes.query().columns)


def test_an_empty_filter_suggests_nothing(archive: Archive, stripes: Concept) -> None:
    assert len(stripes.suggest(scenes=[])) == 0
    assert len(stripes.suggest(labels=[])) == 0
    box = np.array(archive.tiles([9]).total_bounds)
    found = stripes.suggest(3, region=box)
    assert shapely.intersects(shapely.box(*box), found.geometry.to_numpy()).all()


def test_a_layer_is_marked_in_pieces(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = archive.tiles(range(len(archive)))
    shapes = [*shapely.buffer(frame.geometry.to_numpy()[:6], -1e-4), frame.geometry[20].centroid]
    layer = gpd.GeoDataFrame(geometry=shapes, crs=4326)
    whole = archive.learn(right=layer)
    monkeypatch.setattr(marking, "AT_ONCE", 3)
    pieces = archive.learn(right=layer)
    assert pieces.marks == whole.marks
    assert len(whole.marks) > 6


@pytest.mark.parametrize(("unit", "offset"), [(0.0, 1.0), (-1.0, 1.0), (np.nan, 1.0), (1, np.inf)])
def test_a_model_whose_scores_do_not_fall_is_refused(
    stripes: Concept, unit: float, offset: float
) -> None:
    with pytest.raises(ConceptError, match="finite and above 0"):
        dataclasses.replace(stripes.model, unit=unit, offset=offset)
