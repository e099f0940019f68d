"""Reach a Ray cluster, start actors on it, and tell which of them are lost."""

import contextlib
import logging
import socket
from typing import Any

import ray
from ray import exceptions

from geohash_rs.errors import EngineError, EngineUnreachableError, GeoHashRSError, one_line

__all__ = ["LOST", "Actor", "Pool", "connect", "free_cores", "num_cores", "result_of"]

Actor = Any  # Ray's handles are untyped

# What a call raises when its actor, its node, or the result that lay there is gone.
LOST = (
    exceptions.RayActorError,
    exceptions.NodeDiedError,
    exceptions.WorkerCrashedError,
    exceptions.ObjectLostError,
)
REACH_SECONDS = 10.0
START_SECONDS = 120.0  # until an actor has imported its packages, on a busy machine
FOLLOW_SECONDS = 10.0  # between the first actor and the others


def connect(address: str | None) -> None:
    """Connect this process to a cluster, unless it is connected already.

    Args:
        address: "ray://HOST:10001", "HOST:6379", "auto" for the cluster that runs on this machine,
            or "local" (also None) for one that lives as long as this process.

    Raises:
        EngineUnreachableError: If no cluster answers there.
    """
    if ray.is_initialized():
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address in (None, "local"):
            # on the loopback address: nobody else is to reach it
            ray.init(
                address="local", include_dashboard=False, _node_ip_address="127.0.0.1", **options
            )
            return
        _check_port(str(address))
        ray.init(address=address, **options)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        msg = (
            f"no Ray cluster answers at {address}: {one_line(error)}. Start one with "
            "'ray start --head', or pass 'local' for this machine alone."
        )
        raise EngineUnreachableError(msg) from error


def _check_port(address: str) -> None:
    """Ask the port at once: Ray itself goes on trying for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()


def num_cores() -> int:
    """Count the cores of the cluster, at least one."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]


def free_cores() -> int:
    """Count the cores of the cluster that no actor holds."""
    return int(ray.available_resources().get("CPU", 0))  # type: ignore[no-untyped-call]


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
    """

    def __init__(self, kind: Any, count: int, *args: Any) -> None:  # noqa: ANN401 - any class
        self.count = count
        self.ready: list[Actor] = []
        self._starting: dict[Any, Actor] = {}
        self._args = args
        self._kind = ray.remote(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")(kind)

    def fill(self) -> None:
        """Start what is missing where the cluster has cores; wait only if no actor is ready.

        Raises:
            EngineError: If none could be started.
        """
        missing = self.count - len(self.ready) - len(self._starting)
        if self.ready and missing > 0:
            missing = min(missing, free_cores())
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
            msg = (
                f"the cluster started none of {self.count} workers within {START_SECONDS:.0f} s; "
                f"it has {num_cores()} cores, {free_cores()} of them free. Free some, or add a "
                "node."
            )
            raise EngineError(msg)

    def _welcome(self, *, wanted: int, seconds: float) -> None:
        done, _ = ray.wait(list(self._starting), num_returns=wanted, timeout=seconds)
        for ref in done:
            actor = self._starting.pop(ref)
            with contextlib.suppress(*LOST):
                ray.get(ref)
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
