"""Search an archive in object storage; files are fetched into a cache as searches need them."""

import os
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from geohash_rs.engines.cloud.store import Options, Store
from geohash_rs.store.disk.durable import FileEntry
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.plain import plain_path

if TYPE_CHECKING:  # it imports torch, which search workers do not need
    from geohash_rs.archive import Archive

__all__ = ["CachedFiles", "cached_files", "open_archive"]


@dataclass(frozen=True, kw_only=True)
class CachedFiles:
    """The files of an archive in object storage, each fetched on first use.

    Can be sent to other machines, each of which has its own cache. Files are cached under their
    checksums, so files of an earlier archive at this address are never mistaken for current ones.
    Nothing is ever deleted from a cache.

    Attributes:
        url: Such as "s3://bucket/archive".
        options: Arguments of the file system.
        cache: The cache folder; None uses a folder for this address in the user's cache.
    """

    url: str = field(repr=False)  # may hold keys
    options: Options = field(default_factory=dict, repr=False)  # may hold keys
    cache: Path | None = None

    @property
    def folder(self) -> Path:
        """The cache folder on this machine."""
        if self.cache is not None:
            return self.cache
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        last = urlsplit(self.url).path.rstrip("/").rpartition("/")[2]
        name = re.sub(r"[^0-9A-Za-z._-]", "_", last)
        return Path(home) / "geohash_rs" / f"{name}-{zlib.crc32(self.url.encode()):08x}"

    def read_manifest(self) -> Manifest:
        """Read the newest state; see `geohash_rs.store.disk.files.ArchiveFiles`."""
        return Store(self.url, self.options).state()

    def find(self, name: str, entry: FileEntry) -> Path:
        """Return the path of a file, fetching it if it is not cached; see `ArchiveFiles`.

        Raises:
            ArchiveCorruptError: If a link or a pipe is in its place in the cache.
        """
        place = f"{Path(name).parent.as_posix()}/{entry.crc32:08x}-{entry.size}/{entry.name}"
        path = plain_path(self.folder, place.removeprefix("./"))
        Store(self.url, self.options).fetch(name, path, entry)
        return path


def open_archive(
    url: str,
    *,
    cache: str | os.PathLike[str] | None = None,
    options: Options | None = None,
) -> "Archive":
    """Open an archive in object storage for searching; only its manifest is read at first.

    A search fetches the whole codes and index of every segment that it scans; reading the rows of
    matches fetches the tables of their segments. All of it stays in the cache. To add scenes,
    `pull` the archive, add to the folder and `push` it.

    Args:
        url: Such as "s3://bucket/archive"; any file system of fsspec.
        cache: Cache folder; None uses one in the user's cache folder.
        options: Arguments of the file system, such as ``endpoint_url``; keep credentials where the
            provider's own tools look for them.

    Returns:
        The archive, open for reading.

    Raises:
        ArchiveNotFoundError: If there is no archive at this address.
        ArchiveFormatError: If a newer version of this package wrote it.
        ArchiveCorruptError: If its manifest is damaged.
        EngineError: If the address cannot be used.
        EngineUnreachableError: If the storage does not answer or denies access.
    """
    from geohash_rs.archive import Archive

    return Archive.over(cached_files(url, cache=cache, options=options))


def cached_files(
    url: str,
    *,
    cache: str | os.PathLike[str] | None = None,
    options: Options | None = None,
) -> CachedFiles:
    """Return the files of an archive in object storage; see `open_archive`."""
    place = None if cache is None else Path(cache).absolute()
    return CachedFiles(url=url, options=dict(options or {}), cache=place)
