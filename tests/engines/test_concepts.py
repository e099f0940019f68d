"""Concepts give the same answers in a folder, on a Ray cluster and in PostGIS."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.concepts.mark import tiles_by_id
from geohash_rs.errors import TileNotFoundError
from tests.engines.random_archive import RandomArchive, make_archive

WHERE: dict[str, dict[str, Any]] = {
    "anywhere": {},
    "in a box and a time": {"region": (-61.0, -20.0, 12.0, 51.0), "time": ("2022-07-01", None)},
    "in no scene": {"scenes": []},
}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> RandomArchive:
    return make_archive(tmp_path_factory.mktemp("taught") / "archive", seed=5)


@pytest.fixture(scope="module")
def folder(truth: RandomArchive) -> Archive:
    return Archive.open(truth.folder, mode="r")


@pytest.fixture(scope="module", params=["ray", "postgis"])
def engine(request: pytest.FixtureRequest, truth: RandomArchive) -> Any:
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
        from geohash_rs.engines.ray import RayArchive

        with RayArchive.open(truth.folder, num_actors=2) as opened:
            yield opened
    else:
        from geohash_rs.engines.postgis import PostGISArchive, publish

        dsn = request.getfixturevalue("postgis")
        publish(Archive.open(truth.folder), dsn, table="taught")
        with PostGISArchive.open(dsn, table="taught") as opened:
            yield opened


def shown(truth: RandomArchive) -> dict[str, Any]:
    """Return ids, a place and a polygon that are right, and ids that are wrong."""
    code = np.unpackbits(truth.codes[7])
    far = (np.unpackbits(truth.codes, axis=1) != code).sum(axis=1)
    ids = truth.tiles["tile_id"].to_numpy()
    wide = shapely.box(-60.05, -0.05, -59.9, 0.3)
    return {"right": [*ids[far <= 2][:5].tolist(), wide], "wrong": ids[far > 12][:9].tolist()}


def test_the_same_marks_teach_the_same(truth: RandomArchive, folder: Archive, engine: Any) -> None:
    mine, theirs = folder.learn(**shown(truth)), engine.learn(**shown(truth))
    assert mine.marks == theirs.marks
    assert len(mine.marks) > 14
    np.testing.assert_array_equal(mine.model.weights.weights, theirs.model.weights.weights)
    assert (mine.model.offset, mine.model.unit) == (theirs.model.offset, theirs.model.unit)


@pytest.mark.filterwarnings("ignore:no tile passes the filters")
@pytest.mark.parametrize("where", WHERE)
def test_every_question_has_the_same_answer(
    truth: RandomArchive, folder: Archive, engine: Any, tmp_path: Path, where: str
) -> None:
    limits = WHERE[where]
    mine = folder.learn(**shown(truth))
    mine.save(tmp_path / "taught.concept")
    theirs = engine.concept(tmp_path / "taught.concept")
    assert [mark.tile for mark in theirs.marks] == [mark.tile for mark in mine.marks]
    for ask in (
        lambda one: one.query(40, **limits),
        lambda one: one.query(None, min_score=0.2, exclude_marks=True, **limits),
        lambda one: one.query(5, distinct=True, **limits),
        lambda one: one.suggest(9, **limits),
    ):
        answers = ask(mine), ask(theirs)
        assert answers[0].equals(answers[1])
        assert bool(len(answers[0])) == (where != "in no scene")
    histograms = mine.histogram(**limits), theirs.histogram(**limits)
    np.testing.assert_array_equal(histograms[0].counts, histograms[1].counts)
    if where == "in no scene":
        return
    drawn, again = (one.check(20, min_score=0.1, seed=3, **limits) for one in (mine, theirs))
    assert drawn.equals(again)
    areas, others = (one.map(min_score=0.3, dates="merged", **limits) for one in (mine, theirs))
    assert len(areas) > 0
    assert areas.drop(columns="geometry").equals(others.drop(columns="geometry"))
    assert shapely.equals_exact(areas.geometry.values, others.geometry.values, 1e-9).all()


def test_missing_ids_are_all_named_and_passed_over(truth: RandomArchive, engine: Any) -> None:
    live = truth.tiles["tile_id"].tolist()
    gone = sorted(set(range(live[-1])) - set(live))[:300] + [2**46]
    with pytest.raises(TileNotFoundError) as caught:
        engine.codes([*live[:9], *gone])
    assert caught.value.missing == set(gone)
    with engine.one_state() as still:
        found = tiles_by_id(still, [*gone, *live[:9]])
    rows = truth.tiles.iloc[:9]
    expected = zip(map(bytes, truth.codes[:9]), rows["scene"], strict=True)
    assert found == dict(zip(rows["tile_id"], expected, strict=True))
