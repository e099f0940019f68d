"""Search on a real cluster of two nodes: lost nodes, lost actors, refused input."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geohash_rs.errors import (
    ArchiveCorruptError,
    ArchiveNotFoundError,
    CodeLengthError,
    EngineMissingError,
    EngineUnreachableError,
    QueryError,
)
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from tests.engines.conftest import NODE
from tests.engines.random_archive import RandomArchive, make_archive, make_codes

pytest.importorskip("ray")

from geohash_rs.engines.ray import RayArchive  # noqa: E402 - after the skip
from geohash_rs.engines.ray.cluster import connect  # noqa: E402
from geohash_rs.engines.ray.search import merge_results, share_out  # noqa: E402


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> RandomArchive:
    folder = tmp_path_factory.mktemp("archive") / "archive"
    return make_archive(folder, seed=1, sizes=(4000, 3000, 600, 500))


def same(mine: Any, theirs: Any) -> bool:
    return np.array_equal(mine.ids, theirs.ids) and np.array_equal(mine.distances, theirs.distances)


def test_shares_hold_every_segment_once_and_are_of_similar_size(truth: RandomArchive) -> None:
    manifest = CodeStore.open(truth.folder, mode="r").manifest
    shares = share_out(manifest, 2)
    names = [entry.name for share in shares for entry in share.segments]
    assert sorted(names) == sorted(entry.name for entry in manifest.segments)
    sizes = [sum(entry.num_tiles for entry in share.segments) for share in shares]
    assert max(sizes) <= 4600
    assert len(share_out(manifest, 100)) == len(manifest.segments)


def test_merged_results_are_sorted_with_ties_by_id_and_without_gaps() -> None:
    first = (np.array([[5, 9, -1], [-1, -1, -1]]), np.array([[1, 2, -1], [-1, -1, -1]], np.int32))
    second = (np.array([[3, 4], [8, -1]]), np.array([[1, 3], [0, -1]], np.int32))
    found = merge_results([first, second], k=3)
    assert found.ids.tolist() == [[3, 5, 9], [8, -1, -1]]
    assert found.distances.tolist() == [[1, 1, 2], [0, -1, -1]]
    assert merge_results([first, second], k=None).ids.tolist() == [[3, 5, 9, 4], [8, -1, -1, -1]]


def test_a_node_killed_between_or_during_searches_does_not_change_the_results(
    truth: RandomArchive, ray_cluster: Any, second_node: Any
) -> None:
    queries = make_codes(np.random.default_rng(3), 50, 64)
    embedded = CodeStore.open(truth.folder, mode="r")
    expected = embedded.search(queries, k=30)
    expected_all = embedded.search(queries[:2], k=None, max_distance=64)
    with RayArchive.open(truth.folder, num_actors=2) as archive:
        assert same(archive.search(queries, k=30), expected)
        searchers = archive._searchers
        assert searchers is not None
        assert len(searchers.pool.ready) == 2
        killer = threading.Timer(0.02, ray_cluster.remove_node, [second_node])
        killer.start()
        rounds = 0
        while killer.is_alive() or rounds < 5:
            assert same(archive.search(queries, k=30), expected)
            rounds += 1
        killer.join()
        deadline = time.monotonic() + 90
        while len(searchers.pool.ready) == 2 and time.monotonic() < deadline:
            assert same(archive.search(queries, k=30), expected)
        assert len(searchers.pool.ready) == 1
        assert same(archive.search(queries[:2], k=None, max_distance=64), expected_all)
        ray_cluster.add_node(**NODE)
        while len(searchers.pool.ready) == 1 and time.monotonic() < deadline + 90:
            assert same(archive.search(queries, k=30), expected)
        assert len(searchers.pool.ready) == 2


def test_a_growing_archive_is_searched_completely(ray_cluster: Any, tmp_path: Path) -> None:
    truth = make_archive(tmp_path / "archive", seed=2, sizes=(300, 200))
    query = truth.codes[:3]
    with RayArchive.open(truth.folder, num_actors=1) as archive:
        before = archive.search(query, k=40)
        writer = CodeStore.open(truth.folder)
        tiles = truth.tiles.drop(columns="tile_id").iloc[:50]
        ids = writer.add_codes(np.repeat(query[:1], 50, axis=0), tiles)
        assert same(archive.search(query, k=40), before)
        archive.refresh()
        assert np.isin(archive.search(query, k=40).ids[0], ids).sum() >= 39
        assert same(archive.search(query, k=40), writer.search(query, k=40))


def test_a_refitted_archive_is_searched_as_it_was_until_it_is_refreshed(
    ray_cluster: Any, tmp_path: Path
) -> None:
    truth = make_archive(tmp_path / "archive", seed=2, sizes=(300, 200))
    query, rng = truth.codes[:3], np.random.default_rng(0)
    with RayArchive.open(truth.folder, num_actors=1) as archive:
        before = archive.search(query, k=40)
        writer = CodeStore.open(truth.folder)
        hasher = HasherFile(data=b"network", fingerprint="other", num_bits=128)
        writer.replace_codes(hasher, lambda _, rows: make_codes(rng, len(rows), 128))
        assert same(archive.search(query, k=40), before)
        archive.refresh()
        assert archive.num_bits == 128
        with pytest.raises(CodeLengthError, match="64 bits"):
            archive.search(query, k=40)
        more = make_codes(rng, 3, 128)
        assert same(archive.search(more, k=40), writer.search(more, k=40))


def test_a_damaged_segment_is_reported_not_skipped(ray_cluster: Any, tmp_path: Path) -> None:
    truth = make_archive(tmp_path / "archive", seed=2, sizes=(300, 200))
    file = next((truth.folder / "segments").glob("*/codes.bin"))
    file.write_bytes(file.read_bytes()[:-8])
    with (
        RayArchive.open(truth.folder, num_actors=1) as archive,
        pytest.raises(ArchiveCorruptError, match=r"^[^\n]*codes\.bin has \d+ bytes but"),
    ):
        archive.search(truth.codes[:1])


def test_what_cannot_be_opened_is_refused(
    truth: RandomArchive, ray_cluster: Any, tmp_path: Path
) -> None:
    with pytest.raises(ArchiveNotFoundError, match="is not an archive"):
        RayArchive.open(tmp_path)
    with pytest.raises(QueryError, match="num_actors is 0"):
        RayArchive.open(truth.folder, num_actors=0)


UNREACHABLE = """
from geohash_rs.engines.ray.cluster import connect
for address in ("ray://127.0.0.1:1", "127.0.0.1:1"):
    try:
        connect(address)
    except ConnectionError as error:
        print(type(error).__name__, error)
"""
BLOCKED = """
import sys
sys.modules["ray"] = None
try:
    import geohash_rs.engines.ray
except ImportError as error:
    print(type(error).__name__, error)
"""
EMBEDDED = """
import sys
import geohash_rs.cli, geohash_rs.cli.index, geohash_rs.cli.query, geohash_rs.archive
found = {"ray", "psycopg"} & set(sys.modules)
print("engines:", sorted(name for name in sys.modules if name.startswith("geohash_rs.engines")))
print("packages:", sorted(found))
"""


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def test_a_cluster_that_does_not_answer_is_reported_at_once() -> None:
    found = run(UNREACHABLE).splitlines()
    assert len(found) == 2
    for line, address in zip(found, ("ray://127.0.0.1:1", "127.0.0.1:1"), strict=True):
        assert line.startswith(
            f"{EngineUnreachableError.__name__} no Ray cluster answers at {address}"
        )
        assert "ray start --head" in line


def test_a_missing_package_names_the_extra() -> None:
    found = run(BLOCKED)
    assert found.startswith(EngineMissingError.__name__)
    assert 'pip install "geohash-rs[ray]"' in found


def test_local_archives_import_no_engine() -> None:
    assert run(EMBEDDED).splitlines() == ["engines: []", "packages: []"]


def test_connecting_twice_does_nothing_more(ray_cluster: Any) -> None:
    connect("local")
    connect("ray://127.0.0.1:1")
