"""The sample on which a hasher is fitted."""

import numpy as np
import rasterio
from affine import Affine

from geohash_rs.indexing.fair_sample import SceneTraits, fair_shares, sensors_of
from geohash_rs.scenes.file import read_scene_file

YEARS = (2019, 2020, 2021)


def scene(folder, name, *, pixel=10.0, dtype="uint16", east=500_000):
    path = folder / name
    grid = Affine(pixel, 0, east, 0, -pixel, 5_000_000)
    size = {"width": 8, "height": 8, "count": 1, "dtype": dtype, "crs": "EPSG:32633"}
    with rasterio.open(path, "w", driver="GTiff", transform=grid, **size) as target:
        target.write(np.ones((1, 8, 8), dtype))
    return SceneTraits.of_file(read_scene_file(path))


def test_a_sensor_is_the_size_and_type_of_its_pixels(tmp_path):
    files = [
        scene(tmp_path, "a.tif"),
        scene(tmp_path, "b.tif", pixel=12.0),
        scene(tmp_path, "c.tif", pixel=30.0),
        scene(tmp_path, "d.tif", dtype="uint8"),
        scene(tmp_path, "e.tif", pixel=0.05, dtype="uint8"),
        scene(tmp_path, "f.tif", pixel=1000.0),
    ]
    assert sensors_of(files) == [
        *["10 m uint16", "10 m uint16", "30 m uint16", "10 m uint8", "0.05 m uint8"],
        "1000 m uint16",
    ]
    assert sensors_of([]) == []


def test_every_sensor_gets_the_same_share_however_many_scenes_it_has(tmp_path):
    files = [scene(tmp_path, f"a{n}.tif", east=500_000 + 100 * n) for n in range(9)]
    files.append(scene(tmp_path, "b.tif", pixel=30.0))
    shares = fair_shares(files, np.full(10, 1000), size=600)
    assert shares.sum() == 600
    assert shares[9] == 300
    assert set(shares[:9].tolist()) <= {33, 34}


def test_a_place_with_many_dates_and_a_date_with_many_scenes_count_once(tmp_path):
    files = [scene(tmp_path, f"a_{year}0601.tif") for year in YEARS]
    files += [scene(tmp_path, f"a{n}_20190601.tif") for n in range(3)]
    files += [scene(tmp_path, "b_20190601.tif", east=900_000)]
    shares = fair_shares(files, np.full(7, 1000), size=1200)
    assert shares[6] == 600, "the other place"
    assert shares[1:3].tolist() == [200, 200], "two dates of the first place"
    assert shares[[0, 3, 4, 5]].tolist() == [50] * 4, "four scenes of one date"


def test_what_a_scene_lacks_goes_to_the_others_and_nothing_is_taken_twice(tmp_path):
    files = [scene(tmp_path, f"a{n}.tif", east=500_000 + 100 * n) for n in range(3)]
    assert fair_shares(files, np.array([5, 1000, 0]), size=100).tolist() == [5, 95, 0]
    assert fair_shares(files, np.array([5, 7, 0]), size=100).tolist() == [5, 7, 0]
    assert fair_shares(files, np.array([0, 0, 0]), size=100).tolist() == [0, 0, 0]


def test_a_seed_decides_who_gets_what_is_left_over(tmp_path):
    files = [scene(tmp_path, f"a{n}.tif", east=500_000 + 100 * n) for n in range(9)]
    counts = np.full(9, 100)
    first, again, other = (fair_shares(files, counts, size=4, seed=seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert first.max() == 1
