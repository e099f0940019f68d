"""Search an archive in object storage: what a search needs is fetched once, into a cache."""

import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from geohash_rs.engines.cloud.store import Options, Store
from geohash_rs.store.disk.durable import FileEntry
from geohash_rs.store.disk.manifest import Manifest

if TYPE_CHECKING:  # it imports torch, which workers that search do without
    from geohash_rs.archive import Archive

__all__ = ["CachedFiles", "cached_files", "open_archive"]


@dataclass(frozen=True, kw_only=True)
class CachedFiles:
    """The files of an archive in object storage, each fetched when first asked for.

    Can be sent to other machines, each of which has a cache of its own. A file lies in the cache
    under its checksum, so that what was fetched from an earlier archive at this address is never
    taken for a file of the present one. Nothing is deleted from a cache.

    Attributes:
        url: Such as "s3://bucket/archive".
        options: Arguments of the file system.
        cache: The folder; a folder of this address in the user's cache if None.
    """

    url: str
    options: Options = field(default_factory=dict, repr=False)  # may hold keys
    cache: Path | None = None

    @property
    def folder(self) -> Path:
        """Where files are fetched to on this machine."""
        if self.cache is not None:
            return self.cache
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        name = self.url.rstrip("/").rpartition("/")[2]
        return Path(home) / "geohash_rs" / f"{name}-{zlib.crc32(self.url.encode()):08x}"

    def read_manifest(self) -> Manifest:
        """Read the newest state; see `geohash_rs.store.disk.files.ArchiveFiles`."""
        return Store(self.url, self.options).state()

    def find(self, name: str, entry: FileEntry) -> Path:
        """Return a file, fetching it if it is not here yet; see `ArchiveFiles`."""
        folder = self.folder / Path(name).parent / f"{entry.crc32:08x}-{entry.size}"
        path = folder / entry.name
        Store(self.url, self.options).fetch(name, path, entry)
        return path


def open_archive(
    url: str,
    *,
    cache: str | os.PathLike[str] | None = None,
    options: Options | None = None,
) -> "Archive":
    """Open an archive in object storage for searching; only its manifest is read at once.

    A search fetches codes and index of the segments that it has to look into, in whole, and rows of
    matches fetch the tables of the segments that these lie in. All of it stays in the cache. To
    add scenes, `pull` the archive, add there and `push`.

    Args:
        url: Such as "s3://bucket/archive"; any file system of fsspec.
        cache: Folder for what is fetched; one in the user's cache folder if None.
        options: Arguments of the file system, such as ``endpoint_url``; keys are best left to the
            places where the provider's own tools look for them.

    Returns:
        The archive, open for reading.

    Raises:
        ArchiveNotFoundError: If no archive is there.
        ArchiveFormatError: If a newer version of this package wrote it.
        ArchiveCorruptError: If its manifest is damaged.
        EngineError: If the address cannot be used.
        EngineUnreachableError: If the storage does not answer or refuses.
    """
    from geohash_rs.archive import Archive

    return Archive.over(cached_files(url, cache=cache, options=options))


def cached_files(
    url: str,
    *,
    cache: str | os.PathLike[str] | None = None,
    options: Options | None = None,
) -> CachedFiles:
    """Give the files of an archive in object storage; see `open_archive`."""
    place = None if cache is None else Path(cache).absolute()
    return CachedFiles(url=url, options=dict(options or {}), cache=place)
