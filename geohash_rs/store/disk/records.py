"""Record the scenes that tiles were cut from, so that an interrupted run can resume."""

import dataclasses
import datetime as dt
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from geohash_rs.errors import ArchiveCorruptError
from geohash_rs.store.disk.durable import FileEntry, reading, verify_file, write_file
from geohash_rs.store.disk.plain import read_plain
from geohash_rs.store.disk.record_settings import check_settings, is_finite

__all__ = [
    "SceneRecord",
    "is_same_record",
    "read_scene_logs",
    "record_from_json",
    "record_to_json",
    "removed_scenes",
    "write_scene_log",
]

MOST_TEXT = 32 << 20  # bytes of an archive's logs that may always be unpacked
MOST_PACKING = 64  # times that larger logs may grow when they are unpacked
LEAST_PART = 32  # bytes of text for each object or list; a record has about 8, in 700 bytes
CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class SceneRecord:
    """An archive's record of a scene.

    Attributes:
        scene: Path or URI, the same text as in the tiles' column `scene`.
        width: Columns of the raster, px.
        height: Rows of the raster, px.
        crs: Coordinate reference system, as WKT or "EPSG:32633"; None when unknown.
        transform: The six numbers a, b, c, d, e, f of the affine transform; None when unknown.
        dtype: Pixel type, such as "uint16".
        count: Number of bands.
        size: Length of the file in bytes, to detect changes.
        mtime_ns: When the file was last changed, in nanoseconds, also to detect changes; for a
            scene of several files, a number that changes with any of them.
        checksum: Checksum of the file, if one was computed.
        datetime: Acquisition time, UTC.
        datetime_end: End of the acquisition, if it covers a time range.
        num_tiles: Number of tiles stored when the scene was added.
        settings: How its tiles were cut (tile_size, stride, edges, ...), JSON.
    """

    scene: str
    width: int | None = None
    height: int | None = None
    crs: str | None = None
    transform: tuple[float, float, float, float, float, float] | None = None
    dtype: str | None = None
    count: int | None = None
    size: int | None = None
    mtime_ns: int | None = None
    checksum: str | None = None
    datetime: dt.datetime | None = None
    datetime_end: dt.datetime | None = None
    num_tiles: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


def write_scene_log(
    path: Path, records: Iterable[SceneRecord], *, removed: Iterable[str] = ()
) -> FileEntry:
    """Write records to a new file, one JSON object per line, zlib-compressed.

    Args:
        path: The file.
        records: Scenes that were added or replaced.
        removed: Scenes of earlier logs that were removed.

    Returns:
        The entry for the manifest.

    Raises:
        ArchiveWriteError: If it cannot be written.
    """
    lines = [json.dumps({"removed": scene}) for scene in removed]
    lines += [record_to_json(record) for record in records]
    text = "\n".join(lines).encode()
    for level in (6, 1, 0):  # records that are nearly alike must not look like a bomb
        packed = zlib.compress(text, level)
        if len(text) <= MOST_PACKING * len(packed):
            break
    return write_file(path, [packed])


def read_scene_logs(
    folder: Path, entries: Iterable[FileEntry], *, paths: Iterable[Path] | None = None
) -> dict[str, SceneRecord]:
    """Read scene records; a later record of a scene replaces an earlier one.

    Args:
        folder: Where the logs are.
        entries: The logs, oldest first.
        paths: The file of each log, if they are not in the folder.

    Returns:
        The records by scene, in the order the scenes were first added.

    Raises:
        ArchiveCorruptError: If a log is missing or damaged.
    """
    records: dict[str, SceneRecord] = {}
    for data in _lines(folder, entries, paths):
        if "removed" in data:
            records.pop(data["removed"], None)
        else:
            records[data["scene"]] = _from_data(data)
    return records


def removed_scenes(folder: Path, entries: Iterable[FileEntry]) -> set[str]:
    """Return the scenes that the logs remove and do not add again.

    Args:
        folder: Where the logs are.
        entries: The logs, oldest first.

    Returns:
        The scenes.

    Raises:
        ArchiveCorruptError: If a log is missing or damaged.
    """
    gone: set[str] = set()
    for data in _lines(folder, entries):
        if "removed" in data:
            gone.add(data["removed"])
        else:
            gone.discard(data["scene"])
    return gone


def _lines(
    folder: Path, entries: Iterable[FileEntry], paths: Iterable[Path] | None = None
) -> Iterator[dict[str, Any]]:
    logs = list(entries)
    places = [folder / entry.name for entry in logs] if paths is None else paths
    most = max(MOST_TEXT, MOST_PACKING * sum(entry.size for entry in logs))
    room, parts = most, most // LEAST_PART
    for entry, path in zip(logs, places, strict=True):
        verify_file(path, entry)
        try:
            with reading(path):
                content = read_plain(path)
            for line in _unpacked_lines(content, room):
                room -= len(line)
                parts -= line.count(b"{") + line.count(b"[")
                if parts < 0:
                    _refuse(f"the logs hold more than {most // LEAST_PART:,} objects and lists")
                yield _checked(json.loads(line.decode()))
        except (zlib.error, ValueError, RecursionError) as error:
            msg = f"{path} cannot be read ({error}); restore it from a copy."
            raise ArchiveCorruptError(msg) from error


def _unpacked_lines(content: bytes, room: int) -> Iterator[bytes]:
    """Unpack a log piece by piece, since a small file may unpack to any size.

    Raises:
        ValueError: If it has more bytes than there is room for, or is cut short.
    """
    unpacking = zlib.decompressobj()
    text, rest, size = b"", content, 0
    while not unpacking.eof:
        piece = unpacking.decompress(rest, CHUNK)
        rest = unpacking.unconsumed_tail
        size += len(piece)
        if size > room:
            _refuse(f"the logs unpack to more bytes than they should, {size - room:,} too many")
        if not piece and not rest and not unpacking.eof:
            _refuse("it is cut short")
        *lines, text = (text + piece).split(b"\n")
        yield from lines
    if text:
        yield text


def _refuse(problem: str) -> NoReturn:
    """Raise the error of a damaged log.

    Raises:
        ValueError: Always.
    """
    raise ValueError(problem)


def _checked(data: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """Check the types of a record's fields; missing ones become None.

    Raises:
        ValueError: If a required field is missing, or one has another type or no date.
    """
    if isinstance(data, dict) and isinstance(data.get("removed"), str):
        return data
    kinds: dict[str, type] = {"scene": str, "crs": str, "dtype": str, "checksum": str}
    kinds |= {"datetime": str, "datetime_end": str, "settings": dict, "transform": list}
    kinds |= dict.fromkeys(("width", "height", "count", "size", "mtime_ns", "num_tiles"), int)
    required = ("scene", "settings", "num_tiles")
    if not isinstance(data, dict):
        msg = f"a line is a {type(data).__name__}, not an object"
        raise ValueError(msg)  # noqa: TRY004 - all that is wrong with a file is a ValueError
    for name, kind in kinds.items():
        value = data.get(name)
        if type(value) is not kind and (value is not None or name in required):
            msg = f"{name} of a scene is not a {kind.__name__}"
            raise ValueError(msg)
        if isinstance(value, str):
            value.encode()  # half of a character is a ValueError
        if isinstance(value, int) and abs(value) >= 1 << 63:
            msg = f"{name} of a scene has more than 64 bits"
            raise ValueError(msg)
        if value is not None and name.startswith("datetime"):
            dt.datetime.fromisoformat(str(value))
    numbers = data.get("transform") or [0.0] * 6
    if len(numbers) != 6 or not all(map(is_finite, numbers)):
        msg = "transform of a scene is not six finite numbers"
        raise ValueError(msg)
    check_settings(data["settings"])
    return dict.fromkeys(kinds) | data


def record_to_json(record: SceneRecord) -> str:
    """Write a record as one line of JSON.

    Args:
        record: The record.

    Returns:
        The line.
    """
    data = dataclasses.asdict(record)
    for name in ("datetime", "datetime_end"):
        if data[name] is not None:
            data[name] = data[name].isoformat()
    return json.dumps(data)


def record_from_json(line: str) -> SceneRecord:
    """Read a record that `record_to_json` wrote.

    Args:
        line: The line.

    Returns:
        The record.
    """
    return _from_data(json.loads(line))


def is_same_record(record: SceneRecord | None, other: SceneRecord | None) -> bool:
    """Return whether two records say the same; settings may hold NaN, which is not equal to itself.

    Args:
        record: A record, or None.
        other: Another one, or None.

    Returns:
        Whether all fields are the same, or both are None.
    """
    if record is None or other is None:
        return record is other
    return record_to_json(record) == record_to_json(other)


def _from_data(data: dict[str, Any]) -> SceneRecord:
    for name in ("datetime", "datetime_end"):
        if data[name] is not None:
            data[name] = dt.datetime.fromisoformat(data[name])
    if data["transform"] is not None:
        data["transform"] = tuple(data["transform"])
    known = {item.name for item in dataclasses.fields(SceneRecord)}
    return SceneRecord(**{name: value for name, value in data.items() if name in known})
