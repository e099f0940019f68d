"""Scenes and patches with several band layouts in one archive."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp as C

from geohash_rs import Archive, Scenes
from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.store.summary import summarise
from tests.ground import mosaic

pytestmark = pytest.mark.usefixtures("small_input")
UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)


@pytest.fixture(scope="module")
def ground():
    return mosaic(3, 3, 4)


def write(path, pixels, *, colors=None, texts=None, east=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(pixels), height=pixels.shape[1],
        width=pixels.shape[2], dtype=pixels.dtype, crs="EPSG:32632",
        transform=Affine.translation(east, 0) @ UTM, **options
    ) as target:  # fmt: skip
        target.write(pixels)
        if colors:
            target.colorinterp = colors
        if texts:
            target.descriptions = texts
    return path


def codes(archive, name):
    """Return the codes of a scene, row by row."""
    tiles = archive.tiles(range(archive.num_tiles))
    mine = tiles[tiles.scene.str.endswith(name)].sort_values(["row", "col"])
    return archive.codes(mine.tile_id.tolist())


def test_a_folder_of_rgb_and_rgbn_and_bgr_files_is_read_as_red_green_blue(tmp_path, ground):
    near = np.concatenate([ground, 255 - ground[:1]])
    write(tmp_path / "s/rgb.tif", ground)
    write(tmp_path / "s/rgbn.tif", near, east=5_000)
    write(tmp_path / "s/bgr.tif", ground[::-1], colors=(C.blue, C.green, C.red), east=10_000)
    bgrn = near[[2, 1, 0, 3]]
    write(tmp_path / "s/bgrn.tif", bgrn, texts=("blue", "green", "red", "nir"), east=15_000)
    archive = Archive.create(tmp_path / "a", hasher="itq-32")
    report = archive.add(Scenes(tmp_path / "s"), tile_size=64)
    assert (report.num_scenes, report.skipped) == (4, [])
    assert archive.hasher().bands == ("red", "green", "blue")
    for name in ("rgbn.tif", "bgr.tif", "bgrn.tif"):
        np.testing.assert_array_equal(codes(archive, f"/{name}"), codes(archive, "/rgb.tif"))
    (note,) = report.notes  # drivers flag bgrn.tif as RGB, which contradicts nothing
    assert note.startswith("2 of 4 scenes have more bands than red, green, blue (such as bgrn.tif")
    assert set(summarise(archive)["bands"]) == {
        "1,2,3 (red, green, blue) by colour interpretation: 2 scenes",
        "3,2,1 (red, green, blue) by description: 1 scenes",
        "3,2,1 (red, green, blue) by colour interpretation: 1 scenes",
    }
    again = archive.add(Scenes(tmp_path / "s"), tile_size=64)
    assert (again.num_scenes, len(again.unchanged), again.notes) == (0, 4, [])


def test_a_scene_that_does_not_fit_is_skipped_again_when_the_others_are_unchanged(tmp_path, ground):
    write(tmp_path / "s/rgb.tif", ground)
    write(tmp_path / "s/two.tif", ground[:2], east=5_000)
    archive = Archive.create(tmp_path / "a", hasher="itq-8")
    for added, unchanged in ((1, 0), (0, 1)):
        report = archive.add(Scenes(tmp_path / "s"), tile_size=64)
        assert (report.num_scenes, len(report.unchanged)) == (added, unchanged)
        ((scene, reason),) = report.skipped
        assert scene.endswith("/two.tif")
        assert "two.tif has 2 bands" in reason


def test_bands_read_in_order_are_reported(tmp_path, ground):
    write(tmp_path / "s/x.tif", ground.astype("uint16"))
    report = Archive.create(tmp_path / "a", hasher="itq-8").add(Scenes(tmp_path / "s"))
    (note,) = report.notes
    assert "1 of 1 scenes do not say what their bands show (such as x.tif), so they are" in note


def test_a_patch_is_read_by_meaning_even_if_scenes_were_read_by_position(tmp_path, ground):
    scene = write(tmp_path / "s/b02b03b04.tif", ground[::-1].astype("uint16"))
    archive = Archive.create(tmp_path / "a", hasher="itq-32")
    archive.add(Scenes(scene, bands=[3, 2, 1]), tile_size=64)
    part = np.s_[:, 64:128, 64:128]
    photo = write(tmp_path / "photo.tif", ground[part].astype("uint16"), photometric="RGB")
    alike = write(tmp_path / "alike.tif", ground[::-1][part].astype("uint16"))
    named = write(
        tmp_path / "named.tif", ground[[1, 2, 0]][part].astype("uint16"), texts=("B3", "B2", "B4")
    )
    with pytest.warns(GeoHashRSWarning, match=r"read with bands 3,2,1, but photo.tif with bands 1"):
        distances = [int(archive.query(photo, k=1)["distance"].iloc[0])]
    distances += [int(archive.query(patch, k=1)["distance"].iloc[0]) for patch in (alike, named)]
    assert distances == [0, 0, 0]


def test_a_patch_must_supply_the_false_colours_of_the_scenes(tmp_path, ground):
    near = np.concatenate([ground, (ground[:1] // 2 + ground[1:2] // 3)])
    scene = write(tmp_path / "s/rgbn.tif", near)
    archive = Archive.create(tmp_path / "a", hasher="itq-32")
    archive.add(Scenes(scene, bands=[4, 1, 2]), tile_size=64)
    assert archive.hasher().bands == ("nir", "red", "green")
    cut = near[[2, 1, 0, 3], :64, :64]
    texts = ("blue", "green", "red", "nir")
    patch = write(tmp_path / "bgrn.tif", cut, texts=texts, photometric="MINISBLACK")
    assert int(archive.query(patch, k=1)["distance"].iloc[0]) == 0


PLANET = "20230601_101031_10_2403_3B_AnalyticMS.tif"


def test_a_planet_file_and_its_renamed_copy_are_reported_where_name_and_colours_differ(
    tmp_path, ground
):
    pixels = np.concatenate([ground[::-1], 255 - ground[:1]])
    for name in (PLANET, "copy.tif"):
        write(tmp_path / f"s/{name}", pixels, east=5_000 * (name == PLANET))
    archive = Archive.create(tmp_path / "a", hasher="itq-32")
    conflict, differing = archive.add(Scenes(tmp_path / "s"), tile_size=64).notes
    assert conflict.startswith("1 of 2 scenes contradict themselves on what their bands show")
    assert f"{PLANET}: band 1 is blue by file name but red by colour interpretation" in conflict
    assert differing.startswith(
        f"copy.tif and {PLANET} have the same number and type of bands, but"
    )
    assert "bands 3,2,1,4 (blue, green, red, nir) by colour interpretation" in differing
    assert "bands 1,2,3,4 (blue, green, red, nir) by file name" in differing


def test_a_patch_that_contradicts_itself_or_the_archive_is_searched_with_a_warning(
    tmp_path, ground
):
    pixels = np.concatenate([ground[::-1], 255 - ground[:1]])
    write(tmp_path / f"s/{PLANET}", pixels)
    archive = Archive.create(tmp_path / "a", hasher="itq-32")
    archive.add(Scenes(tmp_path / "s"), tile_size=64)
    other = write(tmp_path / f"other/{PLANET}", pixels)
    with pytest.warns(GeoHashRSWarning, match="contradicts itself .* band 1 is blue by file name"):
        found = archive.query(other, window=(0, 0, 64, 64), k=1)
    assert found["distance"].iloc[0] == 0
    copy = write(tmp_path / "copy.tif", pixels)
    with pytest.warns(
        GeoHashRSWarning, match="read with bands 1,2,3,4, but copy.tif with bands 3,2,1,4"
    ):
        archive.query(copy, window=(0, 0, 64, 64), k=1)
