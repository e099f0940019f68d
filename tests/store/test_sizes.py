"""Tile sizes in a store: as a column of resampled tiles, counted, and of archives made before."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from geohash_rs.export.formats import write_batches
from geohash_rs.store.code_counts import count_sizes
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.segment.sizes import index_sizes
from geohash_rs.store.summary import exported_tiles, summarise
from tests.store.helpers import make_grid

SIZES = np.array([64, 128, 256])


def sized(count: int, *, seed: int = 0) -> gpd.GeoDataFrame:
    """Lay tiles of three sizes in random order."""
    sizes = np.random.default_rng(seed).choice(SIZES, count)
    return make_grid(count).assign(width=sizes, height=sizes)


def codes(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 1), np.uint8)


def version(folder: Path) -> int:
    return int(json.loads((folder / "manifest.json").read_bytes())["version"])


def found(store: CodeStore, **where: object) -> set[int]:
    ids = store.search(np.zeros((1, 1), np.uint8), k=100_000, **where).ids[0]  # type: ignore[arg-type]
    return set(ids.tolist())


def test_counts_are_those_of_the_live_tiles(tmp_path):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    assert count_sizes(store) == {}
    frames = [sized(5000), make_grid(300), sized(40, seed=1)]
    ids = np.concatenate([store.add_codes(codes(len(frame)), frame) for frame in frames])
    width = pd.concat(frames)["width"].to_numpy()
    gone = ids[::7]
    store.remove_tiles(gone)
    live = ~np.isin(ids, gone)
    for _ in range(2):
        expected = {size: int((width[live] == size).sum()) for size in SIZES.tolist()}
        assert count_sizes(store) == expected
        assert summarise(store)["tile_sizes"] == {str(s): n for s, n in expected.items()}
        for size in SIZES.tolist():
            assert found(store, tile_size=size) == set(ids[live & (width == size)].tolist())
        store.compact()


def test_a_tile_without_a_size_is_found_only_without_the_filter(tmp_path):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    unknown = make_grid(2).drop(columns=["width", "height"])
    ids = store.add_codes(codes(5), pd.concat([unknown, make_grid(3)], ignore_index=True))
    assert found(store) == set(ids.tolist())
    assert found(store, tile_size=64) == set(ids[2:].tolist())
    assert count_sizes(store) == {64: 3}


def test_only_resampled_tiles_have_the_column_and_the_second_format(tmp_path):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    same = make_grid(10).assign(tile_size=64)  # as large as their windows
    first = store.add_codes(codes(10), same)
    assert (version(store.path), "tile_size" in store.tiles(first).columns) == (1, False)
    resampled = make_grid(10).assign(width=107, height=106, tile_size=64)
    second = store.add_codes(codes(10), resampled)
    third = store.add_codes(codes(10), make_grid(10).assign(width=128, height=100))
    assert (version(store.path), store.manifest.tile_sizes) == (2, True)
    for _ in range(2):
        reopened = CodeStore.open(store.path, mode="r")
        tiles = reopened.tiles(np.concatenate([first, second, third]))
        assert tiles["tile_size"].tolist() == [64] * 20 + [128] * 10
        assert tiles["width"].tolist() == [64] * 10 + [107] * 10 + [128] * 10
        assert found(reopened, tile_size=64) == {*first.tolist(), *second.tolist()}
        assert found(reopened, tile_size=[107, 128]) == set(third.tolist())
        assert count_sizes(reopened) == {64: 20, 128: 10}
        assert reopened.verify().ok
        store.compact()
    assert len(store.segments) == 1


@pytest.mark.parametrize("ending", [".csv", ".geojson", ".parquet", ".gpkg"])
def test_an_export_of_tiles_with_and_without_the_column_has_it_for_all(tmp_path, ending):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    store.add_codes(codes(10), make_grid(10))
    resampled = make_grid(10).assign(width=107, height=106, tile_size=64, label="farm")
    store.add_codes(codes(10), resampled)
    path = tmp_path / f"tiles{ending}"
    assert write_batches(exported_tiles(store), path) == 20
    if ending == ".csv":
        frame = pd.read_csv(path)
    else:
        frame = gpd.read_parquet(path) if ending == ".parquet" else gpd.read_file(path)
    frame = frame.sort_values("tile_id")
    assert frame["tile_size"].tolist() == [64] * 20
    assert frame["width"].tolist() == [64] * 10 + [107] * 10
    assert frame["label"].fillna("-").tolist() == ["-"] * 10 + ["farm"] * 10


def test_the_table_of_a_segment_holds_the_sizes_as_they_were_given(tmp_path):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    frame = make_grid(4).assign(
        width=100, height=100, tile_size=pd.array([64, None, 32, 100], "Int32")
    )
    ids = store.add_codes(codes(4), frame)
    table = pq.read_table(store.segments[0].folder / "tiles.parquet").to_pandas()
    given = dict(zip(table["tile_id"], table["tile_size"].fillna(-1), strict=True))
    assert given == dict(zip(ids.tolist(), [64, -1, 32, 100], strict=True))
    assert store.tiles(ids)["tile_size"].tolist() == [64, 100, 32, 100]


def test_sizes_of_an_archive_of_before_are_computed(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("geohash_rs.store.segment.write.index_sizes", lambda *_, **__: {})
        old = CodeStore.create(tmp_path / "old", num_bits=8)
        frame = sized(9000)
        ids = old.add_codes(codes(9000), frame)
    segment = CodeStore.open(old.path).segments[0]
    assert not [name for name in segment.index if name.startswith("size_")]
    for size in SIZES.tolist():
        assert found(old, tile_size=size) == set(ids[frame["width"] == size].tolist())
    new = CodeStore.create(tmp_path / "new", num_bits=8)
    new.add_codes(codes(9000), frame)
    stored = new.segments[0].index
    computed = index_sizes(segment.index, num_rows=9000)
    assert set(computed) == {name for name in stored if name.startswith("size_")}
    for name, array in computed.items():
        np.testing.assert_array_equal(array, stored[name])


def test_an_adopted_part_brings_the_second_format(tmp_path):
    store = CodeStore.create(tmp_path / "a", num_bits=8)
    first = store.reserve_ids(10)
    part = CodeStore.create(tmp_path / "a" / "staging" / "part", num_bits=8)
    part.reserve_ids(first)
    part.add_codes(codes(10), make_grid(10).assign(width=107, height=107, tile_size=64))
    store.adopt([part])
    assert version(store.path) == 2
    assert store.tiles([first])["tile_size"].tolist() == [64]
