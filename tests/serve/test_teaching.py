"""Concepts through the JSON interface: learned, judged, drawn, saved; nothing is written."""

import dataclasses
import gc
import json
import tracemalloc

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.concepts.concept import Concept
from geohash_rs.concepts.concept_file import text_of
from geohash_rs.errors import ConceptError, HasherMismatchError
from geohash_rs.footprints.projection import WGS84
from geohash_rs.pictures.permission import Permission
from geohash_rs.serve import joining, teaching
from geohash_rs.serve.computed import Computed
from geohash_rs.serve.joining import Joiner
from geohash_rs.serve.messages import AreasExportRequest, AreasRequest, ConceptRequest, JudgeRequest
from geohash_rs.serve.searching import Searcher
from geohash_rs.serve.teaching import Teacher
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.snapshot import Snapshot
from tests.serve.asking import asker, detail

MARKS = {"right": [12, 93], "wrong": [40, 200]}
WORLD = "-180,-85,180,85"


@pytest.fixture
def ask(address):
    """Send one request and return status, headers and body."""
    return asker(address)


@pytest.fixture
def post(ask):
    """Send a request that must succeed and return the parsed answer."""

    def send(path, **body):
        status, _, content = ask("POST", path, body)
        assert status == 200, content
        return json.loads(content)

    return send


@pytest.fixture
def teacher(coast_archive):
    return Teacher(Searcher(Archive.open(coast_archive, mode="r")))


@pytest.fixture
def concept(coast_archive):
    return Archive.open(coast_archive, mode="r").learn(right=[12, 93], wrong=[40, 200])


def costs_of(concept):
    """Return the cost of every tile by a plain sum over bits."""
    codes = concept.archive.codes(np.arange(len(concept.archive)))
    weights = concept.model.weights
    differs = np.unpackbits(codes ^ weights.code, axis=1)
    return differs @ weights.weights.astype(np.int64)


def ids_of(answer):
    return [one["properties"]["tile_id"] for one in answer["features"]]


def test_the_histogram_counts_every_tile_by_its_cost(post, concept):
    answer = post("/api/concept", **MARKS)
    costs = costs_of(concept)
    assert (answer["tiles"], sum(answer["counts"])) == (324, 324)
    assert (answer["low"], answer["high"]) == (costs.min(), costs.max())
    edges = answer["low"] + answer["width"] * np.arange(len(answer["counts"]) + 1)
    assert answer["counts"] == np.histogram(costs, edges)[0].tolist()
    assert answer["right_costs"] == costs[[12, 93]].tolist()
    assert answer["wrong_costs"] == costs[[40, 200]].tolist()
    assert answer["promise"] is None


def test_filters_limit_what_is_scored(post, concept):
    answer = post("/api/concept", **MARKS, time=["2023-08-01", None])
    dates = concept.archive.tiles(np.arange(324))["datetime"].dt.month
    assert answer["tiles"] == (dates == 9).sum()
    drawn = post("/api/concept/areas", **MARKS, max_cost=65_535, time=["2023-08-01", None])
    assert drawn["tiles"] == answer["tiles"]


def test_areas_are_the_ground_of_the_tiles_up_to_the_cost(post, concept):
    costs = costs_of(concept)
    most = int(np.sort(costs)[30])
    drawn = post("/api/concept/areas", **MARKS, max_cost=most, view=WORLD)
    tiles = concept.archive.tiles(np.flatnonzero(costs <= most))
    assert (drawn["kind"], drawn["tiles"]) == ("areas", len(tiles))
    union = gpd.GeoSeries([shapely.union_all(tiles.geometry.to_numpy())], crs=WGS84)
    own = union.to_crs(32633).area.sum() / 1e6
    found = gpd.GeoDataFrame.from_features(drawn["features"], crs=WGS84)
    assert len(found) == drawn["areas"]
    assert found.to_crs(32633).area.sum() / 1e6 == pytest.approx(own, rel=0.01)
    assert drawn["km2"] == pytest.approx(own, rel=0.01)


def test_only_areas_in_view_are_sent_and_all_are_counted(post, concept):
    most = int(np.sort(costs_of(concept))[60])
    whole = post("/api/concept/areas", **MARKS, max_cost=most, view=WORLD)
    west, south, east, north = concept.archive.manifest.bounds
    middle = (west + east) / 2
    part = post(
        "/api/concept/areas", **MARKS, max_cost=most, view=f"{west},{south},{middle},{north}"
    )
    assert 0 < len(part["features"]) < len(whole["features"])
    assert (part["tiles"], part["km2"]) == (whole["tiles"], whole["km2"])
    turned = f"{west + 360},{south},{middle + 360},{north}"
    again = post("/api/concept/areas", **MARKS, max_cost=most, view=turned)
    assert again["features"] == part["features"]


def test_too_many_tiles_are_counted_in_squares_until_the_view_holds_few(teacher, monkeypatch):
    monkeypatch.setattr(joining, "MOST_JOINED", 50)

    def draw(view):
        return json.loads(teacher.areas(AreasRequest(**MARKS, max_cost=65_535, view=view)))

    far = draw(WORLD)
    assert (far["kind"], far["tiles"], far["km2"]) == ("counts", 324, None)
    assert sum(one["properties"]["count"] for one in far["features"]) == 324
    west, south, *_ = teacher.searcher.archive.manifest.bounds
    near = draw(f"{west},{south},{west + 0.02},{south + 0.02}")
    assert (near["kind"], near["tiles"]) == ("areas", 324)
    assert 0 < sum(one["properties"]["tiles"] for one in near["features"]) <= 50


def test_many_polygons_are_counted_in_squares_too(teacher, monkeypatch):
    monkeypatch.setattr(teaching, "MOST_POLYGONS", 1)
    concept = teacher.learn(ConceptRequest(**MARKS))
    most = (concept.low + concept.high) // 2
    drawn = json.loads(teacher.areas(AreasRequest(**MARKS, max_cost=most, view=WORLD)))
    assert drawn["kind"] == "counts"
    assert drawn["areas"] > 1
    assert sum(one["properties"]["count"] for one in drawn["features"]) == drawn["tiles"]


def test_a_slider_and_suggestions_do_not_score_all_tiles_again(teacher, monkeypatch):
    scans = []
    scored, of_marks = Concept.scored, Concept.of_marks
    monkeypatch.setattr(Concept, "scored", lambda *a, **k: scans.append("scan") or scored(*a, **k))
    monkeypatch.setattr(
        Concept, "of_marks", lambda *a, **k: scans.append("learn") or of_marks(*a, **k)
    )
    concept = teacher.learn(ConceptRequest(**MARKS))
    for most in range(concept.low, concept.high, (concept.high - concept.low) // 5):
        teacher.areas(AreasRequest(**MARKS, max_cost=most, view=WORLD))
    teacher.judge(JudgeRequest(**MARKS, kind="teach"))
    assert scans == ["learn", "scan"]
    teacher.learn(ConceptRequest(right=[12], wrong=[40, 200]))
    assert scans == ["learn", "scan"] * 2


@pytest.mark.parametrize("kind", ["teach", "best"])
def test_marked_and_skipped_tiles_are_not_suggested(post, kind):
    first = ids_of(post("/api/concept/tiles", **MARKS, kind=kind, k=5))
    assert len(first) == 5
    assert not {12, 93, 40, 200} & set(first)
    others = ids_of(post("/api/concept/tiles", **MARKS, kind=kind, k=5, without=first[:2]))
    assert len(others) == 5
    assert not set(first[:2]) & set(others)


def test_suggestions_are_those_of_the_library(post, concept):
    assert ids_of(post("/api/concept/tiles", **MARKS, kind="teach", k=6)) == (
        concept.suggest(6)["tile_id"].tolist()
    )
    best = concept.query(6, exclude_marks=True)
    answer = post("/api/concept/tiles", **MARKS, kind="best", k=6)
    assert ids_of(answer) == best["tile_id"].tolist()
    marked = post("/api/concept/tiles", **MARKS, kind="marked")
    assert sorted(ids_of(marked)) == [12, 40, 93, 200]


def check(post, *, right, count=40, **more):
    """Draw tiles, judge all of them, and return what to send of it."""
    drawn = ids_of(
        post("/api/concept/tiles", **MARKS, kind="check", k=count, check_score=0.0, **more)
    )
    return {
        "checks": [{"tile_id": one, "right": at < right} for at, one in enumerate(drawn)],
        "check_tiles": count,
        "check_score": 0.0,
        **more,
    }


def test_a_complete_check_gives_a_promise_that_is_that_of_the_library(post, concept):
    checked = check(post, right=40)
    answer = post("/api/concept", **MARKS, **checked)
    ids = [one["tile_id"] for one in checked["checks"]]
    own = concept.checked(right=ids, wrong=[], k=40, min_score=0.0).promise
    assert answer["promise"]["values"] == own.values.tolist()
    assert answer["promise"]["promised"] == own.promised.tolist()
    assert answer["checked"] == "40 of 40 random tiles were right"
    assert answer["check_left"] == 0
    limits = {one["precision"]: one["cost"] for one in answer["limits"]}
    assert limits[0.8] == own.limit(0.8)
    assert [one["problem"] is None for one in answer["limits"]] == [
        one["cost"] is not None for one in answer["limits"]
    ]


def test_a_check_promises_nothing_until_all_its_tiles_are_judged(post):
    checked = check(post, right=40)
    for judged in (1, 30, 39):
        part = {**checked, "checks": checked["checks"][:judged]}
        answer = post("/api/concept", **MARKS, **part)
        assert answer["promise"] is None
        assert answer["limits"] == []
        assert answer["check_left"] == 40 - judged
        assert answer["checked"].startswith(f"{judged} of 40 random tiles are judged; ")
    saved = post("/api/concept/save", **MARKS, **part)
    assert saved["promise"] is None


def test_a_check_of_other_tiles_than_those_drawn_promises_nothing_and_says_why(post):
    checked = check(post, right=40)
    checked["checks"][3]["tile_id"] = next(
        one for one in range(324) if one not in {each["tile_id"] for each in checked["checks"]}
    )
    answer = post("/api/concept", **MARKS, **checked)
    assert answer["promise"] is None
    assert "was not judged" in answer["checked"]


def test_a_check_of_few_tiles_is_complete_when_there_are_no_more(post, concept):
    few = post("/api/concept/tiles", **MARKS, kind="check", k=60, check_score=0.9)["features"]
    above = np.setdiff1d(
        np.flatnonzero(costs_of(concept) <= concept.most_cost(min_score=0.9)), [12, 93, 40, 200]
    )
    assert 1 < len(few) == len(above) < 60
    checks = [{"tile_id": one["properties"]["tile_id"], "right": True} for one in few]
    sent = {"check_score": 0.9, "check_tiles": 60}
    assert post("/api/concept", **MARKS, **sent, checks=checks[:-1])["check_left"] == 1
    answer = post("/api/concept", **MARKS, **sent, checks=checks)
    assert answer["check_left"] == 0
    assert answer["checked"].startswith(f"{len(few)} of {len(few)} random tiles were right")


def test_a_further_check_draws_other_tiles_and_adds_its_failure_rate(post):
    first, second = check(post, right=40), check(post, right=40, seed=1)
    assert first["checks"] != second["checks"]
    once, twice = (post("/api/concept", **MARKS, **one)["promise"] for one in (first, second))
    assert (once["delta"], twice["delta"]) == (0.1, 0.2)
    assert max(twice["promised"]) == max(once["promised"])  # each tested at the same rate
    saved = post("/api/concept/save", **MARKS, **second)
    assert (saved["promise"]["delta"], saved["calibrated"]["checks"]) == (0.2, 2)
    mixed = {**second, "checks": first["checks"]}
    assert post("/api/concept", **MARKS, **mixed)["promise"] is None


def test_a_short_check_says_what_is_missing(post):
    answer = post("/api/concept", **MARKS, **check(post, right=1, count=1))
    assert answer["promise"] is None
    assert answer["checked"].startswith("1 of 1 random tiles were right. ")


def test_a_promise_of_a_file_is_shown_only_for_what_was_drawn(post):
    may = {"time": [None, "2023-06-30"]}
    saved = post("/api/concept/save", **MARKS, **check(post, right=40, **may))
    file = json.dumps(saved)
    known = post("/api/concept", file=file, **may)
    assert known["promise"] is not None
    assert known["checked"].startswith("random tiles")
    whole = post("/api/concept", file=file)
    assert (whole["promise"], whole["limits"]) == (None, [])
    assert "calibrated with" in whole["checked"]
    assert post("/api/concept/save", file=file)["promise"] == saved["promise"]  # with its limits


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "parquet", "csv"])
def test_areas_are_downloaded_in_every_format(ask, post, concept, tmp_path, ending):
    most = int(np.sort(costs_of(concept))[60])
    asked = {**MARKS, "max_cost": most, "format": ending, "dates": "apart", "min_area_km2": 0.5}
    status, headers, content = ask("POST", "/api/concept/export", asked)
    assert status == 200, content
    assert f"areas.{ending}" in headers["content-disposition"]
    path = tmp_path / f"areas.{ending}"
    path.write_bytes(content)
    layer = "areas" if ending == "gpkg" else None
    read = gpd.read_parquet(path) if ending == "parquet" else gpd.read_file(path, layer=layer)
    drawn = post(
        "/api/concept/areas", **MARKS, max_cost=most, view=WORLD, dates="apart", min_area_km2=0.5
    )
    assert len(read) == drawn["areas"] > 1
    km2 = read["area_km2"].astype(float)
    assert km2.sum() == pytest.approx(drawn["km2"])
    assert km2.min() >= 0.5


def test_an_empty_map_is_no_file_but_a_message(ask):
    asked = {**MARKS, "max_cost": 0, "min_area_km2": 1e6, "format": "gpkg"}
    answer = ask("POST", "/api/concept/export", asked)
    assert answer[0] == 422
    assert "no areas to save" in detail(answer)


def test_a_saved_concept_is_opened_with_its_marks_and_promise(ask, post, coast_archive, tmp_path):
    checked = check(post, right=40)
    status, _, content = ask("POST", "/api/concept/save", {**MARKS, **checked, "name": "Wälder"})
    assert status == 200, content
    path = tmp_path / "woods.concept"
    path.write_bytes(content)
    own = Archive.open(coast_archive, mode="r").concept(path)
    assert (own.name, len(own.marks)) == ("Wälder", 4)
    assert own.promise is not None
    status, _, body = ask("POST", "/api/concept/open", content)
    opened = json.loads(body)
    assert status == 200, body
    assert (opened["name"], opened["right"], opened["wrong"]) == ("Wälder", [12, 93], [40, 200])
    assert opened["others"] == []
    answer = post("/api/concept", file=content.decode())
    learned = post("/api/concept", **MARKS, **checked)
    for same in ("counts", "promise", "limits"):
        assert answer[same] == learned[same]


def test_marks_of_another_archive_teach_by_their_codes(ask, post, concept, tmp_path):
    path = tmp_path / "woods.concept"
    concept.save(path)
    body = json.loads(path.read_text(encoding="utf-8"))
    for mark in body["marks"]:
        mark["source"] = f"elsewhere/{mark['source']}"
    opened = json.loads(ask("POST", "/api/concept/open", json.dumps(body).encode())[2])
    assert (opened["right"], opened["wrong"]) == ([], [])
    assert [one["right"] for one in opened["others"]] == [True, True, False, False]
    sent = {"others": opened["others"], "hasher": opened["hasher"]}
    assert post("/api/concept", **sent)["counts"] == post("/api/concept", **MARKS)["counts"]


@pytest.fixture
def saved(concept, tmp_path):
    concept.save(tmp_path / "saved.concept")
    return (tmp_path / "saved.concept").read_bytes()


HOSTILE = {
    "cut short": lambda text: text[: len(text) // 2],
    "a picture": lambda _: b"\x89PNG\r\n",
    "nested": lambda _: b"[" * 100_000,
    "another JSON": lambda _: b'{"type": "FeatureCollection"}',
    "huge numbers": lambda text: text.replace(b'"offset": ', b'"offset": 1e999, "was": '),
    "weights too large": lambda text: text.replace(b'"weights": [', b'"weights": [65535, 65535, '),
    "a newer version": lambda text: text.replace(b'"version": 1', b'"version": 9'),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_is_no_sound_concept_is_refused_in_words(ask, saved, kind):
    content = HOSTILE[kind](saved)
    for answer in (
        ask("POST", "/api/concept/open", content),
        ask("POST", "/api/concept", {"file": content.decode("latin-1")}),
    ):
        assert answer[0] == 422
        assert detail(answer).startswith("the file ")


def test_a_concept_of_another_hasher_is_refused(ask, saved):
    body = json.loads(saved)
    body["hasher"] = "0" * 64
    answer = ask("POST", "/api/concept/open", json.dumps(body).encode())
    assert answer[0] == 422
    assert "hasher" in detail(answer)
    code = "00" * 8
    sent = {"others": [{"right": True, "code": code}], "hasher": "0" * 64}
    assert ask("POST", "/api/concept", sent)[0] == 422


REFUSED = [
    ("/api/concept", {}, "needs a mark that is right"),
    ("/api/concept", {"wrong": [3]}, "only 1 wrong"),
    ("/api/concept", {"right": [3], "wrong": [3]}, "tile 3 is marked both"),
    ("/api/concept", {"right": list(range(5001))}, "5000"),
    ("/api/concept", {"right": [3], "secret": 1}, "secret"),
    ("/api/concept", {"right": [3], "file": "{}"}, "both marks and a file"),
    ("/api/concept", {"right": [3], "region": {"type": "Point"}}, "Point"),
    ("/api/concept", {"others": [{"right": True, "code": "00ff"}]}, "16 bits"),
    ("/api/concept/areas", {"right": [3], "max_cost": 70_000}, "max_cost"),
    ("/api/concept/areas", {"right": [3], "max_cost": 9, "view": "1,2,3"}, "1,2,3"),
    ("/api/concept/areas", {"right": [3], "max_cost": 9, "dates": "x"}, "dates"),
    ("/api/concept/areas", {"right": [3], "max_cost": 9, "min_area_km2": -1}, "min_area"),
    ("/api/concept/export", {"right": [3], "max_cost": 9, "format": "exe"}, "format"),
    ("/api/concept/tiles", {"right": [3], "kind": "all"}, "kind"),
    ("/api/concept/save", {"right": [3], "name": ""}, "name"),
    ("/api/concept", {"right": [3], "seed": 4}, "seed"),
    ("/api/concept/save", {"right": [3], "name": "a\nb"}, "name"),
]


@pytest.mark.parametrize(("path", "body", "says"), REFUSED)
def test_bad_requests_are_refused_with_a_reason(ask, path, body, says):
    answer = ask("POST", path, body)
    assert answer[0] == 422, answer
    assert says in detail(answer)


def test_an_unknown_tile_is_named(ask):
    answer = ask("POST", "/api/concept", {"right": [10**9]})
    assert answer[0] == 404
    assert "1000000000" in detail(answer)


def test_folders_stay_hidden_from_others_in_saved_concepts_too(coast, coast_archive):
    permission = Permission(folders=(coast / "scenes",))
    teacher = Teacher(Searcher(Archive.open(coast_archive, mode="r"), permission=permission))
    saved = teacher.save(ConceptRequest(**MARKS))
    assert str(coast) not in saved.decode()
    opened = teacher.open(saved)
    assert (opened.right, opened.wrong, opened.others) == ([12, 93], [40, 200], [])
    judged = teacher.judge(JudgeRequest(**MARKS, kind="best"))
    assert str(coast) not in judged


def test_a_server_that_hides_folders_opens_many_marks_at_once(coast, coast_archive, monkeypatch):
    permission = Permission(folders=(coast / "scenes",))
    archive = Archive.open(coast_archive, mode="r")
    teacher = Teacher(Searcher(archive, permission=permission))
    saved = json.loads(
        teacher.save(ConceptRequest(right=list(range(100)), wrong=list(range(100, 200))))
    )
    saved["marks"][7]["tile"] = 2**40  # a tile that is gone teaches by its code
    reads = []
    tiles = Snapshot.tiles
    monkeypatch.setattr(Snapshot, "tiles", lambda *a: reads.append("tiles") or tiles(*a))
    opened = teacher.open(json.dumps(saved).encode())
    assert sorted(opened.right + opened.wrong) == [*range(7), *range(8, 200)]
    assert len(opened.others) == 1
    assert len(reads) <= 2


def test_marks_of_one_request_hold_codes_of_one_hasher(coast_archive, monkeypatch):
    searcher = Searcher(Archive.open(coast_archive, mode="r"))
    archive = searcher.archive
    former, background = archive.hasher_fingerprint, []
    sample = Snapshot.sample
    monkeypatch.setattr(Snapshot, "sample", lambda *a: background.append(1) or sample(*a))
    teacher = Teacher(searcher)
    state = searcher.state()
    monkeypatch.setattr(searcher, "state", lambda: state)
    refitted = property(lambda still: former if still is state.archive else "0" * 64)
    monkeypatch.setattr(Snapshot, "hasher_fingerprint", refitted)
    monkeypatch.setattr(Archive, "snapshot", lambda _: dataclasses.replace(state.archive))
    sent = {"others": [{"right": True, "code": "00" * 8}], "hasher": former}
    with pytest.raises(HasherMismatchError, match="refitted"):
        teacher.learn(ConceptRequest(**sent))
    assert not background


def test_what_is_kept_of_requests_is_counted_with_all_its_texts(concept, coast_archive):
    computed = Computed(Searcher(Archive.open(coast_archive, mode="r")))
    state = computed.searcher.state()
    body = json.loads(text_of(concept))
    tracemalloc.start()
    for number in range(12):
        body["notes"] = [f"{number}" + "x" * 4000] * 300
        file = json.dumps(body)
        computed.concept(state, ConceptRequest(file=file))
        computed.ranking(state, ConceptRequest(file=file), concept)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    known = sum(one.num_bytes for one in (computed._concepts, computed._rankings))
    assert held < known + len(file)
    assert computed._concepts.num_bytes > 12 * len(file)


def test_tiles_without_a_grid_are_joined_in_smaller_numbers(coast_archive, tmp_path):
    archive = Archive.open(coast_archive, mode="r")
    joiner = Joiner()
    assert joiner.most(Searcher(archive).state()) == joining.MOST_JOINED
    ids = np.arange(324)
    loose = CodeStore.create(tmp_path / "loose", num_bits=64)
    loose.add_codes(archive.codes(ids), archive.tiles(ids).drop(columns="tile_id"))
    state = Searcher(Archive.open(loose.path, mode="r")).state()
    assert joiner.most(state) == joining.MOST_LOOSE < joining.MOST_JOINED


def test_a_download_of_too_many_tiles_names_the_command_line(teacher, monkeypatch):
    monkeypatch.setattr(joining, "MOST_JOINED", 30)
    asked = AreasExportRequest(**MARKS, max_cost=65_535, format="gpkg")
    with pytest.raises(ConceptError, match="324 tiles, more than the 300 .*geohash-rs map"):
        teacher.export(asked)
    monkeypatch.setattr(joining, "FILES", 11)
    assert len(teacher.export(asked)) > 1000


def test_nothing_is_written_to_the_archive(post, ask, coast_archive):
    def state():
        files = sorted(path for path in coast_archive.rglob("*") if path.is_file())
        return [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in files]

    before = state()
    post("/api/concept", **MARKS, **check(post, right=20, count=20))
    post("/api/concept/areas", **MARKS, max_cost=30_000, view=WORLD)
    ask("POST", "/api/concept/save", MARKS)
    ask("POST", "/api/concept/export", {**MARKS, "max_cost": 65_535, "format": "gpkg"})
    assert state() == before


def test_a_search_takes_as_many_marks_as_a_concept_soon_has(post):
    found = post("/api/search", tiles=list(range(150)), negatives=list(range(150, 320)), k=3)
    assert len(found["features"]) == 3
