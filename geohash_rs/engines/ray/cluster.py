"""Connect to a Ray cluster, start actors on it, and detect lost ones."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

import ray
from ray import exceptions
from ray._private import ray_constants

from geohash_rs.errors import EngineError, EngineUnreachableError, GeoHashRSError, one_line

__all__ = ["LOST", "TRIES", "Actor", "Pool", "connect", "num_workers", "result_of"]

Actor = Any  # Ray's handles are untyped

# Errors of a call whose actor, node or stored result is gone.
LOST = (
    exceptions.RayActorError,
    exceptions.NodeDiedError,
    exceptions.WorkerCrashedError,
    exceptions.ObjectLostError,
    exceptions.OutOfMemoryError,  # Ray's memory monitor killed the worker
)
TRIES = 3  # workers that may die of one piece of work
REACH_SECONDS = 10.0
CLIENT_TRIES = 3  # to connect by ray://
START_SECONDS = 120.0  # for an actor to import its packages on a busy machine
FOLLOW_SECONDS = 10.0  # for the other actors after the first
LOOPBACK = "127.0.0.1"
# Turning this off keeps Ray from replacing 127.0.0.1 by this machine's network address:
# https://github.com/ray-project/ray/blob/ray-2.40.0/python/ray/_private/services.py
STAY_LOCAL = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def connect(address: str | None) -> None:
    """Connect this process to a cluster unless it is already connected.

    Args:
        address: "ray://HOST:10001", "HOST:6379", "auto" for the cluster running on this machine,
            or "local" (also None) for one that lives as long as this process.

    Raises:
        EngineUnreachableError: If no cluster answers here, or it cannot serve this client.
        EngineError: If other machines could reach the local cluster, which is then stopped.
    """
    if ray.is_initialized():
        return
    # a cluster that starts here reports nothing to Ray's makers and asks no cloud where it runs:
    # https://docs.ray.io/en/latest/cluster/usage-stats.html
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address in (None, "local"):
            with _on_loopback():
                ray.init(
                    address="local", include_dashboard=False, _node_ip_address=LOOPBACK, **options
                )
            _check_loopback()
            return
        _check_port(str(address))
        _init(str(address), options)
    except (EngineError, EngineUnreachableError):  # a RuntimeError and a ConnectionError as well
        raise
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        msg = (
            f"no Ray cluster answers at {address}: {one_line(error)}. Start one with "
            "'ray start --head', or pass 'local' for this machine alone."
        )
        raise EngineUnreachableError(msg) from error


def _init(address: str, options: dict[str, Any]) -> None:
    """Connect to a running cluster, a few times where its server for this client fails to start.

    The cluster forks that server from a process with threads of gRPC, and sometimes the new process
    dies before it runs any of its own code: https://github.com/ray-project/ray/issues/63202

    Raises:
        EngineUnreachableError: If none of the servers started.
    """
    for _ in range(CLIENT_TRIES):
        try:
            ray.init(address=address, **options)
        except ConnectionAbortedError as error:  # Ray has ended its side of the connection
            last = error
        else:
            return
    reason = str(last).strip().splitlines()[-1].strip()
    msg = (
        f"the Ray cluster at {address} failed to serve this client {CLIENT_TRIES} times, the last "
        f"time with: {reason} Read the logs on the head node; if they are empty, start it with "
        "'GRPC_ENABLE_FORK_SUPPORT=0 ray start --head'."
    )
    raise EngineUnreachableError(msg)


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Make Ray start on the loopback address: anyone who reaches a cluster can run code on it.

    Ray reads the setting on import, and again in the processes that it starts.
    """
    constant, setting = ray_constants.ENABLE_RAY_CLUSTER, os.environ.get(STAY_LOCAL)
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ[STAY_LOCAL] = "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if setting is None:
            del os.environ[STAY_LOCAL]
        else:
            os.environ[STAY_LOCAL] = setting


def _check_loopback() -> None:
    """Stop a cluster that does not listen on the loopback address alone.

    Raises:
        EngineError: If it was stopped.
    """
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    others = {node["NodeManagerAddress"] for node in nodes} - {LOOPBACK}
    if others:
        ray.shutdown()
        msg = (
            f"Ray {ray.__version__} started on {', '.join(sorted(others))}, where other machines "
            f"could reach it, not on {LOOPBACK}; it was stopped. Set {STAY_LOCAL}=0 before Python "
            "starts, or start a cluster yourself and pass its address."
        )
        raise EngineError(msg)


def _check_port(address: str) -> None:
    """Try the port first: Ray itself would retry for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()


def num_workers(*, gpu: bool = False) -> int:
    """Return the number of workers that the cluster has room for, at least one.

    Args:
        gpu: Whether each worker needs its own GPU.

    Returns:
        One per core or, with `gpu`, one per GPU.

    Raises:
        EngineError: If a GPU is needed and the cluster has none.
    """
    if gpu and not _units("GPU"):
        msg = (
            f"each worker needs a GPU, but the cluster has {_units('CPU')} cores and no GPU; start "
            "its nodes with 'ray start --num-gpus', or pass device 'cpu'."
        )
        raise EngineError(msg)
    return max(1, _units("GPU" if gpu else "CPU"))


def _units(kind: str, *, free: bool = False) -> int:
    found = ray.available_resources() if free else ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(found.get(kind, 0))


def result_of(call: Any) -> Any:  # noqa: ANN401, DOC501 - whatever the worker returns or raises
    """Wait for the result of a call.

    Args:
        call: Ray's reference to it.

    Returns:
        What the worker returned.

    Raises:
        RayTaskError: The worker's error; an error of this package is raised directly instead,
            without Ray's traceback in its message.
    """
    try:
        return ray.get(call)
    except exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, GeoHashRSError):
            raise cause from None
        raise


class Pool:
    """Actors with one core each, both ready and still starting.

    Args:
        kind: A class with a method `ready`.
        count: Number of actors to aim for.
        *args: Arguments of the class.
        gpu: Whether each actor needs its own GPU.
        **named: Its arguments by name.
    """

    def __init__(self, kind: Any, count: int, *args: Any, gpu: bool = False, **named: Any) -> None:  # noqa: ANN401 - any class
        self.count = count
        self._unit = "GPU" if gpu else "CPU"
        self._last_error: BaseException | None = None
        self.ready: list[Actor] = []
        self._starting: dict[Any, Actor] = {}
        self._args, self._named = args, named
        self._kind = ray.remote(
            num_cpus=1, num_gpus=int(gpu), max_restarts=0, scheduling_strategy="SPREAD"
        )(kind)

    def fill(self) -> None:
        """Start missing actors if the cluster has room; wait only if no actor is ready.

        Raises:
            EngineError: If no actor could be started.
        """
        missing = self.count - len(self.ready) - len(self._starting)
        if self.ready and missing > 0:
            missing = min(missing, _units(self._unit, free=True))
        for _ in range(missing):
            actor = self._kind.remote(*self._args, **self._named)
            self._starting[actor.ready.remote()] = actor
        if not self._starting:
            return
        if self.ready:
            self._welcome(wanted=len(self._starting), seconds=0)
            return
        self._welcome(wanted=1, seconds=START_SECONDS)
        if self._starting:  # the others should be ready soon
            self._welcome(wanted=len(self._starting), seconds=FOLLOW_SECONDS)
        if not self.ready:
            self.close()
            raise EngineError(self._why_none())

    def _why_none(self) -> str:
        if self._last_error is not None:
            lines = str(self._last_error).strip().splitlines() or [type(self._last_error).__name__]
            return (
                f"all {self.count} workers failed to start, the last one with: "
                f"{lines[-1].strip()}. Fix this on the nodes; see Ray's logs there."
            )
        return (
            f"the cluster started none of {self.count} workers within {START_SECONDS:.0f} s; of "
            f"its {_units(self._unit)} {self._unit}s, {_units(self._unit, free=True)} are free. "
            "Free some, or add a node."
        )

    def _welcome(self, *, wanted: int, seconds: float) -> None:
        done, _ = ray.wait(list(self._starting), num_returns=wanted, timeout=seconds)
        for ref in done:
            actor = self._starting.pop(ref)
            try:
                result_of(ref)
            except LOST as error:
                self._last_error = error
            else:
                self.ready.append(actor)

    def lose(self, actor: Actor) -> None:
        """Kill an actor that did not answer, and drop it."""
        ray.kill(actor)
        self.ready = [one for one in self.ready if one is not actor]

    def close(self) -> None:
        """Stop all actors."""
        for actor in [*self.ready, *self._starting.values()]:
            ray.kill(actor)
        self.ready, self._starting = [], {}
