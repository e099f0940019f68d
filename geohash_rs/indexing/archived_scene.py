"""Read a scene's header again, and check that its tiles can be read as they were indexed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from geohash_rs.errors import SceneError
from geohash_rs.indexing.records import READING, RESCALING, is_unchanged, reading_of
from geohash_rs.pictures.permission import Permission, RefusedSceneError
from geohash_rs.scenes.file import SceneFile, read_scene_file
from geohash_rs.store.disk.records import SceneRecord, record_to_json

__all__ = ["ArchivedScene", "archived_scene", "scene_digest"]


@dataclass(frozen=True, kw_only=True)
class ArchivedScene:
    """A scene of an archive that can be read again.

    Attributes:
        file: The scene.
        record: The archive's record of it.
        indexes: One-based bands to read.
        renewed: A record that names these bands, if other bands were read before.
    """

    file: SceneFile
    record: SceneRecord
    indexes: tuple[int, ...]
    renewed: SceneRecord | None = None


def archived_scene(
    record: SceneRecord | None,
    *,
    bands: Sequence[str],
    same_bands: bool,
    resolution: float | None = None,
    permission: Permission,
) -> ArchivedScene:
    """Check that a scene is as it was when it was indexed.

    Args:
        record: The archive's record of it; None if it has none.
        bands: Bands that the new hasher expects.
        same_bands: Whether these are the bands with which the archive was made.
        resolution: Ground size of a pixel that the new hasher asks for, m; None for any.
        permission: What may be read.

    Returns:
        The scene.

    Raises:
        BandMismatchError: If it does not have the new hasher's bands.
        SceneError: If it cannot be read as it was indexed.
    """
    if record is None or "tile_size" not in record.settings:
        kind = (record.settings if record else {}).get("dataset", "a TorchGeo dataset")
        msg = f"its tiles were read by {kind} and its transforms, not by geohash_rs alone"
        raise SceneError(msg)
    settings, asked = record.settings, record.settings.get("bands")
    if resolution not in (None, settings["resolution"]):
        own = settings["resolution"]
        cut = "its own resolution" if own is None else f"{own:g} m per pixel"
        msg = (
            f"its tiles were cut at {cut}, but the hasher is made for {resolution:g} m per pixel; "
            "make another archive with that hasher"
        )
        raise SceneError(msg)
    try:
        permission.check(record.scene)
    except RefusedSceneError as error:
        raise SceneError(str(error).removeprefix("no picture of ")) from error
    except SceneError:  # if it is missing, reading it says so in better words
        pass
    with permission.sealed():
        file = read_scene_file(record.scene, bands=asked)
    dates = None  # the run that indexed it may have been given another date
    if record.datetime is not None:
        dates = (record.datetime, record.datetime_end or record.datetime)
    file = replace(file, key=record.scene, dates=dates)
    before = (settings.get(READING) or {}).get("indexes")
    if before is None:
        before = file.band_indexes(asked, names=bands if same_bands else None)
    found = file.rescaling(before)
    rescaling = None if found is None else [list(found.gain), list(found.shift)]
    now = {**settings, READING: {"indexes": list(before), RESCALING: rescaling}}
    known = replace(record, datetime_end=dates[1] if dates else None)
    if not is_unchanged(known, file, now):
        msg = "it has changed since it was indexed, or is read in another way by now"
        raise SceneError(msg)
    indexes, renewed = tuple(before), None
    if not same_bands:
        choice = file.choose(asked, names=bands)
        indexes = tuple(choice.indexes)
        renewed = replace(record, settings={**settings, READING: reading_of(file, choice)})
    if len(indexes) != len(bands):
        msg = f"{len(indexes)} of its bands are read, but the hasher expects {len(bands)}"
        raise SceneError(msg)
    return ArchivedScene(file=file, record=record, indexes=indexes, renewed=renewed)


def scene_digest(record: SceneRecord, indexes: Sequence[int]) -> int:
    """Return a number that changes if a scene changes, or is read in another way.

    Args:
        record: The archive's record of the scene.
        indexes: One-based bands to read.

    Returns:
        The number, below 2**64.
    """
    text = f"{record_to_json(record)} {list(indexes)}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
