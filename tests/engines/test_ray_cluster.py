"""Connecting to a cluster, starting workers, and work that kills one worker after another."""

import os
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from geohash_rs.errors import EngineError, EngineUnreachableError
from geohash_rs.store.code_store import CodeStore
from tests.engines.conftest import NODE
from tests.engines.random_archive import RandomArchive, make_archive

pytest.importorskip("ray")

from ray import exceptions  # noqa: E402 - after the skip

from geohash_rs.engines.ray import RayArchive, cluster  # noqa: E402
from geohash_rs.engines.ray import search as ray_search  # noqa: E402

# Ray bundles psutil, which can be imported only after ray
LOCAL = """
import os
from geohash_rs.engines.ray.cluster import STAY_LOCAL, connect
connect("local")
import psutil, ray
os.environ.get(STAY_LOCAL) is None or print("left in the environment")
print(*(node["NodeManagerAddress"] for node in ray.nodes()))
me = psutil.Process()
for process in (me, *me.children(recursive=True)):
    for one in process.net_connections("inet"):
        if one.status == psutil.CONN_LISTEN:
            print("listens", one.laddr.ip)
"""
CLIENT = """
import sys
import numpy as np
from geohash_rs.engines.ray import RayArchive
with RayArchive.open(sys.argv[1], address=sys.argv[2], num_actors=2) as archive:
    queries = archive.codes(archive.search(np.zeros((1, 8), np.uint8), k=3).ids[0])
    found = archive.search(queries, k=10)
    print(found.ids.tolist())
    archive.close()
    print(np.array_equal(archive.search(queries, k=10).ids, found.ids))
"""


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> RandomArchive:
    return make_archive(tmp_path_factory.mktemp("archive") / "archive", seed=4, sizes=(900, 800))


def run(code: str, *words: str) -> list[str]:
    """Run Python as a user would, without the settings of these tests."""
    settings = {name: os.environ[name] for name in os.environ if name != cluster.STAY_LOCAL}
    words = (sys.executable, "-c", code, *words)
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, env=settings, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_local_cluster_is_on_the_loopback_address_only() -> None:
    nodes, *sockets = run(LOCAL)
    assert nodes == "127.0.0.1"
    assert len(sockets) >= 3
    assert set(sockets) <= {"listens 127.0.0.1", "listens ::ffff:127.0.0.1"}


def test_a_local_cluster_that_others_could_reach_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = []
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", lambda **_: None)
    monkeypatch.setattr(cluster.ray, "nodes", lambda: [{"NodeManagerAddress": "192.0.2.7"}])
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: ended.append(True))
    with pytest.raises(EngineError, match=r"started on 192\.0\.2\.7, where other machines could"):
        cluster.connect("local")
    assert ended == [True]


def test_the_client_address_works_too(truth: RandomArchive, ray_cluster: Any) -> None:
    embedded = CodeStore.open(truth.folder, mode="r")
    queries = embedded.codes(embedded.search(np.zeros((1, 8), np.uint8), k=3).ids[0])
    expected = embedded.search(queries, k=10).ids.tolist()
    assert run(CLIENT, str(truth.folder), ray_cluster.client_address) == [str(expected), "True"]


@pytest.mark.parametrize("failures", [2, 3])
def test_a_client_whose_server_died_as_it_started_is_served_by_another(
    monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    tries = []

    def init(**_: Any) -> None:
        tries.append(True)
        if len(tries) <= failures:
            msg = (
                "Initialization failure from server:\nTraceback\nRuntimeError: It did not start.\n"
            )
            raise ConnectionAbortedError(msg)

    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"ray://127.0.0.1:{server.getsockname()[1]}"
        if failures < 3:
            cluster.connect(address)
        else:
            with pytest.raises(
                EngineUnreachableError,
                match=r"^the Ray .* 3 times, .* RuntimeError: It did not start\. .*FORK_SUPPORT=0",
            ):
                cluster.connect(address)
    assert len(tries) == 3


def test_a_worker_killed_for_lack_of_memory_counts_as_lost(
    truth: RandomArchive, ray_cluster: Any, second_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def result_of(call: Any) -> Any:
        calls.append(call)
        if len(calls) == 1:
            raise exceptions.OutOfMemoryError("memory on the node was 95 % used")
        return cluster.result_of(call)

    monkeypatch.setattr(ray_search, "result_of", result_of)
    query = truth.codes[:2]
    with RayArchive.open(truth.folder, num_actors=2) as archive:
        found = archive.search(query, k=15)
    assert len(calls) == 3
    with CodeStore.open(truth.folder, mode="r") as embedded:
        assert np.array_equal(found.ids, embedded.search(query, k=15).ids)


class Mortal(ray_search.Searcher):
    """A worker that dies of one share, as of a file that was truncated while mapped."""

    def search(self, share: int, codes: Any, *asked: Any) -> Any:
        """Die, or search."""
        if share == 1:
            os._exit(1)
        return super().search(share, codes, *asked)


def test_segments_that_kill_every_worker_are_reported(
    truth: RandomArchive, ray_cluster: Any, second_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_search, "Searcher", Mortal)
    with RayArchive.open(truth.folder, num_actors=2) as archive:
        (entry,) = ray_search.share_out(archive.manifest, 2)[1].segments
        with pytest.raises(
            EngineError, match=f"^3 workers in a row died while searching segments {entry.name}"
        ):
            archive.search(truth.codes[:1])


class Broken:
    """A worker whose node lacks a library."""

    def __init__(self) -> None:
        msg = "libsomething.so.7 is missing"
        raise OSError(msg)

    def ready(self) -> bool:
        """Never."""
        return True


class Idle:
    """A worker that reports which GPUs it sees."""

    def ready(self) -> bool:
        """Answer."""
        return True

    def gpus(self) -> str:
        """Return the GPUs that Ray makes visible."""
        return os.environ["CUDA_VISIBLE_DEVICES"]


def test_the_reason_why_no_worker_starts_is_reported(ray_cluster: Any, second_node: Any) -> None:
    pool = cluster.Pool(Broken, 2)
    with pytest.raises(
        EngineError,
        match=r"all 2 workers failed to start, the last one with: .*libsomething\.so\.7 is missing",
    ):
        pool.fill()


def test_workers_on_gpus_get_one_each(ray_cluster: Any, second_node: Any) -> None:
    with pytest.raises(EngineError, match="2 cores and no GPU; start its nodes with"):
        cluster.num_workers(gpu=True)
    node = ray_cluster.add_node(**NODE, num_gpus=1)
    try:
        ray_cluster.wait_for_nodes()
        assert cluster.num_workers(gpu=True) == 1
        pool = cluster.Pool(Idle, 1, gpu=True)
        pool.fill()
        assert cluster.result_of(pool.ready[0].gpus.remote()) == "0"
        pool.close()
    finally:
        ray_cluster.remove_node(node)
