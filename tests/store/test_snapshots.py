"""What an object sees while other threads and processes write, merge and refresh."""

import gc
import threading
from collections.abc import Callable

import numpy as np
import pytest

from geohash_rs.retrieval.query import query_of_tile
from geohash_rs.retrieval.search import retrieve
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.files import FolderFiles
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import where_in
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.snapshot import Snapshot
from tests.store.helpers import make_grid

ZERO = np.zeros((1, 8), np.uint8)


@pytest.fixture
def archive(tmp_path):
    """An archive of three segments, one for each of the scenes 0, 1 and 2."""
    made = CodeStore.create(tmp_path / "a", num_bits=64)
    for scene in range(3):
        renew(made, str(scene))
    return made


def renew(archive: CodeStore, scene: str) -> np.ndarray:
    """Replace the tiles of a scene."""
    frame = make_grid(30, scene=scene)
    return archive.add_codes(np.zeros((30, 8), np.uint8), frame, replace_scenes=[scene])


def together(*jobs: Callable[[], None]) -> None:
    """Run jobs in threads and raise the first error."""
    raised: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def test_matches_come_from_one_state_even_if_the_archive_changes(archive, monkeypatch):
    reader = CodeStore.open(archive.path, mode="r")
    query = query_of_tile(reader, 0)
    find = Snapshot.find

    def find_then_move(self, *arguments, **options):
        found = find(self, *arguments, **options)
        renew(archive, "0")
        archive.compact()
        reader.refresh()
        return found

    monkeypatch.setattr(Snapshot, "find", find_then_move)
    with reader.one_state() as still:
        matches = retrieve(still, query, limits=Limits(k=90), where=Where())
    assert matches["tile_id"].tolist() == list(range(90))
    assert reader.codes([90]).shape == (1, 8)


def test_a_refresh_does_not_undo_what_another_thread_has_written(archive, monkeypatch):
    read, written = threading.Event(), threading.Event()
    real = FolderFiles.read_manifest

    def read_slowly(self):
        manifest = real(self)
        read.set()
        written.wait(1)
        return manifest

    def write():
        read.wait(5)
        renew(archive, "new")
        written.set()

    monkeypatch.setattr(FolderFiles, "read_manifest", read_slowly)
    together(archive.refresh, write)
    assert len(archive) == 120


def test_files_are_kept_while_somebody_iterates_over_them(archive):
    tiles, boxes = archive.iter_tiles(), archive.boxes()
    seen = [set(next(tiles)["scene"]), len(next(boxes)[0])]
    renew(archive, "2")
    archive.remove_scenes(["1"])
    archive.compact()
    assert len(archive.segments) == 1
    assert archive.verify().orphans
    assert seen + [set(frame["scene"]) for frame in tiles] == [{"0"}, 30, {"1"}, {"2"}]
    assert [len(ids) for ids, _ in boxes] == [30, 30]
    archive.compact()
    assert not archive.verify().orphans


def test_a_snapshot_held_only_by_garbage_keeps_no_files(archive):
    gc.disable()
    try:
        cycle = [archive.snapshot()]
        cycle.append(cycle)
        del cycle
        archive.remove_scenes(["1"])
        archive.compact()
        assert not archive.verify().orphans
    finally:
        gc.enable()


def test_threads_that_search_refresh_and_write_do_not_disturb_each_other(archive):
    reader = CodeStore.open(archive.path, mode="r")
    ended = threading.Event()

    def write():
        try:
            for number in range(24):
                renew(archive, str(number % 3))
                if number % 4 == 3:
                    archive.compact()
        finally:
            ended.set()

    def refresh():
        while not ended.is_set():
            reader.refresh()

    def ask(asked: CodeStore) -> Callable[[], None]:
        def job() -> None:
            while not ended.is_set():
                still = asked.snapshot()
                first = int(still.search(ZERO, k=1).ids[0, 0])
                matches = retrieve(
                    still, query_of_tile(still, first), limits=Limits(k=100), where=Where()
                )
                assert sorted(matches["scene"]) == sorted(["0", "1", "2"] * 30)
                assert sum(len(frame) for frame in still.iter_tiles()) == 90

        return job

    together(write, refresh, ask(reader), ask(archive), ask(reader))
    reader.close()
    archive.compact()
    assert not archive.verify().orphans


def test_scenes_named_in_full_are_found_without_listing_all_and_the_list_is_made_once(
    archive, monkeypatch
):
    listed = []
    read = Segment.removed_rows
    monkeypatch.setattr(
        Segment, "removed_rows", lambda self: (listed.append(self.entry.name), read(self))[1]
    )
    archive.remove_tiles([0])  # of scene 0, which keeps 29
    listed.clear()
    assert where_in(archive, scenes=["1", "2"]).scenes == {"1", "2"}
    assert listed == []
    for _ in range(2):
        assert where_in(archive, scenes=["0", "1", "x"]).scenes == {"0", "1", "x"}
    assert listed == [archive.manifest.segments[0].name]
    archive.remove_tiles(range(1, 30))
    assert where_in(archive, scenes=["0"]).scenes == {"0"}
    assert set(archive.scene_names()) == {"1", "2"}
    renew(archive, "/d/0")  # now the end of a path, since no tile has this name
    assert where_in(archive, scenes=["0"]).scenes == {"/d/0"}
