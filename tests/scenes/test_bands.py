"""Which band of a file feeds which input of a hasher."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import ColorInterp as C

from geohash_rs import Scenes
from geohash_rs.errors import BandMismatchError, SceneError
from geohash_rs.scenes.bands import picture_bands
from geohash_rs.scenes.dataset import Tile
from geohash_rs.scenes.file import read_scene_file
from geohash_rs.scenes.sensors import at_wavelength, meanings_of

RGB = ("red", "green", "blue")
UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
NOISE = np.random.default_rng(0).integers(20, 220, (13, 96, 96))


def write(path, pixels=None, *, count=3, dtype="uint8", bands=None, wave=None, **options):
    """Write noise that differs by band, so that pixels show which band was read."""
    colors, texts = options.pop("colors", None), options.pop("texts", None)
    pixels = (NOISE[:count] if pixels is None else pixels).astype(dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(pixels), height=96, width=96, dtype=dtype,
        crs="EPSG:32632", transform=UTM, **options
    ) as target:  # fmt: skip
        target.write(pixels)
        if colors:
            target.colorinterp = colors
        if texts:
            target.descriptions = texts
        for number, value in enumerate(wave or (), 1):
            target.update_tags(number, wavelength=value)
    return path


LAYOUTS = {
    "colours": ("x.tif", {"count": 3, "colors": (C.blue, C.green, C.red)}, (3, 2, 1)),
    "BGRN named": (
        "x.tif", {"count": 4, "texts": ("blue", "green", "red", "nir")}, (3, 2, 1)
    ),
    "descriptions before colours": (
        "x.tif", {"count": 3, "texts": ("Blue", "Green", "Red")}, (3, 2, 1)
    ),
    "Sentinel-2 names": (
        "x.tif", {"count": 4, "dtype": "uint16", "texts": ("B02", "B03", "B04", "B08")}, (3, 2, 1)
    ),
    "longer texts": (
        "x.tif",
        {"count": 3, "texts": ("Band 1 - Blue", "B3, central wavelength 560 nm", "Red (665 nm)")},
        (3, 2, 1),
    ),
    "names from Earth Engine": (
        "x.tif", {"count": 4, "texts": ("B8_p50", "B4_p50", "B3_p50", "B2_p50")}, (2, 3, 4)
    ),
    "names with a sensor": ("x.tif", {"count": 3, "texts": ("S2_B2", "S2_B3", "S2_B4")}, (3, 2, 1)),
    "names of files": ("x.tif", {"count": 3, "texts": ("B2.tif", "B3.tif", "B4.tif")}, (3, 2, 1)),
    "MODIS": (
        "x.tif",
        {"count": 3, "texts": ("sur_refl_b03", "sur_refl_b04", "sur_refl_b01")},
        (3, 2, 1),
    ),
    "wavelengths in names": (
        "x.tif", {"count": 4, "texts": ("Rrs_865", "490 nm", "520-600nm", "Rrs_665")}, (4, 3, 2)
    ),
    "German": ("x.tif", {"count": 3, "texts": ("Kanal 1 Blau", "Grün", "Rot")}, (3, 2, 1)),
    "French": ("x.tif", {"count": 3, "texts": ("Bleu", "Vert", "Rouge")}, (3, 2, 1)),
    "Spanish": ("x.tif", {"count": 3, "texts": ("azul", "verde", "rojo")}, (3, 2, 1)),
    "Landsat 5 by its product": (
        "LT05_L2SP_193023_20100601_20200607_02_T1.tif",
        {"count": 4, "dtype": "uint16", "texts": ("SR_B1", "SR_B2", "SR_B3", "SR_B4")},
        (3, 2, 1),
    ),
    "wavelengths": (
        "x.tif", {"count": 4, "dtype": "uint16", "wave": (842, "560 nm", 490, 0.665)}, (4, 2, 3)
    ),
    "PlanetScope by its name": (
        "20230601_101031_10_2403_3B_AnalyticMS_SR.tif", {"count": 4, "dtype": "uint16"}, (3, 2, 1)
    ),
    "SuperDove by its name": (
        "20230601_101031_10_2403_3B_AnalyticMS_SR_8b.tif",
        {"count": 8, "dtype": "uint16"},
        (6, 4, 2),
    ),
    "NAIP": ("m_3807511_ne_18_060_20181104.tif", {"count": 4}, (1, 2, 3)),
    "RGB with a fourth band of no meaning": (
        "x.tif", {"count": 4, "photometric": "RGB", "alpha": "NO"}, (1, 2, 3)
    ),
    "nothing known": ("x.tif", {"count": 3, "dtype": "uint16"}, (1, 2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_red_green_and_blue_are_found_wherever_they_are(tmp_path, layout):
    name, options, expected = LAYOUTS[layout]
    scene = read_scene_file(write(tmp_path / name, **options))
    choice = scene.choose(names=RGB)
    assert choice.indexes == expected
    assert choice.knows == (layout != "nothing known")
    assert picture_bands(scene.bands) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 1}, "1 band but the hasher expects 3"),
        ({"count": 2, "dtype": "uint16"}, "2 bands but the hasher expects 3"),
        ({"count": 4, "dtype": "uint16"}, "4 bands but the hasher expects 3"),
        (
            {"count": 3, "dtype": "uint16", "texts": ("clear", "snow", "shadow")},
            r"\(clear, snow, shadow\) but",
        ),
        (
            {"count": 3, "texts": ("nir", "red", "green")},
            r"3 bands \(nir, red, green, without blue\) but",
        ),
    ],
)
def test_bands_that_do_not_fit_are_refused_with_a_list_of_bands(tmp_path, options, message):
    scene = read_scene_file(write(tmp_path / "x.tif", **options))
    with pytest.raises(BandMismatchError, match=message):
        scene.choose(names=RGB)


def test_a_hasher_of_near_infrared_finds_the_band_by_another_name(tmp_path):
    scene = read_scene_file(
        write(tmp_path / "x.tif", count=4, dtype="uint16", texts=("B8A", "B4", "B3", "B2"))
    )
    assert scene.choose(names=(*RGB, "nir")).indexes == (2, 3, 4, 1)
    assert scene.choose(["B8A", "red"]).indexes == (1, 2)
    with pytest.raises(BandMismatchError, match=r"no band 'swir16'; it has 4 \(names: nir08"):
        scene.choose(["swir16"])


def test_near_infrared_flagged_as_alpha_is_read_and_does_not_mask(tmp_path):
    pixels = NOISE[:4].copy()
    pixels[3, :48] = 0  # water
    pixels[3, 48:] = np.random.default_rng(1).integers(1, 255, (48, 96))
    path = write(tmp_path / "x.tif", pixels)
    with rasterio.open(path) as source:
        assert source.colorinterp[3] == C.alpha
    scene = read_scene_file(path)
    assert (scene.alpha, scene.masked) == (None, False)
    assert scene.listed == "red, green, blue, nir"
    assert scene.choose(names=(*RGB, "nir")).indexes == (1, 2, 3, 4)
    scenes = Scenes(path)
    sample = scenes[Tile(0, 0, 0, 96, 96)]["image"].numpy()
    np.testing.assert_array_equal(sample, pixels)
    assert scenes.read(Tile(0, 0, 0, 96, 96), indexes=(1, 2, 3)).invalid is None


@pytest.mark.parametrize("opaque", [255, 1])
def test_an_alpha_band_masks(tmp_path, opaque):
    pixels = NOISE[:4].copy()
    pixels[3] = opaque
    pixels[3, :48] = 0
    path = write(tmp_path / "x.tif", pixels)
    scene = read_scene_file(path)
    assert (scene.alpha, scene.masked) == (4, True)
    invalid = Scenes(path).read(Tile(0, 0, 0, 96, 96), indexes=(1, 2, 3)).invalid
    np.testing.assert_array_equal(invalid.all(axis=1), np.arange(96) < 48)


def test_the_user_decides_if_a_band_could_be_alpha_or_pixels(tmp_path):
    pixels = NOISE[:4].copy()
    pixels[3, :72] = 255
    path = write(tmp_path / "x.tif", pixels)
    with pytest.raises(SceneError, match="band 4 of x.tif is flagged as alpha, but 2.% of its"):
        read_scene_file(path)
    assert read_scene_file(path, bands=[1, 2, 3]).alpha == 4
    assert read_scene_file(path, bands=[1, 2, 3, 4]).alpha is None


def test_a_palette_is_read_as_its_colours(tmp_path):
    path = tmp_path / "x.tif"
    pixels = (NOISE[:1] % 3).astype(np.uint8)
    colours = {0: (10, 20, 30, 255), 1: (200, 100, 0, 255), 2: (1, 2, 3, 255)}
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=96, width=96, dtype="uint8", nodata=2,
        crs="EPSG:32632", transform=UTM
    ) as target:  # fmt: skip
        target.write_colormap(1, colours)
        target.write(pixels)
    scenes = Scenes(path)
    assert scenes.scene_files[0].choose(names=RGB).indexes == (1, 2, 3)
    read = scenes.read(Tile(0, 0, 0, 96, 96))
    table = np.array([colours[number][:3] for number in range(3)], np.uint8)
    np.testing.assert_array_equal(read.image, np.moveaxis(table[pixels[0]], -1, 0))
    np.testing.assert_array_equal(read.invalid, pixels[0] == 2)


def write_palette(path, number, colours, **options):
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=96, width=96, dtype="uint8",
        crs="EPSG:32632", transform=UTM, photometric="palette", **options
    ) as target:  # fmt: skip
        target.write_colormap(1, colours)
        target.write(np.full((1, 96, 96), number, np.uint8))
        target.update_tags(TIFFTAG_DATETIME="2023:06:30 12:00:00")
    return path


def test_pages_with_palettes_are_named_and_the_chosen_one_is_read_with_its_date(tmp_path):
    path = write_palette(tmp_path / "pages.tif", 1, {1: (200, 0, 0, 255)})
    write_palette(path, 2, {2: (0, 100, 0, 255)}, APPEND_SUBDATASET="YES")
    with pytest.raises(SceneError, match="pages.tif has 2 pages"):
        read_scene_file(path)
    scenes = Scenes(f"GTIFF_DIR:2:{path}")
    np.testing.assert_array_equal(scenes.read(Tile(0, 0, 0, 1, 1)).image.ravel(), (0, 100, 0))
    assert str(scenes.scene_files[0].dates[0]) == "2023-06-30 12:00:00+00:00"


@pytest.mark.parametrize("opacity", [255, 0])
def test_a_palette_with_an_alpha_band_is_read_as_colours_and_mask(tmp_path, opacity):
    path = tmp_path / "x.tif"
    text = (
        '<VRTDataset rasterXSize="96" rasterYSize="96"><SRS>EPSG:32632</SRS>'
        "<GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"><ColorInterp>Palette</ColorInterp><ColorTable>'
        f'<Entry c1="70" c2="0" c3="9" c4="255"/><Entry c1="1" c2="2" c3="3" c4="{opacity}"/>'
        '</ColorTable></VRTRasterBand><VRTRasterBand dataType="Byte" band="2">'
        "<ColorInterp>Alpha</ColorInterp></VRTRasterBand></VRTDataset>"
    )
    if opacity == 0:  # two masks
        (tmp_path / "x.vrt").write_text(text)
        with pytest.raises(SceneError, match=r"x.vrt has a palette and 1 other band.*-expand"):
            read_scene_file(tmp_path / "x.vrt")
        return
    with rasterio.open(text) as virtual:
        rasterio.shutil.copy(virtual, path, driver="GTiff")
    with rasterio.open(path, "r+") as target:
        target.write(np.repeat([0, 255], 48)[:, None].repeat(96, 1).astype(np.uint8), 2)
    read = Scenes(path).read(Tile(0, 0, 0, 96, 96))
    np.testing.assert_array_equal(read.image[:, 95, 0], (70, 0, 9))
    np.testing.assert_array_equal(read.invalid.all(axis=1), np.arange(96) < 48)


def test_a_number_that_means_another_band_on_another_sensor_is_not_taken_for_it(tmp_path):
    path = write(tmp_path / "LC08_x.tif", count=8, texts=[f"B{i}" for i in range(1, 9)])
    scene = read_scene_file(path)
    assert scene.choose(names=("B02", "B03", "B04", "B08")).indexes == (2, 3, 4, 5)
    assert scene.choose(["B8", "B4"]).indexes == (8, 4)
    old = write(tmp_path / "LT05_x.tif", count=4, texts=("B1", "B2", "B3", "B4"), alpha="NO")
    assert read_scene_file(old).choose(["B4"]).indexes == (4,)


def test_pages_of_a_tiff_are_named_and_one_can_be_chosen(tmp_path):
    path = write(tmp_path / "pages.tif", NOISE[:3])
    write(path, NOISE[3:6], APPEND_SUBDATASET="YES")
    with pytest.raises(SceneError, match="pages.tif has 2 pages.* GTIFF_DIR:1:.*GTIFF_DIR:2:"):
        read_scene_file(path)
    scenes = Scenes(f"GTIFF_DIR:2:{path}")
    np.testing.assert_array_equal(scenes.read(Tile(0, 0, 0, 96, 96)).image, NOISE[3:6])


def test_scenes_share_red_green_and_blue_even_if_some_have_more_bands(tmp_path):
    write(tmp_path / "a.tif", count=3)
    write(tmp_path / "b.tif", count=4)
    write(tmp_path / "c.tif", count=4, dtype="uint16", texts=("blue", "green", "red", "nir"))
    assert Scenes(tmp_path).shared_bands() == RGB
    assert Scenes([tmp_path / "b.tif", tmp_path / "c.tif"]).shared_bands() == (*RGB, "nir")
    assert Scenes(tmp_path, bands=[3, 2, 1]).shared_bands() is None  # the flags are ignored
    assert Scenes(tmp_path / "b.tif", bands=[4, 1, 2]).shared_bands() == ("nir", "red", "green")


def test_a_file_with_only_green_does_not_reduce_pictures_to_green(tmp_path):
    for name in ("a.tif", "b.tif"):
        write(tmp_path / name)
    write(tmp_path / "g.tif", count=1, texts=("green",))
    write(tmp_path / "height.tif", count=1, dtype="float32")
    assert Scenes(tmp_path).shared_bands() == RGB
    alone = [tmp_path / name for name in ("g.tif", "height.tif")]
    assert Scenes(alone).shared_bands() == ("green",)


def test_unknown_names_have_no_meaning():
    assert meanings_of(["Band 4", "ndvi", "quality of red", "B5", ""]) == [""] * 5
    assert at_wavelength(None) == at_wavelength(9.0) == ""


@pytest.mark.parametrize(
    ("options", "conflict"),
    [
        (
            {"texts": ("Red", "Green", "Blue"), "colors": (C.blue, C.green, C.red)},
            "band 1 is red by description but blue by colour interpretation, band 3 is blue by "
            "description but red by colour interpretation",
        ),
        (
            {"texts": ("Red", "Green", "Blue"), "wave": (490, 560, 665)},
            "band 1 is red by description but blue by wavelength, band 3 is blue by description "
            "but red by wavelength",
        ),
        ({"texts": ("Red", "Green", "Blue"), "wave": (650, 560, 475)}, ""),
        ({"texts": ("Red", "Green", "NIR"), "wave": (660, 550, 790), "dtype": "uint16"}, ""),
        ({"texts": ("B4", "B3", "B2")}, ""),
        ({"texts": ("B1", "B2", "B3")}, ""),
        ({"dtype": "uint16"}, ""),
    ],
)
def test_sources_that_contradict_each_other_are_reported_with_both_readings(
    tmp_path, options, conflict
):
    scene = read_scene_file(write(tmp_path / "x.tif", **options))
    assert scene.choose().conflict == conflict
    assert scene.choose([1, 2, 3]).conflict == ""


def test_bands_that_are_only_numbered_do_not_overrule_the_colours(tmp_path):
    scene = read_scene_file(write(tmp_path / "x.tif", texts=("b1", "b2", "b3")))
    assert scene.listed == "red, green, blue"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("LC08_L1TP_193023_20230601_20230607_02_T1_B2.TIF", "blue"),
        ("LT05_L1TP_193023_20100601_20200607_02_T1_B2.TIF", "green"),
        ("LM05_L1TP_193027_19850630_20200918_02_T2_B3.TIF", "nir"),
        ("LM01_L1TP_193027_19750630_20200918_02_T2_B4.TIF", "green"),
        ("T33UUV_20230601T101031_B04.tif", "red"),
        ("harvest_B2.tif", "blue"),
        ("S1A_IW_20230601T051212_RTC_VV.tif", "vv"),
        ("s1a-iw-grd-vh-20230601t051212-20230601t051237-048792-05de24-002.tiff", "vh"),
        ("S1A_RTC_VV_mask.tif", "1"),
        ("block_7.tif", "1"),
    ],
)
def test_the_only_band_of_a_file_is_labelled_by_its_name(tmp_path, name, label):
    scene = read_scene_file(write(tmp_path / name, count=1, dtype="uint16"))
    assert scene.listed == label
