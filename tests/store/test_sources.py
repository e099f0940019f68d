"""Sources: of which image or product a code was made, a text of its own for each tile."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from geohash_rs.errors import ArchiveCorruptError, TileTableError
from geohash_rs.export.formats import write_batches
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.segment import layout
from geohash_rs.store.segment.arrays import map_arrays, serialise_arrays
from geohash_rs.store.segment.pages import index_pages
from geohash_rs.store.summary import exported_tiles
from tests.store.forger import reseal
from tests.store.helpers import make_grid

COUNT = 2 * layout.BLOCK + 300


def named(count: int, *, start: int = 0) -> list[str]:
    """Name a source for each tile."""
    return [f"s3://clay-tiles-02/v1/{number:08}/é, 'x'.tif" for number in range(start, count)]


def codes(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 1), np.uint8)


def manifest(store: CodeStore) -> tuple[int, bool]:
    """Return an archive's format and whether its manifest speaks of sources."""
    outer = json.loads((store.path / "manifest.json").read_bytes())
    return outer["version"], outer["body"].get("sources", False)


def sources_of(frame: pd.DataFrame) -> dict[int, str | None]:
    """Return each tile's source, None without one."""
    given = frame["source"].astype(object)
    return dict(zip(frame["tile_id"].tolist(), given.where(given.notna(), None), strict=True))


def check(store: CodeStore, expected: dict[int, str | None]) -> None:
    """Compare what every way of reading an archive returns."""
    ids = np.random.default_rng(0).permutation(list(expected))
    assert sources_of(store.tiles(ids)) == expected
    assert sources_of(pd.concat(exported_tiles(store))) == expected
    assert sources_of(store.to_table(["tile_id", "source"]).reader().read_all().to_pandas()) == (
        expected
    )
    assert sources_of(store.to_table().to_geopandas()) == expected
    assert store.verify().ok


def test_each_tile_has_its_own_source_in_every_reading(tmp_path):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    names = named(COUNT)
    ids = store.add_codes(codes(COUNT), make_grid(COUNT).assign(source=names))
    expected: dict[int, str | None] = dict(zip(ids.tolist(), names, strict=True))
    check(store, expected)
    assert manifest(store) == (2, True)
    store.remove_tiles(ids[::3])
    gone = set(ids[::3].tolist())
    kept = {tile: name for tile, name in expected.items() if tile not in gone}
    for _ in range(2):
        check(store, kept)
        store.compact()
    check(CodeStore.open(store.path, mode="r"), kept)
    several = store.to_table(["source"]).to_xarray()["source"].to_numpy()
    assert sorted(several) == sorted(name for name in kept.values() if name)


def test_sources_of_a_segment_are_no_dictionary_and_take_little_space(tmp_path):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    store.add_codes(codes(COUNT), make_grid(COUNT).assign(source="s3://one/product.tif"))
    (segment,) = store.segments
    file = pq.ParquetFile(segment.folder / "tiles.parquet")
    place = file.schema.names.index("source")
    chunks = [file.metadata.row_group(n).column(place) for n in range(file.num_row_groups)]
    assert not any(chunk.has_dictionary_page for chunk in chunks)
    assert sum(chunk.total_compressed_size for chunk in chunks) < COUNT  # of 20 bytes each
    assert np.diff(segment.index["source_page_rows"]).max() <= 1024
    assert not [name for name in segment.index if name.startswith("source_texts")]


def test_an_archive_without_sources_is_what_it_was_before(tmp_path):
    plain = CodeStore.create(tmp_path / "a", num_bits=8)
    missing = CodeStore.create(tmp_path / "b", num_bits=8)
    ids = plain.add_codes(codes(500), make_grid(500))
    missing.add_codes(codes(500), make_grid(500).assign(source=None))
    for store in (plain, missing):
        assert manifest(store) == (1, False)
        assert "source" not in store.tiles(ids).columns
        assert "source" not in next(exported_tiles(store)).columns
        assert store.to_table(["source"]).reader().read_all()["source"].null_count == 500
    for file in plain.segments[0].folder.iterdir():
        assert (missing.segments[0].folder / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    "kind", ["object", "str", "string", "category", pd.ArrowDtype(pa.large_string())]
)
def test_missing_and_empty_sources_stay_apart(tmp_path, kind):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    given = pd.Series(["one", None, "", None, "one", "two"], dtype=kind)
    ids = store.add_codes(codes(6), make_grid(6).assign(source=given))
    assert sources_of(store.tiles(ids)) == dict(
        zip(ids.tolist(), ["one", None, "", None, "one", "two"], strict=True)
    )


def test_segments_with_and_without_sources_merge(tmp_path):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    expected: dict[int, str | None] = {}
    for number in range(20):  # more than stay apart
        names = [None] * 30 if number % 2 else named(30 + number, start=number)
        frame = make_grid(30, scene=f"{number}.tif")
        frame = frame if number % 2 else frame.assign(source=names)
        expected |= zip(store.add_codes(codes(30), frame).tolist(), names, strict=True)
    assert 1 < len(store.segments) < 20
    check(store, expected)
    store.compact()
    assert len(store.segments) == 1
    check(store, expected)


def test_an_adopted_part_brings_its_sources(tmp_path):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    first = store.reserve_ids(10)
    part = CodeStore.create(tmp_path / "a" / "staging" / "part", num_bits=8)
    part.reserve_ids(first)
    ids = part.add_codes(codes(10), make_grid(10).assign(source=named(10)))
    store.adopt([part])
    assert manifest(store) == (2, True)
    check(store, dict(zip(ids.tolist(), named(10), strict=True)))


def test_new_codes_leave_the_sources(tmp_path):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    ids = store.add_codes(codes(30), make_grid(30).assign(source=named(30)))
    store.remove_tiles(ids[:3])
    hasher = HasherFile(data=b"network", fingerprint="other", num_bits=16)
    assert store.replace_codes(hasher, lambda _, rows: np.zeros((len(rows), 2), np.uint8))
    assert manifest(store) == (2, True)
    check(store, dict(zip(ids[3:].tolist(), named(30)[3:], strict=True)))


@pytest.mark.filterwarnings("ignore:.*it does not exist:UserWarning")  # its pictures
@pytest.mark.parametrize("ending", [".csv", ".geojson", ".parquet", ".gpkg", ".html"])
def test_an_export_has_the_sources(tmp_path, ending):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    store.add_codes(codes(10), make_grid(10))
    names = named(10)
    ids = store.add_codes(codes(10), make_grid(10).assign(source=names))
    path = tmp_path / f"tiles{ending}"
    assert write_batches(exported_tiles(store), path) == 20
    if ending == ".html":
        return
    if ending == ".csv":
        frame = pd.read_csv(path)
    else:
        frame = gpd.read_parquet(path) if ending == ".parquet" else gpd.read_file(path)
    expected = dict.fromkeys(range(10)) | dict(zip(ids.tolist(), names, strict=True))
    assert sources_of(frame) == expected


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([5, 6], "must hold text, but it holds int64; convert it to text"),
        ([5.0, None], "must hold text, but it holds double"),
        ([b"a", b"b"], "must hold text, but it holds binary"),
        (["a", 5], "must hold text"),
        (["a", "\ud800"], "must hold text: .*surrogates not allowed"),
        (["a", "b\0c"], "has a text with a zero byte"),
        (["a", "é" * 4097], "has a text of 8,194 bytes; use at most 8,192"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path, given, problem):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    frame = make_grid(2).assign(source=pd.Series(given, dtype=object))
    with pytest.raises(TileTableError, match=f"column 'source' of tiles {problem}"):
        store.add_codes(codes(2), frame)
    assert len(store) == 0


def test_the_longest_sources_of_a_block_can_be_read_back(tmp_path):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    names = [f"{number:08192}" for number in range(layout.BLOCK)]
    ids = store.add_codes(codes(layout.BLOCK), make_grid(layout.BLOCK).assign(source=names))
    expected: dict[int, str | None] = dict(zip(ids.tolist(), names, strict=True))
    assert sources_of(pd.concat(store.iter_tiles())) == expected
    assert sources_of(store.tiles(ids[:300])) == {tile: expected[tile] for tile in ids[:300]}


@pytest.mark.parametrize("source", ["x" * 8193, b"\xff\xfe"])
def test_a_forged_source_is_refused_by_every_reading(tmp_path, source):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    ids = store.add_codes(codes(2), make_grid(2).assign(source=["a", "b"]))
    (segment,) = store.segments
    body = source.encode() if isinstance(source, str) else source
    table = pq.read_table(segment.folder / "tiles.parquet")
    raw = pa.array([body, b"b"], pa.large_binary())
    forged = pa.Array.from_buffers(pa.large_string(), 2, raw.buffers())
    table = table.set_column(table.column_names.index("source"), "source", forged)
    store.close()
    rewrite(segment.folder, table)
    reseal(store.path)
    with CodeStore.open(store.path, mode="r") as opened:
        for read in (lambda: opened.tiles(ids), lambda: list(opened.iter_tiles())):
            with pytest.raises(ArchiveCorruptError, match=r"tiles\.parquet cannot be decoded"):
                read()


def rewrite(folder: Path, table: pa.Table) -> None:
    """Write another table of tiles, and its pages into the index."""
    path = folder / "tiles.parquet"
    plain = [name for name in table.column_names if name not in ("geometry", "source")]
    pq.write_table(table, path, row_group_size=4096, compression="zstd", use_dictionary=plain)
    index = folder / "index.safetensors"
    arrays = {key: np.array(value) for key, value in map_arrays(index).items()}
    arrays |= index_pages(path) | index_pages(path, "source")
    index.write_bytes(b"".join(bytes(piece) for piece in serialise_arrays(arrays)))
