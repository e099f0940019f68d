"""Read and write the manifest and files of an archive in object storage."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from geohash_rs.engines.cloud.address import shown, without_keys
from geohash_rs.errors import (
    ArchiveCorruptError,
    ArchiveNotFoundError,
    EngineError,
    EngineUnreachableError,
    GeoHashRSError,
    one_line,
)
from geohash_rs.store.disk.durable import (
    FileEntry,
    check_size,
    make_folder,
    replacing,
    sync_names,
    verify_file,
    writing,
)
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.manifest_file import MANIFEST, MOST_BYTES, parse_manifest
from geohash_rs.store.disk.plain import plain_path

__all__ = ["Options", "Store"]

Options = Mapping[str, Any]

CHUNK = 1 << 24  # bytes of an object per request


class Store:
    """The location of an archive in a storage that fsspec supports.

    Args:
        url: Such as "s3://bucket/archive".
        options: Arguments of the file system.

    Raises:
        EngineError: If the address cannot be used, or needs a package that is not installed.
    """

    def __init__(self, url: str, options: Options | None) -> None:
        self.url = shown(url)  # for messages
        self._address = url
        try:
            self._files, root = fsspec.core.url_to_fs(url, **(options or {}))
        except ImportError as error:
            msg = f"{self.url} needs a package that is not installed: {self._reason(error)}."
            raise EngineError(msg) from error
        except ValueError as error:
            msg = (
                f"{self.url} cannot be used: {self._reason(error)}; write it like "
                "s3://bucket/archive."
            )
            raise EngineError(msg) from error
        self._root = root.rstrip("/")
        self._local = isinstance(self._files, LocalFileSystem)
        self._web = "https" in self._files.protocol  # whose servers may send more than asked for

    def _reason(self, error: Exception) -> str:
        """Return an error's message without the keys in the address."""
        return without_keys(one_line(error), self._address)

    def state(self) -> Manifest:
        """Read the manifest.

        Returns:
            The newest state.

        Raises:
            ArchiveNotFoundError: If there is no archive.
            ArchiveFormatError: If a newer version of this package wrote it.
            ArchiveCorruptError: If the manifest is damaged.
            EngineUnreachableError: If the storage does not answer or denies access.
        """
        found = self.state_if_any()
        if found is None:
            msg = (
                f"{self.url} is not an archive: it has no {MANIFEST}. Push one there first: "
                f"'geohash-rs push DIR {self.url}'."
            )
            raise ArchiveNotFoundError(msg)
        return found

    def state_if_any(self) -> Manifest | None:
        """Read the manifest if there is one; see `state`.

        Returns:
            The newest state, or None if there is no archive.
        """
        with self._asking(self.url):
            self._files.invalidate_cache()
            try:
                content = b"".join(self._pieces(f"{self._root}/{MANIFEST}", MOST_BYTES + 1))
            except FileNotFoundError:
                return None
        return parse_manifest(content, f"{self.url}/{MANIFEST}")

    def fetch(self, name: str, target: Path, entry: FileEntry) -> None:
        """Fetch a file unless it already exists.

        Args:
            name: Its name inside the archive.
            target: Where to write it; the file appears complete or not at all.
            entry: Its entry in the manifest.

        Raises:
            ArchiveCorruptError: If it is missing from the storage, or was changed.
            ArchiveWriteError: If it cannot be written here.
            EngineUnreachableError: If the storage does not answer or denies access.
        """
        if target.exists():
            check_size(target, entry)
            return
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as draft:  # other processes may fetch it too
                with draft.open("wb") as file:
                    file.writelines(self._chunks(name, entry.size))
                verify_file(draft, entry)

    def _chunks(self, name: str, size: int) -> Iterator[bytes]:
        """Yield an object in pieces, up to `size` bytes in total, fewer if it is shorter.

        Raises:
            ArchiveCorruptError: If it is missing.
        """
        with self._asking(f"{self.url}/{name}"):
            try:
                yield from self._pieces(f"{self._root}/{name}", size)
            except FileNotFoundError as error:
                msg = (
                    f"{self.url}/{name} is missing but the manifest lists it; push the "
                    "archive again."
                )
                raise ArchiveCorruptError(msg) from error

    def _pieces(self, source: str, most: int) -> Iterator[bytes]:
        """Yield an object in pieces, whatever its length up to a limit."""
        if self._web:
            with self._files.open(source, block_size=0) as file:  # one request, read as it comes
                while most and (piece := file.read(min(CHUNK, most))):
                    yield piece
                    most -= len(piece)
            return
        for start in range(0, most, CHUNK):
            end = min(start + CHUNK, most)
            piece = self._files.cat_file(source, start=start, end=end)
            yield piece
            if len(piece) < end - start:
                return

    def send(self, name: str, source: Path) -> None:
        """Upload a file of an archive.

        Args:
            name: Its name inside the archive.
            source: The local file.

        Raises:
            ArchiveCorruptError: If it is a folder with a link in the file's place.
            ArchiveWriteError: If it is a folder that cannot be written.
            EngineUnreachableError: If the storage does not answer or denies access.
        """
        if self._local:
            target = plain_path(Path(self._root), name)
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                with replacing(target) as draft:
                    shutil.copyfile(source, draft)
            return
        with self._asking(self.url):
            try:
                self._files.put_file(str(source), f"{self._root}/{name}")
            except FileNotFoundError:
                self._make_folders(name)
                self._files.put_file(str(source), f"{self._root}/{name}")

    def _make_folders(self, name: str) -> None:
        """Make a file's folders if the storage has folders; never a bucket."""
        place = self._root
        for part in ("", *name.split("/")[:-1]):
            place = f"{place}/{part}".rstrip("/")
            if "/" in place:
                with contextlib.suppress(FileExistsError):
                    self._files.mkdir(place, create_parents=False)

    def settle(self, names: Iterable[str]) -> None:
        """Make uploaded files durable before a manifest lists them; object storage does so itself.

        Args:
            names: Their names inside the archive.

        Raises:
            ArchiveWriteError: If it is a folder that cannot be made durable.
        """
        if self._local:
            root = Path(self._root)
            with writing(root):
                make_folder(root)
            sync_names(root, names)

    def send_state(self, manifest: bytes) -> None:
        """Replace the manifest at once: in a single put, or on a local disk by renaming.

        Args:
            manifest: Its content.

        Raises:
            ArchiveCorruptError: If it is a folder with a link in the file's place.
            ArchiveWriteError: If it is a folder that cannot be written.
            EngineUnreachableError: If the storage does not answer or denies access.
        """
        if self._local:
            target = plain_path(Path(self._root), MANIFEST)
            with writing(target), replacing(target) as draft:
                draft.write_bytes(manifest)
            return
        with self._asking(self.url):
            self._files.pipe_file(f"{self._root}/{MANIFEST}", manifest)

    @contextlib.contextmanager
    def _asking(self, place: str) -> Iterator[None]:
        """Name the address in any error that a file system raises; each raises its own types.

        Raises:
            GeoHashRSError: Passed on unchanged.
            EngineUnreachableError: If the storage does not answer or denies access.
        """
        try:
            yield
        except GeoHashRSError:
            raise
        except Exception as error:
            msg = (
                f"{place} cannot be used: {type(error).__name__}: {self._reason(error)}. Check the "
                "address, the bucket and your credentials."
            )
            raise EngineUnreachableError(msg) from error
