"""Spread the segments of an archive over actors, search them all, and recover lost ones."""

import dataclasses
import heapq
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ray

from geohash_rs.engines.ray.cluster import LOST, TRIES, Actor, Pool, num_workers, result_of
from geohash_rs.errors import EngineError
from geohash_rs.store.disk.files import ArchiveFiles
from geohash_rs.store.disk.locks import ReaderPin
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.search.asked import Asked
from geohash_rs.store.search.keys import NO_KEY, keys_of
from geohash_rs.store.search.nearest import Limits, SearchResult, result_of_keys
from geohash_rs.store.search.where import Where
from geohash_rs.store.snapshot import Snapshot

__all__ = ["Searchers", "merge_results", "share_out"]

Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]


class Searcher:
    """One actor: maps the segments of its shares and scans them on one core."""

    def __init__(self) -> None:
        self._shares: dict[int, Snapshot] = {}

    def ready(self) -> bool:
        """Return True once the packages are imported."""
        return True

    def take(self, share: int, files: ArchiveFiles, manifest: Manifest) -> None:
        """Open a share of an archive and release its earlier state."""
        old = self._shares.pop(share, None)
        if old is not None:
            old.pin.release()
        pin = ReaderPin(files.folder)
        self._shares[share] = Snapshot.of(files.folder, manifest, pin=pin, files=files)

    def search(self, share: int, asked: Asked, limits: Limits, where: Where) -> Found:
        """Search a share in the same way as a local archive."""
        found = self._shares[share].find(asked, limits=limits, where=where)
        return found.ids, found.distances


class Searchers:
    """The actors of one archive. The shares of a lost actor go to others, or to a new one.

    Args:
        files: The archive's files, which every node can reach.
        count: Number of actors; None uses one per core of the cluster.
    """

    def __init__(self, files: ArchiveFiles, *, count: int | None = None) -> None:
        self.files = files
        self.pool = Pool(Searcher, num_workers() if count is None else count)
        self._placed: dict[int, Actor] = {}  # the actor that holds each share
        self._manifest: Manifest | None = None
        self._shares: list[Manifest] = []
        self._asking = threading.Lock()  # one search at a time uses all actors

    def close(self) -> None:
        """Stop the actors."""
        self.pool.close()
        self._placed = {}

    def search(
        self,
        manifest: Manifest,
        asked: Asked,
        *,
        limits: Limits,
        where: Where,
    ) -> SearchResult:
        """Search every share, retry those of lost actors, and merge the results.

        Args:
            manifest: The state to search.
            asked: Packed codes, uint8, shape (queries, bits / 8), or the weights of one query.
            limits: How many matches, and how near.
            where: The filters.

        Returns:
            The same result as from a local archive.

        Raises:
            EngineError: If no actor can be started, or several die of one share.
        """
        with self._asking:
            return self._search(manifest, asked, limits, where)

    def _search(
        self, manifest: Manifest, asked: Asked, limits: Limits, where: Where
    ) -> SearchResult:
        if manifest is not self._manifest:
            self._manifest, self._shares = manifest, share_out(manifest, self.pool.count)
            self._placed = {}
        found: dict[int, Found] = {}
        losses: Counter[int] = Counter()
        sent = ray.put(asked)
        while missing := [share for share in range(len(self._shares)) if share not in found]:
            self.pool.fill()
            self._spread()
            calls = {share: self._ask(share, sent, limits, where) for share in missing}
            for share, (actor, call) in calls.items():
                try:
                    found[share] = result_of(call)
                except LOST:
                    self._lose(actor)
                    losses[share] += 1
            self._check_losses(losses)
        return merge_results([found[share] for share in sorted(found)], k=limits.k)

    def _ask(self, share: int, asked: Any, limits: Limits, where: Where) -> tuple[Actor, Any]:  # noqa: ANN401 - a reference of Ray's
        actor = self._placed.get(share)
        if actor is None:
            actor = min(self.pool.ready, key=lambda one: list(self._placed.values()).count(one))
            self._placed[share] = actor
            actor.take.remote(share, self.files, self._shares[share])
        return actor, actor.search.remote(share, asked, limits, where)

    def _spread(self) -> None:
        """Take surplus shares away from overloaded actors, so that new ones get them."""
        fair = -(-len(self._shares) // len(self.pool.ready))
        for actor in self.pool.ready:
            held = [share for share, holder in self._placed.items() if holder is actor]
            for share in held[fair:]:
                del self._placed[share]

    def _check_losses(self, losses: Counter[int]) -> None:
        """Stop if a share keeps killing actors.

        Raises:
            EngineError: If `TRIES` actors died of a share.
        """
        for share, count in losses.items():
            if count >= TRIES:
                names = [entry.name for entry in self._shares[share].segments]
                some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
                msg = (
                    f"{count} workers in a row died while searching segments {some} of "
                    f"{self.files.folder}: perhaps a file was cut short while being read, or a "
                    "node ran out of memory. Run 'geohash-rs verify', and see Ray's logs."
                )
                raise EngineError(msg)

    def _lose(self, actor: Actor) -> None:
        self.pool.lose(actor)
        self._placed = {share: one for share, one in self._placed.items() if one is not actor}


def share_out(manifest: Manifest, count: int) -> list[Manifest]:
    """Divide the segments of a state into shares with similar numbers of tiles.

    Args:
        manifest: The state.
        count: Largest number of shares.

    Returns:
        Copies of the state with some of its segments each; no share is empty.
    """
    shares: list[list[Any]] = [[] for _ in range(count)]
    loads = [(0, number) for number in range(count)]
    for entry in sorted(manifest.segments, key=lambda item: -item.num_tiles):
        load, number = heapq.heappop(loads)
        shares[number].append(entry)
        heapq.heappush(loads, (load + entry.num_tiles, number))
    return [
        dataclasses.replace(manifest, segments=tuple(sorted(share, key=lambda e: e.first_id)))
        for share in shares
        if share
    ]


def merge_results(parts: Sequence[Found], *, k: int | None) -> SearchResult:
    """Merge the results of the same queries over disjoint sets of tiles.

    Args:
        parts: Ids and distances of each set, shape (queries, found), -1 after the last match.
        k: Matches per query, or None for all.

    Returns:
        The nearest of all, ties by lowest tile id.
    """
    sets = [np.where(ids < 0, NO_KEY, keys_of(far, ids)) for ids, far in parts]
    keys = np.sort(np.concatenate(sets, axis=1), axis=1, kind="stable")  # merges sorted sets
    return result_of_keys([row[row != NO_KEY][:k] for row in keys])
