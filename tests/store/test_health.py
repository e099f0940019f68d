"""How well codes tell the tiles of a sensor apart."""

import numpy as np
import pytest

from geohash_rs.codes import hamming_distances
from geohash_rs.store.code_counts import count_codes
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.health import measure_health, name_sensors
from geohash_rs.store.summary import summarise
from tests.store.helpers import make_grid

RNG = np.random.default_rng(0)
GRIDS = {"a.tif": (10.0, "uint16"), "b.tif": (10.5, "uint16"), "c.tif": (0.5, "uint8")}


@pytest.fixture
def mixed(tmp_path):
    """An archive of two sensors; the first half of the bits of the second one never differs."""
    with CodeStore.create(tmp_path / "a", num_bits=32) as store:
        for scene, (size, dtype) in GRIDS.items():
            codes = RNG.integers(0, 256, (100, 4), dtype=np.uint8)
            if scene == "c.tif":
                codes[:, :2] = 7
            record = SceneRecord(scene=scene, dtype=dtype, settings={"ground_size": size})
            store.add_codes(codes, make_grid(100, scene=scene), scenes=[record])
    return CodeStore.open(tmp_path / "a")


def test_each_sensor_is_measured_against_all_pairs_of_its_tiles(mixed):
    photos, numbers = measure_health(mixed)
    assert (photos.sensor, sorted(photos.scenes)) == ("0.5 m uint8", ["c.tif"])
    assert (numbers.sensor, sorted(numbers.scenes)) == ("10 m uint16", ["a.tif", "b.tif"])
    for found, ids in [(photos, range(200, 300)), (numbers, range(200))]:
        codes = mixed.codes(np.array(ids))
        distances = hamming_distances(codes, codes)
        pairs = distances[np.triu_indices(len(codes), 1)]
        assert found.mean_distance == pytest.approx(pairs.mean())
        assert found.num_tiles == len(codes)
        assert max(found.scenes.values()) == max(ids)
    assert (photos.num_constant, numbers.num_constant) == (16, 0)


def test_removed_tiles_do_not_count_and_tiles_without_a_record_are_of_an_unknown_sensor(mixed):
    mixed.remove_scenes(["c.tif"])
    mixed.add_codes(np.zeros((3, 4), np.uint8), make_grid(3, scene="d.tif"))
    numbers, unknown = measure_health(mixed)
    assert (numbers.sensor, numbers.num_tiles) == ("10 m uint16", 200)
    assert (unknown.sensor, unknown.num_tiles, unknown.num_constant) == ("unknown", 3, 32)


def test_the_summary_lists_every_sensor(mixed):
    assert summarise(mixed)["sensors"][0] == {
        "sensor": "0.5 m uint8",
        "scenes": 1,
        "tiles": 100,
        "mean_distance": pytest.approx(8, abs=0.2),
        "constant_bits": 16,
    }


def test_sizes_that_grow_by_less_than_a_third_are_one_sensor():
    names = name_sensors([10, 12, 15, 30, 0, 1000], ["uint8"] * 5 + [None])
    assert names == ["12 m uint8"] * 3 + ["30 m uint8", "uint8", "1000 m"]
    assert name_sensors([], []) == []


def test_an_empty_archive_has_no_sensors(tmp_path):
    assert measure_health(CodeStore.create(tmp_path / "a", num_bits=16)) == []


@pytest.mark.parametrize("num_bits", [32, 64, 96, 136])
def test_distinct_codes_of_any_length_are_counted(tmp_path, num_bits):
    codes = RNG.integers(0, 2, (200, num_bits // 8), dtype=np.uint8) * 255
    codes[:, :-1] *= RNG.integers(0, 2, (200, 1), dtype=np.uint8)
    with CodeStore.create(tmp_path / "a", num_bits=num_bits) as store:
        store.add_codes(codes, make_grid(200))
        found = count_codes(store)
    counts = np.unique(codes, axis=0, return_counts=True)[1]
    assert (found.num_tiles, found.num_codes, found.num_alike) == (200, len(counts), counts.max())
