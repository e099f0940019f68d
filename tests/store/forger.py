"""Change the files of an archive as an accident or a forger would; Hypothesis draws how."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from geohash_rs.store.segment.arrays import map_arrays, serialise_arrays

EXTREMES = [0, 1, -1, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63, 2**64, 10**30]
VALUES: list[Any] = [*EXTREMES, -(2**63), -(2**70), 0.5, 1e308, float("nan"), float("inf"), True]
VALUES += [None, "", "x", "../x", "/", "0" * 300, "\x00", "\x1b[2J", "\ud800", "é" * 9]
VALUES += [[], {}, [[]], [0] * 10, {"a": 1}, "2023-01-01", "9" * 5000, "EPSG:4326"]
NUMBERS = ["uint8", "uint16", "uint32", "uint64", "int32", "int64", "float64"]


def reseal(folder: Path) -> None:
    """Make sizes and checksums in the manifest fit the files, where it still has such entries."""
    path = folder / "manifest.json"
    try:
        outer = json.loads(path.read_bytes())
        body = outer["body"]
        entries = [(folder / "scenes", file) for file in body["scene_logs"]]
        for segment in body["segments"]:
            place = folder / "segments" / segment["name"]
            entries += [(place, file) for file in segment["files"]]
            entries += [(folder / "removed", segment["tombstones"])] * bool(segment["tombstones"])
        entries += [(folder, body["hasher"]["file"])] if body["hasher"] else []
        for place, file in entries:
            data = (place / file["name"]).read_bytes()
            file.update(size=len(data), crc32=zlib.crc32(data))
    except (ValueError, KeyError, TypeError, OSError, RecursionError, AttributeError):
        return
    write_manifest(path, outer)


def write_manifest(path: Path, outer: dict[str, Any]) -> None:
    text = json.dumps(outer["body"], sort_keys=True, separators=(",", ":"))
    outer["crc32"] = zlib.crc32(text.encode())
    path.write_bytes(json.dumps(outer).encode())


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the places in a JSON value."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            found += nodes(one, (*path, key))
    return found


def change_json(draw: Any, value: Any) -> None:
    """Replace, remove or repeat one place of a JSON value."""
    places = nodes(value)
    if not places:
        return
    *way, last = draw(st.sampled_from(places))
    for key in way:
        value = value[key]
    what = draw(st.sampled_from(["replace", "replace", "near", "remove", "repeat"]))
    if what == "remove":
        del value[last]
    elif what == "repeat" and isinstance(value, list):
        value.extend([value[last]] * draw(st.sampled_from([1, 20, 2000])))
    elif what == "near" and type(value[last]) is int:
        value[last] += draw(st.sampled_from([-2, -1, 1, 2, 64, 4096]))
    else:
        value[last] = draw(st.sampled_from(VALUES))


def change_bytes(draw: Any, path: Path) -> None:
    """Overwrite, cut, insert or repeat bytes."""
    data = bytearray(path.read_bytes())
    start = draw(st.integers(0, max(len(data) - 1, 0)))
    if draw(st.booleans()):  # where the structure is
        start = max(0, len(data) - 1 - start % 200) if draw(st.booleans()) else start % 300
    count = draw(st.sampled_from([1, 1, 2, 4, 8, 100]))
    what = draw(st.sampled_from(["flip", "flip", "fill", "number", "cut", "drop", "repeat"]))
    if what == "flip":
        for place in range(start, min(start + count, len(data))):
            data[place] ^= draw(st.integers(1, 255))
    elif what == "fill":
        data[start : start + count] = bytes([draw(st.sampled_from([0, 255, 127, 128]))]) * count
    elif what == "number":
        number = draw(st.sampled_from(EXTREMES)) % 2**64
        data[start : start + 8] = number.to_bytes(8, draw(st.sampled_from(["little", "big"])))
    elif what == "cut":
        del data[start:]
    elif what == "drop":
        del data[start : start + count]
    else:
        data[start:start] = data[start : start + 100] * count
    path.write_bytes(data)


def change_array(draw: Any, array: np.ndarray) -> np.ndarray:
    """Return another array in place of one of the index."""
    what = draw(st.sampled_from(["value", "value", "type", "shape", "part", "order", "long"]))
    if what == "value" and array.size:
        flat = array.copy().reshape(-1)
        place = draw(st.integers(0, flat.size - 1))
        limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else None
        values = [0, 1, limits.max, limits.min, limits.max // 2, len(flat)] if limits else []
        values += [] if limits else [0.0, -1.0, 1e308, -1e308, np.nan, np.inf, 180.0, 360.0]
        count = draw(st.sampled_from([1, 1, 10, flat.size]))
        flat[place : place + count] = draw(st.sampled_from(values))
        return flat.reshape(array.shape)
    if what == "type":
        with np.errstate(all="ignore"):
            return array.astype(draw(st.sampled_from(NUMBERS)))
    if what == "shape":
        shapes = [(-1,), (1, -1), (-1, 1)] + [(-1, 2), (2, -1)] * (array.size % 2 == 0)
        return array.reshape(draw(st.sampled_from(shapes)))
    if what == "part" and array.ndim:
        return array[: draw(st.integers(0, len(array)))]
    if what == "order" and array.ndim:
        return array[::-1]
    return np.concatenate([array.reshape(-1)] * draw(st.sampled_from([2, 1000])))


def change_table(draw: Any, path: Path) -> None:
    """Write a table with another column, other rows or another layout."""
    table = pq.read_table(path)
    name = draw(st.sampled_from(table.column_names))
    place = table.column_names.index(name)
    column = table.column(name)
    what = draw(st.sampled_from(["type", "drop", "rename", "nulls", "rows", "values", "twice"]))
    if what == "drop":
        table = table.drop_columns([name])
    elif what == "rename":
        names = [*table.column_names]
        names[place] = draw(st.sampled_from([*names, "", "x", "geo"]))
        table = table.rename_columns(names)
    elif what == "rows":
        table = table.slice(0, draw(st.integers(0, len(table))))
    elif what == "twice":
        table = table.append_column(name, column)
    else:
        count = len(table)
        others = {
            "nulls": [pa.nulls(count, column.type)],
            "type": [pa.array([n] * count) for n in (1, 1.5, "x", b"x", None, [1], {"a": 1})],
            "values": [other_values(draw, column)],
        }[what]
        table = table.set_column(place, name, draw(st.sampled_from(others)))
    metadata = dict(table.schema.metadata or {})
    if b"geo" in metadata and draw(st.booleans()):
        metadata[b"geo"] = draw(st.sampled_from([b"", b"{}", b"[", b"null", b"[" * 100_000]))
        table = table.replace_schema_metadata(metadata)
    pq.write_table(
        table,
        path,
        row_group_size=draw(st.sampled_from([4096, 7, 10**6])),
        compression=draw(st.sampled_from(["zstd", "snappy", "none", "gzip"])),
        use_dictionary=draw(st.booleans()),
    )


def other_values(draw: Any, column: pa.ChunkedArray) -> pa.Array:
    """Return a column of the same type with one other value."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    values = column.cast(kind).to_pylist() if kind != column.type else column.to_pylist()
    row = draw(st.integers(0, len(values) - 1))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        data = bytearray(values[row] or b"x")
        at = draw(st.integers(0, len(data) - 1))
        data[at] = draw(st.sampled_from([0, 1, 6, 7, 127, 255]))
        values[row] = bytes(data[: draw(st.sampled_from([len(data), at, 10**9]))])
    elif pa.types.is_integer(kind):
        values[row] = draw(st.sampled_from([0, -1, 2**31 - 1, -(2**31)]))
    elif pa.types.is_timestamp(kind):
        numbers = column.cast(pa.int64()).to_pylist()
        numbers[row] = draw(st.sampled_from([0, -1, 2**62, -(2**62), 2**63 - 1]))
        return pa.array(numbers, pa.int64()).cast(kind)
    else:
        values[row] = draw(st.sampled_from(["", "x" * 100_000, "\x00", "é"]))
    return pa.array(values, kind)


def files_of(folder: Path, pattern: str = "*") -> list[Path]:
    found = (path for path in folder.rglob(pattern) if path.is_file() and path.suffix != ".lock")
    return sorted(found)


def change_manifest(draw: Any, folder: Path) -> None:
    path = folder / "manifest.json"
    outer = json.loads(path.read_bytes())
    for _ in range(draw(st.integers(1, 2))):
        change_json(draw, outer["body"])
    write_manifest(path, outer)


def change_records(draw: Any, folder: Path) -> None:
    path = draw(st.sampled_from(sorted((folder / "scenes").iterdir())))
    lines = [json.loads(line) for line in zlib.decompress(path.read_bytes()).splitlines()]
    change_json(draw, lines)
    path.write_bytes(zlib.compress("\n".join(map(json.dumps, lines)).encode()))


def change_arrays(draw: Any, folder: Path) -> None:
    path = draw(st.sampled_from(files_of(folder, "index.safetensors")))
    arrays = {name: np.array(value) for name, value in map_arrays(path).items()}
    name = draw(st.sampled_from(sorted(arrays)))
    if draw(st.integers(0, 9)):
        arrays[name] = np.ascontiguousarray(change_array(draw, arrays[name]))
    else:
        del arrays[name]
    path.write_bytes(b"".join(bytes(piece) for piece in serialise_arrays(arrays)))


def change_header(draw: Any, folder: Path) -> None:
    """Change the header of the index or the hasher, or the hasher's description in it."""
    path = draw(st.sampled_from(files_of(folder, "*.safetensors")))
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    ours = header.get("__metadata__", {}).get("geohash_rs")
    if ours and draw(st.integers(0, 3)):
        inner = json.loads(ours)
        change_json(draw, inner)
        header["__metadata__"]["geohash_rs"] = json.dumps(inner)
    else:
        change_json(draw, header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def change_length(draw: Any, folder: Path) -> None:
    path = draw(st.sampled_from(files_of(folder)))
    data = path.read_bytes()
    size = draw(st.sampled_from([0, 1, 7, 8, len(data) - 1, len(data) + 8]))
    path.write_bytes((data + bytes(8))[:size])


CHANGES: dict[str, Callable[[Any, Path], None]] = {
    "bytes": lambda draw, folder: change_bytes(draw, draw(st.sampled_from(files_of(folder)))),
    "manifest": change_manifest,
    "records": change_records,
    "arrays": change_arrays,
    "header": change_header,
    "table": lambda draw, folder: change_table(
        draw, draw(st.sampled_from(files_of(folder, "tiles.parquet")))
    ),
    "length": change_length,
}


def change(draw: Any, folder: Path) -> str:
    """Change one file of an archive; return the kind of change."""
    kind = draw(st.sampled_from(sorted(CHANGES)))
    CHANGES[kind](draw, folder)
    if kind != "manifest" and draw(st.integers(0, 9)):
        reseal(folder)
    return kind
