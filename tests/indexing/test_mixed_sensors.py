"""An archive of several sensors: its hasher fits them all, or the archive says so."""

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from affine import Affine
from scipy.ndimage import gaussian_filter

from geohash_rs import Archive, Scenes
from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.hashing.fit import by_name
from geohash_rs.indexing.report import check_fit
from geohash_rs.store.health import measure_health
from tests.ground import TILE, mosaic, write
from tests.store.helpers import make_grid

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


def test_a_hasher_with_one_head_for_all_sensors_leads_to_another_hasher(tmp_path):
    archive = Archive.create(tmp_path / "archive", hasher="itq-32")
    archive.add(Scenes(scenes_of(tmp_path / "first", "sharp")), tile_size=TILE)
    later = Scenes(scenes_of(tmp_path / "later", "hazy", count=4))
    with pytest.warns(GeoHashRSWarning, match="--hasher general-32' fits") as heard:
        archive.add(later, tile_size=TILE)
    assert "hazy_2.tif and 1 other scene (30 m uint8)" in str(heard[0].message)


@pytest.mark.parametrize(
    ("apart", "warns"),
    [
        ({"unknown": 0.0}, False),
        ({"10 m uint8": 0.0}, True),
        ({"unknown": "y"}, True),
        ({"unknown": None, "1e999 m uint8": {}}, True),
        ("x", True),
        ([1], True),
        (None, True),
    ],
)
def test_notes_of_a_strangers_hasher_are_read_with_care(tmp_path, quick_hasher, apart, warns):
    notes = {"fitted_on": 7, "apart": apart}
    hasher = replace(quick_hasher, name="general-16", notes=notes)
    archive = Archive.create(tmp_path / "archive", hasher=hasher)
    archive.add_codes(np.zeros((80, 2), np.uint8), make_grid(80))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert check_fit(archive) == (["scene.tif"] if warns else [])
    assert len(heard) == warns


@pytest.mark.parametrize(
    ("known", "warns"), [("11 m uint8", False), ("30 m uint8", True), ("10 m uint16", True)]
)
def test_a_sensor_keeps_its_figures_if_its_name_changes_a_little(
    tmp_path, quick_hasher, known, warns
):
    notes = {"fitted_on": "x", "apart": {known: 0.0}}
    hasher = replace(quick_hasher, name="general-16", notes=notes)
    archive = Archive.create(tmp_path / "archive", hasher=hasher)
    one_colour = np.full((3, 640, 640), 90, np.uint8)
    write(tmp_path / "s" / "a.tif", one_colour, transform=Affine(10, 0, 5e5, 0, -10, 5.4e6))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        archive.add(Scenes(tmp_path / "s"), tile_size=TILE)
    assert any("does not fit a.tif (10 m uint8)" in str(one.message) for one in heard) == warns
