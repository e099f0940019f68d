"""Scenes with other names: all else about their tiles stays, in every reader."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from geohash_rs.errors import ArchiveCorruptError, SceneError, TileTableError
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord
from tests.store.helpers import make_grid, make_vectors

QUERY = np.zeros((1, 8), np.uint8)


@pytest.fixture
def archive(tmp_path):
    """Three scenes in two segments, with vectors, labels and sources, some tiles removed."""
    made = CodeStore.create(tmp_path / "a", num_bits=64, keep_vectors="float16")
    rng = np.random.default_rng(0)
    for names in (["/d/one.tif", "/d/two.tif"], ["/d/three.tif", "/d/one.tif"]):
        frames = [make_grid(30, scene=name, west=10.0 + 5 * n) for n, name in enumerate(names)]
        tiles = gpd.GeoDataFrame(pd.concat(frames, ignore_index=True))
        tiles["label"] = ["field", None, "town"] * 20
        tiles["source"] = [f"image {number}" for number in range(60)]
        codes = rng.integers(0, 256, (60, 8), dtype=np.uint8)
        records = [SceneRecord(scene=name, num_tiles=30, size=7) for name in names]
        made.add_codes(codes, tiles, vectors=make_vectors(made, 60), scenes=records)
    made.remove_tiles([3, 40, 70])
    return made


def content(archive: CodeStore) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Read all tiles by the general reader and by the one for single tiles."""
    whole = pd.concat(list(archive.iter_tiles()), ignore_index=True)
    whole = whole.sort_values("tile_id", ignore_index=True)
    ids = whole["tile_id"].to_numpy()
    single = archive.tiles(ids)
    pd.testing.assert_frame_equal(pd.DataFrame(single), pd.DataFrame(whole), check_dtype=False)
    return whole, archive.codes(ids), archive.vectors(ids)


def test_only_the_names_change(archive):
    before, codes, vectors = content(archive)
    kept = [archive.path / "segments" / one.name / "codes.bin" for one in archive.manifest.segments]
    inodes = [path.stat().st_ino for path in kept]
    names = {"/d/one.tif": "/elsewhere/1.tif", "/d/two.tif": "/d/one.tif"}
    assert archive.rename_scenes(names) == 30 + 30 + 30 - 2
    for again in (archive, CodeStore.open(archive.path, mode="r")):
        after, codes_after, vectors_after = content(again)
        expected = before.assign(scene=before["scene"].replace(names))
        pd.testing.assert_frame_equal(pd.DataFrame(after), pd.DataFrame(expected))
        assert (codes_after == codes).all()
        assert (vectors_after == vectors).all()
        assert again.verify().ok
        for name in ("/elsewhere/1.tif", "/d/one.tif", "/d/two.tif", "/d/three.tif"):
            found = again.search(QUERY, k=500, scenes=[name]).ids[0]
            assert set(found) == set(expected.loc[expected["scene"] == name, "tile_id"])
        assert {one.scene: one.size for one in again.scenes()} == {
            "/d/three.tif": 7,
            "/elsewhere/1.tif": 7,
            "/d/one.tif": 7,
        }
    for segment, inode in zip(archive.manifest.segments, inodes, strict=True):
        assert (archive.path / "segments" / segment.name / "codes.bin").stat().st_ino == inode
    archive.compact()
    pd.testing.assert_frame_equal(pd.DataFrame(content(archive)[0]), pd.DataFrame(expected))


def test_the_table_is_what_other_programs_read(archive):
    archive.rename_scenes({"/d/one.tif": "/ümlaut/eins.tif"})
    paths = sorted(archive.path.glob("segments/*/tiles.parquet"))
    names = {name for path in paths for name in gpd.read_parquet(path)["scene"]}
    assert names == {"/d/two.tif", "/d/three.tif", "/ümlaut/eins.tif"}


def test_a_segment_without_the_scene_is_not_written_again(archive):
    first, second = archive.manifest.segments
    archive.rename_scenes({"/d/three.tif": "/d/3.tif"})
    assert archive.manifest.segments[0] == first
    assert archive.manifest.segments[1].name != second.name
    assert not (archive.path / "segments" / second.name).exists()


def test_an_open_reader_keeps_the_former_names(archive):
    with CodeStore.open(archive.path, mode="r") as reader:
        archive.rename_scenes({"/d/two.tif": "/d/2.tif"})
        assert reader.search(QUERY, k=500, scenes=["/d/two.tif"]).ids.size == 29
        reader.refresh()
        assert reader.search(QUERY, k=500, scenes=["/d/two.tif"]).ids.size == 0


def test_unknown_scenes_are_ignored_and_nothing_is_committed(archive):
    generation = archive.manifest.generation
    assert archive.rename_scenes({"/x.tif": "/y.tif", "/d/one.tif": "/d/one.tif"}) == 0
    assert archive.manifest.generation == generation


def test_records_of_scenes_that_others_changed_meanwhile_are_not_written(archive):
    named = {one.scene: one for one in archive.scenes()}
    pairs = [
        (named[f"/d/{name}.tif"], replace(named[f"/d/{name}.tif"], scene=f"/{name}.tif", size=8))
        for name in ("one", "two", "three")
    ]
    names = {before.scene: after.scene for before, after in pairs}
    with CodeStore.open(archive.path) as other:
        other.remove_scenes(["/d/one.tif"])
        again = replace(named["/d/two.tif"], size=9)
        other.add_codes(np.zeros((0, 8), np.uint8), make_grid(0), scenes=[again])
    assert archive.rename_scenes(names, scenes=pairs) == 29 + 29
    sizes = {one.scene: one.size for one in archive.scenes()}
    assert sizes == {"/two.tif": 9, "/three.tif": 8}
    assert set(archive.scene_names()) == sizes.keys()


def test_a_record_is_compared_even_if_it_holds_a_number_that_is_not_equal_to_itself(archive):
    odd = SceneRecord(scene="/d/two.tif", num_tiles=30, settings={"nodata": float("nan")})
    archive.add_codes(np.zeros((0, 8), np.uint8), make_grid(0), scenes=[odd])
    with CodeStore.open(archive.path) as again:
        again.rename_scenes(
            {odd.scene: "/2.tif"}, scenes=[(odd, replace(odd, scene="/2.tif", size=8))]
        )
        assert {one.scene: one.size for one in again.scenes()}["/2.tif"] == 8


def test_two_scenes_never_get_one_name(archive):
    with pytest.raises(SceneError, match=r"already has a scene named /d/one\.tif \(from /d/two"):
        archive.rename_scenes({"/d/two.tif": "/d/one.tif"})
    with pytest.raises(SceneError, match="two scenes cannot have one name"):
        archive.rename_scenes({"/d/two.tif": "/x.tif", "/d/one.tif": "/x.tif"})
    archive.remove_scenes(["/d/one.tif"])
    assert archive.rename_scenes({"/d/two.tif": "/d/one.tif"}) == 29  # rows of the former are gone
    assert archive.search(QUERY, k=500, scenes=["/d/one.tif"]).ids.size == 29
    assert archive.verify().ok


def test_names_that_cannot_be_stored_are_refused(archive):
    with pytest.raises(TileTableError, match="a text of 70,000 bytes"):
        archive.rename_scenes({"/d/two.tif": "x" * 70_000})
    with pytest.raises(TileTableError, match="zero byte"):
        archive.rename_scenes({"/d/two.tif": "a\0b"})


def test_damage_is_not_copied(archive):
    path = archive.path / "segments" / archive.manifest.segments[0].name / "vectors.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ArchiveCorruptError, match=r"vectors\.bin"):
        archive.rename_scenes({"/d/two.tif": "/d/2.tif"})
    assert not archive.verify().orphans
    assert archive.search(QUERY, k=500, scenes=["/d/two.tif"]).ids.size == 29
