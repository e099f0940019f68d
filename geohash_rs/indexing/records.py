"""What an archive stores about a scene, and whether the scene has changed since."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from geohash_rs.errors import SceneError
from geohash_rs.footprints.windows import ground_pixel
from geohash_rs.scenes.bands import BandChoice
from geohash_rs.scenes.file import SceneFile, real_path
from geohash_rs.scenes.sources import is_seen
from geohash_rs.scenes.state import checksum_of, state_of
from geohash_rs.store.disk.records import SceneRecord

if TYPE_CHECKING:  # they import torch, which commands that move scenes do without
    from geohash_rs.indexing.samples import LocatedTile
    from geohash_rs.scenes.dataset import Scenes
    from geohash_rs.scenes.grids import TileGrids

__all__ = [
    "FORMER",
    "GROUND_SIZE",
    "READING",
    "RESCALING",
    "VERSION",
    "file_record",
    "header_of",
    "is_unchanged",
    "reading_of",
    "scene_record",
    "scene_settings",
    "under_known_names",
    "with_former_dates",
    "without_outdated_names",
]

GROUND_SIZE = "ground_size"  # setting of a scene record: m per pixel of its tiles
VERSION = "version"  # setting: what a catalogue says that differs once the files are others
FORMER = "former_path"  # setting: of a scene that was moved; its date may come from the former name
READING = "reading"  # setting: indexes, labels and rescaling of the bands read, and what decided
RESCALING = "rescaling"  # in `READING`: scales and offsets of these bands, or None


def scene_settings(scenes: "Scenes", grids: "TileGrids") -> dict[str, Any]:
    """Return the settings that decide which tiles a scene has and what they contain.

    Args:
        scenes: The scenes.
        grids: How tiles are cut.

    Returns:
        Settings as JSON values.
    """
    bands = None if scenes.bands is None else list(scenes.bands)
    chosen = {} if scenes.value_range is None else {"value_range": list(scenes.value_range)}
    return {**grids.settings(), "bands": bands, "nodata": scenes.nodata, **chosen}


def reading_of(file: SceneFile, choice: BandChoice) -> dict[str, Any]:
    """Describe which bands of a scene are read, as the setting `READING`.

    Args:
        file: The scene.
        choice: Its bands.

    Returns:
        The setting, as JSON values.
    """
    indexes = list(choice.indexes)
    found = file.rescaling(indexes)
    rescaling = None if found is None else [list(found.gain), list(found.shift)]
    labels = list(choice.labels)
    return {"indexes": indexes, "labels": labels, "by": choice.by, RESCALING: rescaling}


def under_known_names(files: Sequence[SceneFile], known: Collection[str]) -> list[SceneFile]:
    """Name scenes as an archive does that has the same files under other names.

    Args:
        files: The scenes.
        known: Names of the archive's scenes.

    Returns:
        The scenes; one that a linked folder or a URI leads to has the archive's name for its file.
    """
    if all(file.key in known for file in files):
        return list(files)
    of_name: dict[str, list[str]] = {}
    for key in known:
        of_name.setdefault(key.rsplit("/", 1)[-1], []).append(key)
    renamed = []
    for file in files:
        real = real_path(file.key)
        near = {*of_name.get(file.name, ()), *of_name.get(real.rsplit("/", 1)[-1], ())}
        same = sorted(key for key in near if real_path(key) == real)
        renamed.append(file if file.key in known or not same else replace(file, key=same[0]))
    return renamed


def without_outdated_names(
    files: Sequence[SceneFile], known: Mapping[str, SceneRecord], *, checksum: bool
) -> dict[str, SceneRecord]:
    """Forget the former names of scenes whose files are no longer those that were moved.

    Args:
        files: The scenes.
        known: The archive's records by scene.
        checksum: Whether to compare by checksum, if a record has one, although the time is the
            same.

    Returns:
        The records by scene.
    """
    found = dict(known)
    for file in files:
        record = known.get(file.key)
        if record is None or FORMER not in record.settings:
            continue
        try:
            check = checksum or record.mtime_ns != file.mtime_ns
            same = _has_same_content(record, file, checksum=check)
        except SceneError:  # which is reported when it is read
            continue
        if not same:
            settings = {name: value for name, value in record.settings.items() if name != FORMER}
            found[file.key] = replace(record, settings=settings)
    return found


def with_former_dates(
    files: Sequence[SceneFile], known: Mapping[str, SceneRecord]
) -> list[SceneFile]:
    """Keep the dates of scenes that were moved and whose new name says none.

    Args:
        files: The scenes.
        known: The archive's records by scene.

    Returns:
        The scenes.
    """

    def dated(file: SceneFile) -> SceneFile:
        record = known.get(file.key)
        if record is None or record.datetime is None or FORMER not in record.settings or file.dates:
            return file
        return replace(file, dates=(record.datetime, record.datetime_end or record.datetime))

    return [dated(file) for file in files]


def is_unchanged(
    record: SceneRecord | None, file: SceneFile, settings: dict[str, Any], *, checksum: bool = False
) -> bool:
    """Return whether an archive holds a scene in its present state.

    Args:
        record: The archive's record of the scene, or None.
        file: The scene.
        settings: Settings with which to add it.
        checksum: Whether to compare by checksum, if the record has one, rather than by time.

    Returns:
        Whether settings, grid, place, date and content are the same; the content by size and time
        of change, by checksum, or, of files that are not on this machine, by what a catalogue says.

    Raises:
        SceneError: If the checksum cannot be computed.
    """
    if record is None or _comparable(record.settings) != _comparable(settings):
        return False
    if _read_indexes(record.settings, file) != _read_indexes(settings, file):
        return False
    before, now = record.settings.get(READING) or {}, settings.get(READING) or {}
    # a catalogue can state others later; earlier versions did not record them
    if RESCALING in before and before[RESCALING] != now.get(RESCALING):
        return False
    # A world file or another date can change these although the file itself has not changed.
    if any(getattr(record, name) != value for name, value in header_of(file).items()):
        return False
    return _has_same_content(record, file, checksum=checksum)


def scene_record(
    file: SceneFile, num_tiles: int, settings: dict[str, Any], *, checksum: bool = False
) -> SceneRecord:
    """Make the record of a scene whose tiles have been read.

    Args:
        file: The scene.
        num_tiles: Number of its tiles in the archive.
        settings: How they were cut.
        checksum: Whether to compute a checksum.

    Returns:
        The record, with the ground size of its tiles' pixels among the settings.

    Raises:
        SceneError: If the file has changed since its header was read.
    """
    digest = checksum_of(file.files) if checksum else None
    if state_of(file.files) != (file.size, file.mtime_ns):
        msg = "its file was changed or deleted while it was read; run again once it is complete."
        raise SceneError(msg)
    size = settings["resolution"]
    if size is None:
        across, down = ground_pixel(file.transform, file.width, file.height, crs=file.crs)
        size = (across * down) ** 0.5
    said = {VERSION: file.version} if file.version else {}
    return SceneRecord(
        scene=file.key,
        size=file.size,
        mtime_ns=file.mtime_ns,
        checksum=digest,
        num_tiles=num_tiles,
        settings={**settings, GROUND_SIZE: size, **said},
        **header_of(file),
    )


def file_record(tile: "LocatedTile", dataset: object) -> SceneRecord:
    """Make the record of a file that is one tile.

    Args:
        tile: The tile.
        dataset: The dataset that it comes from.

    Returns:
        The record.
    """
    return SceneRecord(
        scene=tile.scene,
        datetime=tile.dates[0] if tile.dates else None,
        datetime_end=tile.dates[1] if tile.dates else None,
        num_tiles=1,
        settings={"dataset": type(dataset).__name__},
    )


def header_of(file: SceneFile) -> dict[str, Any]:
    """Return the fields of a record that come from a scene's header and date.

    Args:
        file: The scene.

    Returns:
        The values by field.
    """
    t = file.transform
    return {
        "width": file.width,
        "height": file.height,
        "crs": file.crs,
        "transform": (t.a, t.b, t.c, t.d, t.e, t.f),
        "dtype": file.dtype,
        "count": file.count,
        "datetime": file.dates[0] if file.dates else None,
        "datetime_end": file.dates[1] if file.dates else None,
    }


def _has_same_content(record: SceneRecord, file: SceneFile, *, checksum: bool) -> bool:
    """Return whether a file is as it was when it was indexed, as `is_unchanged` compares it.

    Raises:
        SceneError: If the checksum cannot be computed.
    """
    version = record.settings.get(VERSION, "")
    if version and file.version and not all(map(is_seen, file.files)) and version != file.version:
        return False
    if checksum and record.checksum is not None:
        return record.size == file.size and record.checksum == checksum_of(file.files)
    return (record.size, record.mtime_ns) == (file.size, file.mtime_ns)


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings that are equal if they make the same tiles: NaN equals itself."""
    values = {name: "nan" if value != value else value for name, value in settings.items()}  # noqa: PLR0124
    return {**values, GROUND_SIZE: None, READING: None, VERSION: None, FORMER: None}


def _read_indexes(settings: dict[str, Any], file: SceneFile) -> list[int]:
    """Return the bands that were read; some archives store only the bands asked for."""
    if (reading := settings.get(READING)) is not None:
        return list(reading["indexes"])
    return list(file.band_indexes(settings.get("bands")))
