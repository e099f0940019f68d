"""Reach a Ray cluster, start actors on it, and tell which of them are lost."""

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

# What a call raises when its actor, its node, or the result that lay there is gone.
LOST = (
    exceptions.RayActorError,
    exceptions.NodeDiedError,
    exceptions.WorkerCrashedError,
    exceptions.ObjectLostError,
    exceptions.OutOfMemoryError,  # Ray's monitor ended the worker, before the kernel would
)
TRIES = 3  # workers that one piece of work may outlive
REACH_SECONDS = 10.0
CLIENT_TRIES = 3  # to connect by ray://
START_SECONDS = 120.0  # until an actor has imported its packages, on a busy machine
FOLLOW_SECONDS = 10.0  # between the first actor and the others
LOOPBACK = "127.0.0.1"
# Off, it keeps Ray from taking 127.0.0.1 for another name of this machine's address in the network:
# https://github.com/ray-project/ray/blob/ray-2.40.0/python/ray/_private/services.py
STAY_LOCAL = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def connect(address: str | None) -> None:
    """Connect this process to a cluster, unless it is connected already.

    Args:
        address: "ray://HOST:10001", "HOST:6379", "auto" for the cluster that runs on this machine,
            or "local" (also None) for one that lives as long as this process.

    Raises:
        EngineUnreachableError: If no cluster answers there, or it cannot serve this client.
        EngineError: If the local one could be reached from other machines; it is ended again.
    """
    if ray.is_initialized():
        return
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
    """Let Ray start on the loopback address: whoever reaches a cluster may run code there.

    Ray reads the setting when it is imported, and again in the processes that it starts.
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
    """End a cluster that did not stay on the loopback address.

    Raises:
        EngineError: If it did not.
    """
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    others = {node["NodeManagerAddress"] for node in nodes} - {LOOPBACK}
    if others:
        ray.shutdown()
        msg = (
            f"Ray {ray.__version__} started on {', '.join(sorted(others))}, where other machines "
            f"could reach it, not on {LOOPBACK}; it was ended. Set {STAY_LOCAL}=0 before Python "
            "starts, or start a cluster yourself and pass its address."
        )
        raise EngineError(msg)


def _check_port(address: str) -> None:
    """Ask the port at once: Ray itself goes on trying for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()


def num_workers(*, gpu: bool = False) -> int:
    """Count the workers that the cluster has room for, at least one.

    Args:
        gpu: Whether each needs a GPU of its own.

    Returns:
        One for each core or, with `gpu`, each GPU.

    Raises:
        EngineError: If a GPU is needed and the cluster has none.
    """
    if gpu and not _units("GPU"):
        msg = (
            f"a GPU for each worker was asked for, but the cluster has {_units('CPU')} cores and "
            "no GPU; start its nodes with 'ray start --num-gpus', or pass device 'cpu'."
        )
        raise EngineError(msg)
    return max(1, _units("GPU" if gpu else "CPU"))


def _units(kind: str, *, free: bool = False) -> int:
    found = ray.available_resources() if free else ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(found.get(kind, 0))


def result_of(call: Any) -> Any:  # noqa: ANN401, DOC501 - whatever the worker gives or raises
    """Wait for a call.

    Args:
        call: Ray's reference to it.

    Returns:
        What the worker returned.

    Raises:
        RayTaskError: What the worker raised; an error of this package is raised as it is, without
            Ray's traceback in its message.
    """
    try:
        return ray.get(call)
    except exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, GeoHashRSError):
            raise cause from None
        raise


class Pool:
    """Actors of one core each: those that are ready, and those that are still starting.

    Args:
        kind: A class with a method `ready`.
        count: How many are wanted.
        *args: Arguments of the class.
        gpu: Whether each actor needs a GPU of its own.
    """

    def __init__(self, kind: Any, count: int, *args: Any, gpu: bool = False) -> None:  # noqa: ANN401 - any class
        self.count = count
        self._unit = "GPU" if gpu else "CPU"
        self._last_error: BaseException | None = None
        self.ready: list[Actor] = []
        self._starting: dict[Any, Actor] = {}
        self._args = args
        self._kind = ray.remote(
            num_cpus=1, num_gpus=int(gpu), max_restarts=0, scheduling_strategy="SPREAD"
        )(kind)

    def fill(self) -> None:
        """Start what is missing where the cluster has room; wait only if no actor is ready.

        Raises:
            EngineError: If none could be started.
        """
        missing = self.count - len(self.ready) - len(self._starting)
        if self.ready and missing > 0:
            missing = min(missing, _units(self._unit, free=True))
        for _ in range(missing):
            actor = self._kind.remote(*self._args)
            self._starting[actor.ready.remote()] = actor
        if not self._starting:
            return
        if self.ready:
            self._welcome(wanted=len(self._starting), seconds=0)
            return
        self._welcome(wanted=1, seconds=START_SECONDS)
        if self._starting:  # the others are about as far
            self._welcome(wanted=len(self._starting), seconds=FOLLOW_SECONDS)
        if not self.ready:
            self.close()
            raise EngineError(self._why_none())

    def _why_none(self) -> str:
        if self._last_error is not None:
            lines = str(self._last_error).strip().splitlines() or [type(self._last_error).__name__]
            return (
                f"each of {self.count} workers failed as it started, the last one with: "
                f"{lines[-1].strip()}. Mend that on the nodes; Ray's logs there tell more."
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
        """Forget an actor that did not answer, and make sure that it answers nobody else."""
        ray.kill(actor)
        self.ready = [one for one in self.ready if one is not actor]

    def close(self) -> None:
        """End all actors."""
        for actor in [*self.ready, *self._starting.values()]:
            ray.kill(actor)
        self.ready, self._starting = [], {}
