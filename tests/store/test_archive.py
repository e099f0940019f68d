"""CodeStore as a user sees it."""

import shutil

import numpy as np
import pytest

from geohash_rs.codes import hamming_distances
from geohash_rs.errors import (
    ArchiveExistsError,
    ArchiveNotFoundError,
    QueryError,
    TileNotFoundError,
)
from geohash_rs.store import creation
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.manifest import MOST_ANCESTORS, Manifest, SegmentEntry
from geohash_rs.store.disk.manifest_file import read_manifest
from geohash_rs.store.disk.records import SceneRecord
from tests.store.helpers import make_grid


def random_codes(count: int, *, num_bits: int = 64, seed: int = 0) -> np.ndarray:
    """Draw random codes."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, num_bits // 8), dtype=np.uint8)


def test_tiles_come_back_as_they_were_added(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=64)
    frame, codes = make_grid(100), random_codes(100)
    ids = archive.add_codes(codes, frame)
    again = CodeStore.open(tmp_path / "a", mode="r")
    rows = again.tiles(ids)
    assert rows["tile_id"].tolist() == ids.tolist()
    assert rows["col"].tolist() == frame["col"].tolist()
    assert (rows.geometry.to_wkb() == frame.geometry.to_wkb()).all()
    assert (again.codes(ids) == codes).all()


def test_search_ranks_by_distance_then_id(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=64)
    codes = random_codes(100)
    ids = archive.add_codes(codes, make_grid(100))
    found = archive.search(codes[:3], k=7)
    distances = hamming_distances(codes[:3], codes)
    for query in range(3):
        order = np.lexsort((ids, distances[query]))[:7]
        assert found.ids[query].tolist() == ids[order].tolist()
        assert found.distances[query].tolist() == distances[query][order].tolist()


def test_replacing_a_scene_leaves_only_its_new_tiles(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=64)
    old = archive.add_codes(random_codes(9), make_grid(9), scenes=[SceneRecord(scene="scene.tif")])
    record = SceneRecord(scene="scene.tif", width=128, settings={"tile_size": 64})
    new = archive.add_codes(
        random_codes(4), make_grid(4), scenes=[record], replace_scenes=["scene.tif"]
    )
    assert len(archive) == 4
    assert archive.scenes() == [record]
    assert set(archive.search(random_codes(1), k=99).ids[0]) == set(new)
    with pytest.raises(TileNotFoundError, match=f"no tile with id {old[0]}"):
        archive.tiles(old[:1])


def test_a_string_is_not_taken_for_many_scenes(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=64)
    archive.add_codes(random_codes(9), make_grid(9))
    for ask in (
        lambda: archive.search(random_codes(1), scenes="scene.tif"),
        lambda: archive.search(random_codes(1), labels="farm"),
        lambda: archive.remove_scenes("scene.tif"),
        lambda: archive.add_codes(random_codes(9), make_grid(9), replace_scenes="scene.tif"),
        lambda: archive.adopt([], replace_scenes="scene.tif"),
    ):
        with pytest.raises(QueryError, match=r"is the string .* must be a collection"):
            ask()
    assert len(archive) == 9


def test_create_refuses_a_folder_in_use(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ArchiveExistsError, match="exists and is not empty"):
        CodeStore.create(tmp_path, num_bits=64)
    with pytest.raises(ArchiveNotFoundError, match="is not an archive"):
        CodeStore.open(tmp_path)
    archive = CodeStore.create(tmp_path / "a", num_bits=64)
    with pytest.raises(ArchiveExistsError, match="exists and is not empty"):
        CodeStore.create(archive.path, num_bits=64)


@pytest.mark.parametrize("fingerprint", ["sha256:0123", "../away", "a/b"])
def test_a_fingerprint_that_cannot_be_a_file_name_is_refused_before_anything_is_written(
    tmp_path, fingerprint
):
    made = HasherFile(data=b"hasher", fingerprint=fingerprint, num_bits=64)
    with pytest.raises(QueryError, match="cannot be part of a file name; pass letters"):
        CodeStore.create(tmp_path / "new", hasher=made)
    CodeStore.create(
        tmp_path / "new", num_bits=64
    )  # the remains of the failed creation do not matter
    archive = CodeStore.create(tmp_path / "a", num_bits=64)
    with pytest.raises(QueryError, match=f"the fingerprint '{fingerprint}' cannot be part"):
        archive.set_hasher(b"hasher", fingerprint=fingerprint, num_bits=64)
    assert CodeStore.open(archive.path).manifest == archive.manifest


@pytest.mark.parametrize("broken", ["write_lock", "with_hasher", "commit_manifest"])
def test_an_interrupted_creation_can_be_repeated(tmp_path, monkeypatch, broken):
    def interrupt(*_arguments):
        raise KeyboardInterrupt(broken)

    hasher = HasherFile(data=b"weights", fingerprint="f" * 64, num_bits=64)
    monkeypatch.setattr(creation, broken, interrupt)
    with pytest.raises(KeyboardInterrupt, match=broken):
        CodeStore.create(tmp_path / "a", hasher=hasher)
    monkeypatch.undo()
    draft = tmp_path / "a" / "manifest.json.01234567.tmp"
    draft.mkdir()
    (draft / "manifest.json").write_text("{")
    assert creation.is_unused(tmp_path / "a")
    archive = CodeStore.create(tmp_path / "a", hasher=hasher)
    assert (archive.manifest.generation, archive.hasher_fingerprint) == (0, "f" * 64)
    assert not creation.is_unused(tmp_path / "a")
    archive.compact()
    assert archive.verify().ok
    assert not archive.verify().orphans


def test_a_folder_that_another_process_fills_is_not_touched(tmp_path, monkeypatch):
    made = creation.create_locks

    def make_both(folder):
        made(folder)
        monkeypatch.undo()
        CodeStore.create(folder, num_bits=32)

    monkeypatch.setattr(creation, "create_locks", make_both)
    with pytest.raises(ArchiveExistsError, match="another process has just created"):
        CodeStore.create(tmp_path / "a", num_bits=64)
    assert CodeStore.open(tmp_path / "a").num_bits == 32


def test_a_state_knows_the_commits_that_it_descends_from(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=64)
    states = [archive.manifest]
    for _ in range(3):
        archive.add_codes(random_codes(5), make_grid(5))
        states.append(archive.manifest)
    shutil.copytree(archive.path, tmp_path / "b")
    archive.add_codes(random_codes(5), make_grid(5))
    other = CodeStore.open(tmp_path / "b")
    other.add_codes(random_codes(5), make_grid(5))
    for state in states:
        assert archive.manifest.comes_from(state.generation, state.commit) is True
        assert other.manifest.comes_from(state.generation, state.commit) is True
    mine, theirs = archive.manifest, other.manifest
    assert mine.generation == theirs.generation == 4
    assert mine.comes_from(4, mine.commit) is True
    assert mine.comes_from(4, theirs.commit) is False
    assert states[2].comes_from(4, mine.commit) is False
    assert read_manifest(archive.path) == mine


def test_a_state_remembers_a_bounded_number_of_commits():
    first = state = Manifest(generation=7, commit="first")
    for _ in range(MOST_ANCESTORS):
        state = state.following()
    assert state.comes_from(first.generation, first.commit) is True
    state = state.following()
    assert len(state.ancestors) == MOST_ANCESTORS
    assert state.comes_from(first.generation, first.commit) is None
    assert state.comes_from(first.generation + 1, first.commit) is False


def test_attrs_are_read_back_as_json_values(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=64, attrs={"years": {2023: 1}})
    archive.update_attrs({"classes": {9: "farm", 10: "sea"}, "pair": (1, 2)})
    expected = {"years": {"2023": 1}, "classes": {"9": "farm", "10": "sea"}, "pair": [1, 2]}
    assert archive.attrs == expected
    assert CodeStore.open(archive.path).attrs == expected
    with pytest.raises(QueryError, match="cannot be stored as JSON.*int64"):
        archive.update_attrs({"count": np.int64(3)})


def test_the_bounds_and_times_of_a_state_cover_all_its_segments():
    def segment(name: str, **extent):
        counts = {"num_tiles": 1, "num_removed": 0, "first_id": 0, "last_id": 0}
        return SegmentEntry(name=name, sequential=True, files=(), **counts, **extent)

    assert (Manifest().bounds, Manifest().times) == (None, None)
    nowhere = segment("a", bounds=None, times=None)
    west = segment("b", bounds=(-179.0, 0.0, -178.0, 1.0), times=(1_000_001, 9_000_000))
    east = segment("c", bounds=(178.0, -2.0, 179.0, 0.0), times=(-1, 5))
    state = Manifest(segments=(nowhere, west, east))
    assert state.bounds == (178.0, -2.0, 182.0, 1.0)
    assert [str(moment) for moment in state.times] == [
        "1969-12-31T23:59:59.999999",
        "1970-01-01T00:00:09.000000",
    ]
    assert (Manifest(segments=(nowhere,)).bounds, Manifest(segments=(nowhere,)).times) == (
        None,
        None,
    )
