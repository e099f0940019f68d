import os
from datetime import date

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.enums import ColorInterp
from torch.utils.data import DataLoader
from torchgeo.datasets import random_bbox_assignment, stack_samples
from torchgeo.samplers import GridGeoSampler, RandomGeoSampler

from geohash_rs import Scenes, TileGrid
from geohash_rs._compat import TORCHGEO_VERSION
from geohash_rs.errors import BandMismatchError, SceneError, TileSizeError
from geohash_rs.scenes.dataset import Tile
from geohash_rs.scenes.pixels import fill_invalid, read_window

UTM32 = Affine(10, 0, 500_000, 0, -10, 5_000_000)
OLD_SAMPLERS = pytest.mark.filterwarnings(
    # renamed in TorchGeo 0.10: https://github.com/torchgeo/torchgeo/pull/3279
    "ignore:Use (torchgeo|geopandas):DeprecationWarning"
)


def write(path, *, height=90, width=70, count=3, dtype="uint8", crs="EPSG:32632", **options):
    """Write noise, seeded by the file's name."""
    rng = np.random.default_rng(sum(map(ord, path.name)))
    pixels = rng.integers(1, 200, (count, height, width)).astype(dtype)
    pixels = options.pop("pixels", pixels)
    profile = {"transform": UTM32, "crs": crs} | options
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count, dtype=dtype, **profile
    ) as target:
        target.write(pixels)
    return path


def rasterio_pixels(path, tile):
    with rasterio.open(path) as source:
        return source.read(window=rasterio.windows.Window(*tile[1:]), boundless=False)


HALF_EMPTY = np.pad(np.full((3, 40, 70), 9, np.uint8), ((0, 0), (50, 0), (0, 0)))
GRIDS = {
    "UTM 33": {"crs": "EPSG:32633"},
    "lat/lon": {"crs": "EPSG:4326", "transform": Affine(1e-4, 0, 11, 0, -1e-4, 48)},
    "south-up": {"transform": Affine(10, 0, 5e5, 0, 10, 5e6)},
    "rotated": {"transform": UTM32 @ Affine.rotation(20)},
    "striped": {"height": 131, "width": 97},
    "tiled": {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
    "tiled plain": {"tiled": True, "blockxsize": 16, "blockysize": 32},
    "band by band": {"interleave": "band", "dtype": "int16"},
    "tiled band by band": {"interleave": "band", "tiled": True, "blockxsize": 32, "blockysize": 16},
    "big-endian": {"ENDIANNESS": "BIG", "dtype": "uint16", "nodata": 7},
    "sparse": {"pixels": HALF_EMPTY, "tiled": True, "blockxsize": 16, "blockysize": 16}
    | {"SPARSE_OK": True},
    "uint16": {"dtype": "uint16"},
    "int16": {"dtype": "int16"},
    "float32": {"dtype": "float32"},
    "float64": {"dtype": "float64"},
}


@pytest.mark.parametrize("grid", GRIDS)
def test_tiles_have_the_pixels_and_type_that_rasterio_reads(tmp_path, grid):
    path = write(tmp_path / "scene.tif", **GRIDS[grid])
    scenes = Scenes(tmp_path)
    for tile in TileGrid(scenes, tile_size=32, stride=29):
        image = scenes.read(tile).image
        expected = rasterio_pixels(path, tile)
        assert image.dtype == expected.dtype
        np.testing.assert_array_equal(image, expected)
        np.testing.assert_array_equal(scenes[tile]["image"].numpy(), expected.astype("float32"))


def test_direct_reading_does_not_change_how_a_window_is_resampled(tmp_path):
    path = write(
        tmp_path / "scene.tif", height=270, width=300, tiled=True, blockxsize=64, blockysize=64
    )
    scenes = Scenes(path)
    assert scenes.scene_files[0].plain
    tile = Tile(0, 64, 32, 64, 32)
    np.testing.assert_array_equal(scenes.read(tile).image, rasterio_pixels(path, tile))
    with rasterio.open(path) as source:
        expected = source.read(
            window=rasterio.windows.Window(*tile[1:]),
            out_shape=(3, 20, 30),
            resampling=rasterio.enums.Resampling.average,
        )
    np.testing.assert_array_equal(scenes.read(tile, shape=(20, 30)).image, expected)
    assert len(scenes._pool._mine()) == 2  # GDAL would choose other pixels in direct reading


@pytest.mark.parametrize("start", ["fork", "spawn"])
# Python 3.12 warns of forks in a process with threads:
# https://github.com/python/cpython/pull/100229
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_workers_read_the_same_pixels_as_rasterio(tmp_path, start):
    paths = [write(tmp_path / f"{n}.tif", tiled=True, blockxsize=16, blockysize=16) for n in "abc"]
    scenes = Scenes(tmp_path)
    scenes[Tile(0, 0, 0, 8, 8)]  # opens a file that a forked worker must not share
    grid = TileGrid(scenes, tile_size=16, stride=8)
    loader = DataLoader(
        scenes,
        batch_size=8,
        sampler=grid,
        num_workers=2,
        multiprocessing_context=start,
        collate_fn=stack_samples,
    )
    seen = 0
    for batch in loader:
        for image, tile in zip(batch["image"], batch["tile"].tolist(), strict=True):
            expected = rasterio_pixels(paths[tile[0]], tile)
            np.testing.assert_array_equal(image.numpy(), expected)
            seen += 1
    assert seen == len(grid)


def test_unusable_files_are_named_and_the_others_read(tmp_path):
    write(tmp_path / "good.tif")
    write(tmp_path / "no_crs.tif", crs=None)
    write(tmp_path / "complex.tif", dtype="complex64")
    write(tmp_path / "local.tif", crs='LOCAL_CS["yard",UNIT["metre",1]]')
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_text("no raster")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "good.tif").read_bytes()[:60])
    scenes = Scenes(tmp_path)
    assert [scene.name for scene in scenes.scene_files] == ["good.tif"]
    reasons = {os.path.basename(path): reason for path, reason in scenes.unreadable}  # noqa: PTH119
    assert set(reasons) == {
        "no_crs.tif", "complex.tif", "local.tif", "empty.tif", "text.tif", "cut.tif"
    }  # fmt: skip
    assert "no CRS" in reasons["no_crs.tif"]
    assert "complex pixels" in reasons["complex.tif"]
    assert "cannot be converted to longitude" in reasons["local.tif"]
    with pytest.raises(SceneError, match="complex pixels"):
        Scenes(tmp_path, strict=True)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_scenes_without_a_grid_are_refused_with_a_remedy(tmp_path):
    write(tmp_path / "identity.tif", transform=Affine.identity())
    gcps = [rasterio.control.GroundControlPoint(r, c, c, r) for r, c in [(0, 0), (0, 9), (9, 0)]]
    with rasterio.open(
        tmp_path / "gcp.tif", "w", driver="GTiff", height=9, width=9, count=1, dtype="uint8"
    ) as target:
        target.gcps = (gcps, "EPSG:4326")
    with pytest.raises(SceneError, match="no usable geotransform"):
        Scenes(tmp_path / "identity.tif", strict=True)
    with pytest.raises(SceneError, match="only by control points or RPCs"):
        Scenes(tmp_path / "gcp.tif", strict=True)


def test_a_missing_path_is_an_error_that_names_it(tmp_path):
    write(tmp_path / "good.tif")
    with pytest.raises(SceneError, match=r"missing\.tif does not exist"):
        Scenes([tmp_path, tmp_path / "missing.tif"])
    (tmp_path / "bare").mkdir()
    with pytest.raises(SceneError, match="no scenes in"):
        Scenes(tmp_path / "bare")


def test_a_file_named_twice_is_one_scene(tmp_path, monkeypatch):
    write(tmp_path / "a.tif")
    monkeypatch.chdir(tmp_path)
    assert len(Scenes(["a.tif", "./a.tif", tmp_path, tmp_path / "." / "a.tif"])) == 1


def test_virtual_paths_and_subdatasets_are_opened_by_gdal(tmp_path):
    path = write(tmp_path / "a.tif")
    assert len(Scenes([f"/vsisubfile/0_{path.stat().st_size},{path}"])) == 1
    assert len(Scenes([f"GTIFF_DIR:1:{path}"])) == 1


def test_bands_of_several_types_in_a_vrt_are_read_as_the_widest_type(tmp_path):
    write(tmp_path / "byte.tif", count=1)
    write(tmp_path / "float.tif", count=1, dtype="float32")
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{n}"><SimpleSource><SourceFilename>'
        f"{tmp_path / name}</SourceFilename></SimpleSource></VRTRasterBand>"
        for n, (kind, name) in enumerate([("Byte", "byte.tif"), ("Float32", "float.tif")], 1)
    )
    (tmp_path / "both.vrt").write_text(
        '<VRTDataset rasterXSize="70" rasterYSize="90"><SRS>EPSG:32632</SRS>'
        f"<GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>{bands}</VRTDataset>"
    )
    image = Scenes(tmp_path / "both.vrt").read(Tile(0, 3, 4, 20, 20)).image
    assert image.dtype == np.float32
    for band, name in zip(image, ["byte.tif", "float.tif"], strict=True):
        expected = rasterio_pixels(tmp_path / name, (0, 3, 4, 20, 20))[0]
        np.testing.assert_array_equal(band, expected)


@pytest.mark.parametrize(
    ("options", "hidden"),
    [
        ({"nodata": 0}, "zero"),
        ({"nodata": float("nan"), "dtype": "float32"}, "nan"),
        ({"dtype": "float32"}, "nan"),
        ({"dtype": "float32"}, "inf"),
        ({"nodata": -9999, "dtype": "int16"}, "nodata"),
        ({"nodata": -9999, "dtype": "float32"}, "nodata"),
        ({}, "mask"),
        ({"count": 4}, "alpha"),
    ],
)
def test_missing_pixels_are_marked_however_the_file_declares_them(tmp_path, options, hidden):
    count = options.get("count", 3)
    pixels = np.random.default_rng(0).integers(1, 99, (count, 90, 70))
    pixels = pixels.astype(options.get("dtype", "uint8"))
    values = {"zero": 0, "nan": np.nan, "inf": np.inf, "nodata": -9999}
    if hidden in values:
        pixels[:, :30] = values[hidden]
    elif hidden == "alpha":
        pixels[3] = 255
        pixels[3, :30] = 0
    path = write(tmp_path / "scene.tif", pixels=pixels, **options)
    if hidden == "mask":
        with rasterio.open(path, "r+") as target:
            target.write_mask(np.arange(90)[:, None] + np.zeros((90, 70), int) >= 30)
    if hidden == "alpha":
        with rasterio.open(path, "r+") as target:
            target.colorinterp = [
                ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha
            ]  # fmt: skip
    scenes = Scenes(path)
    tile = scenes.read(Tile(0, 0, 0, 70, 90))
    assert tile.image.shape[0] == 3
    np.testing.assert_array_equal(tile.invalid.all(axis=1), np.arange(90) < 30)
    assert tile.invalid.sum() == 30 * 70
    filled = fill_invalid(tile, scenes.scene_files[0].nodata)
    assert filled.dtype == tile.image.dtype
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[:, 30:], pixels[:3, 30:])
    for band in range(3):
        assert filled[band, :30] == pytest.approx(pixels[band, 30:].mean(), abs=0.51)
    kept = {tile.row for tile in TileGrid(scenes, tile_size=30, max_nodata=0.5)}
    assert kept == {30, 60}


def test_a_window_beyond_a_scene_is_padded_and_marked(tmp_path):
    path = write(tmp_path / "small.tif", height=20, width=25, nodata=7)
    scenes = Scenes(path)
    (tile,) = TileGrid(scenes, tile_size=64, edges="pad")
    pixels = scenes.read(tile)
    np.testing.assert_array_equal(
        pixels.image[:, :20, :25], rasterio_pixels(path, (0, 0, 0, 25, 20))
    )
    assert (pixels.image[:, 20:] == 7).all()
    assert pixels.invalid[20:].all()
    assert pixels.invalid[:, 25:].all()
    with pytest.raises(TileSizeError, match=r"tile_size 64 px is larger than small.tif \(25 x 20"):
        TileGrid(scenes, tile_size=64)


@pytest.mark.parametrize("size", [1e-300, 1e300, 1e160])
def test_an_absurd_transform_is_named_without_warnings(tmp_path, size):
    write(tmp_path / "good.tif")
    write(tmp_path / "bad.tif", transform=Affine(size, 0, 500_000, 0, -size, 5_400_000))
    scenes = Scenes(tmp_path)
    assert [file.name for file in scenes.scene_files] == ["good.tif"]
    assert "bad.tif" in scenes.unreadable[0][1]


def test_a_nodata_value_outside_the_range_of_the_type_pads_with_zeros(tmp_path):
    path = write(tmp_path / "scene.tif")
    with rasterio.open(path) as source:
        pixels = read_window(source, (60, 80, 20, 20), indexes=[1], nodata=-9999)
    assert (pixels.image[0, 10:] == 0).all()
    assert pixels.invalid.sum() == 300


@pytest.mark.parametrize("size", [10, 60])  # averaged, interpolated
@pytest.mark.parametrize(("dtype", "nodata"), [("int16", -9999), ("float32", float("nan"))])
def test_a_nodata_value_from_the_user_has_no_weight_in_resampled_tiles(
    tmp_path, dtype, nodata, size
):
    pixels = np.random.default_rng(0).integers(100, 110, (3, 90, 70)).astype(dtype)
    pixels[:, 5:17, :33] = nodata
    pixels[0, 20, 3] = nodata  # in one band only
    silent = Scenes(write(tmp_path / "silent.tif", pixels=pixels, dtype=dtype), nodata=nodata)
    path = write(tmp_path / "told.tif", pixels=pixels, dtype=dtype, nodata=nodata)
    tile, shape = Tile(0, 0, 0, 40, 40), (size, size)
    found, expected = silent.read(tile, shape=shape), Scenes(path).read(tile, shape=shape)
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.invalid, expected.invalid)
    assert np.nanmin(found.image[:, ~found.invalid]) > 90
    assert 0.1 < found.invalid.mean() < 0.35
    beyond = Tile(0, -10, 0, 50, 40)  # padded too
    image, invalid = silent.read(beyond, shape=shape)
    assert np.nanmin(image[:, ~invalid]) > 90


@pytest.mark.parametrize(
    ("name", "arguments", "first", "last"),
    [
        ("S2A_MSIL2A_20170617T113321.tif", {}, "2017-06-17", "2017-06-17"),
        (
            "S2A_OPER_PRD_MSIL1C_PDMC_20160605T113933_R022_V20151205T101010_20151205T101010.tif",
            {},
            "2015-12-05",
            "2015-12-05",
        ),
        ("LC08_L1TP_190024_20200101_20200115_01.tif", {}, "2020-01-01", "2020-01-01"),
        ("x_2021-03-04.tif", {}, "2021-03-04", "2021-03-04"),
        (
            "a_202105.tif",
            {"filename_regex": r"a_(?P<date>\d{6})", "date_format": "%Y%m"},
            "2021-05-01",
            "2021-05-31",
        ),
        (
            "20210101_20210203.tif",
            {"filename_regex": r"(?P<start>\d{8})_(?P<stop>\d{8})"},
            "2021-01-01",
            "2021-02-03",
        ),
        ("HLS.S30.T32TPT.2023152T101601.v2.0.B04.tif", {}, "2023-06-01", "2023-06-01"),
        ("MOD09GA.A2024060.h18v04.061.2024062043512.tif", {}, "2024-02-29", "2024-02-29"),
        ("MCD43A4.061_Nadir_doy2023001_aid0001.tif", {}, "2023-01-01", "2023-01-01"),
        ("LC81960302023152LGN00_B4.tif", {}, "2023-06-01", "2023-06-01"),
        ("20200101.tif", {"datetime": "2019-05-06"}, "2019-05-06", "2019-05-06"),
        ("20200101.tif", {"datetime": "2019-126"}, "2019-05-06", "2019-05-06"),
        ("20200101.tif", {"datetime": "2019-05/2019-06"}, "2019-05-01", "2019-06-30"),
        ("20200101.tif", {"datetime": date(2019, 5, 6)}, "2019-05-06", "2019-05-06"),
        ("20200101.tif", {"datetime": ("2019-05-06", "2019-06-01")}, "2019-05-06", "2019-06-01"),
        ("20200101.tif", {"datetime": lambda path: pd.NaT}, "2020-01-01", "2020-01-01"),
    ],
)
def test_a_scene_is_dated_by_argument_name_or_pattern(tmp_path, name, arguments, first, last):
    write(tmp_path / name)
    dates = Scenes(tmp_path, **arguments).scene_files[0].dates
    assert [moment.date().isoformat() for moment in dates] == [first, last]
    assert dates[0].isoformat().endswith("T00:00:00+00:00")
    assert dates[1].isoformat().endswith("T23:59:59.999999+00:00")


@pytest.mark.parametrize(
    ("tag", "moment"),
    [
        ("2015:06:07 08:09:10", "2015-06-07T08:09:10"),
        ("2015:06:07 08:09:10+02:00", "2015-06-07T06:09:10"),
        ("2015-06-07T23:09:10.5-03:00", "2015-06-08T02:09:10.500000"),
        ("20150607T080910Z", "2015-06-07T08:09:10"),
    ],
)
def test_a_scene_is_dated_by_its_tag_if_there_is_no_other_date(tmp_path, tag, moment):
    with rasterio.open(write(tmp_path / "a.tif"), "r+") as target:
        target.update_tags(TIFFTAG_DATETIME=tag)
    first, last = Scenes(tmp_path).scene_files[0].dates
    assert first == last
    assert first.isoformat() == f"{moment}+00:00"


@pytest.mark.parametrize(
    "name",
    [
        "tile_2023152.tif",
        "2012345.tif",
        "HLS.S30.2023400.tif",
        "S2A_OPER_MSI_L1C_TL_EPA__20170605T113933_A002734_T32TQM_B02.tif",  # when it was processed
    ],
)
def test_an_ambiguous_number_is_not_a_date(tmp_path, name):
    with rasterio.open(write(tmp_path / name), "r+") as target:
        target.update_tags(TIFFTAG_DATETIME="0000:00:00 00:00:00")
    assert Scenes(tmp_path).scene_files[0].dates is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"datetime": "yesterday"}, "'yesterday' is not a date"),
        ({"datetime": ("2020-02-01", "2020-01-01")}, "ends .* before it starts"),
        ({"datetime": ("2020-02-01",)}, "is not a pair"),
        ({"filename_regex": "("}, "is not a valid pattern"),
        ({"filename_regex": r"(?P<start>\d{8})_(?P<stop>\d{8})"}, "ends .* before it starts"),
        (
            {"filename_regex": r"(?P<date>\d{4})", "date_format": "%Y%m%d"},
            "is not a date of the form",
        ),
    ],
)
def test_an_invalid_date_is_refused_with_the_reason(tmp_path, arguments, message):
    write(tmp_path / "20210101_20200203.tif")
    with pytest.raises(SceneError, match=message):
        Scenes(tmp_path, strict=True, **arguments)


def test_bands_are_chosen_by_number_description_and_colour(tmp_path):
    path = write(tmp_path / "scene.tif", count=4, photometric="RGB")
    with rasterio.open(path, "r+") as target:
        target.descriptions = ("B4", "B3", "B2", "B8")
    expected = rasterio_pixels(path, (0, 0, 0, 70, 90))
    for bands in ([4, 1], ["B8", "B4"], ["b8", "red"]):
        image = Scenes(path, bands=bands).read(Tile(0, 0, 0, 70, 90)).image
        np.testing.assert_array_equal(image, expected[[3, 0]])
    with pytest.raises(BandMismatchError, match="no band 5"):
        Scenes(path, bands=[5], strict=True)


@OLD_SAMPLERS
def test_torchgeos_old_samplers_read_one_scene_at_a_time(tmp_path):
    paths = [write(tmp_path / "20200101.tif"), write(tmp_path / "20210101.tif")]
    scenes = Scenes(tmp_path)
    for sampler in (
        RandomGeoSampler(scenes, size=16, length=20),
        GridGeoSampler(scenes, size=16, stride=16),
    ):
        batch = stack_samples([scenes[index] for index in sampler])
        assert batch["image"].shape[1:] == (3, 16, 16)
        for image, tile in zip(batch["image"], batch["tile"], strict=True):
            pixels = scenes.read(Tile(*tile.tolist())).image
            np.testing.assert_array_equal(image.numpy(), pixels)
        inside = [t for t in batch["tile"].tolist() if 0 <= t[1] <= 54 and 0 <= t[2] <= 74]
        assert inside
        for tile in inside:
            expected = rasterio_pixels(paths[tile[0]], tile)
            np.testing.assert_array_equal(scenes.read(Tile(*tile)).image, expected)


@pytest.mark.skipif(TORCHGEO_VERSION < (0, 10), reason="patch samplers came with TorchGeo 0.10")
def test_torchgeos_patch_samplers_read_one_scene_at_a_time(tmp_path):
    from torchgeo.samplers import GriddedPatchSampler, RandomPatchSampler

    write(tmp_path / "20200101.tif")
    write(tmp_path / "20210101.tif")
    scenes = Scenes(tmp_path)
    for kind in (GriddedPatchSampler, RandomPatchSampler):
        extra = {"length": 10} if kind is RandomPatchSampler else {}
        samples = [scenes[index] for index in kind(scenes, size=16, **extra)]
        assert stack_samples(samples)["image"].shape[1:] == (3, 16, 16)
        assert all(sample["bounds"].dtype == torch.float64 for sample in samples)


def test_torchgeos_splits_read_the_scenes_they_name(tmp_path):
    paths = [
        write(tmp_path / f"{n}_2020010{n}.tif", transform=Affine.translation(2000 * n, 0) @ UTM32)
        for n in range(1, 5)
    ]
    scenes = Scenes(tmp_path)
    scenes.tile_of(tuple(scenes.bounds[:2]))  # the split must not keep this search tree
    halves = random_bbox_assignment(scenes, [0.5, 0.5], torch.Generator().manual_seed(3))
    for part in halves:
        for filepath, geometry in zip(part.index.filepath, part.index.geometry, strict=True):
            xmin, ymin, xmax, ymax = geometry.bounds
            sample = part[slice(xmin, xmax, 10), slice(ymin, ymax, 10)]
            number = sample["tile"][0].item()
            assert str(paths[number]) == filepath
            expected = rasterio_pixels(paths[number], (0, 0, 0, 70, 90))
            np.testing.assert_array_equal(sample["image"].numpy(), expected)


def test_scenes_of_several_zones_are_indexed_in_degrees_and_read_on_their_own_grids(tmp_path):
    write(tmp_path / "a.tif")
    write(tmp_path / "b.tif", crs="EPSG:32660", transform=Affine(10, 0, 833_700, 0, -10, 5e4))
    scenes = Scenes(tmp_path)
    assert scenes.crs.to_epsg() == 4326
    assert scenes.index.geometry.is_valid.all()
    x, y, _ = scenes.bounds
    assert -180 <= x.start < x.stop <= 180
    assert y.start < y.stop


@pytest.mark.parametrize("edges", ["shift", "pad", "drop"])
@pytest.mark.parametrize(("size", "stride"), [(32, 32), (32, 20), (16, 50), (64, 80), (70, 1)])
def test_a_grid_covers_the_scene_as_its_edges_define(tmp_path, edges, size, stride):
    scenes = Scenes(write(tmp_path / "scene.tif"))
    covered = np.zeros((90, 70), bool)
    grid = TileGrid(scenes, tile_size=size, stride=stride, edges=edges)
    assert len(set(grid)) == len(grid)
    for _, col, row, width, height in grid:
        assert (width, height) == (size, size)
        assert 0 <= col < 70
        assert 0 <= row < 90
        if edges != "pad":
            assert col + size <= 70
            assert row + size <= 90
        covered[row : row + size, col : col + size] = True
    if edges == "shift" or (edges == "pad" and stride <= size):
        assert covered[-1, -1]
    if stride <= size and edges != "drop":
        assert covered.all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile_size": 0}, "must be 1 or more"),
        ({"tile_size": 8, "stride": -1}, "must be 1 or more"),
        ({"tile_size": 8, "edges": "wrap"}, "choose one of shift, pad, drop"),
        ({"tile_size": 8, "max_nodata": float("nan")}, "share between 0"),
    ],
)
def test_an_invalid_grid_is_refused(tmp_path, settings, message):
    scenes = Scenes(write(tmp_path / "scene.tif"))
    with pytest.raises(TileSizeError, match=message):
        TileGrid(scenes, **settings)


@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_a_scene_cut_short_is_named_with_the_window_that_failed(tmp_path, tiled, interleave):
    blocks = {"blockxsize": 64, "blockysize": 64} if tiled else {}
    options = {"tiled": tiled, "interleave": interleave} | blocks
    path = write(tmp_path / "cut.tif", height=400, width=400, **options)
    os.truncate(path, 60_000)
    scenes = Scenes(tmp_path)
    with pytest.raises(SceneError, match=r"cut.tif cannot be read at \(300, 300, 64, 64\)"):
        scenes.read(Tile(0, 300, 300, 64, 64))
