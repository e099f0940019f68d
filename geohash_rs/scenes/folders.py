"""Search folders for files: follow each link once, skip the litter of other programs."""

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FolderSearch", "is_folder", "is_litter", "shown_name"]

# Folders left behind by systems and archives; hidden ones, with a leading dot, are litter too.
LITTER = {"__MACOSX", "__pycache__", "$RECYCLE.BIN", "System Volume Information", "@eaDir"}


def is_litter(name: str) -> bool:
    """Return whether a file or folder is hidden, or was left behind by another program.

    Args:
        name: Its name, without the folder it is in.

    >>> is_litter("._scene.tif"), is_litter(".ipynb_checkpoints"), is_litter("scene.tif")
    (True, True, False)
    """
    return name.startswith(".") or name in LITTER


def shown_name(path: str | Path) -> str:
    r"""Return a path that any terminal and file format accepts.

    Args:
        path: A path, perhaps with bytes that are not UTF-8.

    Returns:
        The path, with such bytes written as ``\xfc``.

    >>> shown_name("M\udcfcnchen.tif")
    'M\\xfcnchen.tif'
    """
    text = str(path)
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate, as JSON allows
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(kw_only=True)
class FolderSearch:
    """A folder search that finds each file once, however many links lead to it.

    Attributes:
        wanted: Returns whether to search for files of this name.
        noted: Returns whether to note a file or folder that is found rather than search it.
        seen: Paths of those noted.
        passed_over: Path and reason for each folder and wanted file that is hidden, left behind by
            another program, or already found under another name.
        failed: Path and reason for each folder or file that cannot be read.
    """

    wanted: Callable[[str], bool]
    noted: Callable[[os.DirEntry[str]], bool] = lambda _: False
    seen: list[str] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    _folders: dict[str, str] = field(default_factory=dict)
    _files: dict[tuple[int, int] | str, str] = field(default_factory=dict)

    def files(self, folder: str | Path) -> Iterator[str]:
        """Find the files in a folder and its subfolders, following links last.

        Args:
            folder: Folder to search.

        Yields:
            Paths of files; a file with several names is reported by one that is not a link, if any.
        """
        links: deque[tuple[str, tuple[str, ...]]] = deque([(os.fspath(folder), ())])
        while links:
            path, above = links.popleft()
            if Path(path).is_dir():
                yield from self._below(path, above, links)
            elif self.take(path):
                yield path

    def take(self, path: str | Path) -> bool:
        """Record a file, unless it was recorded under another name.

        Args:
            path: The file.

        Returns:
            Whether to read it.
        """
        name = os.fspath(path)
        try:
            state = Path(name).stat()
        except (OSError, ValueError):
            return True  # its reader reports what is wrong
        if not stat.S_ISREG(state.st_mode):
            self.failed.append((name, f"{name} is a pipe or device, not a file"))
            return False
        identity = (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(name)
        first = self._files.setdefault(identity, name)
        if first != name:
            self.passed_over.append((name, f"the same file as {first}"))
        return first == name

    def _below(
        self, folder: str, above: tuple[str, ...], links: deque[tuple[str, tuple[str, ...]]]
    ) -> Iterator[str]:
        real = os.path.realpath(folder)
        if real in above:
            self.passed_over.append((folder, f"a loop: it links to {real}, in which it lies"))
            return
        if real in self._folders:
            self.passed_over.append((folder, f"the same folder as {self._folders[real]}"))
            return
        self._folders[real] = folder
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.failed.append((folder, f"{folder} cannot be searched: {error.strerror}"))
            return
        for entry in entries:
            below = is_folder(entry)
            if self._note(entry) or not (below or self.wanted(entry.name)):
                continue
            if is_litter(entry.name):
                self.passed_over.append((entry.path, "hidden, or left behind by another program"))
            elif entry.is_symlink():
                links.append((entry.path, (*above, real)))
            elif below:
                yield from self._below(entry.path, (*above, real), links)
            elif self.take(entry.path):
                yield entry.path

    def _note(self, entry: os.DirEntry[str]) -> bool:
        noted = not is_litter(entry.name) and self.noted(entry)
        if noted:
            self.seen.append(entry.path)
        return noted


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry of a folder is a folder, or a link to one.

    Args:
        entry: The entry; a link to itself is not a folder.
    """
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
