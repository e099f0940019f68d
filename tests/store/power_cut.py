"""What a disk may hold after a power cut, by the rules that POSIX leaves a file system.

`Disk` watches a folder while code of the package runs in this process. Before each call that
changes names (open for writing, mkdir, rename, unlink, rmdir) and at each fsync it looks at the
whole folder, so it also sees what native code (Arrow, GDAL) writes in between. A file's content is
durable as it was at the file's last fsync; a name is durable as it was at its folder's last fsync.
After a cut, every change since then may have reached the disk or not, each for itself.

An fsync by native code is not noticed, which can only make the disk look less durable than it is.
"""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAME_CALLS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate"}

Tree = dict[str, bytes | None]  # content by path; None is a folder
State = frozenset[tuple[str, bytes | None]]
Moment = dict[str, tuple[bytes | None, bytes | None, bool]]  # and durable content, durable name


@dataclasses.dataclass(eq=False)
class Node:
    """A file or folder as it is, and as it is on the disk.

    Attributes:
        handle: Keeps the inode's number from being given to another file.
        content: Of a file.
        durable: Content at the last fsync; None if there was none.
        names: Of a folder.
        durable_names: At the last fsync.
    """

    handle: int
    is_folder: bool
    stamp: tuple[int, ...] = ()
    content: bytes = b""
    durable: bytes | None = None
    names: dict[str, "Node"] = dataclasses.field(default_factory=dict)
    durable_names: dict[str, "Node"] = dataclasses.field(default_factory=dict)


class Disk:
    """The folder's files, and every state in which a power cut may leave them.

    Args:
        root: The folder; what it holds at first is durable.
        every: Whether to build each state in which one change was lost or one change kept.

    Attributes:
        states: What a cut may leave, each with the first call before which it may.
        moments: What a process that is killed before each call leaves, while the power stays on.
    """

    def __init__(self, root: Path, *, every: bool = True) -> None:
        self.root = root
        self.every = every
        self.states: dict[State, str] = {}
        self.moments: list[Moment] = []
        self.calls = 0
        self.keep = True
        self.top = Node(os.open(root, os.O_RDONLY), is_folder=True)
        self._nodes: dict[int, Node] = {root.stat().st_ino: self.top}
        self._looking = False
        self.look()
        self.settle()

    def look(self) -> None:
        """Update the files as they are."""
        self._looking = True
        try:
            self._look_at(self.top, self.root)
        finally:
            self._looking = False

    def _look_at(self, node: Node, path: Path) -> None:
        if not node.is_folder:
            found = os.fstat(node.handle)
            stamp = (found.st_mtime_ns, found.st_ctime_ns, found.st_size)
            if stamp != node.stamp:
                node.content, node.stamp = path.read_bytes(), stamp
            return
        node.names = {}
        with os.scandir(path) as entries:
            for entry in entries:
                inner = self._nodes.get(entry.inode())
                if inner is None:
                    inner = Node(os.open(entry.path, os.O_RDONLY), is_folder=entry.is_dir())
                    self._nodes[entry.inode()] = inner
                node.names[entry.name] = inner
                self._look_at(inner, Path(entry.path))

    def settle(self) -> None:
        """Take everything for durable."""
        for node in self._nodes.values():
            node.durable, node.durable_names = node.content, dict(node.names)

    def synced(self, handle: int) -> None:
        """Note an fsync."""
        self.look()
        node = self._nodes.get(os.fstat(handle).st_ino)
        if node is not None:
            node.durable, node.durable_names = node.content, dict(node.names)

    def cut(self, what: str) -> None:
        """Keep the states in which a power cut at this moment may leave the disk."""
        self.calls += 1
        if not self.keep:
            return
        self.moments.append(dict(self._moment(self.top, "")))
        changes = list(self._changes())
        none: set[tuple[Node, str]] = set()
        kept = [(none, 0.0), (set(changes), 0.0), (set(changes), 0.5)]
        if self.every:
            chosen = [none, set(changes)]
            chosen += [{one} for one in changes] + [set(changes) - {one} for one in changes]
            kept = [(some, share) for some in chosen for share in (0.0, 0.5, 1.0)]
        for some, share in kept:
            tree: Tree = {}
            self._build(self.top, "", some, share, tree)
            self.states.setdefault(frozenset(tree.items()), f"call {self.calls}, {what}")

    def after(self) -> dict[State, str]:
        """Return the states in which a power cut leaves the disk from now on."""
        during, self.states, self.keep = self.states, {}, True
        self.cut("after the end")
        found, self.states = self.states, during
        return found

    def _moment(self, node: Node, path: str) -> Iterator[tuple[str, Any]]:
        for name, inner in node.names.items():
            place = f"{path}/{name}" if path else name
            content = None if inner.is_folder else inner.content
            yield place, (content, inner.durable, node.durable_names.get(name) is inner)
            yield from self._moment(inner, place)

    def resume(self, moment: Moment) -> None:
        """Take for durable only what was durable before another process was killed.

        Args:
            moment: What that process left, of which this folder is a copy.
        """
        for node in self._nodes.values():
            node.durable_names = {}

        def visit(node: Node, path: str) -> None:
            for name, inner in node.names.items():
                place = f"{path}/{name}" if path else name
                _, inner.durable, durable_name = moment[place]
                if durable_name:
                    node.durable_names[name] = inner
                visit(inner, place)

        visit(self.top, "")

    def _changes(self) -> Iterator[tuple[Node, str]]:
        """List the names that differ from the disk, in every folder that may be there."""
        seen: list[Node] = []

        def visit(node: Node) -> Iterator[tuple[Node, str]]:
            if node in seen or not node.is_folder:
                return
            seen.append(node)
            for name in sorted({*node.names, *node.durable_names}):
                new, old = node.names.get(name), node.durable_names.get(name)
                if new is not old:
                    yield node, name
                for inner in (new, old):
                    if inner is not None:
                        yield from visit(inner)

        yield from visit(self.top)

    def _build(
        self, node: Node, path: str, chosen: set[tuple[Node, str]], share: float, tree: Tree
    ) -> None:
        """Add what a folder holds after the cut; `share` of each unsynced content has arrived."""
        for name in {*node.names, *node.durable_names}:
            source = node.names if (node, name) in chosen else node.durable_names
            inner = source.get(name)
            if inner is None:
                continue
            place = f"{path}/{name}" if path else name
            if inner.is_folder:
                tree[place] = None
                self._build(inner, place, chosen, share, tree)
            elif inner.durable == inner.content:
                tree[place] = inner.content
            elif share == 0:
                tree[place] = inner.durable or b""
            else:
                tree[place] = inner.content[: int(share * len(inner.content))]

    @contextlib.contextmanager
    def watched(self, *, keep: bool = True) -> Iterator[None]:
        """Watch the calls of the block.

        Args:
            keep: Whether to keep the states in which a cut may leave the disk meanwhile.
        """
        self.keep = keep
        _watching.append(self)
        real = os.fsync

        def fsync(handle: int) -> None:
            number = handle if isinstance(handle, int) else handle.fileno()
            self.look()
            self.cut("before fsync")
            self.synced(number)

        os.fsync = fsync
        try:
            yield
        finally:
            os.fsync = real
            _watching.remove(self)
        self.look()
        self.cut("at the end")

    def called(self, event: str, arguments: tuple[object, ...]) -> None:
        """Look at the folder before a call that changes names in it."""
        place = arguments[0]
        if self._looking or not isinstance(place, str | bytes | os.PathLike):
            return
        if event == "open" and not (
            isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        ):
            return
        if not os.fsdecode(place).startswith(str(self.root)):
            return
        self.look()
        self.cut(f"before {event} of {os.fsdecode(place)[len(str(self.root)) :]}")

    def close(self) -> None:
        """Close the handles."""
        for node in self._nodes.values():
            os.close(node.handle)


_watching: list[Disk] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in NAME_CALLS:
        for disk in list(_watching):
            disk.called(event, arguments)


sys.addaudithook(_hear)


def write_tree(tree: Tree | State, folder: Path) -> None:
    """Write a state to an empty folder."""
    for path, content in sorted(dict(tree).items()):
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
