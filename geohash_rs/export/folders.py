"""Replace a folder as a whole: it appears complete or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geohash_rs.store.disk.durable import remove_tree, sync_folder

__all__ = ["replacing_folder"]


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Provide a folder to write, and move it to the target when it is complete.

    Args:
        target: The folder to write or replace.

    Yields:
        A path in a new folder next to it. If the block fails, the target is untouched; if the
        process is killed at the last moment, both are in the folder that ends in ".tmp".
    """
    folder = target.with_name(f"{target.name[:40]}.{secrets.token_hex(4)}.tmp")
    folder.mkdir()
    draft, former = folder / target.name, folder / "former"
    try:
        yield draft
        for place, _, names in os.walk(draft):
            for name in names:
                _sync(Path(place) / name)
            sync_folder(Path(place))
        if target.exists():
            target.replace(former)
        draft.replace(target)
        sync_folder(target.parent)
    finally:
        remove_tree(folder)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
