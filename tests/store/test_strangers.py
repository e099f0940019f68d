"""An archive from a stranger: nothing outside it is touched, and what is mapped fits."""

import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from geohash_rs.errors import ArchiveCorruptError, ArchiveFormatError, TileTableError
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.records import SceneRecord, read_scene_logs, write_scene_log
from geohash_rs.store.segment.arrays import map_arrays, serialise_arrays
from geohash_rs.store.segment.pages import _levels
from geohash_rs.store.segment.wkb import check_wkb
from tests.store.helpers import make_grid

REFUSED = (ArchiveCorruptError, ArchiveFormatError)
QUERY = np.zeros((1, 8), np.uint8)
DEEP = "[" * 200_000 + "]" * 200_000


@pytest.fixture
def archive(tmp_path):
    """An archive of one segment with labels, times and removed tiles, and two scene records."""
    made = CodeStore.create(tmp_path / "a", num_bits=64)
    tiles = make_grid(5000).assign(label=[f"kind {n % 5}" for n in range(5000)])
    tiles["datetime"] = [f"2023-06-{n % 28 + 1:02}" for n in range(5000)]
    tiles["scene"] = [f"{n % 2}.tif" for n in range(5000)]
    tiles["tile_size"] = [32 * (n % 3 + 1) for n in range(5000)]
    tiles["source"] = [f"{n}.tif" for n in range(5000)]
    scenes = [SceneRecord(scene=f"{n}.tif", num_tiles=2500) for n in range(2)]
    made.add_codes(np.arange(40_000).astype(np.uint8).reshape(5000, 8), tiles, scenes=scenes)
    made.remove_tiles(np.arange(10))
    return made


def segment_file(folder: Path, name: str) -> Path:
    (segment,) = (folder / "segments").iterdir()
    return segment / name


def change(folder, edit):
    """Change the body of a manifest and give it a checksum that fits, as a forger would."""
    path = folder / "manifest.json"
    outer = json.loads(path.read_text())
    edit(outer["body"])
    text = json.dumps(outer["body"], sort_keys=True, separators=(",", ":"))
    outer["crc32"] = zlib.crc32(text.encode())
    path.write_text(json.dumps(outer))


def reseal(folder):
    """Make sizes and checksums in the manifest fit the files."""

    def fit(entry, path):
        data = path.read_bytes()
        entry.update(size=len(data), crc32=zlib.crc32(data))

    def edit(body):
        for segment in body["segments"]:
            for file in segment["files"]:
                fit(file, folder / "segments" / segment["name"] / file["name"])
            if segment["tombstones"]:
                fit(segment["tombstones"], folder / "removed" / segment["tombstones"]["name"])
        for log in body["scene_logs"]:
            fit(log, folder / "scenes" / log["name"])

    change(folder, edit)


def use_everything(folder):
    """Open, search with every filter, read tiles and records."""
    with CodeStore.open(folder, mode="r") as opened:
        box, shape = (10, 40, 12, 50), shapely.Point(11, 48).buffer(1)
        for limits in ({"k": 500}, {"max_distance": 64}):
            for where in (
                {},
                {"region": box},
                {"region": shape},
                {"labels": ["kind 1"], "scenes": ["1.tif"], "time": ("2023-06-03", "2023-06-20")},
                {"exclude_region": box, "time": ("2023-06-03", "2023-06-20")},
                {"tile_size": [32, 96]},
            ):
                found = opened.search(QUERY, **limits, **where)
                opened.tiles(np.unique(found.ids)[:300])
        for _ in opened.iter_tiles():
            pass
        opened.scenes()


@pytest.mark.parametrize("place", ["segments/99999998", "segments", "removed", "scenes", "x.tmp"])
@pytest.mark.parametrize("command", ["compact", "remove", "add"])
def test_links_never_lead_a_change_out_of_the_archive(archive, tmp_path, place, command):
    outside = tmp_path / "outside"
    link = archive.path / place
    if link.exists():
        shutil.move(link, outside)
        if place == "segments":
            (outside / "00000077").mkdir()
            (outside / "00000077" / "codes.bin").write_text("mine")
    else:
        outside.mkdir()
    (outside / "thesis.txt").write_text("mine")
    archive.close()
    link.symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    try:
        with CodeStore.open(archive.path) as opened:
            if command == "compact":
                opened.compact()
            elif command == "remove":
                opened.remove_tiles([100])
            else:
                opened.add_codes(QUERY, make_grid(1))
    except ArchiveCorruptError as error:
        assert "is not a plain folder but a link" in str(error)  # noqa: PT017 - may succeed
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before
    assert link.is_symlink() or place == "removed"


@pytest.mark.parametrize("name", ["write.lock", "readers.lock", "manifest.json"])
def test_a_link_in_place_of_a_file_is_refused_and_its_target_kept(archive, tmp_path, name):
    archive.close()
    outside = tmp_path / "precious.txt"
    outside.write_text("mine\n" * 100)
    (archive.path / name).unlink()
    (archive.path / name).symlink_to(outside)
    with pytest.raises(ArchiveCorruptError, match=rf"{name} is not a plain file but a link"):
        CodeStore.open(archive.path).remove_tiles([50])
    assert outside.read_text() == "mine\n" * 100


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["manifest.json", "readers.lock", "write.lock", "codes.bin"])
def test_a_pipe_is_refused_and_not_waited_for(archive, name):
    archive.close()
    path = segment_file(archive.path, name) if name == "codes.bin" else archive.path / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ArchiveCorruptError, match=rf"{name} is not a plain file"):
        use_everything_and_write(archive.path)


def use_everything_and_write(folder):
    use_everything(folder)
    CodeStore.open(folder).remove_tiles([50])


HUGE = 1 << 62
FORGED = {
    "a path as a segment": lambda b: b["segments"][0].update(name="../../x"),
    "more tiles than codes": lambda b: b["segments"][0].update(num_tiles=10**10, last_id=10**10),
    "negative tiles": lambda b: b["segments"][0].update(num_tiles=-96),
    "no tiles": lambda b: b["segments"][0].update(num_tiles=0),
    "negative removals": lambda b: b["segments"][0].update(num_removed=-5),
    "too many removals": lambda b: b["segments"][0].update(num_removed=10**9),
    "negative bits": lambda b: b.update(num_bits=-64),
    "bits as text": lambda b: b.update(num_bits="64"),
    "bits as a fraction": lambda b: b.update(num_bits=64.0),
    "bits as a truth": lambda b: b.update(num_bits=True),
    "no bits": lambda b: b.update(num_bits=None),
    "bounds that are not numbers": lambda b: b["segments"][0].update(bounds=[float("nan")] * 4),
    "bounds without end": lambda b: b["segments"][0].update(bounds=[float("-inf")] * 4),
    "one bound": lambda b: b["segments"][0].update(bounds=[1]),
    "times as text": lambda b: b["segments"][0].update(times=["a", "b"]),
    "times beyond all": lambda b: b["segments"][0].update(times=[-(10**30), 10**30]),
    "ids from nowhere": lambda b: b["segments"][0].update(first_id=HUGE, last_id=HUGE + 4999),
    "ids beyond int64": lambda b: b["segments"][0].update(first_id=10**30, last_id=10**30),
    "a next id that no search can pack": lambda b: b.update(next_id=2**47),
    "a negative next id": lambda b: b.update(next_id=-1),
    "a next number of 300 digits": lambda b: b.update(next_number=10**300),
    "attributes as a list": lambda b: b.update(attrs=[[1, 2, 3]]),
    "segments as text": lambda b: b.update(segments="abc"),
    "a segment twice": lambda b: b.update(segments=b["segments"] * 2),
    "no files": lambda b: b["segments"][0].update(files=[]),
    "a negative size": lambda b: b["segments"][0]["files"][0].update(size=-1),
    "a hasher as text": lambda b: b.update(hasher="x"),
    "the manifest as hasher": lambda b: b.update(
        hasher={"file": {"name": "manifest.json", "size": 1, "crc32": 0}, "fingerprint": "f"}
    ),
    "tile sizes as a number": lambda b: b.update(tile_sizes=1),
    "sources as a number": lambda b: b.update(sources=1),
    "signs of a terminal": lambda b: b.update(pending_hasher="\x1b]0;owned\x07"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_manifest_is_refused(archive, what):
    archive.close()
    change(archive.path, FORGED[what])
    with pytest.raises(ArchiveCorruptError, match=r"manifest\.json has a missing or wrong field"):
        CodeStore.open(archive.path)


FITTING = {
    "block_boxes": lambda x: x[:1],
    "boxes": lambda x: x[:, :1],
    "scene_rows": lambda x: np.full(5000, 0xF0000000, np.uint32),
    "label_rows": lambda x: np.full(5000, 1 << 60, np.uint64),
    "start_rows": lambda x: x[:10],
    "label_ranges": lambda x: x * 0 + 0xFFFFFFFF,
    "scene_ranges": lambda x: x[:1],
    "scene_texts": lambda x: np.full(10, 255, np.uint8),
    "page_rows": lambda x: x * 0 + 7,
    "page_places": lambda x: x * 0 + (1 << 60),
    "page_sizes": lambda x: x * 0 + 0xFFFFFFFF,
    "source_page_rows": lambda x: x * 0 + 7,
    "source_page_places": lambda x: x * 0 + (1 << 60),
    "source_page_sizes": lambda x: x * 0 + 0xFFFFFFFF,
    "start_values": lambda x: x[::-1].copy(),
    "col_least": lambda x: x[:1],
    "row_above": lambda x: x[:1],
    "size_rows": lambda x: np.full(5000, 4, np.uint8),
    "size_ranges": lambda x: x * 0 + 0xFFFFFFFF,
    "size_values": lambda x: x[::-1].copy(),
    "tile_size_least": lambda x: x[:1],
    "tile_size_above": lambda x: x[:1],
}


@pytest.mark.parametrize("name", FITTING)
@pytest.mark.usefixtures("scanner")
def test_an_array_that_does_not_fit_its_segment_is_refused_by_name(archive, name):
    archive.close()
    path = segment_file(archive.path, "index.safetensors")
    arrays = {key: np.array(value) for key, value in map_arrays(path).items()}
    arrays[name] = np.ascontiguousarray(FITTING[name](arrays[name]))
    path.write_bytes(b"".join(bytes(piece) for piece in serialise_arrays(arrays)))
    reseal(archive.path)
    with pytest.raises(ArchiveCorruptError, match=rf"array {name} has"):
        use_everything(archive.path)


@pytest.mark.parametrize("name", ["codes.bin", "tombstones"])
@pytest.mark.parametrize("size", [0, 511, 39_992, 40_008])
def test_codes_and_tombstones_of_another_length_are_refused(archive, name, size):
    archive.close()
    (bitmap,) = (archive.path / "removed").iterdir()
    path = bitmap if name == "tombstones" else segment_file(archive.path, name)
    path.write_bytes((path.read_bytes() + bytes(40_008))[:size])
    reseal(archive.path)
    with pytest.raises(ArchiveCorruptError, match=f"has {size} bytes, but 5000 rows need"):
        use_everything(archive.path)


@pytest.mark.parametrize("name", ["label_ranges", "label_texts", "size_ranges", "size_values"])
def test_an_index_with_half_of_a_column_is_refused(archive, name):
    archive.close()
    path = segment_file(archive.path, "index.safetensors")
    arrays = {key: np.array(value) for key, value in map_arrays(path).items() if key != name}
    path.write_bytes(b"".join(bytes(piece) for piece in serialise_arrays(arrays)))
    reseal(archive.path)
    with pytest.raises(ArchiveCorruptError, match=f"array {name} is missing"):
        use_everything(archive.path)


def test_ids_out_of_order_are_refused(archive):
    archive.close()
    path = segment_file(archive.path, "index.safetensors")
    arrays = {key: np.array(value) for key, value in map_arrays(path).items()}
    arrays |= {"ids": np.arange(5000, dtype=np.uint32)}
    arrays |= {"id_order": np.full(5000, 0xFFFFFFFF, np.uint32)}
    path.write_bytes(b"".join(bytes(piece) for piece in serialise_arrays(arrays)))
    change(archive.path, lambda body: body["segments"][0].update(sequential=False))
    reseal(archive.path)
    with pytest.raises(ArchiveCorruptError, match="array id_order has numbers that do not fit"):
        CodeStore.open(archive.path).tiles([5])


@pytest.mark.parametrize(
    "header",
    [
        DEEP,
        "[]",
        '{"a": {"dtype": "U8", "shape": [9], "data_offsets": [-9, 0]}}',
        '{"a": {"dtype": "U64", "shape": [1], "data_offsets": [1, 9]}}',
        '{"a": {"dtype": "U8", "shape": [4611686018427387904], "data_offsets": [0, 8]}}',
    ],
    ids=["deep", "a list", "a negative offset", "unaligned", "a huge shape"],
)
def test_a_forged_header_of_the_index_is_refused(archive, header):
    archive.close()
    data = len(header).to_bytes(8, "little") + header.encode() + bytes(64)
    segment_file(archive.path, "index.safetensors").write_bytes(data)
    reseal(archive.path)
    with pytest.raises(ArchiveCorruptError, match="has a damaged header"):
        use_everything(archive.path)


def longer(column, text):
    """Replace the text of the first row."""
    values = column.cast(pa.string()).to_pylist()
    return pa.array([text, *values[1:]]).dictionary_encode()


@pytest.mark.parametrize("name", ["scene", "label"])
def test_a_text_that_many_rows_may_share_is_short(archive, name):
    archive.close()
    path = segment_file(archive.path, "tiles.parquet")
    table = pq.read_table(path)
    place = table.column_names.index(name)
    for length in (65_536, 65_537):
        other = table.set_column(place, name, longer(table.column(name), "x" * length))
        pq.write_table(other, path, row_group_size=4096)
        reseal(archive.path)
        with CodeStore.open(archive.path) as opened:
            if length == 65_536:
                assert sum(map(len, opened.iter_tiles())) == 4990
                continue
            with pytest.raises(ArchiveCorruptError, match=f"column {name} has a text of 65,537"):
                list(opened.iter_tiles())
    with pytest.raises(TileTableError, match=f"{name!r} of tiles has a text of 65,537 bytes"):
        CodeStore.open(archive.path).add_codes(QUERY, make_grid(1).assign(**{name: "x" * 65_537}))


def test_a_long_text_of_the_index_is_refused(archive):
    archive.close()
    path = segment_file(archive.path, "index.safetensors")
    arrays = {key: np.array(value) for key, value in map_arrays(path).items()}
    arrays["scene_texts"] = np.full(65_537, ord("x"), np.uint8)
    path.write_bytes(b"".join(bytes(piece) for piece in serialise_arrays(arrays)))
    reseal(archive.path)
    with pytest.raises(ArchiveCorruptError, match="array scene_texts has numbers that do not fit"):
        CodeStore.open(archive.path).tiles([50])


def test_a_footprint_is_of_limited_length(archive):
    turn = np.linspace(0, 2 * np.pi, 80_000)
    circle = shapely.Polygon(np.column_stack([10 + np.cos(turn), 50 + np.sin(turn)]))
    with pytest.raises(TileTableError, match="takes 1,280,013 bytes, but at most 1,048,576"):
        archive.add_codes(QUERY, make_grid(1).set_geometry([circle], crs="EPSG:4326"))
    with pytest.raises(ValueError, match="over 1,048,576, is not a footprint"):
        check_wkb([shapely.to_wkb(circle)])


def test_levels_of_a_page_are_unpacked_only_as_far_as_it_has_rows():
    size = 1 << 19  # of groups of eight levels, in a page of twelve rows
    header = bytes([(size << 1 | 1) & 127 | 128, (size << 1) >> 7 & 127 | 128, (size << 1) >> 14])
    found = _levels(header + b"\xff\x0f" + bytes(size - 2), 12)
    assert found.tolist() == [True] * 12


AT_THE_LIMIT = {
    "ids": lambda b: b.update(next_id=2**47 - 1),
    "commits": lambda b: b.update(generation=2**63 - 1),
    "numbers": lambda b: b.update(next_number=10**17),
    "a folder": None,
}


@pytest.mark.parametrize("what", AT_THE_LIMIT)
def test_a_state_that_could_not_be_read_back_is_not_committed(archive, what):
    archive.close()
    if what == "a folder":
        (archive.path / "segments" / "999999999999999999").mkdir()
    else:
        change(archive.path, AT_THE_LIMIT[what])
    before = (archive.path / "manifest.json").read_bytes()
    with pytest.raises(ArchiveCorruptError, match="leaves no room for another commit"):
        CodeStore.open(archive.path).add_codes(QUERY, make_grid(1))
    assert (archive.path / "manifest.json").read_bytes() == before
    assert CodeStore.open(archive.path).num_tiles == 4990


def test_logs_share_what_they_may_unpack_to(archive):
    archive.close()
    (log,) = (archive.path / "scenes").iterdir()
    text = json.dumps(RECORD | {"settings": {"note": "x" * (20 << 20)}})
    names = [log.name, "00000077"]
    for name in names:
        (archive.path / "scenes" / name).write_bytes(zlib.compress(text.encode()))
    copies = [{"name": name, "size": 0, "crc32": 0} for name in names]
    change(archive.path, lambda body: body.update(scene_logs=copies[:1]))
    reseal(archive.path)
    CodeStore.open(archive.path).scenes()
    change(archive.path, lambda body: body.update(scene_logs=copies))
    reseal(archive.path)
    with pytest.raises(ArchiveCorruptError, match="the logs unpack to more bytes than they should"):
        CodeStore.open(archive.path).scenes()


def test_records_that_are_nearly_alike_are_not_taken_for_a_bomb(tmp_path):
    settings = {"labels": ["a band"] * 500}
    records = [SceneRecord(scene=f"{n}.tif", settings=settings) for n in range(20_000)]
    log = write_scene_log(tmp_path / "log", records)
    assert len(read_scene_logs(tmp_path, [log])) == len(records)  # 100 MB of text
    assert log.size > 1 << 20


def test_a_manifest_of_many_objects_is_refused(archive):
    archive.close()
    change(archive.path, lambda body: body.update(attrs={"a": [{}] * 1_000_000}))
    with pytest.raises(ArchiveCorruptError, match="more than 1,000,000 objects and lists"):
        CodeStore.open(archive.path)


def test_a_scene_log_may_leave_out_what_is_unknown(archive):
    archive.close()
    (log,) = (archive.path / "scenes").iterdir()
    log.write_bytes(zlib.compress(b'{"scene": "x", "settings": {}, "num_tiles": 1}'))
    reseal(archive.path)
    with CodeStore.open(archive.path) as opened:
        assert opened.scenes() == [SceneRecord(scene="x", num_tiles=1)]


def test_a_deep_manifest_is_refused(archive):
    (archive.path / "manifest.json").write_text(DEEP)
    with pytest.raises(ArchiveCorruptError, match="is not complete JSON"):
        CodeStore.open(archive.path)


RECORD = {"scene": "x", "settings": {}, "num_tiles": 1}
WRONG_RECORDS = [
    {"scene": "half \ud800"},
    {"crs": "\ud800"},
    {"width": 10**400},
    {"mtime_ns": -(10**30)},
    {"transform": [10**400] * 6},
    {"transform": [float("nan")] * 6},
    {"settings": {"tile_size": "x"}},
    {"settings": {"tile_size": 10**30}},
    {"settings": {"tile_size": [64, 128]}},
    {"settings": {"larger_tiles": 128}},
    {"settings": {"larger_tiles": [[128]]}},
    {"settings": {"larger_tiles": [[128, 0]]}},
    {"settings": {"bands": 5}},
    {"settings": {"ground_size": [1]}},
    {"settings": {"value_range": [0]}},
    {"settings": {"reading": [1]}},
    {"settings": {"reading": {"indexes": [1], "labels": [5], "by": "order"}}},
    {"settings": {"reading": {"indexes": [1], "labels": ["red"], "by": "\ud800"}}},
]


@pytest.mark.parametrize("change", WRONG_RECORDS, ids=str)
def test_a_scene_record_of_impossible_values_is_refused(archive, change):
    archive.close()
    (log,) = (archive.path / "scenes").iterdir()
    log.write_bytes(zlib.compress(json.dumps(RECORD | change).encode()))
    reseal(archive.path)
    with pytest.raises(ArchiveCorruptError, match="of a scene|surrogates not allowed"):
        CodeStore.open(archive.path).scenes()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (zlib.compress(DEEP.encode()), "cannot be read"),
        (zlib.compress(bytes(200 << 20)), "the logs unpack to more bytes than they should"),
        (
            zlib.compress(
                b'{"scene": "x", "num_tiles": 1, "settings": {"a": [%b{}]}}' % (b"{}," * 2**20)
            ),
            "the logs hold more than 1,048,576 objects and lists",
        ),
        (zlib.compress(b'{"scene": "x"}')[:-4], "cut short"),
        (zlib.compress(b'{"scene": 5, "settings": {}, "num_tiles": 1}'), "scene of a scene is not"),
        (zlib.compress(b'{"scene": "x", "settings": {}, "num_tiles": ""}'), "num_tiles of a scene"),
        (zlib.compress(b"[1]"), "a line is a list"),
        (
            zlib.compress(b'{"scene": "x", "settings": {}, "num_tiles": 1, "datetime": "soon"}'),
            "Invalid isoformat string",
        ),
    ],
    ids=[
        "deep",
        "a bomb",
        "many objects",
        "short",
        "a number as scene",
        "text as a number",
        "a list",
        "no date",
    ],
)
def test_a_forged_scene_log_is_refused(archive, content, problem):
    archive.close()
    (log,) = (archive.path / "scenes").iterdir()
    log.write_bytes(content)
    reseal(archive.path)
    with pytest.raises(ArchiveCorruptError, match=problem):
        CodeStore.open(archive.path).scenes()


def nested(depth):
    """Nest a point in collections, by hand."""
    return struct.pack("<BII", 1, 7, 1) * depth + shapely.to_wkb(shapely.Point(0, 0))


@pytest.mark.parametrize(
    "value",
    [nested(1_000_000), nested(100), struct.pack("<BII", 1, 6, 2**31), b"\x00\x00\x00\x00\x03"],
    ids=["a million deep", "a hundred deep", "cut short", "big-endian"],
)
def test_footprints_that_could_end_the_process_are_refused(value):
    with pytest.raises(ValueError, match="is not a footprint|is cut short"):
        check_wkb([value])
    shapes = [shapely.box(0, 0, 1, 1), shapely.MultiPoint([(0, 0), (1, 1)]), shapely.Point(1, 2)]
    shapes += [shapely.GeometryCollection(shapes), shapely.MultiPolygon([shapely.box(0, 0, 1, 1)])]
    check_wkb([None, *shapely.to_wkb(shapes)])


def test_a_footprint_that_could_end_the_process_is_refused_when_read(archive):
    path = segment_file(archive.path, "tiles.parquet")
    table = pq.read_table(path)
    values = table.column("geometry").to_pylist()
    values[0] = nested(1_000_000)
    place = table.column_names.index("geometry")
    table = table.set_column(place, "geometry", pa.array(values, pa.binary()))
    archive.close()
    pq.write_table(table, path, row_group_size=4096)
    reseal(archive.path)
    with (
        CodeStore.open(archive.path, mode="r") as opened,
        pytest.raises(ArchiveCorruptError, match="cannot be decoded"),
    ):
        list(opened.iter_tiles())


WRONG_TABLES = ["another type", "a missing column", "a column twice", "plain text", "no ids"]
WRONG_TABLES += ["a broken footprint", "fewer rows", "a bomb"]


@pytest.mark.parametrize("what", WRONG_TABLES)
def test_a_forged_table_is_refused(archive, what):
    path = segment_file(archive.path, "tiles.parquet")
    table = pq.read_table(path)
    if what == "another type":
        table = table.set_column(0, "tile_id", table.column("tile_id").cast(pa.string()))
    elif what == "a missing column":
        table = table.drop_columns(["scene"])
    elif what == "a column twice":
        table = table.append_column("scene", table.column("scene"))
    elif what == "plain text":
        place = table.column_names.index("scene")
        table = table.set_column(place, "scene", table.column("scene").cast(pa.string()))
    elif what == "no ids":
        table = table.set_column(0, "tile_id", pa.nulls(5000, pa.int64()))
    elif what == "a broken footprint":
        values = table.column("geometry").to_pylist()
        values[:20] = [value[:20] for value in values[:20]]  # ten tiles were removed
        place = table.column_names.index("geometry")
        table = table.set_column(place, "geometry", pa.array(values, pa.binary()))
    elif what == "fewer rows":
        table = table.slice(0, 4999)
    else:
        texts = pa.array(["x" * 100_000] * 5000, pa.string())
        table = table.set_column(table.column_names.index("scene"), "scene", texts)
    archive.close()
    pq.write_table(table, path, row_group_size=4096, compression="zstd", use_dictionary=False)
    reseal(archive.path)
    with (
        CodeStore.open(archive.path, mode="r") as opened,
        pytest.raises(ArchiveCorruptError, match="cannot be decoded"),
    ):
        list(opened.iter_tiles())


def test_only_what_a_commit_made_is_deleted(archive):
    mine = [archive.path / "notes.txt", archive.path / "segments" / "notes", archive.path / "x.tmp"]
    for path in mine:
        path.write_text("mine")
    left = archive.path / "segments" / "00000099"
    left.mkdir()
    archive.compact()
    assert all(path.read_text() == "mine" for path in mine)
    assert not left.exists()


@pytest.mark.parametrize("name", ["archive", "scenes"])
def test_a_creation_killed_while_the_hasher_was_written_can_be_repeated(tmp_path, name):
    folder = tmp_path / name
    for left in ("hasher-f.safetensors", "manifest.json"):
        draft = folder / f"{left}.0a1b2c3d.tmp"
        draft.mkdir(parents=True)
        (draft / left).write_text("half")
    for left in ("write.lock", "readers.lock", "hasher-f.safetensors"):
        (folder / left).touch()
    hasher = HasherFile(data=b"whole", fingerprint="f", num_bits=64)
    archive = CodeStore.create(folder, hasher=hasher)
    assert archive.hasher_file.read_bytes() == b"whole"
    archive.compact()
    kept = ["hasher-f.safetensors", "manifest.json", "readers.lock", "write.lock"]
    assert sorted(path.name for path in folder.iterdir()) == kept
