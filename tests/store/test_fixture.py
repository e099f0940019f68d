"""An archive written by an earlier version is read correctly; see write_fixture."""

import datetime as dt
import json
import shutil

import numpy as np
import pytest
import shapely

from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord
from tests.store.write_fixture import FOLDER, VECTORS, WITH_VECTORS, tiles

IDS = [0, 1, 2, 3, 4, 5, 9, 10, 11]
EARLY, LATE, END = "2021-03-04T05:06:07.000008", "2022-01-01T00:00:00", "2021-03-05T00:00:00"


@pytest.fixture(params=["as it is", "compacted"])
def archive(request, tmp_path):
    """Open a copy, since opening takes locks."""
    shutil.copytree(FOLDER, tmp_path / "a")
    opened = CodeStore.open(tmp_path / "a")
    if request.param == "compacted":
        opened.compact()
        assert len(opened.segments) == 1
    return opened


def test_the_committed_archive_has_the_first_format(tmp_path):
    outer = json.loads((FOLDER / "manifest.json").read_bytes())
    assert (outer["format"], outer["version"]) == ("geohash_rs archive", 1)
    shutil.copytree(FOLDER, tmp_path / "a")
    archive = CodeStore.open(tmp_path / "a", mode="r")
    merged, added = archive.manifest.segments
    assert (merged.sequential, merged.num_removed, merged.num_tiles) == (False, 3, 9)
    assert (added.sequential, added.num_removed, added.num_tiles) == (True, 0, 3)
    assert (archive.manifest.next_id, archive.manifest.generation) == (12, 6)
    assert archive.manifest.bounds == (177.5, 10.0, 393.0, 11.0)


def test_the_archives_own_data_is_read(archive):
    report = archive.verify()
    assert (report.damage, report.orphans, report.num_good_tiles) == ((), (), 9)
    assert archive.attrs == {"made": "for tests", "pair": [1, 2.5]}
    assert (archive.num_bits, archive.hasher_fingerprint) == (16, "0123456789abcdef")
    assert archive.hasher_file.read_bytes() == b"no real hasher"
    assert [str(moment) for moment in archive.manifest.times] == [EARLY, f"{LATE}.000000"]
    moment = dt.datetime(2021, 3, 4, 5, 6, 7, 8, tzinfo=dt.UTC)
    record = SceneRecord(
        scene="b.tif",
        width=256,
        height=192,
        crs="EPSG:4326",
        transform=(1.0, 0.0, 5.0, 0.0, -1.0, 11.0),
        dtype="uint16",
        count=4,
        size=1234,
        mtime_ns=1_600_000_000_000_000_001,
        datetime=moment,
        num_tiles=3,
        settings={"tile_size": 64},
    )
    assert archive.scenes() == [record]


def test_tiles_are_read(archive):
    tiles = archive.tiles(IDS)
    assert tiles["tile_id"].tolist() == IDS
    assert tiles["scene"].tolist() == ["a.tif"] * 3 + ["b.tif"] * 3 + ["c.tif"] * 3
    assert tiles["col"].fillna(-1).tolist() == [-1, 64, 0, 64, -1, 0, 64, -1, 0]
    assert tiles["row"].fillna(-1).tolist() == [-1, 128, 128, 128, -1, 128, 128, -1, 128]
    assert set(tiles["width"]) == set(tiles["height"]) == {64}
    labels = ["-", "-", "-", "", "-", "Äcker", "-", "-", "-"]
    assert tiles["label"].fillna("-").tolist() == labels
    none = np.datetime64("NaT", "us")
    start = [none, LATE, EARLY, LATE, none, EARLY, LATE, none, EARLY]
    assert np.array_equal(
        tiles["datetime"].dt.tz_convert(None), np.array(start, "M8[us]"), equal_nan=True
    )
    end = [none] * 5 + [END] + [none] * 3
    assert np.array_equal(
        tiles["datetime_end"].dt.tz_convert(None), np.array(end, "M8[us]"), equal_nan=True
    )
    west = [-180.0, 178.5, 177.5, 6.0, 7.0, 5.0, 31.0, 32.0, 30.0]
    assert tiles.geometry.bounds["minx"].tolist() == west
    assert shapely.area(tiles.geometry.to_numpy()).tolist() == [1.0] * 9
    assert tiles.geometry.to_wkt()[0] == (
        "MULTIPOLYGON (((180 10, 180 11, 179.5 11, 179.5 10, 180 10)), "
        "((-179.5 10, -179.5 11, -180 11, -180 10, -179.5 10)))"
    )


def test_codes_are_read_and_searched(archive, scanner):
    codes = [[5, 6], [3, 4], [1, 2], [9, 10], [11, 12], [7, 8], [21, 22], [23, 24], [19, 20]]
    assert archive.codes(IDS).tolist() == codes
    query = np.array([[11, 12]], np.uint8)
    found = archive.search(query, k=5)
    assert found.ids.tolist() == [[4, 1, 3, 5, 11]]
    assert found.distances.tolist() == [[0, 2, 3, 3, 4]]
    for where, ids in (
        ({"region": (-179.9, 10.2, -179.8, 10.4)}, [0]),
        ({"region": (-19.9, 10.2, -17.1, 10.4)}, []),  # removed
        ({"time": ("2021-03-04T12:00Z", "2021-12-31")}, [5]),  # because of its end
        ({"time": (LATE, None)}, [1, 3, 9]),
        ({"scenes": ["c.tif", "gone.tif"]}, [9, 10, 11]),
        ({"labels": ["", "Äcker"]}, [3, 5]),
        ({"tile_size": 64}, IDS),  # whose version did not index tile sizes
        ({"tile_size": [63, 65]}, []),
    ):
        assert sorted(archive.search(query, k=20, **where).ids[0].tolist()) == ids


def test_vectors_added_to_an_archive_of_the_second_format_are_kept_as_the_others(tmp_path):
    shutil.copytree(WITH_VECTORS / "int8", tmp_path / "a")
    with CodeStore.open(tmp_path / "a") as archive:
        vectors = np.array([[127.0, 1, -2, 0], [0, 0, 0, 0], [254, 2, -4, 6]], np.float32)
        codes, places = np.zeros((3, 2), np.uint8), tiles("new.tif", 40.0)
        ids = archive.add_codes(codes, places, vectors=vectors)
        archive.compact()
        np.testing.assert_array_equal(archive.vectors(ids), vectors)
        assert (
            "rotated"
            not in json.loads((tmp_path / "a" / "manifest.json").read_bytes())["body"]["vectors"]
        )


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_the_committed_archives_of_the_second_format_hold_their_vectors(tmp_path, kind):
    outer = json.loads((WITH_VECTORS / kind / "manifest.json").read_bytes())
    assert (outer["version"], outer["body"]["vectors"]) == (2, {"kind": kind, "length": 4})
    shutil.copytree(WITH_VECTORS / kind, tmp_path / "a")
    with CodeStore.open(tmp_path / "a") as archive:
        assert [segment.entry.sequential for segment in archive.segments] == [False, True]
        for _ in range(2):
            given = (archive.codes(IDS)[:, 0] - 1) // 2  # the codes count the tiles
            assert sorted(given) == IDS
            found, expected = archive.vectors(IDS), VECTORS[given]
            if kind == "int8":  # scales of 0.5, 0 and 1: the half of the third rounds to even
                expected = np.where(expected == 0.5, 0.0, expected)
            np.testing.assert_array_equal(found, expected)
            assert archive.verify().ok
            archive.compact()
