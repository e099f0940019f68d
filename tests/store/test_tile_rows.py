"""Single rows of a segment, from its index and single pages, compared with the whole table."""

import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geohash_rs.errors import ArchiveCorruptError, ArchiveWriteError, TileTableError
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.segment.layout import BLOCK
from tests.store.helpers import make_grid


def varied_tiles(rng: np.random.Generator, count: int, *, missing: float) -> gpd.GeoDataFrame:
    """Draw tiles of all kinds: points, quadrilaterals, discs, split ones, without footprint."""
    kinds = rng.integers(0, 4, count) if rng.random() < 0.5 else np.ones(count, int)
    x, y = rng.uniform(-170, 170, count), rng.uniform(-80, 80, count)
    shapes = shapely.box(x, y, x + 0.1, y + 0.1)
    shapes[kinds == 0] = shapely.points(x, y)[kinds == 0]
    shapes[kinds == 2] = shapely.buffer(shapes[kinds == 2], 0.05)
    shapes[kinds == 3] = shapely.union(shapes[kinds == 3], shapely.box(175, 85, 176, 86))
    shapes[rng.random(count) < missing] = None
    frame: dict[str, object] = {"scene": rng.choice(["a", "b.tif"], count)}
    limits = {"col": (-5, 60_000), "row": (-(2**31), 2**31 - 1), "width": (64, 65)}
    for name, (low, high) in limits.items():
        numbers = rng.integers(low, high, count)
        frame[name] = pd.array(numbers, dtype="Int64")
        frame[name][rng.random(count) < missing] = pd.NA
    hours = pd.to_timedelta(rng.integers(0, 999, count), unit="h")
    start = pd.Series(pd.Timestamp("2020-01-01T00:00:00.000001") + hours)
    frame["datetime"] = start.mask(rng.random(count) < missing)
    if rng.random() < 0.7:
        frame["datetime_end"] = (start + pd.Timedelta("3h")).mask(rng.random(count) < missing)
    if rng.random() < 0.7:
        words = [["farm", "sea", None], ["", None], [""], [None]][rng.integers(0, 4)]
        labels = rng.choice(np.array(words, dtype=object), count)
        frame["label"] = labels
    if rng.random() < 0.7:
        sources = np.array([f"s3://tiles/{'x' * int(n)}/é.tif" for n in rng.integers(0, 99, count)])
        sources = sources.astype(object)
        sources[rng.random(count) < missing] = None
        frame["source"] = sources
    return gpd.GeoDataFrame(frame, geometry=shapes, crs=4326)


def table_of(archive: CodeStore, number: int = 0) -> Path:
    """Return a segment's Parquet file."""
    return archive.path / "segments" / archive.manifest.segments[number].name / "tiles.parquet"


def assert_rows_are_those_of_the_table(archive: CodeStore, rng: np.random.Generator) -> None:
    for segment in archive.segments:
        whole = pq.read_table(segment.folder / "tiles.parquet")
        rows = rng.integers(0, len(segment), 40)
        found = segment.tile_rows(rows)
        assert sorted(found.column_names) == sorted(whole.column_names)
        assert found.to_pylist() == whole.take(rows).to_pylist()


@settings(max_examples=int(os.environ.get("GEOHASH_RS_TABLES", "25")), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), missing=st.sampled_from([0.0, 0.03, 0.5, 1.0]))
def test_rows_equal_those_of_the_whole_table(tmp_path_factory, seed, missing):
    rng = np.random.default_rng(seed)
    archive = CodeStore.create(tmp_path_factory.mktemp("t") / "a", num_bits=8)
    for _ in range(2):
        count = int(rng.choice([1, 9, 255, 257, 3000]))
        archive.add_codes(np.zeros((count, 1), np.uint8), varied_tiles(rng, count, missing=missing))
    assert_rows_are_those_of_the_table(archive, rng)
    archive.compact()
    assert len(archive.segments) == 1
    assert_rows_are_those_of_the_table(archive, rng)


def test_an_empty_label_is_not_a_missing_one(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    code, labels = np.zeros((2, 1), np.uint8), [["", None], ["", ""], [None, None]]
    for pair in labels:
        archive.add_codes(code, make_grid(2).assign(label=pair))
    kept = archive.tiles(np.arange(6))["label"]
    assert kept.fillna("missing").tolist() == ["", "missing", "", "", "missing", "missing"]
    assert archive.search(code[:1], labels=[""]).ids[0].tolist() == [0, 2, 3]
    archive.compact()
    assert archive.search(code[:1], labels=[""]).ids[0].tolist() == [0, 2, 3]


def test_texts_with_a_zero_byte_are_refused(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    with pytest.raises(TileTableError, match="'label' of tiles has a text with a zero byte"):
        archive.add_codes(np.zeros((1, 1), np.uint8), make_grid(1).assign(label="a\0b"))


def test_rows_of_a_large_grid_are_read_from_pages_of_a_few_hundred(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    count = 2 * BLOCK + 300
    frame = make_grid(count)
    ids = archive.add_codes(np.zeros((count, 1), np.uint8), frame)
    starts = archive.segments[0].index["page_rows"]
    assert starts[0] == 0
    assert np.diff(starts).max() <= 512
    chosen = np.random.default_rng(3).permutation(count)[:500]
    rows = archive.tiles(ids[chosen])
    assert (rows.geometry.to_wkb() == frame.geometry.to_wkb()[chosen].to_numpy()).all()
    for name in ("col", "row", "width", "height"):
        assert rows[name].tolist() == frame[name].to_numpy()[chosen].tolist()
        assert rows[name].dtype == np.int32


def test_pages_that_could_not_be_read_back_are_refused(tmp_path, monkeypatch):
    write = pq.write_table
    monkeypatch.setattr(pq, "write_table", lambda *a, **k: write(*a, **k | {"compression": "gzip"}))
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    with pytest.raises(ArchiveWriteError, match=r"tiles.parquet has Parquet pages .* pyarrow"):
        archive.add_codes(np.zeros((9, 1), np.uint8), make_grid(9))
    assert not archive.verify().orphans


def test_an_overwritten_page_is_reported(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    ids = archive.add_codes(np.zeros((900, 1), np.uint8), make_grid(900))
    index = archive.segments[0].index
    path = table_of(archive)
    content = bytearray(path.read_bytes())
    place = int(index["page_places"][1])
    content[place : place + 40] = b"x" * 40
    path.write_bytes(content)
    again = CodeStore.open(archive.path, mode="r")
    segment = again.segments[0]
    first, broken = segment.ids_of(np.array([0])), segment.ids_of(np.array([300]))
    assert len(again.tiles(first)) == 1
    with pytest.raises(ArchiveCorruptError, match=r"tiles\.parquet cannot be decoded"):
        again.tiles(broken)
    assert len(ids) == 900


def test_rows_of_segments_with_and_without_labels_are_joined(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    ids = [archive.add_codes(np.zeros((9, 1), np.uint8), make_grid(9).assign(label="farm"))]
    ids.append(archive.add_codes(np.zeros((9, 1), np.uint8), make_grid(9, scene="b")))
    rows = archive.tiles(np.concatenate(ids))
    assert rows["scene"].tolist() == ["scene.tif"] * 9 + ["b"] * 9
    assert rows["label"].fillna("missing").tolist() == ["farm"] * 9 + ["missing"] * 9
