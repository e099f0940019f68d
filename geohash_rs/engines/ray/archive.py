"""RayArchive: an archive that all nodes reach, whose search is spread over a cluster."""

import os
from collections.abc import Collection, Mapping
from typing import Any, Literal, Self

from geohash_rs.archive import Archive
from geohash_rs.codes import check_codes
from geohash_rs.engines.ray.cluster import connect
from geohash_rs.engines.ray.search import Searchers
from geohash_rs.errors import QueryError
from geohash_rs.store.disk.files import ArchiveFiles, FolderFiles
from geohash_rs.store.reading import Codes, Ids
from geohash_rs.store.search.filters import (
    RegionLike,
    TimeLike,
    parse_names,
    parse_region,
    parse_time,
)
from geohash_rs.store.search.nearest import SearchResult, check_limits

__all__ = ["RayArchive"]


class RayArchive(Archive):
    """An archive that all nodes reach; every search is spread over their cores.

    Satisfies `Searchable`. Each actor maps some segments and runs the same
    kernel on one core; a lost actor's segments go to another one within the same call. Rows,
    scenes and hasher are read here. Of an archive in object storage, each actor fetches the
    segments that it searches, and no others, into a cache of its node.

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
            path: The archive's folder, under this path on every node; or its address in object
                storage, such as "s3://bucket/archive", which every node reaches.
            mode: As in `Archive.open`; only "r" in object storage.
            address: "ray://HOST:10001", "HOST:6379", "auto", or "local" (also None) for a cluster
                on this machine that ends with this process.
            num_actors: Actors that search, one core each; None for all cores of the cluster.
            cache: Where each node keeps what it fetched; its user's cache folder if None.
            options: Arguments of the storage's file system, as in `geohash_rs.engines.cloud.pull`.

        Returns:
            The archive; actors start with the first search.

        Raises:
            ArchiveNotFoundError: If no archive is there.
            EngineMissingError: If object storage needs a package that is not installed.
            EngineError: If the address of the storage cannot be used.
            EngineUnreachableError: If no cluster answers, or no storage.
            QueryError: If `num_actors` is less than 1, or an archive in object storage is opened
                for writing.
        """
        if num_actors is not None and num_actors < 1:
            msg = f"num_actors is {num_actors}, but it must be at least 1; None chooses."
            raise QueryError(msg)
        files: ArchiveFiles
        if "://" in (place := os.fspath(path)):
            if mode != "r":
                msg = (
                    f"mode is {mode!r}, but {place} can only be read where it lies; pull it, add "
                    "to the folder, and push that."
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
        """End the actors and let go of the opened state."""
        if self._searchers is not None:
            self._searchers.close()
            self._searchers = None  # a search after this is an embedded one
        super().close()

    def search(
        self,
        codes: Codes,
        *,
        k: int | None = 20,
        max_distance: int | None = None,
        region: RegionLike | None = None,
        time: TimeLike | None = None,
        scenes: Collection[str] | None = None,
        labels: Collection[str] | None = None,
        within: bool = False,
        exclude_region: RegionLike | None = None,
        exclude_ids: Ids | None = None,
        num_threads: int | None = None,
    ) -> SearchResult:
        """Find the tiles whose codes differ least; see `Searchable.search`.

        Args:
            codes: Query codes, uint8, shape (queries, bits / 8).
            k: Matches for each query; None for all within `max_distance`.
            max_distance: The largest Hamming distance that counts, inclusive.
            region: Where tiles must be.
            time: When tiles must have been taken.
            scenes: Only tiles of these scenes.
            labels: Only tiles with these labels.
            within: Whether footprints must lie inside of the region.
            exclude_region: No tiles that share ground with this region.
            exclude_ids: No tiles with these ids.
            num_threads: Threads of each actor; one if None, as an actor reserves one core.

        Returns:
            What the embedded archive finds.

        Raises:
            CodeLengthError: If the codes have another number of bits, or are no packed codes.
            QueryError: If k, `max_distance` or `num_threads` has no meaning, or scenes or
                labels are one text.
            RegionError: If a region is empty, invalid or outside the globe.
            TimeRangeError: If the time range cannot be read or is turned round.
            ArchiveCorruptError: If a file is missing or cut short.
            EngineError: If no actor can be started.
        """
        options: dict[str, Any] = {
            "k": k,
            "max_distance": max_distance,
            "region": region,
            "time": time,
            "scenes": None if scenes is None else parse_names(scenes, what="scenes"),
            "labels": None if labels is None else parse_names(labels, what="labels"),
            "within": within,
            "exclude_region": exclude_region,
            "exclude_ids": exclude_ids,
            "num_threads": 1 if num_threads is None else num_threads,
        }
        searchers = self._searchers
        if searchers is None or not self.manifest.segments or not len(codes):
            return super().search(codes, **options)
        check_limits(k, max_distance)  # bad input costs no call
        for place in (region, exclude_region):
            if place is not None:
                parse_region(place)
        if time is not None:
            parse_time(time)
        queries = check_codes(codes, num_bits=self.num_bits or 0, what="query codes")
        return searchers.search(self.manifest, queries, options)
