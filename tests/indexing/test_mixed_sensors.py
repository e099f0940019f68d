"""An archive of several sensors: its hasher fits them all, or the archive says so."""

from functools import partial

import numpy as np
import pytest
from affine import Affine
from scipy.ndimage import gaussian_filter

from geohash_rs import Archive, Scenes
from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.hashing.fit import by_name
from geohash_rs.store.health import measure_health
from tests.ground import TILE, mosaic, write

PIXEL = {"sharp": 10.0, "hazy": 30.0}


@pytest.fixture(autouse=True)
def quicker(monkeypatch):
    """Fit hashers that are given by name with 96 px input, which see most of what 224 px show."""
    monkeypatch.setattr(by_name, "fit_hasher", partial(by_name.fit_hasher, input_size=96))


def seen(picture, *, sensor, seed):
    """Look at ground as a sensor does: the hazy one blurs it, brightens it and adds noise."""
    if sensor == "sharp":
        return picture
    blurred = gaussian_filter(picture.astype(float), (0, 2, 2))
    noise = np.random.default_rng(seed).normal(0, 2, picture.shape)
    return np.clip(0.2 * blurred + 190 + noise, 0, 255).astype(np.uint8)


def scenes_of(folder, sensor, *, count=3, first=0):
    """Write scenes of invented ground as a sensor sees it."""
    size = PIXEL[sensor]
    for number in range(first, first + count):
        grid = Affine(size, 0, 500_000 + 50_000 * number, 0, -size, 5_400_000)
        picture = seen(mosaic(5, 5, number), sensor=sensor, seed=number)
        write(folder / f"{sensor}_{number}.tif", picture, transform=grid)
    return folder


def test_a_mixed_folder_has_bits_for_every_sensor(tmp_path):
    for sensor in PIXEL:
        scenes_of(tmp_path / "scenes", sensor)
    archive = Archive.create(tmp_path / "archive", hasher="general-32")
    report = archive.add(Scenes(tmp_path / "scenes"), tile_size=TILE)
    assert report.unfit == []
    found = measure_health(archive)
    assert [one.sensor for one in found] == ["10 m uint8", "30 m uint8"]
    assert [one.num_constant for one in found] == [0, 0]
    assert min(one.mean_distance for one in found) > 14
    notes = archive.hasher().notes
    assert notes["fitted_on"] == "150 unlabelled tiles: 75 of 10 m uint8, 75 of 30 m uint8"


def test_a_sensor_that_comes_later_is_named_with_what_to_do(tmp_path):
    archive = Archive.create(tmp_path / "archive", hasher="general-32")
    archive.add(Scenes(scenes_of(tmp_path / "first", "sharp")), tile_size=TILE)
    later = Scenes(scenes_of(tmp_path / "later", "hazy"))
    with pytest.warns(GeoHashRSWarning, match="does not fit hazy_0.tif, hazy_1.tif, hazy_2.tif"):
        report = archive.add(later, tile_size=TILE)
    assert [scene.rsplit("/", 1)[-1] for scene in report.unfit] == [
        "hazy_0.tif",
        "hazy_1.tif",
        "hazy_2.tif",
    ]


def test_more_scenes_of_a_known_sensor_are_not_named(tmp_path):
    archive = Archive.create(tmp_path / "archive", hasher="general-32")
    archive.add(Scenes(scenes_of(tmp_path / "first", "sharp")), tile_size=TILE)
    report = archive.add(Scenes(scenes_of(tmp_path / "later", "sharp", first=3)), tile_size=TILE)
    assert report.unfit == []
