"""A power cut at any call of any commit leaves the old state or the new one.

GEOHASH_RS_POWER_CUT=all loses and keeps every change on its own; the default loses all or none.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.records import SceneRecord
from tests.store.helpers import everything, make_grid, make_vectors
from tests.store.power_cut import Disk, write_tree

EVERY = os.environ.get("GEOHASH_RS_POWER_CUT") == "all"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no fsync of folders")


def add(store: CodeStore, scene: str, count: int = 5, **options: object) -> None:
    codes = np.full((count, 8), count, np.uint8)
    record = SceneRecord(scene=scene, num_tiles=count)
    vectors = make_vectors(store, count)
    tiles = make_grid(count, scene=scene)
    store.add_codes(codes, tiles, vectors=vectors, scenes=[record], **options)


def create(root: Path) -> None:
    hasher = HasherFile(data=b"network" * 50, fingerprint="f", num_bits=64)
    CodeStore.create(root / "new" / "deep" / "a", hasher=hasher).close()


def opened(change: Callable[[CodeStore], object]) -> Callable[[Path], None]:
    """Turn a change of an archive into one of the archive in `root / "a"`."""

    def run(root: Path) -> None:
        with CodeStore.open(root / "a") as store:
            change(store)

    return run


def adopt(root: Path) -> None:
    with CodeStore.open(root / "a") as store, CodeStore.open(root / "part") as part:
        store.adopt([part])


def pull(name: str) -> Callable[[Path], None]:
    def run(root: Path) -> None:
        from geohash_rs.engines.cloud import pull

        pull(f"file://{root}/origin", root / name)

    return run


def push(name: str) -> Callable[[Path], None]:
    def run(root: Path) -> None:
        from geohash_rs.engines.cloud import push

        push(root / "origin", f"file://{root}/{name}")

    return run


def some(root: Path, name: str = "a", count: int = 2, keep_vectors: str = "none") -> CodeStore:
    store = CodeStore.create(root / name, num_bits=64, keep_vectors=keep_vectors)
    for number in range(count):
        add(store, f"{number}.tif", 5 + number)
    return store


def nothing(root: Path) -> None:
    del root


def with_part(root: Path) -> None:
    with some(root) as store, CodeStore.create(root / "part", num_bits=64) as part:
        part.reserve_ids(store.reserve_ids(5))
        add(part, "part.tif")


def with_removed(root: Path, keep_vectors: str = "none") -> None:
    with some(root, count=3, keep_vectors=keep_vectors) as store:
        store.remove_tiles([1, 7])
        store.remove_scenes(["2.tif"])


def with_copy(root: Path) -> None:
    with some(root, "origin") as store:
        shutil.copytree(root / "origin", root / "copy")
        store.remove_tiles([1])
        add(store, "more.tif")


def some_of(count: int, keep_vectors: str = "none") -> Callable[[Path], None]:
    return lambda root: some(root, count=count, keep_vectors=keep_vectors).close()


def hashed(root: Path) -> None:
    hasher = HasherFile(data=b"network" * 50, fingerprint="f", num_bits=64)
    CodeStore.create(root / "a", hasher=hasher).close()


def other_hasher(store: CodeStore) -> None:
    store.set_hasher(b"another" * 60, fingerprint="g", num_bits=64)


def new_codes(store: CodeStore) -> None:
    hasher = HasherFile(data=b"another" * 60, fingerprint="g", num_bits=16)
    store.replace_codes(hasher, lambda _, rows: np.full((len(rows), 2), 7, np.uint8))


COMMITS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None], str]] = {
    # what is there, what is done, where to look
    "create": (nothing, create, "new/deep/a"),
    "first add": (some_of(0), opened(lambda store: add(store, "new.tif")), "a"),
    "add": (some_of(2), opened(lambda store: add(store, "new.tif")), "a"),
    "add that merges": (some_of(7), opened(lambda store: add(store, "new.tif")), "a"),
    "add with vectors": (
        some_of(2, "float16"),
        opened(lambda store: add(store, "new.tif", replace_scenes=["0.tif"])),
        "a",
    ),
    "compact with vectors": (
        lambda root: with_removed(root, "int8"),
        opened(lambda store: store.compact()),
        "a",
    ),
    "replace a scene": (
        some_of(2),
        opened(lambda store: add(store, "0.tif", replace_scenes=["0.tif"])),
        "a",
    ),
    "remove tiles": (some_of(2), opened(lambda store: store.remove_tiles([1, 6])), "a"),
    "remove a scene": (some_of(2), opened(lambda store: store.remove_scenes(["1.tif"])), "a"),
    "compact": (with_removed, opened(lambda store: store.compact()), "a"),
    "first hasher": (some_of(0), opened(other_hasher), "a"),
    "other hasher": (hashed, opened(other_hasher), "a"),
    "replace codes": (with_removed, opened(new_codes), "a"),
    "rename scenes": (
        lambda root: with_removed(root, "float16"),
        opened(lambda store: store.rename_scenes({"0.tif": "new/0.tif", "1.tif": "0.tif"})),
        "a",
    ),
    "reserve ids": (some_of(1), opened(lambda store: store.reserve_ids(9)), "a"),
    "attributes": (some_of(1), opened(lambda store: store.update_attrs({"x": 1})), "a"),
    "adopt": (with_part, adopt, "a"),
    "pull": (with_copy, pull("new/deep/b"), "new/deep/b"),
    "pull an update": (with_copy, pull("copy"), "copy"),
    "push": (with_copy, push("new/deep/b"), "new/deep/b"),
    "push an update": (with_copy, push("copy"), "copy"),
}
AGAIN = ("create", "first add", "pull", "pull an update", "push", "push an update")


def folder_for(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Leave out every fsync where nothing is watched."""
    real = os.fsync
    os.fsync = lambda handle: None
    try:
        yield
    finally:
        os.fsync = real


def prepared(name, tmp_path):
    """Make the state before a change; return its folder, the change and the place to compare."""
    if name.startswith(("pull", "push")):
        pytest.importorskip("fsspec")
    prepare, change, place = COMMITS[name]
    root = folder_for(tmp_path / "disk")
    with quick():
        prepare(root)
    return root, change, place


@pytest.mark.parametrize("name", COMMITS)
def test_a_power_cut_leaves_the_old_state_or_the_new_one(name, tmp_path):
    root, change, place = prepared(name, tmp_path)
    old = everything(root / place)
    disk = Disk(root, every=EVERY)
    with disk.watched():
        change(root)
    new = everything(root / place)
    found = set()
    for states, allowed in ((disk.states, {repr(old), repr(new)}), (disk.after(), {repr(new)})):
        for state, when in states.items():
            copy = folder_for(tmp_path / "copy")
            write_tree(state, copy)
            left = repr(everything(copy / place))
            assert left in allowed, f"{name}: {when}"
            found.add(left)
    disk.close()
    assert found == {repr(old), repr(new)}
    assert disk.calls > 5


@pytest.mark.parametrize("name", AGAIN)
def test_a_change_repeated_after_a_kill_survives_a_power_cut(name, tmp_path):
    root, change, place = prepared(name, tmp_path)
    old = everything(root / place)
    disk = Disk(root, every=False)
    with disk.watched():
        change(root)
    disk.close()
    step = 1 if EVERY else max(1, len(disk.moments) // 6)
    for number, moment in enumerate(disk.moments[::step]):
        root = folder_for(tmp_path / "disk")  # the same path: that of the copy's origin
        write_tree({path: content for path, (content, *_) in moment.items()}, root)
        if everything(root / place) != old:
            break
        again = Disk(root, every=False)
        again.resume(moment)
        with again.watched(keep=False):
            change(root)
        new = everything(root / place)
        assert new != old
        for state in again.after():
            copy = folder_for(tmp_path / "copy")
            write_tree(state, copy)
            assert everything(copy / place) == new, f"{name}: killed before call {number}"
        again.close()
    assert number > 1


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "parquet", "csv"])
def test_a_power_cut_leaves_the_old_export_or_the_new_one(ending, tmp_path):
    from geohash_rs.export.formats import write

    root = folder_for(tmp_path / "disk")
    path = root / f"tiles.{ending}"
    write(make_grid(3), path)
    old = path.read_bytes()
    disk = Disk(root, every=EVERY)
    with disk.watched():
        write(make_grid(9), path)
    new = path.read_bytes()
    assert {dict(state)[path.name] for state in disk.states} == {old, new}
    assert {dict(state)[path.name] for state in disk.after()} == {new}
    disk.close()


def replace_without_fsync(path: Path) -> None:
    draft = path.with_name("draft")
    draft.write_bytes(b"new")
    draft.replace(path)


def replace_without_the_folder(path: Path) -> None:
    draft = path.with_name("draft")
    with draft.open("wb") as file:
        file.write(b"new")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (replace_without_fsync, {b"old", b"", b"n"}),
        (replace_without_the_folder, {b"old", b"new"}),
    ],
)
def test_a_missing_fsync_shows(change, left, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    disk = Disk(tmp_path, every=False)
    with disk.watched():
        change(path)
    assert {dict(state)[path.name] for state in disk.after()} == left
    disk.close()
