"""Find files that a crash or a change left unused in an archive's folder, and delete them."""

from collections.abc import Iterator
from pathlib import Path

from geohash_rs.store.disk.durable import remove_tree, sync_folder
from geohash_rs.store.disk.locks import no_readers
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.plain import REFIT_NAME, is_draft, is_plain_folder, made_by_us
from geohash_rs.store.snapshot import Snapshot

__all__ = ["collect_garbage", "orphans", "owned", "remove_drafts", "unfinished"]


def orphans(folder: Path, manifest: Manifest) -> list[Path]:
    """List files and segment folders that a state does not refer to.

    Args:
        folder: The archive.
        manifest: The state.

    Returns:
        Their paths, sorted.
    """
    named = {folder / name for name, _ in manifest.files()}
    named |= {folder / "segments" / segment.name for segment in manifest.segments}
    named |= set(unfinished(folder, manifest))
    return sorted(path for path in owned(folder) if path not in named)


def unfinished(folder: Path, manifest: Manifest) -> list[Path]:
    """List the folders of interrupted refits, which another run can resume.

    Args:
        folder: The archive.
        manifest: The state.

    Returns:
        Their paths, sorted; without the one of the hasher that the archive has by now.
    """
    done = f"refit-{manifest.hasher.fingerprint[:16]}" if manifest.hasher else ""
    names = (path for path in owned(folder) if REFIT_NAME.fullmatch(path.name))
    return sorted(path for path in names if path.name != done)


def collect_garbage(snapshot: Snapshot) -> None:
    """Delete files that a state does not refer to, if nobody reads an older state.

    Args:
        snapshot: The newest state; the archive's write lock is held.
    """
    left_over = orphans(snapshot.folder, snapshot.manifest)
    if not left_over:
        return
    with snapshot.pin.lifted(), no_readers(snapshot.folder) as alone:
        if alone:
            # otherwise a power cut could bring back a manifest that lists them
            sync_folder(snapshot.folder)
            for path in left_over:
                remove_tree(path)


def remove_drafts(folder: Path) -> None:
    """Remove the drafts that a killed process left anywhere in an archive.

    Args:
        folder: The archive; its write lock is held.
    """
    for path in list(owned(folder)):
        if is_draft(path):
            remove_tree(path)
        elif is_plain_folder(path):
            for draft in filter(is_draft, list(path.iterdir())):
                remove_tree(draft)


def owned(folder: Path) -> Iterator[Path]:
    """Iterate over the files and folders that commits make; links and other names are not ours."""
    for place in ("", "segments", "removed", "scenes"):
        inside = folder / place
        if is_plain_folder(inside) or not place:
            yield from (path for path in inside.iterdir() if made_by_us(path, place=place))
