"""Change the files of an archive at random and use it: only the package's own errors may come out.

    python -m tests.store.fuzz [--examples 100] [--seed 0] [--minutes 60]

Hypothesis draws which file is changed and how: single bytes, or what a forger would write (other
numbers in the manifest, other arrays in the index, other columns in the table), with sizes and
checksums that fit. Every round runs in a process of its own, which may take 1 GB more than it
started with and 10 s per example. With --minutes, rounds follow each other with new seeds, and
what is found is printed.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from geohash_rs.errors import GeoHashRSError
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.segment.arrays import map_arrays, serialise_arrays
from geohash_rs.store.summary import summarise
from tests.store.helpers import make_grid

ROOT = Path(__file__).resolve().parents[2]
MOST_MEMORY = 1 << 30  # bytes above what the process had when it began
MOST_SECONDS = 10  # for an example
ROUND = 100  # examples

EXTREMES = [0, 1, -1, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63, 2**64, 10**30]
VALUES: list[Any] = [*EXTREMES, -(2**63), -(2**70), 0.5, 1e308, float("nan"), float("inf"), True]
VALUES += [None, "", "x", "../x", "/", "0" * 300, "\x00", "\x1b[2J", "\ud800", "é" * 9]
VALUES += [[], {}, [[]], [0] * 10, {"a": 1}, "2023-01-01", "9" * 5000, "EPSG:4326"]
NUMBERS = ["uint8", "uint16", "uint32", "uint64", "int32", "int64", "float64"]
KINDS = ["bytes", "manifest", "records", "arrays", "header", "table", "length"]


def make_base(folder: Path, hasher: bytes) -> None:
    """Make an archive with every kind of file, and segments of every kind."""
    made = HasherFile(data=hasher, fingerprint=json_fingerprint(hasher), num_bits=64)
    with CodeStore.create(folder, hasher=made) as store:
        for number in range(3):
            count = 60 + number
            tiles = make_grid(count, scene=f"{number}.tif", west=10.0 + number)
            tiles["label"] = [f"kind {n % 3}" if n % 4 else None for n in range(count)]
            tiles["datetime"] = [f"2023-06-{n % 28 + 1:02}" for n in range(count)]
            tiles["datetime_end"] = [f"2023-07-{n % 28 + 1:02}" for n in range(count)]
            record = SceneRecord(
                scene=f"{number}.tif", num_tiles=count, width=9, height=9, crs="EPSG:32633"
            )
            codes = np.arange(count * 8).astype(np.uint8).reshape(count, 8)
            store.add_codes(codes, tiles, scenes=[record])
            if number == 1:
                store.remove_tiles([3, 64])
                store.compact()  # a segment whose ids are not consecutive
        store.remove_tiles([5, 130])
        store.update_attrs({"a": {"b": [1, 2.5, None]}})


def json_fingerprint(hasher: bytes) -> str:
    """Return the fingerprint that a hasher's file states."""
    length = int.from_bytes(hasher[:8], "little")
    header = json.loads(hasher[8 : 8 + length])
    return str(json.loads(header["__metadata__"]["geohash_rs"])["fingerprint"])


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
        entries += [(folder, body["hasher"]["file"])]
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


def change(draw: Any, folder: Path) -> str:
    """Change one file of an archive; return what was done."""
    kind = draw(st.sampled_from(KINDS))
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    segments = [path.parent for path in files if path.name == "codes.bin"]
    if kind == "manifest":
        path = folder / "manifest.json"
        outer = json.loads(path.read_bytes())
        for _ in range(draw(st.integers(1, 2))):
            change_json(draw, outer["body"])
        write_manifest(path, outer)
        return kind
    if kind == "records":
        path = draw(st.sampled_from([path for path in files if path.parent.name == "scenes"]))
        lines = [json.loads(line) for line in zlib.decompress(path.read_bytes()).splitlines()]
        change_json(draw, lines)
        path.write_bytes(zlib.compress("\n".join(map(json.dumps, lines)).encode()))
    elif kind == "arrays":
        path = draw(st.sampled_from(segments)) / "index.safetensors"
        arrays = {name: np.array(value) for name, value in map_arrays(path).items()}
        name = draw(st.sampled_from(sorted(arrays)))
        if draw(st.integers(0, 9)):
            arrays[name] = np.ascontiguousarray(change_array(draw, arrays[name]))
        else:
            del arrays[name]
        path.write_bytes(b"".join(bytes(piece) for piece in serialise_arrays(arrays)))
    elif kind == "header":
        path = draw(st.sampled_from([path for path in files if path.suffix == ".safetensors"]))
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
    elif kind == "table":
        change_table(draw, draw(st.sampled_from(segments)) / "tiles.parquet")
    elif kind == "length":
        path = draw(st.sampled_from(files))
        size = draw(st.sampled_from([0, 1, 7, 8, path.stat().st_size - 1, path.stat().st_size + 8]))
        path.write_bytes((path.read_bytes() + bytes(8))[:size])
    else:
        path = draw(st.sampled_from(files))
        change_bytes(draw, path)
        kind = f"bytes of {path.name}"
    if draw(st.integers(0, 9)):
        reseal(folder)
    return kind


def use(folder: Path) -> None:
    """Use an archive in every way; the package's own errors are right answers."""
    from geohash_rs.archive import Archive

    box, shape = (10, 40, 12, 50), shapely.Point(11, 48).buffer(1)
    query = np.zeros((1, 8), np.uint8)
    wheres: list[dict[str, Any]] = [
        {},
        {"region": box},
        {"region": shape},
        {"labels": ["kind 1"], "scenes": ["1.tif"], "time": ("2023-06-03", "2023-06-20")},
        {"exclude_region": box, "time": ("2023-06-03", None)},
    ]

    def attempt(call: Any) -> None:
        try:
            call()
        except GeoHashRSError:
            pass

    def search(store: CodeStore, where: dict[str, Any]) -> None:
        for limits in ({"k": 50}, {"max_distance": 64}):
            store.tiles(np.unique(store.search(query, **limits, **where).ids)[:300])

    try:
        store = Archive.open(folder)
    except GeoHashRSError:
        return
    with store:
        for where in wheres:
            attempt(lambda where=where: search(store, where))
        attempt(lambda: [list(store.iter_tiles()), store.scenes(), len(store)])
        attempt(lambda: store.codes([0, 5, 70]))
        attempt(lambda: summarise(store))
        attempt(store.verify)
        attempt(store.hasher)
        attempt(lambda: store.remove_tiles([7, 8]))
        attempt(lambda: store.add_codes(query, make_grid(1)))
        attempt(store.compact)


def memory() -> int:
    """Return the largest resident memory so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_round(base: Path, number: int, examples: int) -> None:
    """Try examples in this process; print what is wrong and end with an error."""
    warnings.simplefilter("ignore")
    note = base.parent / "example"
    scratch = Path(tempfile.mkdtemp(dir=base.parent))
    use(base_copy(base, scratch))  # loads and compiles everything
    before = memory()

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        folder = base_copy(base, scratch)
        what = change(data.draw, folder)
        note.write_text(f"seed {number}: {what}")
        signal.alarm(MOST_SECONDS)  # ends the process
        use(folder)
        signal.alarm(0)
        assert memory() - before < MOST_MEMORY, f"{what}: {(memory() - before) >> 20} MB"

    try:
        one()
    except BaseException as error:  # noqa: BLE001 - whatever it is is what is looked for
        print(f"seed {number}, {note.read_text()}: {error!r}")
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "hypothesis" not in frame.filename]
        print(*traceback.format_list(ours), *getattr(error, "__notes__", ()), sep="\n")
        sys.exit(1)


def base_copy(base: Path, scratch: Path) -> Path:
    folder = scratch / "a"
    shutil.rmtree(folder, ignore_errors=True)
    return shutil.copytree(base, folder)


def hasher_bytes() -> bytes:
    """Return a small hasher."""
    import torch

    from geohash_rs import fit_hasher
    from tests.ground import KINDS, TILE, ground

    tiles = torch.from_numpy(np.stack([ground(i % KINDS, TILE, i) for i in range(32)]))
    return fit_hasher([tiles], num_bits=64, input_size=32).to_bytes()


def start_round(base: Path, number: int, examples: int) -> str:
    """Run a round in a process of its own; return what it found."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.store.fuzz", "--round", str(base), str(number), str(examples)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    note = base.parent / "example"
    last = note.read_text() if note.exists() else "before the first example"
    how = f"signal {-done.returncode}, {last}" if done.returncode < 0 else ""
    return f"{how}\n{done.stdout}\n{done.stderr[-3000:]}".strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=ROUND)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--round", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.round:
        run_round(Path(chosen.round[0]), int(chosen.round[1]), int(chosen.round[2]))
        return
    end = time.monotonic() + 60 * chosen.minutes
    findings = rounds = 0
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        make_base(base, hasher_bytes())
        while rounds == 0 or time.monotonic() < end:
            found = start_round(base, chosen.seed + rounds, chosen.examples)
            rounds += 1
            if found:
                findings += 1
                print(f"== finding {findings}\n{found}", flush=True)
            elif rounds % 10 == 0:
                print(f"{rounds * chosen.examples:,} examples, {findings} findings", flush=True)
    print(f"{rounds * chosen.examples:,} examples, {findings} findings")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
