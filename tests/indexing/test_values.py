"""Scenes whose values differ from the hasher's: converted, or left out with the reason."""

import warnings
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from geohash_rs import Archive, Scenes, TileGrid, fit_hasher, fit_on_scenes
from geohash_rs.errors import GeoHashRSWarning, ValueMismatchError
from geohash_rs.scenes.kinds import warn_of_kinds
from geohash_rs.scenes.value_doubts import doubt_range, doubt_scales
from geohash_rs.scenes.values import Values, remember_rescaling
from geohash_rs.store.code_counts import count_codes
from tests.ground import TILE, mosaic, write

pytestmark = pytest.mark.usefixtures("small_input")
PICTURE = mosaic(4, 4, 7)
NUMBERS = PICTURE.astype(np.uint16) * 12 + 300
EAST = Affine(10, 0, 520_000, 0, -10, 5_400_000)
PICTURE_VALUES = Values.of_range([0] * 3, [255] * 3, dtype="uint8")
WAYS = {
    "reflectance": lambda: (NUMBERS / 10_000).astype(np.float32),
    "numbers": lambda: NUMBERS,
    "signed numbers": lambda: NUMBERS.astype(np.int16),
    "float numbers": lambda: NUMBERS.astype(np.float32),
    "picture": lambda: PICTURE,
    "wide picture": lambda: PICTURE.astype(np.uint16),
}


def rescaled(path, image, scale, offset, **profile):
    write(path, image, **profile)
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = [scale] * len(image), [offset] * len(image)
    return path


def codes_by_scene(archive):
    ids = np.arange(archive.num_tiles)
    tiles, codes = archive.tiles(ids), archive.codes(ids)
    order = tiles.sort_values(["scene", "row", "col"]).index
    names = tiles["scene"].loc[order].str.rsplit("/", n=1).str[-1]
    return {name: codes[names.index[names == name]] for name in names.unique()}


def make(path, bits=16, **options):
    """Make an archive whose hasher was fitted on tiles of one kind of values."""
    tiles = torch.from_numpy(WAYS[options["of"]]().astype(np.float32))
    if options["of"] == "picture":
        tiles = torch.from_numpy(PICTURE)
    parts = tiles.unfold(1, TILE, TILE).unfold(2, TILE, TILE)
    batch = parts.permute(1, 2, 0, 3, 4).reshape(-1, 3, TILE, TILE).contiguous()
    return Archive.create(path, hasher=fit_hasher([batch], num_bits=bits, input_size=32))


@pytest.mark.parametrize(
    ("of", "other"),
    [
        ("picture", "numbers"),
        ("picture", "reflectance"),
        ("picture", "float numbers"),
        ("numbers", "picture"),
        ("numbers", "wide picture"),
        ("numbers", "reflectance"),
        ("reflectance", "numbers"),
        ("reflectance", "picture"),
    ],
)
def test_an_archive_refuses_scenes_with_other_values(tmp_path, of, other):
    write(tmp_path / "scenes/a.tif", WAYS[of]())
    write(tmp_path / "scenes/b.tif", WAYS[other](), transform=EAST)
    archive = make(tmp_path / "archive", of=of)
    report = archive.add(Scenes(tmp_path / "scenes"), tile_size=TILE)
    assert (report.num_tiles, report.num_scenes) == (16, 1)
    [(scene, reason)] = report.skipped
    assert scene.endswith("b.tif")
    assert reason.startswith("b.tif holds ")
    assert "value_range=(LOW, HIGH)" in reason


@pytest.mark.parametrize(
    ("of", "other"),
    [
        ("numbers", "signed numbers"),
        ("numbers", "float numbers"),
        ("picture", "wide picture"),
    ],
)
def test_the_same_values_of_another_type_give_the_same_codes(tmp_path, of, other):
    write(tmp_path / "scenes/a.tif", WAYS[of]())
    write(tmp_path / "scenes/b.tif", WAYS[other](), transform=EAST)
    archive = make(tmp_path / "archive", of=of)
    report = archive.add(Scenes(tmp_path / "scenes"), tile_size=TILE)
    assert (report.num_tiles, report.skipped) == (32, [])
    codes = codes_by_scene(archive)
    np.testing.assert_array_equal(codes["a.tif"], codes["b.tif"])


def test_scale_and_offset_make_products_comparable(tmp_path):
    folder = tmp_path / "scenes"
    rescaled(folder / "before.tif", NUMBERS, 1e-4, 0.0)
    rescaled(folder / "after.tif", NUMBERS + 1000, 1e-4, -0.1, transform=EAST)
    landsat = np.round((NUMBERS / 1e4 + 0.2) / 2.75e-5).astype(np.uint16)
    rescaled(folder / "landsat.tif", landsat, 2.75e-5, -0.2, crs="EPSG:32634")
    write(folder / "reflectance.tif", WAYS["reflectance"](), crs="EPSG:32635")
    archive = Archive.create(tmp_path / "archive", hasher="itq-16")
    report = archive.add(Scenes(folder), tile_size=TILE)
    assert (report.num_tiles, report.skipped) == (64, [])
    codes = codes_by_scene(archive)
    for name in ("after.tif", "landsat.tif", "reflectance.tif"):
        changed = np.bitwise_count(codes["before.tif"] ^ codes[name]).sum(axis=1)
        assert changed.max() <= 1


def test_a_first_run_stretches_each_kind_by_its_own_range_and_warns(tmp_path):
    write(tmp_path / "scenes/a_picture.tif", PICTURE)
    write(tmp_path / "scenes/b_numbers.tif", NUMBERS, transform=EAST)
    archive = Archive.create(tmp_path / "archive", hasher="itq-16")
    with pytest.warns(GeoHashRSWarning, match=r"2 kinds of values .*a_picture.*b_numbers") as told:
        report = archive.add(Scenes(tmp_path / "scenes"), tile_size=TILE)
    assert len(told) == 1
    assert (report.num_tiles, report.skipped) == (32, [])
    codes = codes_by_scene(archive)
    changed = np.bitwise_count(codes["a_picture.tif"] ^ codes["b_numbers.tif"]).sum(axis=1)
    assert changed.mean() < 3
    assert [values.kind for values in archive.hasher().values] == ["picture", "number"]
    write(tmp_path / "later/c.tif", NUMBERS, crs="EPSG:32634")
    again = Archive.open(tmp_path / "archive")
    assert again.add(Scenes(tmp_path / "later"), tile_size=TILE).num_tiles == 16
    later = codes_by_scene(again)
    np.testing.assert_array_equal(later["c.tif"], codes["b_numbers.tif"])


def test_a_value_range_overrides_the_values_found(tmp_path):
    write(tmp_path / "a.tif", PICTURE)
    write(tmp_path / "b.tif", NUMBERS, transform=EAST)
    archive = make(tmp_path / "archive", of="picture")
    archive.add(Scenes(tmp_path / "a.tif"), tile_size=TILE)
    numbers = Scenes(tmp_path / "b.tif", value_range=(300, 3360))
    assert archive.add(numbers, tile_size=TILE).num_tiles == 16
    codes = codes_by_scene(archive)
    np.testing.assert_array_equal(codes["a.tif"], codes["b.tif"])
    assert archive.add(numbers, tile_size=TILE).unchanged == [str(tmp_path / "b.tif")]
    other = Scenes(tmp_path / "b.tif", value_range=(0, 5000))
    assert archive.add(other, tile_size=TILE).replaced == [str(tmp_path / "b.tif")]


def test_a_patch_is_read_with_the_value_range_of_the_scenes(tmp_path):
    archive = make(tmp_path / "archive", of="picture")
    write(tmp_path / "b.tif", NUMBERS)
    archive.add(Scenes(tmp_path / "b.tif", value_range=(300, 3360)), tile_size=TILE)
    patch = write(tmp_path / "patch.tif", NUMBERS[:, :TILE, TILE : 2 * TILE], transform=EAST)
    for path, window in [(tmp_path / "b.tif", (TILE, 0, TILE, TILE)), (patch, None)]:
        best = archive.query(path, k=1, window=window)
        assert (best["col"][0], best["row"][0], best["distance"][0]) == (TILE, 0, 0)


def test_a_patch_of_other_values_is_stretched_and_marked(tmp_path):
    archive = make(tmp_path / "archive", of="numbers")
    write(tmp_path / "b.tif", NUMBERS)
    archive.add(Scenes(tmp_path / "b.tif"), tile_size=TILE)
    patch = write(tmp_path / "patch.tif", PICTURE[:, :TILE, TILE : 2 * TILE])
    with pytest.warns(GeoHashRSWarning, match=r"patch.tif holds uint8 .* only approximate"):
        rough = archive.query(patch, k=1)
    assert rough["distance"][0] <= 6
    with pytest.warns(GeoHashRSWarning, match=r"patch.tif holds uint8"):
        archive.query(tile=0, negatives=[patch])
    exact = archive.query(patch, k=1, value_range=(0, 255))
    assert len(exact) == 1
    same = write(tmp_path / "same.tif", NUMBERS[:, :TILE, TILE : 2 * TILE])
    assert archive.query(same, k=1)["distance"][0] == 0  # a warning would be an error


def test_fit_on_scenes_stores_the_kinds_of_values(tmp_path):
    write(tmp_path / "a.tif", PICTURE)
    write(tmp_path / "b.tif", NUMBERS, transform=EAST)
    with pytest.warns(GeoHashRSWarning, match="2 kinds of values"):
        hasher = fit_on_scenes(Scenes(tmp_path), tile_size=TILE, num_bits=16)
    assert [values.kind for values in hasher.values] == ["picture", "number"]


def test_batches_of_different_kinds_of_values_are_refused():
    tiles = torch.from_numpy(PICTURE[None, :, :TILE, :TILE])
    with pytest.raises(ValueMismatchError, match=r"holds float32 .* the first one uint8 0 to 255"):
        fit_hasher([tiles, tiles / 255], num_bits=16)


def test_tiles_that_share_one_code_are_reported(tmp_path):
    flat = np.full_like(NUMBERS, 65_000)
    write(tmp_path / "flat.tif", flat)
    archive = make(tmp_path / "archive", of="numbers")
    with pytest.warns(GeoHashRSWarning, match="16 of 16 tiles share one code"):
        report = archive.add(Scenes(tmp_path / "flat.tif"), tile_size=TILE)
    assert report.num_codes == 1


def test_a_scene_beyond_the_range_of_the_hasher_is_named(tmp_path):
    write(tmp_path / "a.tif", NUMBERS)
    dark = (NUMBERS // 20).astype(np.uint16)  # 12 to 168: not refused, since water is as dark
    write(tmp_path / "dark.tif", dark[:, :TILE, : 2 * TILE], transform=EAST)
    archive = make(tmp_path / "archive", of="numbers")
    with pytest.warns(GeoHashRSWarning, match=r"nearly all values of dark.tif lie outside"):
        report = archive.add(Scenes(tmp_path), tile_size=TILE)
    assert report.skipped == []


def test_codes_are_counted_without_removed_and_earlier_tiles(tmp_path, quick):
    folder = tmp_path / "scenes"
    write(folder / "a.tif", PICTURE)
    write(folder / "b.tif", mosaic(4, 4, 8), transform=EAST)
    quick.add(Scenes(folder / "a.tif"), tile_size=TILE)
    quick.add(Scenes(folder / "b.tif"), tile_size=TILE)
    codes = quick.codes(np.arange(32))
    assert count_codes(quick).num_codes == len(np.unique(codes, axis=0))
    later = count_codes(quick, first_id=16)
    assert (later.num_tiles, later.num_codes) == (16, len(np.unique(codes[16:], axis=0)))
    quick.remove_tiles([0, 1, 2])
    assert count_codes(quick).num_tiles == 29
    some = count_codes(quick, most=8)
    assert 4 <= some.num_tiles <= 29


@pytest.mark.filterwarnings("ignore:Use torchgeo.samplers:DeprecationWarning")
def test_samples_of_a_dataset_are_compared_too(tmp_path):
    from torchgeo.datasets import RasterDataset
    from torchgeo.samplers import GridGeoSampler

    class Named(RasterDataset):
        filename_glob = "*.tif"

    write(tmp_path / "scenes/a.tif", PICTURE)
    write(tmp_path / "scenes/b.tif", NUMBERS, transform=EAST)
    dataset = Named(tmp_path / "scenes")
    archive = make(tmp_path / "archive", of="picture")
    sampler = GridGeoSampler(dataset, size=TILE, stride=TILE)
    report = archive.add(dataset, sampler=sampler)
    assert {scene.rsplit("/", 1)[-1] for scene, _ in report.skipped} == {"b.tif"}
    assert len(report.skipped) == 1
    assert "b.tif holds uint16" in report.skipped[0][1]
    assert report.num_tiles >= 9
    scenes = Scenes(tmp_path / "scenes")
    through = make(tmp_path / "through", of="picture")
    report = through.add(scenes, sampler=GridGeoSampler(scenes, size=TILE, stride=TILE))
    assert "b.tif holds uint16" in report.skipped[0][1]


def test_real_scenes_of_one_sensor_are_never_refused(shared_data, tmp_path):
    """Use 100 places of Sentinel-2: water and forest as well as roofs and fields."""
    paths = sorted((shared_data / "eurosat100").rglob("*.tif"))
    scenes = Scenes(paths, bands=[4, 3, 2])
    grid = TileGrid(scenes, tile_size=TILE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        archive = Archive.create(tmp_path / "archive", hasher="itq-64")
        report = archive.add(scenes, tile_size=TILE)
    assert (report.num_tiles, report.skipped, report.clipped) == (len(grid.tiles), [], [])
    assert report.num_codes > 90
    one_by_one = [scenes.sample(number, indexes=(4, 3, 2)) for number in range(len(paths))]
    assert {sample.values.kind for sample in one_by_one} == {"number"}


def test_a_range_of_numbers_leaves_pictures_of_8_bits_next_to_them_as_they_are(tmp_path):
    write(tmp_path / "s/a.tif", PICTURE)
    archive = make(tmp_path / "archive", of="picture")
    archive.add(Scenes(tmp_path / "s"), tile_size=TILE)
    before = codes_by_scene(archive)["a.tif"]
    write(tmp_path / "s/b.tif", NUMBERS, transform=EAST)
    report = archive.add(Scenes(tmp_path / "s", value_range=(300, 3360)), tile_size=TILE)
    assert [scene.rsplit("/")[-1] for scene in report.unchanged] == ["a.tif"]
    assert (report.replaced, report.num_scenes) == ([], 1)
    np.testing.assert_array_equal(codes_by_scene(archive)["a.tif"], before)
    patch = write(tmp_path / "patch.tif", PICTURE[:, :TILE, :TILE])
    found = archive.query(patch, k=1, value_range=(300, 3360))
    assert int(found["distance"].iloc[0]) == 0
    both = make(tmp_path / "both", of="picture")
    notes = both.add(Scenes(tmp_path / "s", value_range=(300, 3360)), tile_size=TILE).notes
    said = [
        note for note in notes if "1 of 2 scenes are 8-bit pictures (such as a.tif), so" in note
    ]
    assert len(said) == 1
    np.testing.assert_array_equal(codes_by_scene(both)["a.tif"], before)


def test_numbers_of_two_sensors_in_one_folder_are_said(tmp_path):
    image = np.random.default_rng(0).integers(200, 3000, (3, 128, 128)).astype(np.uint16)
    write(tmp_path / "s/sentinel.tif", image)
    write(tmp_path / "s/landsat.tif", image * 4 + 7200, transform=EAST)
    archive = Archive.create(tmp_path / "archive", hasher="itq-16")
    with pytest.warns(GeoHashRSWarning, match=r"two scales \(2.*: sentinel.tif; .*landsat.tif\)"):
        assert archive.add(Scenes(tmp_path / "s"), tile_size=32).num_tiles == 32


def of_range(low, high, bands=3):
    return Values.of_range([low] * bands, [high] * bands, dtype="uint16")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([of_range(8000, 20_000)], True),
        ([of_range(8000, 20_000), of_range(500, 3200), of_range(7500, 15_000)], True),
        ([of_range(2900, 9000)], False),  # brighter
        ([of_range(3100, 6000)], False),  # just apart
        ([of_range(8000, 20_000), of_range(2000, 9000)], False),  # what lies between joins them
        ([replace(of_range(8000, 20_000), physical=True)], False),
    ],
)
def test_only_scenes_that_lie_apart_in_all_bands_are_said(others, said):
    found = [(f"{i}.tif", values) for i, values in enumerate([of_range(200, 3000), *others])]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warn_of_kinds([of_range(200, 20_000)], found)
    assert len(told) == said


def test_one_image_in_11_and_16_bits_is_two_scales(tmp_path):
    """Their ranges overlap, unlike those of most pairs of sensors."""
    image = PICTURE.astype(np.uint16) * 5 + 150
    write(tmp_path / "s/small.tif", image)
    write(tmp_path / "s/large.tif", image * 8, transform=EAST)
    archive = Archive.create(tmp_path / "archive", hasher="itq-16")
    with pytest.warns(GeoHashRSWarning, match=r"two scales \(1.*: small.tif; .*large.tif\)"):
        archive.add(Scenes(tmp_path / "s"), tile_size=TILE)


def test_real_places_have_one_scale_and_multiplied_ones_two(shared_data):
    """Compare water, forest, fields and roofs with each other, in pairs and by land cover."""
    files = sorted((shared_data / "eurosat100").rglob("*.tif"))
    scenes = Scenes(files, bands=[4, 3, 2])
    found = [scenes.sample(n, indexes=(4, 3, 2)).values for n in range(len(scenes.scene_files))]
    assert doubt_scales(found) is None
    assert not any(doubt_scales(pair) is not None for pair in combinations(found, 2))
    kinds = {}
    for file, values in zip(scenes.scene_files, found, strict=True):
        kinds.setdefault(file.name.partition("_")[0], []).append(values)
    for one, other in combinations(kinds.values(), 2):
        assert doubt_scales([*one, *other]) is None
    for land in ("AnnualCrop", "Highway", "Industrial", "Pasture", "Residential", "River"):
        same = kinds[land]  # forest and water have too little contrast to be sure
        larger = [
            replace(v, low=tuple(x * 16 for x in v.low), high=tuple(x * 16 for x in v.high))
            for v in same
        ]
        expected = [False] * len(same) + [True] * len(larger)
        np.testing.assert_array_equal(doubt_scales([*same, *larger]), expected)


@pytest.mark.parametrize("factor", [1 / 16, 16])
def test_later_scenes_on_another_scale_are_named_with_both_ranges(tmp_path, factor):
    write(tmp_path / "s/a.tif", NUMBERS)
    archive = make(tmp_path / "archive", of="numbers")
    other = (NUMBERS * factor).astype(np.uint16)
    write(tmp_path / "b.tif", other[:, :TILE], transform=EAST)
    told = r"b.tif lie outside .* made for \(\d.* to \d.*, not 336 to 3000\).* value_range=\(LOW"
    with pytest.warns(GeoHashRSWarning, match=told):
        report = archive.add(Scenes(tmp_path / "b.tif"), tile_size=TILE)
    assert report.clipped == [str(tmp_path / "b.tif")]


def test_values_on_another_scale_are_doubted_even_within_the_range():
    own = Values.of_range([2000] * 3, [60_000] * 3, dtype="uint16")
    pixels = np.random.default_rng(0).integers(200, 6000, (3, 5000)).astype(np.uint16)
    assert "b.tif seem to have a different scale" in doubt_range(pixels, own, name="b.tif")
    dark = np.random.default_rng(0).integers(1990, 2600, (3, 5000)).astype(np.uint16)
    assert doubt_range(dark, own, name="water.tif") == ""
    assert doubt_range(pixels.astype(np.uint8), PICTURE_VALUES, name="picture.tif") == ""


def test_a_patch_or_negative_on_another_scale_is_named(tmp_path):
    archive = make(tmp_path / "archive", of="numbers")
    archive.add(Scenes(write(tmp_path / "a.tif", NUMBERS)), tile_size=TILE)
    right = write(tmp_path / "right.tif", NUMBERS[:, :TILE, :TILE])
    for factor in (1 / 12, 15):
        pixels = (NUMBERS[:, :TILE, :TILE] * factor).astype(np.uint16)
        wrong = write(tmp_path / "wrong.tif", pixels)
        for asked in ({"patch": wrong}, {"patch": right, "negatives": [wrong]}):
            with pytest.warns(GeoHashRSWarning, match=r"values of wrong.tif lie outside .*, not"):
                archive.query(**asked)
    assert len(archive.query(right))  # no warning
    filled = NUMBERS[:, :TILE, :TILE].astype(np.int16)
    filled[:, :9] = -9999
    with pytest.warns(GeoHashRSWarning, match="pixels of filled.tif hold -9999, .*a_nodata -9999"):
        archive.query(write(tmp_path / "filled.tif", filled))


@pytest.mark.parametrize(
    ("image", "fill"),
    [
        (NUMBERS.astype(np.int16), -9999),
        (NUMBERS.astype(np.int16), -32768),
        (NUMBERS.astype(np.float32), -3.4028234663852886e38),
        ((NUMBERS / 10_000).astype(np.float32), -9999),
        ((NUMBERS / 10_000).astype(np.float32), 1e20),
    ],
)
def test_a_fill_value_that_is_not_declared_is_named(tmp_path, image, fill):
    image = image.copy()
    image[:, :, :70] = fill
    write(tmp_path / "b.tif", image)
    archive = Archive.create(tmp_path / "archive", hasher="itq-16")
    with pytest.warns(GeoHashRSWarning) as told:
        archive.add(Scenes(tmp_path / "b.tif"), tile_size=TILE)
    [said] = [str(one.message) for one in told if "fill value" in str(one.message)]
    assert said.startswith(f"many pixels of b.tif hold {fill:.8g},")
    assert f"pass nodata={fill:.8g}, or declare it" in said
    known = Archive.create(tmp_path / "known", hasher="itq-16")  # no warning
    known.add(Scenes(tmp_path / "b.tif", nodata=fill), tile_size=TILE)


def test_a_fill_value_is_named_where_it_makes_a_scene_another_kind(tmp_path):
    image = (NUMBERS / 10_000).astype(np.float32)
    image[:, :, :70] = -9999
    write(tmp_path / "b.tif", image)
    archive = make(tmp_path / "archive", of="reflectance")
    report = archive.add(Scenes(tmp_path / "b.tif"), tile_size=TILE)
    assert "many pixels of b.tif hold -9999" in report.skipped[0][1]


def test_water_next_to_desert_and_hills_next_to_mountains_are_not_said():
    for low, high in [
        (of_range(200, 400), of_range(2000, 4000)),
        (of_range(100, 500, 1), of_range(1500, 3000, 1)),
    ]:
        warn_of_kinds([of_range(0, 5000)], [("a.tif", low), ("b.tif", high)])  # no error


def test_a_catalogue_that_states_an_offset_later_changes_a_scene(tmp_path):
    path = str(write(tmp_path / "s/a.tif", NUMBERS))
    archive = Archive.create(tmp_path / "archive", hasher="itq-16")
    assert archive.add(Scenes(path), tile_size=TILE).num_tiles == 16
    assert archive.add(Scenes(path), tile_size=TILE).unchanged == [path]
    remember_rescaling(path, [(1.0, -1000.0)])
    report = archive.add(Scenes(path), tile_size=TILE)
    assert (report.unchanged, [scene for scene, _ in report.skipped]) == ([], [path])
    assert "scale and offset applied" in report.skipped[0][1]
