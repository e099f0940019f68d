"""RayArchive: an archive on shared storage whose search is spread over a cluster."""

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from geohash_rs.archive import Archive
from geohash_rs.engines.ray.cluster import connect
from geohash_rs.engines.ray.search import Searchers
from geohash_rs.errors import QueryError
from geohash_rs.store.disk.files import ArchiveFiles, FolderFiles
from geohash_rs.store.search.asked import Asked, num_queries
from geohash_rs.store.search.nearest import Limits, SearchResult
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable, check_asked
from geohash_rs.store.snapshot import Answers, Snapshot

__all__ = ["RayArchive"]


class RayArchive(Archive):
    """An archive that all nodes can read; every search is spread over their cores.

    Implements `Searchable`. Each actor maps some segments and runs the same kernel on one core; if
    an actor is lost, another takes over its segments within the same call. This process reads
    rows, scenes and hasher itself. For an archive in object storage, each actor fetches only the
    segments that it searches, into a cache on its node.

    >>> archive = RayArchive.open("/shared/archive", address="ray://head:10001")  # doctest: +SKIP
    >>> archive.query("patch.tif", k=20).to_file("matches.geojson")  # doctest: +SKIP
    """

    _searchers: Searchers | None = None

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        mode: Literal["r", "a"] = "r",
        address: str | None = None,
        num_actors: int | None = None,
        cache: str | os.PathLike[str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Open an archive and connect to a cluster.

        Args:
            path: The archive's folder, at this path on every node; or its address in object
                storage, such as "s3://bucket/archive", which every node must reach.
            mode: As in `Archive.open`; only "r" in object storage.
            address: "ray://HOST:10001", "HOST:6379", "auto", or "local" (also None) for a cluster
                on this machine that ends with this process.
            num_actors: Search actors, one core each; None uses all cores of the cluster.
            cache: Cache folder on each node; None uses one in the user's cache folder.
            options: Arguments of the storage's file system, as in `geohash_rs.engines.cloud.pull`.

        Returns:
            The archive; actors start with the first search.

        Raises:
            ArchiveNotFoundError: If there is no archive at this path.
            EngineMissingError: If object storage needs a package that is not installed.
            EngineError: If the address of the storage cannot be used.
            EngineUnreachableError: If the cluster or the storage does not answer.
            QueryError: If `num_actors` is less than 1, or an archive in object storage is opened
                for writing.
        """
        if num_actors is not None and num_actors < 1:
            msg = f"num_actors is {num_actors}, but it must be at least 1; None uses all cores."
            raise QueryError(msg)
        files: ArchiveFiles
        if "://" in (place := os.fspath(path)):
            if mode != "r":
                msg = (
                    f"mode is {mode!r}, but {place} can only be read; pull it, add to the folder, "
                    "and push the folder."
                )
                raise QueryError(msg)
            from geohash_rs.engines.cloud.cache import cached_files

            files = cached_files(place, cache=cache, options=options)
            archive = cls.over(files)
        else:
            archive = super().open(path, mode=mode)
            files = FolderFiles(archive.path.resolve())
        connect(address)
        archive._searchers = Searchers(files, count=num_actors)
        return archive

    def close(self) -> None:
        """Stop the actors and release the opened state."""
        if self._searchers is not None:
            self._searchers.close()
            self._searchers = None  # later searches run in this process
        super().close()

    def one_state(self) -> contextlib.AbstractContextManager[Searchable]:
        """Run several queries against one state; see `Searchable.one_state`."""
        if self._searchers is None:
            return super().one_state()
        return contextlib.nullcontext(Spread(still=self.snapshot(), searchers=self._searchers))


@dataclass(frozen=True, kw_only=True)
class Spread(Answers):
    """A state whose search is spread over actors; this process reads everything else.

    Attributes:
        still: The state.
        searchers: The actors.
    """

    still: Snapshot
    searchers: Searchers

    @property
    def path(self) -> Path:  # type: ignore[override]  # the contract has an attribute
        """The archive's folder."""
        return self.still.path

    def snapshot(self) -> Snapshot:
        """Return the state, for searching in this process."""
        return self.still

    def one_state(self) -> contextlib.AbstractContextManager[Searchable]:
        """Run several queries against this state."""
        return contextlib.nullcontext(self)

    def find(self, asked: Asked, *, limits: Limits, where: Where) -> SearchResult:
        """Search on all actors; see `Searchable.find`.

        Raises:
            EngineError: If no actor can be started.
        """
        asked = check_asked(self, asked)
        if limits.num_threads is None:
            limits = dataclasses.replace(limits, num_threads=1)  # an actor reserves one core
        if not self.still.segments or not num_queries(asked):
            return self.still.find(asked, limits=limits, where=where)
        return self.searchers.search(self.still.manifest, asked, limits=limits, where=where)
