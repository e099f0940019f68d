"""A real PostgreSQL with PostGIS, and a real Ray cluster of two nodes."""

import logging
import os
import socket
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ground import mosaic, write

# Ray replaces 127.0.0.1 by the machine's network address unless this is set:
# https://github.com/ray-project/ray/blob/master/python/ray/_private/services.py
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
# Ray's workers run at low priority by default, so that they stall on a busy machine:
# https://docs.ray.io/en/latest/ray-core/configure.html
os.environ.setdefault("RAY_worker_niceness", "0")
# A client's server has 30 s to start; on a busy machine its imports alone may take that long:
# https://github.com/ray-project/ray/blob/master/python/ray/util/client/server/proxier.py
os.environ.setdefault("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "120")
# That server is forked from a process with threads of gRPC, whose handlers for forks sometimes end
# it before it runs any code of its own: https://github.com/ray-project/ray/issues/63202
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

POSTGRES = "GEOHASH_RS_TEST_POSTGRES"
NODE = {
    "num_cpus": 1,
    "node_ip_address": "127.0.0.1",
    "include_dashboard": False,
    "object_store_memory": 80_000_000,
}
NO_POSTGRES = (
    f"{POSTGRES} is not set; start a server with "
    f"'export {POSTGRES}=$(.ci/postgres start /tmp/geohash-rs-postgres)' "
    "(Debian: postgresql-15 postgresql-15-postgis-3)"
)


@pytest.fixture(scope="package")
def postgres_server() -> str:
    """Return the address of the server, for a superuser."""
    dsn = os.environ.get(POSTGRES)
    if not dsn:
        pytest.skip(NO_POSTGRES)
    return dsn


@pytest.fixture(scope="package")
def empty_database(postgres_server: str) -> Iterator[str]:
    """Return the address of a database without PostGIS."""
    yield from new_database(postgres_server, [])


@pytest.fixture(scope="package")
def postgis(postgres_server: str) -> Iterator[str]:
    """Return the address of a database with PostGIS in its own schema."""
    statements = ["CREATE SCHEMA gis", "CREATE EXTENSION postgis SCHEMA gis"]
    yield from new_database(postgres_server, statements)


@pytest.fixture(scope="module")
def plain(postgres_server: str) -> Iterator[str]:
    """Return the address of a database with PostGIS and nothing else installed."""
    yield from new_database(postgres_server, ["CREATE EXTENSION postgis"])


def new_database(server: str, statements: list[str]) -> Iterator[str]:
    import psycopg
    from psycopg import conninfo, sql

    name = f"geohash_rs_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        dsn = conninfo.make_conninfo(server, dbname=name)
        with psycopg.connect(dsn, autocommit=True) as inside:
            for statement in statements:
                inside.execute(statement)
        yield dsn
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="package")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight small scenes from different days."""
    folder = tmp_path_factory.mktemp("scenes")
    for day in range(1, 8):
        write(folder / f"a_2023060{day}.tif", mosaic(3, 2, day))
    write(folder / "b_20230601.tif", mosaic(2, 2, 9), crs="EPSG:32634")
    return folder


@pytest.fixture(scope="package")
def ray_cluster() -> Iterator[Any]:
    """Start a Ray cluster of two nodes of one core each on the loopback address."""
    ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'geohash-rs[ray]'")
    from ray.cluster_utils import Cluster

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = {**NODE, "ray_client_server_port": port}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(**NODE)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        cluster.client_address = f"ray://127.0.0.1:{port}"
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def second_node(ray_cluster: Any) -> Any:
    """Return the node that a test may kill; it is replaced for the next test."""
    import ray

    if len(ray_cluster.list_all_nodes()) < 2:
        ray_cluster.add_node(**NODE)
        ray_cluster.wait_for_nodes()
    last = time.monotonic() + 120
    while ray.available_resources().get("CPU", 0) < 2:  # actors of other tests are stopping
        assert time.monotonic() < last, "actors of another test still hold a core"
        time.sleep(0.1)
    return next(node for node in ray_cluster.list_all_nodes() if node is not ray_cluster.head_node)


@pytest.fixture
def table() -> str:
    """Return the name of a table that no other test uses."""
    return f"tiles_{uuid.uuid4().hex[:8]}"
