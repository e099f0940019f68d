"""Separate band files of one product are one scene."""

import json
import os
import pickle
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
from affine import Affine

from geohash_rs import Scenes, TileGrid
from geohash_rs.errors import SceneError
from geohash_rs.scenes.dataset import Tile
from geohash_rs.scenes.file import open_raster, read_scene_file
from geohash_rs.scenes.stacks import find_stacks

SAFE = "S2A_MSIL2A_20230601T101031_N0509_R022_T33UUV_20230601T155000.SAFE"
GRANULE = f"{SAFE}/GRANULE/L2A_T33UUV_A041453_20230601T101606"
TILE = "T33UUV_20230601T101031"
LANDSAT = "LC08_L2SP_193023_20230601_20230607_02_T1"


def write(path, pixels, *, size, dtype="uint16", nodata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.atleast_3d(np.asarray(pixels, dtype)).reshape(-1, *np.shape(pixels)[-2:])
    with rasterio.open(
        path, "w", driver="GTiff", count=len(pixels), height=pixels.shape[1],
        width=pixels.shape[2], dtype=dtype, nodata=nodata, crs="EPSG:32633",
        transform=Affine(size, 0, 300_000, 0, -size, 5_900_040)
    ) as target:  # fmt: skip
        target.write(pixels)
    return path


def band(number, side):
    return np.random.default_rng(number).integers(100 * number, 100 * number + 90, (side, side))


def sentinel(folder, *, bands=("B02", "B03", "B04", "B08")):
    inside = folder / GRANULE / "IMG_DATA"
    for name in bands:
        write(inside / f"R10m/{TILE}_{name}_10m.tif", band(int(name[1:]), 120), size=10)
    for number, name in ((5, "B05"), (11, "B11"), (4, "B04")):  # a second B04
        write(inside / f"R20m/{TILE}_{name}_20m.tif", band(number, 60), size=20)
    write(inside / f"R60m/{TILE}_B01_60m.tif", band(1, 20), size=60)
    for layer in ("SCL", "AOT", "WVP"):
        write(inside / f"R20m/{TILE}_{layer}_20m.tif", band(0, 60), size=20)
    write(inside / f"R10m/{TILE}_TCI_10m.tif", np.ones((3, 120, 120)), size=10, dtype="uint8")
    write(folder / GRANULE / "QI_DATA/MSK_CLASSI_B00.tif", band(0, 60), size=20)
    write(folder / GRANULE / f"QI_DATA/{TILE}_PVI.tif", np.ones((3, 34, 34)), size=320)
    return folder / SAFE


def test_a_safe_folder_is_one_scene_on_the_grid_of_its_finest_bands(tmp_path):
    safe = sentinel(tmp_path)
    scenes = Scenes(tmp_path)
    (scene,) = scenes.scene_files
    assert (scene.key, scenes.unreadable) == (safe.as_posix(), [])
    assert scene.listed == "coastal, blue, green, red, rededge071, nir, swir16"
    assert (scene.width, scene.height) == (120, 120)
    assert scene.transform == Affine(10, 0, 300_000, 0, -10, 5_900_040)
    assert str(scene.dates[0].date()) == "2023-06-01"
    assert len(scenes.other_layers) == 6
    read = scenes.read(Tile(0, 8, 16, 64, 32)).image
    np.testing.assert_array_equal(read[3], band(4, 120)[16:48, 8:72])
    coarse = read[6].astype(float).reshape(16, 2, 32, 2).mean(axis=(1, 3))
    assert np.abs(coarse - band(11, 60)[8:24, 4:36]).max() < 45  # interpolated, but not shifted
    assert Scenes(safe).scene_files == scenes.scene_files


def test_the_chosen_bands_decide_the_grid(tmp_path):
    safe = sentinel(tmp_path)
    scenes = Scenes(safe, bands=["B11", "B05"])
    (scene,) = scenes.scene_files
    assert (scene.key, scene.width) == (f"{safe.as_posix()}#20m", 60)
    read = scenes.read(Tile(0, 0, 0, 60, 60)).image
    np.testing.assert_array_equal(read, np.stack([band(11, 60), band(5, 60)]))
    with open_raster(scene.key) as source:  # as pictures do, which know only the key
        assert source.width == 60
    assert Scenes(safe).on_grid_of(["swir16", "rededge071"]).scene_files[0].key == scene.key
    same = Scenes(safe)
    assert same.on_grid_of(["red", "green", "blue"]).scene_files == same.scene_files


def test_all_files_of_a_stack_are_watched(tmp_path):
    safe = sentinel(tmp_path)
    before = read_scene_file(safe)
    assert len(before.files) == 7
    member = safe.parent / GRANULE / f"IMG_DATA/R20m/{TILE}_B11_20m.tif"
    os.utime(member, ns=(1, 1))
    after = read_scene_file(safe)
    assert (after.size, after.mtime_ns) != (before.size, before.mtime_ns)


def test_tiles_of_a_stack_have_the_footprints_of_its_finest_file(tmp_path):
    safe = sentinel(tmp_path)
    alone = Scenes(safe / f"GRANULE/{GRANULE.split('/')[-1]}/IMG_DATA/R10m/{TILE}_B02_10m.tif")
    stacked = Scenes(safe)
    tiles = list(TileGrid(stacked, tile_size=40))
    assert len(tiles) == 9
    both = [scenes.tile_footprints(tiles) for scenes in (alone, stacked)]
    assert all(a.equals_exact(b, 0) for a, b in zip(*both, strict=True))


def test_a_landsat_folder_is_one_scene_without_its_quality_bands(tmp_path):
    for number in range(1, 8):
        write(tmp_path / f"{LANDSAT}_SR_B{number}.TIF", band(number, 80), size=30, nodata=0)
    for layer in ("QA_PIXEL", "QA_RADSAT", "SR_QA_AEROSOL", "ST_QA", "ST_EMIS"):
        write(tmp_path / f"{LANDSAT}_{layer}.TIF", band(0, 80), size=30)
    scenes = Scenes(tmp_path)
    (scene,) = scenes.scene_files
    assert scene.key == (tmp_path / LANDSAT).as_posix()
    assert scene.listed == "coastal, blue, green, red, nir08, swir16, swir22"
    assert (scene.nodata, str(scene.dates[0].date())) == (0, "2023-06-01")
    assert scene.choose(names=("red", "nir")).indexes == (4, 5)
    assert Scenes(tmp_path / LANDSAT).scene_files == scenes.scene_files


def test_a_panchromatic_band_decides_the_grid_only_if_it_is_chosen(tmp_path):
    name = "LC09_L1TP_193023_20230601_20230607_02_T1"
    for number in (2, 3, 4):
        write(tmp_path / f"{name}_B{number}.TIF", band(number, 40), size=30)
    write(tmp_path / f"{name}_B8.TIF", band(8, 80), size=15)
    assert Scenes(tmp_path).scene_files[0].width == 40
    assert Scenes(tmp_path, bands=["pan"]).scene_files[0].width == 80


def test_products_in_one_folder_stay_apart(tmp_path):
    names = [
        f"HLS.{kind}.T33UUV.{day}T101031.v2.0"
        for kind in ("S30", "L30")
        for day in (2023152, 2023157)
    ]
    for name in names:
        for number in (2, 3, 4, 5):
            write(tmp_path / f"{name}.B0{number}.tif", band(number, 40), size=30, nodata=-9999,
                  dtype="int16")  # fmt: skip
        for layer in ("Fmask", "SAA", "SZA", "VAA", "VZA"):
            write(tmp_path / f"{name}.{layer}.tif", band(0, 40), size=30)
    write(tmp_path / "other.tif", np.ones((3, 40, 40)), size=30)
    scenes = Scenes(tmp_path)
    assert [scene.name for scene in scenes.scene_files] == [*sorted(names), "other.tif"]
    listed = {scene.name[4:7]: scene.listed for scene in scenes.scene_files[:4]}
    assert listed["S30"] == "blue, green, red, rededge071"
    assert listed["L30"] == "blue, green, red, nir08"


def test_multi_band_files_named_like_bands_are_separate_scenes(tmp_path):
    for colour in ("red", "blue"):
        write(tmp_path / f"houses_{colour}.tif", np.ones((3, 40, 40)), size=10, dtype="uint8")
    found = [scene.name for scene in Scenes(tmp_path).scene_files]
    assert found == ["houses_blue.tif", "houses_red.tif"]
    assert find_stacks(["a_red.tif"]).scenes == ["a_red.tif"]


def item(folder, **assets):
    """Write a STAC item with one asset per band."""
    about = {
        "type": "Feature", "stac_version": "1.0.0", "id": "one", "links": [],
        "geometry": {"type": "Point", "coordinates": [12, 53]}, "bbox": [12, 53, 12, 53],
        "properties": {"datetime": "2023-06-01T10:10:31Z"},
        "assets": {
            key: {"href": f"./{file}", "type": "image/tiff", "roles": [role], "eo:bands": bands}
            for key, (file, role, bands) in assets.items()
        },
    }  # fmt: skip
    path = folder / "item.json"
    path.write_text(json.dumps(about))
    return path


def test_a_stac_item_with_one_asset_per_band_is_one_scene(tmp_path):
    pytest.importorskip("pystac")
    shows = {"a": "red", "b": "green", "c": "blue", "d": "nir"}
    for number, key in enumerate(shows, 1):
        write(tmp_path / f"{key}.tif", band(number, 40), size=10)
    write(tmp_path / "scl.tif", band(0, 20), size=20)
    path = item(
        tmp_path,
        scl=("scl.tif", "data", []),
        **{
            key: (f"{key}.tif", "data", [{"name": f"X{key}", "common_name": name}])
            for key, name in shows.items()
        },
    )
    scenes = Scenes.from_stac(path)
    (scene,) = scenes.scene_files
    assert scene.key == path.as_posix()
    assert scene.listed == "red, green, blue, nir"
    assert str(scene.dates[0].date()) == "2023-06-01"
    again = pickle.loads(pickle.dumps(scenes))  # noqa: S301 - our own
    np.testing.assert_array_equal(again.read(Tile(0, 0, 0, 40, 40)).image[0], band(1, 40))
    with open_raster(scene.key) as source:
        np.testing.assert_array_equal(source.read(4), band(4, 40))


def test_the_bands_of_a_stac_asset_are_named_by_its_item(tmp_path):
    pytest.importorskip("pystac")
    write(tmp_path / "all.tif", np.stack([band(n, 40) for n in (1, 2, 3)]), size=10)
    names = [{"name": f"b{i}", "common_name": name} for i, name in enumerate(("blue", "green"))]
    names.append({"name": "b2", "center_wavelength": 0.66})
    (scene,) = Scenes.from_stac(item(tmp_path, all=("all.tif", "data", names))).scene_files
    assert scene.listed == "blue, green, red"
    assert scene.choose(names=("red", "green", "blue")).by == "STAC"


@pytest.mark.parametrize(
    ("names", "key"),
    [
        ([f"{GRANULE}/IMG_DATA/{TILE}_{b}.tif" for b in ("B02", "B8A")], SAFE),  # level 1C
        (["33/U/UV/2023/6/1/0/R10m/B02.tif", "33/U/UV/2023/6/1/0/R20m/B11.tif"],
         "33/U/UV/2023/6/1/0"),
        (["LE07_L1TP_193023_20020601_20200607_02_T1_B1.TIF",
          "LE07_L1TP_193023_20020601_20200607_02_T1_B6_VCID_1.TIF",
          "LE07_L1TP_193023_20020601_20200607_02_T1_QA_PIXEL.TIF"],
         "LE07_L1TP_193023_20020601_20200607_02_T1"),
        (["plot/red.tif", "plot/nir.tif", "plot/thumbnail.tif"], "plot"),
    ],
)  # fmt: skip
def test_products_are_recognised_by_the_names_of_their_files(tmp_path, names, key):
    paths = [str(write(tmp_path / name, band(1, 12), size=10)) for name in names]
    found = find_stacks(paths)
    assert found.scenes == [(tmp_path / key).as_posix()]
    assert len(found.stacks[found.scenes[0]]) == 2


def test_two_granules_of_a_product_are_two_scenes(tmp_path):
    for granule in ("L1C_T33UUV", "L1C_T33UVV"):
        for name in ("B02", "B03"):
            inside = tmp_path / SAFE / "GRANULE" / granule / "IMG_DATA"
            write(inside / f"T33{granule[-3:]}_20230601T101031_{name}.tif", band(1, 12), size=10)
    found = [scene.name for scene in Scenes(tmp_path).scene_files]
    assert found == ["L1C_T33UUV", "L1C_T33UVV"]


RADAR = ("S1A_RTC_{}.tif", "s1a-iw-grd-{}-20230601t051212-048792-00{}.tiff", "{}_20230601.tif")


@pytest.mark.parametrize("pattern", RADAR)
def test_files_of_one_polarisation_each_are_one_scene(tmp_path, pattern):
    for number, name in enumerate(("vv", "vh"), 1):
        write(tmp_path / pattern.format(name, number), band(number, 96), size=10)
    scenes = Scenes(tmp_path)
    (scene,) = scenes.scene_files
    assert scene.listed == "vh, vv"
    np.testing.assert_array_equal(
        scenes.read(Tile(0, 0, 0, 96, 96)).image, np.stack([band(2, 96), band(1, 96)])
    )
    assert scene.choose(names=("VV", "VH")).indexes == (2, 1)
    with open_raster(scene.key) as source:  # as pictures do
        assert source.count == 2


def test_two_dates_of_radar_are_two_scenes(tmp_path):
    for date in ("20230601", "20230613"):
        for name in ("vv", "vh"):
            write(tmp_path / f"s1a-iw-grd-{name}-{date}.tif", band(1, 96), size=10)
    assert [scene.name for scene in Scenes(tmp_path).scene_files] == [
        "s1a-iw-grd_20230601", "s1a-iw-grd_20230613"
    ]  # fmt: skip


def test_blocks_that_are_numbered_like_bands_stay_scenes_without_labels(tmp_path):
    for number in (2, 3):
        path = write(tmp_path / f"block_B{number:02}.tif", band(number, 96), size=10)
        with rasterio.open(path, "r+") as target:
            target.transform = Affine(10, 0, 300_000 + 5_000 * number, 0, -10, 5_900_040)
    assert [scene.listed for scene in Scenes(tmp_path).scene_files] == ["1", "1"]


def test_a_band_alone_is_a_scene_but_its_quality_layers_are_not(tmp_path):
    write(tmp_path / f"a/{LANDSAT}_SR_B4.TIF", band(4, 80), size=30)
    layer = write(tmp_path / f"a/{LANDSAT}_QA_PIXEL.TIF", band(0, 80), size=30)
    scenes = Scenes(tmp_path / "a")
    assert [scene.listed for scene in scenes.scene_files] == ["red"]
    assert scenes.other_layers == [str(layer)]
    alone = write(tmp_path / "b/overview.tif", band(0, 80), size=30)
    assert len(Scenes(alone.parent).scene_files) == 1


@pytest.mark.parametrize("suffix", ["", "_clip"])
def test_masks_and_previews_of_a_planet_order_are_not_scenes(tmp_path, suffix):
    start = tmp_path / "20230601_101010_00_2465_3B"
    write(Path(f"{start}_AnalyticMS_SR_8b{suffix}.tif"), np.ones((8, 20, 20)), size=3)
    others = [f"{start}_{layer}{suffix}.tif" for layer in ("AnalyticMS_DN_udm", "Visual", "udm2")]
    for other in others:
        write(Path(other), np.ones((3, 20, 20)), size=3)
    write(tmp_path / "20230602_101010_00_2465_3B_udm2.tif", np.ones((8, 20, 20)), size=3)
    scenes = Scenes(tmp_path)
    assert [scene.name for scene in scenes.scene_files] == [
        f"{start.name}_AnalyticMS_SR_8b{suffix}.tif", "20230602_101010_00_2465_3B_udm2.tif"
    ]  # fmt: skip
    assert sorted(scenes.other_layers) == others


def test_a_safe_folder_with_only_a_picture_in_colour_is_that_picture(tmp_path):
    inside = tmp_path / GRANULE / "IMG_DATA"
    for size in (10, 20):
        write(inside / f"R{size}m/{TILE}_TCI_{size}m.tif", np.ones((3, 60, 60)), size=size)
    write(tmp_path / GRANULE / "QI_DATA/MSK_CLASSI_B00.tif", band(0, 60), size=20)
    scenes = Scenes(tmp_path)
    assert [scene.name for scene in scenes.scene_files] == [f"{TILE}_TCI_10m.tif"]
    assert len(scenes.other_layers) == 2


def test_pixels_masked_in_one_file_of_a_stack_are_invalid(tmp_path):
    for name, hidden in (("red", slice(0, 30)), ("green", slice(50, 60)), ("blue", None)):
        path = write(tmp_path / f"x_{name}.tif", np.ones((60, 60)), size=10, dtype="uint8")
        if hidden is None:
            continue
        mask = np.full((60, 60), 255, np.uint8)
        mask[hidden] = 0
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
            target.write_mask(mask)
            target.update_tags(TIFFTAG_DATETIME="2023:06:30 12:00:00")
    scenes = Scenes(tmp_path)
    (scene,) = scenes.scene_files
    read = scenes.read(Tile(0, 0, 0, 60, 60))
    rows = np.arange(60)
    np.testing.assert_array_equal(read.invalid.all(axis=1), (rows < 30) | (rows >= 50))
    assert not read.invalid[30:50].any()
    assert str(scene.dates[0].date()) == "2023-06-30"


def test_files_that_cannot_be_stacked_are_named_with_a_remedy(tmp_path):
    for name in ("red", "green"):
        write(tmp_path / f"c/{name}.tif", np.ones((9, 9)), size=10, dtype="complex64")
        write(tmp_path / f"d/{name}.tif", np.ones((9, 9)), size=10)
    (tmp_path / "d/red.tif").write_bytes(b"II*")
    with pytest.raises(SceneError, match="green.tif has pixels of type complex64"):
        Scenes(tmp_path / "c")
    with pytest.raises(SceneError, match="band red cannot be opened.*remove it to read the other"):
        Scenes(tmp_path / "d")


def test_a_product_whose_bands_do_not_fit_is_named_and_not_split(tmp_path):
    for number, size in ((2, 30), (3, 30), (4, 90)):
        write(tmp_path / f"{LANDSAT}_SR_B{number}.TIF", band(number, 80), size=size)
    write(tmp_path / "other.tif", band(1, 80), size=30)
    scenes = Scenes(tmp_path)
    assert [scene.name for scene in scenes.scene_files] == ["other.tif"]
    ((path, reason),) = scenes.unreadable
    assert path == str(tmp_path / LANDSAT)
    assert "bands do not cover the same ground (SR_B4 lies elsewhere)" in reason


def test_a_product_in_a_zip_archive_is_one_scene(tmp_path):
    safe = sentinel(tmp_path / "unpacked")
    packed = tmp_path / "product.zip"
    with ZipFile(packed, "w") as archive:
        for file in sorted(safe.rglob("*.tif")):
            archive.write(file, file.relative_to(safe.parent))
        names = archive.namelist()
    scenes = Scenes([f"/vsizip/{packed}/{name}" for name in names])
    (scene,) = scenes.scene_files
    assert scene.key == f"/vsizip/{packed}/{SAFE}"
    (unpacked,) = Scenes(safe).scene_files
    assert scene.listed == unpacked.listed
    with open_raster(scene.key) as there, open_raster(safe) as here:
        np.testing.assert_array_equal(there.read(), here.read())
