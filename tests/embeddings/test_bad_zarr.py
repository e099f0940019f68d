"""Zarr stores with damaged chunks, several steps on one day, and what is said about them."""

import numpy as np
import pytest
from zarr.codecs import BloscCodec, GzipCodec

from geohash_rs import Archive
from geohash_rs.embeddings.zarr_source import zarr_sources
from geohash_rs.errors import SceneError
from tests.embeddings.test_zarr import all_of, write_floats, write_tessera


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Write a store of four blocks for each zone."""
    monkeypatch.setattr("geohash_rs.embeddings.zarr_source.BLOCK", 8 * 96 * 96)
    write_tessera(tmp_path / "t.zarr", years=(2023,), height=128, width=192)
    return tmp_path / "t.zarr"


@pytest.mark.parametrize("chunk", ["embeddings/c/0/0/0/0", "scales/c/0/3/3"])
def test_a_damaged_chunk_costs_its_block_and_nothing_else(store, tmp_path, chunk):
    good = zarr_sources(store, tile_size=8)[0]
    whole = {(row.col, row.row) for row in all_of(good)[2]}
    path = store / "utm32" / chunk
    content = path.read_bytes()
    path.write_bytes(content[:100])
    source = zarr_sources(store, tile_size=8)[0]
    batches, vectors, rows = all_of(source)
    assert [batch.stop for batch in batches] == [1, 2, 3, 4]
    assert (len(batches[0].vectors), batches[0].num_left_out) == (0, 144)
    assert {(row.col, row.row) for row in rows} == {
        (col, row) for col, row in whole if col >= 96 or row >= 96
    }
    assert len(source.sample(10_000)) == len(vectors)
    archive = Archive.create(tmp_path / "a", hasher="general-8")
    report = archive.add(store, tile_size=8)
    assert (report.num_scenes, report.skipped) == (2, [])
    (note,) = [note for note in report.notes if "cannot be read" in note]
    assert note.startswith("t.zarr/utm32/2023-01-01: ")
    assert "144 of a block that cannot be read" in note
    assert "utm32, rows 0 to 96, columns 0 to 96, cannot be read as a Zarr store: " in note
    assert "restore the store from its source and add it again" in note
    assert report.num_tiles == len(archive) == len(vectors) + len(all_of(good_of(store))[2])
    path.write_bytes(content)
    again = archive.add(store, tile_size=8)
    assert (len(again.replaced), len(archive)) == (1, 2 * len(whole))


def good_of(store):
    return zarr_sources(store, tile_size=8)[1]


def test_a_step_without_any_good_block_is_skipped_by_its_reason(store, tmp_path):
    for path in (store / "utm32/embeddings/c").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:100])
    archive = Archive.create(tmp_path / "a", hasher="general-8")
    ((scene, reason),) = archive.add(store, tile_size=8).skipped
    assert scene.endswith("t.zarr/utm32/2023-01-01")
    assert "of a block that cannot be read" in reason
    assert "rows 0 to 96" in reason


@pytest.mark.parametrize("codec", [GzipCodec(), BloscCodec(), None])
def test_other_codecs_are_found_damaged_too(tmp_path, codec):
    vectors = np.random.default_rng(1).normal(size=(2, 8, 32, 32)).astype(np.float32)
    group = write_floats(tmp_path / "a.zarr", vectors, names=("time", "band", "y", "x"))
    del group["embeddings"]
    array = group.create_array(
        "embeddings",
        shape=vectors.shape,
        chunks=(1, 8, 32, 32),
        dtype=np.float32,
        compressors=codec,
        dimension_names=["time", "band", "y", "x"],
    )
    array[...] = vectors
    path = tmp_path / "a.zarr/embeddings/c/0/0/0/0"
    path.write_bytes(path.read_bytes()[:1000])
    archive = Archive.create(tmp_path / "archive", hasher="general-8")
    report = archive.add(tmp_path / "a.zarr", tile_size=4)
    assert report.num_tiles == 64
    ((scene, reason),) = report.skipped
    assert scene.endswith("a.zarr/0")
    assert "64 of a block that cannot be read" in reason


def test_a_store_that_is_out_of_reach_is_not_taken_for_damaged(store, monkeypatch):
    """What may be well again must not be left out for good."""
    source = zarr_sources(store, tile_size=8)[0]

    def gone(*_args):
        raise OSError("the network is down")

    monkeypatch.setattr(type(source.group.decoding), "scales", gone)
    with pytest.raises(SceneError, match=r"utm32, rows 0 to 96, .*the network is down"):
        list(source.batches())


def test_steps_on_one_day_are_kept_apart(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(4, 8, 64, 64)).astype(np.float32)
    group = write_floats(tmp_path / "a.zarr", vectors, names=("time", "band", "y", "x"))
    hours = np.array([0, 12, 12, 24 * 151])  # two of them at the same moment
    about = {"units": "hours since 2023-01-01"}
    group.create_array("time", data=hours, dimension_names=["time"], attributes=about)
    keys = [source.name for source in zarr_sources(tmp_path / "a.zarr")]
    assert keys == [
        "a.zarr/2023-01-01",
        "a.zarr/2023-01-01T12:00:00.000000",
        "a.zarr/2023-01-01T12:00:00.000000 (step 2)",
        "a.zarr/2023-06-01",
    ]
    archive = Archive.create(tmp_path / "archive", hasher="general-8")
    report = archive.add(tmp_path / "a.zarr")
    assert (report.num_scenes, report.num_tiles, len(archive)) == (4, 64, 64)
    again = archive.add(tmp_path / "a.zarr")
    assert (len(again.unchanged), again.num_tiles) == (4, 0)


def test_a_note_names_the_store_once_and_counts_its_steps(tmp_path):
    write_tessera(tmp_path / "t.zarr", height=160, width=160)
    archive = Archive.create(tmp_path / "a", hasher="general-8")
    notes = archive.add(tmp_path / "t.zarr").notes
    assert "t.zarr/utm32/2023-01-01 and 3 more: tiles of 16 px" in notes
