"""Search folders for files: links followed once, litter of other programs passed over."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FolderSearch", "is_litter", "shown_name"]

# Folders that systems and archives leave behind; hidden ones, with a leading dot, are litter too.
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
    r"""Write a path so that every terminal and file format takes it.

    Args:
        path: A path, perhaps with bytes that are not UTF-8.

    Returns:
        The path, such bytes as ``\xfc``.

    >>> shown_name("M\udcfcnchen.tif")
    'M\\xfcnchen.tif'
    """
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


@dataclass(kw_only=True)
class FolderSearch:
    """A search of folders, which finds every file once, whatever links lead to it.

    Attributes:
        wanted: Whether a file of this name is searched for.
        passed_over: Path and reason of each link and wanted file that was not taken, and of each
            hidden or leftover one.
        failed: Path and reason of each folder that cannot be searched.
    """

    wanted: Callable[[str], bool]
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    _folders: dict[str, str] = field(default_factory=dict)
    _files: dict[tuple[int, int] | str, str] = field(default_factory=dict)

    def files(self, folder: str | Path) -> Iterator[str]:
        """Find the files in a folder and all folders below, those behind links last.

        Args:
            folder: Where to search.

        Yields:
            Paths of files, that of a file with several names by the first of them.
        """
        links: list[tuple[str, tuple[str, ...]]] = [(os.fspath(folder), ())]
        while links:
            start, above = links.pop(0)
            yield from self._below(start, above, links)

    def take(self, path: str | Path) -> bool:
        """Note that a file is taken, unless it is under another name.

        Args:
            path: The file.

        Returns:
            Whether it is new.
        """
        shown = os.fspath(path)
        try:
            state = os.stat(shown)
        except (OSError, ValueError):
            return True  # what reads it says what is wrong with it
        identity = (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(shown)
        first = self._files.setdefault(identity, shown)
        if first is not shown and first != shown:
            self.passed_over.append((shown, f"is the same file as {first}"))
        return first == shown

    def _below(
        self, folder: str, above: tuple[str, ...], links: list[tuple[str, tuple[str, ...]]]
    ) -> Iterator[str]:
        real = os.path.realpath(folder)
        if real in above:
            self.passed_over.append((folder, f"is a link to {real}, in which it lies: a loop"))
            return
        if real in self._folders:
            self.passed_over.append((folder, f"is the same folder as {self._folders[real]}"))
            return
        self._folders[real] = folder
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.failed.append((folder, f"{folder} cannot be searched: {error.strerror}"))
            return
        for entry in entries:
            is_folder = entry.is_dir()
            if is_litter(entry.name):
                if is_folder or self.wanted(entry.name):
                    self.passed_over.append((entry.path, "is hidden, or left by another program"))
            elif is_folder and entry.is_symlink():
                links.append((entry.path, (*above, real)))
            elif is_folder:
                yield from self._below(entry.path, (*above, real), links)
            elif self.wanted(entry.name) and self.take(entry.path):
                yield entry.path
