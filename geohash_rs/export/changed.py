"""Notice scenes whose files are no longer those that were indexed, so that pictures show others."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from geohash_rs.errors import GeoHashRSError
from geohash_rs.export.plain_text import scene_name
from geohash_rs.store.code_store import CodeStore

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from geohash_rs.pictures.permission import Permission
    from geohash_rs.scenes.file import SceneFile
    from geohash_rs.store.disk.records import SceneRecord

__all__ = ["changed_scenes", "changed_text"]


def changed_text(frame: "GeoDataFrame", permission: "Permission | None" = None) -> str:
    """Report which scenes of a table were changed since they were indexed.

    Args:
        frame: Matches or tiles. Its attribute `archive_folder` is the archive they come from;
            without one, or if it was deleted, nothing is compared.
        permission: What may be read; None allows plain raster files of this machine.

    Returns:
        A sentence; empty if none was changed.
    """
    folder = getattr(frame, "archive_folder", None)
    if not isinstance(folder, Path) or "scene" not in frame.columns:
        return ""
    return changed_scenes(folder, set(frame["scene"].dropna()), permission)


def changed_scenes(
    folder: Path, scenes: Collection[str], permission: "Permission | None" = None
) -> str:
    """Report which scenes of an archive were changed since they were indexed.

    Args:
        folder: The archive; nothing is compared if it was deleted.
        scenes: Names of those to compare.
        permission: What may be read; None allows plain raster files of this machine.

    Returns:
        A sentence; empty if none was changed.
    """
    from geohash_rs.pictures.tiles import Thumbnails  # it imports rasterio

    try:
        with CodeStore.open(folder, mode="r") as archive:
            records = archive.snapshot().records
    except (GeoHashRSError, OSError):
        return ""
    thumbnails = Thumbnails(permission)
    changed = []
    for name in sorted(scenes):
        if (record := records.get(name)) is None or not record.size:
            continue
        try:
            if _differs(thumbnails.header(name), record):
                changed.append(scene_name(name))
        except GeoHashRSError:  # the lack of its picture is reported
            continue
    if not changed:
        return ""
    some = (
        f"{changed[0]} was changed since it was indexed"
        if len(changed) == 1
        else f"{len(changed)} scenes, such as {changed[0]}, were changed since they were indexed"
    )
    return f"{some}: pictures show what was not compared; run 'geohash-rs index' again."


def _differs(file: "SceneFile", record: "SceneRecord") -> bool:
    """Return whether a file is not the one of a record, by size and time or by checksum."""
    if not file.size or (file.size, file.mtime_ns) == (record.size, record.mtime_ns):
        return False
    if file.size != record.size or not (record.checksum or "").startswith("sha256:"):
        return True
    from geohash_rs.scenes.state import checksum_of

    return checksum_of(file.files) != record.checksum
