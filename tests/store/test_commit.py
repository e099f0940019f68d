"""Interrupted commits: whatever was acknowledged, or is already in place, is kept."""

import json
import multiprocessing
import time

import numpy as np
import pytest

from geohash_rs.errors import ArchiveCorruptError, ArchiveFormatError, ArchiveWriteError
from geohash_rs.store import compaction
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk import durable as storage
from geohash_rs.store.disk.durable import replacing, write_file
from geohash_rs.store.disk.locks import ReaderPin, no_readers, write_lock
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.segment.arrays import map_arrays, serialise_arrays
from tests.store.helpers import make_grid

FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture
def archive(tmp_path):
    """An empty archive."""
    return CodeStore.create(tmp_path / "a", num_bits=64)


def add(archive, scene, count=20):
    """Add tiles of a scene, with its record."""
    record = SceneRecord(scene=scene, num_tiles=count)
    frame = make_grid(count, scene=scene)
    return archive.add_codes(np.zeros((count, 8), np.uint8), frame, scenes=[record])


def break_off(monkeypatch, archive, error):
    """Make the folder's sync fail after a new manifest has replaced the old one."""
    real = storage.sync_folder

    def sync(folder):
        if folder == archive.path:
            raise error
        real(folder)

    monkeypatch.setattr(storage, "sync_folder", sync)


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (OSError(5, "Input/output error"), ArchiveWriteError, "the change stands unless the power"),
        (KeyboardInterrupt("now"), KeyboardInterrupt, "now"),
    ],
)
def test_files_of_a_manifest_that_is_in_place_are_kept(archive, monkeypatch, error, raised, text):
    add(archive, "one")
    break_off(monkeypatch, archive, error)
    with pytest.raises(raised, match=text):
        add(archive, "two")
    with pytest.raises(raised, match=text):
        archive.remove_tiles([3])
    with pytest.raises(raised, match=text):
        archive.compact()
    monkeypatch.undo()
    again = CodeStore.open(archive.path)
    assert again.verify().ok
    assert (again.num_tiles, len(again.scenes())) == (39, 2)
    again.compact()
    assert len(again.search(np.zeros((1, 8), np.uint8), k=50).ids[0]) == 39


def test_a_merge_that_cannot_be_written_does_not_fail_the_addition(archive, monkeypatch):
    def full(*_arguments):
        raise ArchiveWriteError(28, "no space left")

    monkeypatch.setattr(compaction, "_joined", full)
    for number in range(compaction.FANOUT + 1):
        assert len(add(archive, f"{number}")) == 20
    assert archive.num_tiles == 20 * 9
    assert archive.verify().ok
    assert not archive.verify().orphans
    monkeypatch.undo()
    add(archive, "last")
    assert len(archive.segments) < compaction.FANOUT
    assert archive.num_tiles == 20 * 10


@FORKS
def test_locks_are_freed_even_if_a_forked_process_lives_on(archive):
    pin = ReaderPin(archive.path)
    archive.close()
    with write_lock(archive.path):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
    try:
        pin.release()
        with no_readers(archive.path) as alone:
            assert alone
        with write_lock(archive.path):
            pass
    finally:
        child.kill()
        child.join()


@FORKS
def test_a_fork_that_releases_a_pin_does_not_release_its_parents(archive):
    pin = ReaderPin(archive.path)
    archive.close()
    child = multiprocessing.get_context("fork").Process(target=pin.release)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    with no_readers(archive.path) as alone:
        assert not alone
    pin.release()


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    with replacing(path) as draft, replacing(path) as other:  # as two processes do
        draft.write_text("first")
        other.write_text("second")
        (other.parent / "journal").touch()
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(TypeError, match="must be str"), replacing(path) as draft:
        draft.write_text(0)  # leaves an empty draft
    with pytest.raises(FileNotFoundError, match="file"), replacing(path):
        pass
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_types_of_a_newer_version_are_not_reported_as_damage(tmp_path):
    path = tmp_path / "index.safetensors"
    write_file(path, serialise_arrays({"boxes": np.zeros(4, np.uint16)}))
    path.write_bytes(path.read_bytes().replace(b'"U16"', b'"F16"'))
    with pytest.raises(ArchiveFormatError, match="holds arrays of type F16.*upgrade with"):
        map_arrays(path)
    length = len(json.dumps({"boxes": None}))
    path.write_bytes(length.to_bytes(8, "little") + json.dumps({"boxes": None}).encode())
    with pytest.raises(ArchiveCorruptError, match=r"damaged header \(TypeError"):
        map_arrays(path)
