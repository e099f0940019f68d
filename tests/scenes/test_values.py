import datetime as dt

import numpy as np
import pytest
import rasterio

from geohash_rs import Scenes
from geohash_rs.cli.options import in_options
from geohash_rs.errors import ValueMismatchError
from geohash_rs.scenes import value_sample
from geohash_rs.scenes.file import read_scene_file
from geohash_rs.scenes.pixels import read_window
from geohash_rs.scenes.reader import TileReader
from geohash_rs.scenes.values import (
    Values,
    check_value_range,
    gather_values,
    match_values,
    rescaling_of,
    stretch_values,
)
from tests.ground import mosaic, write

PICTURE = Values.of_range([0] * 3, [255] * 3, dtype="uint8")
NUMBERS = Values.of_range([300] * 3, [3000] * 3, dtype="uint16")
REFLECTANCE = Values.of_range([0.01] * 3, [0.4] * 3, dtype="float32")


def values_of(path, image, *, scale=1.0, offset=0.0, **profile):
    write(path, image, **profile)
    if (scale, offset) != (1.0, 0.0):
        with rasterio.open(path, "r+") as target:
            target.scales, target.offsets = [scale] * len(image), [offset] * len(image)
    found = Scenes(path).sample(0, indexes=range(1, len(image) + 1))
    return None if found is None else found.values


def numbers(seed=0, high=4000):
    return (mosaic(4, 4, seed).astype(np.float64) / 255 * high).astype(np.uint16)


@pytest.mark.parametrize(
    ("image", "options", "kind"),
    [
        (numbers().astype(np.uint16), {}, "number"),
        (numbers().astype(np.int16), {"nodata": -9999}, "number"),
        (numbers().astype(np.float32), {}, "number"),
        (numbers().astype(np.float32) + 0.25, {}, "number"),
        (numbers() / np.float32(10_000), {}, "fraction"),
        (numbers() / np.float32(2500), {}, "fraction"),  # snow is brighter than white
        (numbers() // 100, {}, "number"),  # dark water, night
        (numbers(high=120), {}, "number"),  # a band of dark water, all below 256
        (mosaic(4, 4, 0), {}, "picture"),
        (mosaic(4, 4, 0).astype(np.uint16), {}, "picture"),
        (mosaic(4, 4, 0)[:1].astype(np.int16), {}, "number"),  # elevations of low land
        (numbers(), {"scale": 1e-4}, "fraction"),
        (numbers() + 7273, {"scale": 2.75e-5, "offset": -0.2}, "fraction"),
        (numbers() * 4 + 40_000, {"scale": 0.00341802, "offset": 149.0}, "number"),  # kelvin
        (numbers() / np.float32(100) - 20, {}, "number"),  # decibels
    ],
)
def test_a_scene_holds_pictures_numbers_or_fractions(tmp_path, image, options, kind):
    found = values_of(tmp_path / "scene.tif", image, **options)
    assert found.kind == kind
    assert found.physical == ("scale" in options)


def test_a_range_leaves_out_missing_pixels(tmp_path):
    image = numbers().astype(np.int16)
    image[:, ::2] = -9999
    found = values_of(tmp_path / "gaps.tif", image, nodata=-9999)
    assert min(found.low) >= 0
    image[:] = -9999
    assert values_of(tmp_path / "nothing.tif", image, nodata=-9999) is None
    edged = numbers()
    edged[:, :, :200] = 0  # an undeclared fill value
    assert min(values_of(tmp_path / "edged.tif", edged).low) > 0
    broken = numbers() / np.float32(10_000)
    broken[0, ::3] = np.nan
    assert np.isfinite(values_of(tmp_path / "broken.tif", broken).high).all()


def test_a_large_scene_is_sampled_in_few_places(tmp_path, monkeypatch):
    write(tmp_path / "scene.tif", np.ones((1, 2000, 1500), np.uint16), tiled=True)
    windows = []

    def reading(source, window, **options):
        windows.append(window)
        return read_window(source, window, **options)

    monkeypatch.setattr(value_sample, "read_window", reading)
    assert Scenes(tmp_path).sample(0, indexes=(1,)).pixels.shape[1] <= 2 * 4096
    assert len(windows) == 9
    assert sum(width * height for _, _, width, height in windows) == 9 * 64 * 64


def test_values_that_mean_the_same_are_not_converted():
    floats = Values.of_range([280] * 3, [2900] * 3, dtype="float32")
    for found, known in [(NUMBERS, NUMBERS), (floats, NUMBERS), (PICTURE, PICTURE)]:
        assert match_values(found, (known,), name="a.tif") is None
    tagged = Values.from_dict({**REFLECTANCE.to_dict(), "physical": True, "dtype": "uint16"})
    assert match_values(tagged, (REFLECTANCE,), name="a.tif") is None
    assert match_values(NUMBERS, (), name="a.tif") is None


@pytest.mark.parametrize(
    ("found", "known"),
    [
        (NUMBERS, PICTURE),
        (PICTURE, NUMBERS),
        (REFLECTANCE, NUMBERS),
        (NUMBERS, REFLECTANCE),
        (REFLECTANCE, PICTURE),  # 0 to 1 may be a picture or reflectance
        (Values.from_dict({**NUMBERS.to_dict(), "physical": True}), NUMBERS),
        (
            Values.from_dict({**NUMBERS.to_dict(), "unit": "K"}),
            Values.from_dict({**NUMBERS.to_dict(), "unit": "degC"}),
        ),
    ],
)
def test_values_with_another_meaning_are_refused_with_both_ranges(found, known):
    with pytest.raises(ValueMismatchError, match="a.tif holds .* made for .* value_range") as told:
        match_values(found, (known,), name="a.tif")
    assert str(found) in str(told.value)
    assert str(known) in str(told.value)


def test_8_bit_values_in_a_wider_type_are_one_kind_dark_or_bright():
    bright = Values.of_range([0] * 3, [255] * 3, dtype="uint16")
    dark = Values.of_range([3] * 3, [140] * 3, dtype="uint16")
    assert (bright.kind, dark.kind) == ("picture", "number")
    assert dark.fits(bright)
    assert bright.fits(dark)
    assert not NUMBERS.fits(bright)
    assert not dark.fits(PICTURE)


def test_kinds_are_gathered_with_the_most_frequent_first():
    rng = np.random.default_rng(0)
    dn = [rng.integers(low, low + 1000, (3, 500)).astype(np.uint16) for low in (300, 3000)]
    fractions = rng.random((3, 500)).astype(np.float32)
    samples = [(Values.of_pixels(fractions, dtype="float32"), fractions, 10)]
    samples += [(Values.of_pixels(pixels, dtype="uint16"), pixels, 6) for pixels in dn]
    kinds = gather_values(samples)
    assert [kind.kind for kind in kinds] == ["number", "fraction"]
    together = np.percentile(np.concatenate(dn, axis=1), [1, 99], axis=1)
    np.testing.assert_allclose([kinds[0].low, kinds[0].high], together)


def test_a_stretch_maps_one_range_to_the_other():
    conversion = stretch_values(REFLECTANCE, NUMBERS)
    image = np.array([0.01, 0.4], np.float32).reshape(1, 1, 2).repeat(3, axis=0)
    expected = np.broadcast_to([300, 3000], (3, 1, 2))
    np.testing.assert_allclose(conversion.apply(image), expected, rtol=1e-6)
    twice = conversion.then(stretch_values(NUMBERS, PICTURE))
    np.testing.assert_allclose(twice.apply(image), np.broadcast_to([0, 255], (3, 1, 2)), atol=1e-3)


def test_an_empty_range_is_refused():
    assert check_value_range((0, 3000)) == (0.0, 3000.0)
    for wrong in [(3000, 0), (0, 0), (0, np.nan), (1, 2, 3)]:
        with pytest.raises(ValueMismatchError, match=r"lowest and the highest value"):
            check_value_range(wrong)
    with pytest.raises(ValueMismatchError) as told:
        check_value_range((5.0, 5.0))
    assert in_options(str(told.value)) == (
        "--value-range 5,5 does not name the lowest and the highest value, two finite numbers in "
        "that order; pass for example --value-range 0,3000."
    )


def test_scale_and_offset_of_a_file_are_applied(tmp_path):
    image = numbers()
    values_of(tmp_path / "a.tif", image, scale=1e-4, offset=-0.1)
    scenes = Scenes(tmp_path / "a.tif")
    tiles = np.array([[0, 0, 0, 256, 256]])
    batch = TileReader(scenes, tiles, indexes=[(1, 2, 3)], batch_size=1)[0]
    np.testing.assert_allclose(batch.images[0].numpy(), image * 1e-4 - 0.1, atol=1e-6)
    sample = scenes[tuple(tiles[0].tolist())]["image"]
    np.testing.assert_allclose(sample.numpy(), image * 1e-4 - 0.1, atol=1e-6)


def test_missing_pixels_are_filled_before_scale_and_offset(tmp_path):
    image = numbers().astype(np.int16)
    image[:, :40] = -9999
    values_of(tmp_path / "a.tif", image, nodata=-9999, scale=1e-4)
    tiles = np.array([[0, 0, 0, 64, 64]])
    batch = TileReader(Scenes(tmp_path), tiles, indexes=[(1, 2, 3)], batch_size=1)[0]
    seen = image[:, 40:64, :64].reshape(3, -1)
    np.testing.assert_allclose(
        batch.images[0, :, 0, 0].numpy(), seen.mean(1).round() * 1e-4, atol=2e-4
    )


@pytest.mark.parametrize(("baseline", "offset"), [("0211", 0.0), ("0400", -0.1), ("0510", -0.1)])
def test_the_name_of_a_sentinel_2_product_implies_scale_and_offset(tmp_path, baseline, offset):
    product = f"S2A_MSIL2A_20220301T101021_N{baseline}_R022_T32TQM_20220301T141402.SAFE"
    path = write(tmp_path / product / "T32TQM_20220301T101021_10m.tif", numbers())
    file = read_scene_file(path)
    assert (file.scales, file.offsets) == ((1e-4,) * 3, (offset,) * 3)
    picture = write(tmp_path / product / "T32TQM_20220301T101021_TCI_10m.tif", mosaic(2, 2, 0))
    assert read_scene_file(picture).rescaling((1, 2, 3)) is None


@pytest.mark.parametrize(("applied", "offset"), [(False, -0.1), (True, 0.0)])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_stac_item_states_scale_and_offset(tmp_path, applied, offset, version):
    pystac = pytest.importorskip("pystac", reason="pystac is not installed")
    paths = {
        name: str(write(tmp_path / f"{name}.tif", image))
        for name, image in (("data", numbers()), ("picture", mosaic(4, 4, 0)))
    }
    moment = dt.datetime(2022, 6, 1, tzinfo=dt.UTC)
    properties = {"earthsearch:boa_offset_applied": applied}
    item = pystac.Item("a", None, None, moment, properties)
    said = {"scale": 1e-4, "offset": -0.1}
    for name, path in paths.items():
        fields = {"raster:bands": [said] * 3}
        if version == "1.1":
            fields = {f"raster:{key}": value for key, value in said.items()}
        item.add_asset(name, pystac.Asset(path, roles=["data"], extra_fields=fields))
    scenes = Scenes.from_stac(item, asset="data")
    assert scenes.scene_files[0].scales == (1e-4,) * 3
    assert (scenes.scene_files[0].offsets or (0.0,) * 3) == (offset,) * 3
    picture = Scenes.from_stac(item, asset="picture").scene_files[0]
    assert picture.rescaling((1, 2, 3)) is None


@pytest.mark.parametrize("nodata", [0, None])
@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_data_in_one_corner_show_the_values_of_a_scene(tmp_path, nodata, tiled, dtype):
    image = np.zeros((3, 1400, 1300), dtype)
    image[:, -120:, -120:] = np.random.default_rng(0).integers(300, 3000, (3, 120, 120))
    write(tmp_path / "edge.tif", image, nodata=nodata, tiled=tiled)
    scenes = Scenes(tmp_path)
    found = scenes.sample(0, indexes=(1, 2, 3)).values
    assert found.kind == "number"
    assert 300 <= min(found.low) < max(found.high) < 3000
    with pytest.raises(ValueMismatchError, match=f"edge.tif holds {dtype} 3.* to 29"):
        scenes.conversion(0, indexes=(1, 2, 3), known=(PICTURE,))


def test_a_scene_without_a_pixel_in_all_bands_is_refused(tmp_path):
    image = np.full((3, 300, 300), np.nan, np.float32)
    image[1] = 0.25
    write(tmp_path / "a.tif", image)
    with pytest.raises(
        ValueMismatchError, match=r"no pixel of a.tif is valid in all .*\[1, 2, 3\]"
    ):
        Scenes(tmp_path).sample(0, indexes=(1, 2, 3))
    assert Scenes(tmp_path).sample(0, indexes=(2,)).values.kind == "fraction"


def values(low, high, *, dtype="float32", **options):
    kind = Values.of_range(low, high, dtype=dtype)
    return Values.from_dict({**kind.to_dict(), **options})


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (values([0], [800], unit="m"), values([5], [90], unit="Metre"), True),
        (values([0], [800], unit="m"), values([5], [90], unit="feet"), False),
        (values([0], [800], unit="US survey foot"), values([5], [90], unit="ftUS"), True),
        (values([0], [800], unit="us-ft"), values([5], [90], unit="Foot"), True),
        (values([0], [800], unit="Foot_US"), values([5], [90], unit="m"), False),
        (values([270], [310], unit="K"), values([271], [300], unit="kelvin", physical=True), True),
        (values([270], [310], unit="K"), values([271], [300], physical=True), False),
        (values([0], [1], unit="1"), values([0], [1], unit="m"), True),
        (values([0.2], [1.6]), values([0], [800]), True),  # flat and hilly land
        (values([0.2], [1.6], unit="m"), values([300], [800], unit="metre"), True),
        (values([0.01], [0.4]), values([280], [2900]), False),
        (values([0.2] * 3, [1.6] * 3), values([0] * 3, [800] * 3), False),  # an optical image
        (values([0.2], [1.6]), values([0], [800], dtype="int16"), False),
    ],
)
def test_units_and_ranges_show_what_is_one_quantity(one, other, alike):
    assert one.fits(other) is alike
    assert other.fits(one) is alike


def test_flat_and_hilly_land_are_gathered_as_numbers():
    rng = np.random.default_rng(0)
    land = [(rng.random((1, 4000)) * high).astype(np.float32) for high in (1.6, 800)]
    samples = [(Values.of_pixels(pixels, dtype="float32"), pixels, 5) for pixels in land]
    [kind] = gather_values(samples)
    assert kind.kind == "number"
    assert kind.high[0] > 700


def test_a_scale_of_zero_is_ignored():
    for bad in ((0.0, 5.0), (float("nan"), 0.0)):
        assert rescaling_of("a.tif", [bad, (2.0, 1.0)], ["int16"] * 2) == [(1.0, 0.0), (2.0, 1.0)]
