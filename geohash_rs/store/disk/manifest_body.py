"""Check every field of a manifest before anything is opened or computed from it.

The checksum shows accidents. It does not show intent: whoever writes a manifest can write a valid
checksum with it. So names, counts, lengths and ranges are checked as well.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from geohash_rs.codes import check_num_bits
from geohash_rs.store.disk.durable import FileEntry
from geohash_rs.store.disk.manifest import (
    FormerHasher,
    HasherEntry,
    Manifest,
    SegmentEntry,
    VectorsEntry,
)
from geohash_rs.store.disk.plain import HASHER_NAME, NUMBER_NAME
from geohash_rs.store.segment.layout import (
    CODES,
    ID_BITS,
    INDEX,
    MOST_NUMBERS,
    TILES,
    VECTORS,
)

__all__ = ["manifest_from_json"]

LIMIT = 1 << 63  # of times and sizes: they are stored as int64
MOST_ID = (1 << ID_BITS) - 1
MOST_ROWS = 1 << 31
WORD = re.compile(r"[0-9A-Za-z_.-]{1,128}")  # of a fingerprint, a commit
MOST_PENDING = 5000  # characters, as it may name a file of weights
SEGMENT_NAME = re.compile("|".join(map(re.escape, (CODES, INDEX, TILES, VECTORS))))


def manifest_from_json(body: dict[str, Any]) -> Manifest:
    """Build a manifest from its JSON.

    Args:
        body: The JSON, from anybody.

    Returns:
        The manifest, whose fields agree with each other.

    Raises:
        ValueError: If a field is out of range or contradicts another.
        KeyError: If a field is missing.
        TypeError: If a field has another type.
    """
    num_bits = body["num_bits"]
    if num_bits is not None:
        check_num_bits(_integer(num_bits, "num_bits"))
    hasher, pending = body["hasher"], body["pending_hasher"]
    given = body.get("vectors")  # left out if none are kept
    vectors = None if given is None else _vectors(given)
    segments = tuple(_segment(entry, num_bits, vectors) for entry in _list(body, "segments"))
    manifest = Manifest(
        generation=_integer(body["generation"], "generation"),
        commit=_word(body["commit"], "commit"),
        ancestors=tuple(_word(name, "ancestors") for name in _list(body, "ancestors")),
        num_bits=num_bits,
        hasher=None if hasher is None else _hasher(hasher),
        pending_hasher=None if pending is None else _line(pending, "pending_hasher"),
        vectors=vectors,
        next_id=_integer(body["next_id"], "next_id", most=MOST_ID),
        next_number=_integer(body["next_number"], "next_number", most=10**17),
        segments=segments,
        scene_logs=tuple(_file(entry, NUMBER_NAME) for entry in _list(body, "scene_logs")),
        attrs=dict(body["attrs"]),
        former=tuple(_former(entry) for entry in body.get("former", ())),
        tile_sizes=body.get("tile_sizes", False),  # left out if false
        sources=body.get("sources", False),
    )
    _require(isinstance(manifest.tile_sizes, bool), "tile_sizes is not true or false")
    _require(isinstance(manifest.sources, bool), "sources is not true or false")
    names = [name for name, _ in manifest.files()]
    _require(len(set(names)) == len(names), "it lists a file twice")
    _require(
        all(entry.last_id < manifest.next_id for entry in segments),
        f"a segment has ids from next_id {manifest.next_id} on",
    )
    return manifest


def _segment(
    data: dict[str, Any], num_bits: int | None, vectors: VectorsEntry | None
) -> SegmentEntry:
    _require(num_bits is not None, "it has segments but no num_bits")
    name = _name(data["name"], NUMBER_NAME)
    num_tiles = _integer(data["num_tiles"], f"num_tiles of segment {name}", least=1, most=MOST_ROWS)
    first, last = (
        _integer(data[key], f"{key} of segment {name}") for key in ("first_id", "last_id")
    )
    removed = _integer(data["num_removed"], f"num_removed of segment {name}", most=num_tiles - 1)
    sequential = data["sequential"]
    _require(isinstance(sequential, bool), f"sequential of segment {name} is not true or false")
    span = last - first + 1
    _require(
        span == num_tiles if sequential else span >= num_tiles,
        f"segment {name} has {num_tiles} tiles but the ids {first} to {last}",
    )
    files = tuple(_file(entry, SEGMENT_NAME) for entry in _list(data, "files"))
    sizes = {file.name: file.size for file in files}
    kept = {CODES, INDEX, TILES} if vectors is None else {CODES, INDEX, TILES, VECTORS}
    _require(set(sizes) == kept, f"segment {name} has the files {sorted(sizes)}")
    if vectors is not None:
        fits = vectors.row_bytes > 0 and sizes[VECTORS] == num_tiles * vectors.row_bytes
        _require(fits, f"the vectors of segment {name} have {sizes[VECTORS]} bytes")
    tombstones = data["tombstones"]
    bitmap = None if tombstones is None else _file(tombstones, NUMBER_NAME)
    _require((bitmap is None) == (removed == 0), f"segment {name} has {removed} removed tiles")
    return SegmentEntry(
        name=name,
        num_tiles=num_tiles,
        num_removed=removed,
        first_id=first,
        last_id=last,
        sequential=sequential,
        bounds=_bounds(data["bounds"], name),
        times=_times(data["times"], name),
        files=files,
        tombstones=bitmap,
    )


def _vectors(data: dict[str, Any]) -> VectorsEntry:
    kind, length = data["kind"], data["length"]
    _require(kind in ("float16", "int8"), "kind of the vectors is unknown")
    if length is not None:
        _integer(length, "length of the vectors", least=1, most=MOST_NUMBERS)
    rotated = data.get("rotated", False)  # left out before int8 was rotated
    _require(rotated in (False, kind == "int8"), "rotation of the vectors is not of this kind")
    return VectorsEntry(kind=kind, length=length, rotated=rotated)


def _hasher(data: dict[str, Any]) -> HasherEntry:
    file = data["file"]
    return HasherEntry(
        file=None if file is None else _file(file, HASHER_NAME),
        fingerprint=_word(data["fingerprint"], "fingerprint"),
    )


def _former(data: dict[str, Any]) -> FormerHasher:
    return FormerHasher(
        fingerprint=_word(data["fingerprint"], "fingerprint"),
        generation=_integer(data["generation"], "generation of a former hasher"),
    )


def _file(data: dict[str, Any], names: re.Pattern[str]) -> FileEntry:
    name = _name(data["name"], names)
    return FileEntry(
        name=name,
        size=_integer(data["size"], f"size of {name}"),
        crc32=_integer(data["crc32"], f"crc32 of {name}", most=(1 << 32) - 1),
    )


def _bounds(value: Any, name: str) -> tuple[float, float, float, float] | None:  # noqa: ANN401
    if value is None:
        return None
    numbers = _sequence(value, 4, f"bounds of segment {name}")
    fine = all(type(one) in (int, float) and math.isfinite(one) for one in numbers)
    _require(fine, f"bounds of segment {name} are not four finite numbers")
    west, south, east, north = map(float, numbers)
    return west, south, east, north


def _times(value: Any, name: str) -> tuple[int, int] | None:  # noqa: ANN401
    if value is None:
        return None
    what = f"times of segment {name}"
    first, last = (_integer(one, what, least=-LIMIT) for one in _sequence(value, 2, what))
    _require(first <= last, f"{what} end before they start")
    return first, last


def _sequence(value: Any, length: int, what: str) -> Sequence[Any]:  # noqa: ANN401
    _require(
        isinstance(value, list | tuple) and len(value) == length, f"{what} need {length} numbers"
    )
    found: Sequence[Any] = value
    return found


def _list(data: dict[str, Any], key: str) -> list[Any]:
    _require(isinstance(data[key], list | tuple), f"{key} is not a list")
    return list(data[key])


def _integer(value: Any, what: str, *, least: int = 0, most: int = LIMIT - 1) -> int:  # noqa: ANN401
    _require(type(value) is int, f"{what} is not an integer")
    _require(least <= value <= most, f"{what} is not from {least} to {most}")
    number: int = value
    return number


def _name(value: Any, names: re.Pattern[str]) -> str:  # noqa: ANN401
    fine = isinstance(value, str) and names.fullmatch(value)
    _require(bool(fine), f"{str(value)[:80]!r} is not a file name of an archive")
    return str(value)


def _word(value: Any, what: str) -> str:  # noqa: ANN401
    _require(isinstance(value, str), f"{what} is not text")
    _require(
        not value or bool(WORD.fullmatch(value)), f"{what} may contain letters and digits only"
    )
    return str(value)


def _line(value: Any, what: str) -> str:  # noqa: ANN401
    _require(isinstance(value, str) and len(value) <= MOST_PENDING, f"{what} is not short text")
    _require(value.isprintable(), f"{what} has characters that cannot be printed")
    return str(value)


def _require(holds: bool, problem: str) -> None:  # noqa: FBT001 - a condition
    """Raise a ValueError with the problem unless the condition holds.

    Raises:
        ValueError: If it does not.
    """
    if not holds:
        raise ValueError(problem)
