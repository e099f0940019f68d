"""The archive as the page sees it: damaged, recreated, on both sides of the antimeridian."""

import re
import shutil

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from geohash_rs import Archive, Scenes
from geohash_rs.errors import GeoHashRSWarning, HasherMismatchError, PatchError
from geohash_rs.pictures.scenes import PlacedScene, scenes_in_view
from geohash_rs.serve import searching
from geohash_rs.serve.app import create_app
from geohash_rs.serve.messages import SearchRequest
from geohash_rs.serve.searching import Searcher
from geohash_rs.serve.uploads import clean_patch
from tests.ground import write
from tests.indexing.test_values import NUMBERS, make
from tests.serve.asking import asker, geotiff
from tests.serve.conftest import start


def add_tiles(archive, boxes, scene="a.tif"):
    tiles = gpd.GeoDataFrame(
        {"scene": [str(scene)] * len(boxes), "col": 0, "row": 0, "width": 64, "height": 64},
        geometry=boxes,
        crs="EPSG:4326",
    )
    codes = np.arange(8 * len(boxes), dtype=np.uint8).reshape(-1, 8)
    archive.add_codes(codes, tiles)


@pytest.mark.parametrize("harm", ["header", "end", "cut short", "missing"])
def test_a_damaged_hasher_affects_only_patches(coast_archive, tmp_path, harm):
    shutil.copytree(coast_archive, tmp_path / "archive")
    archive = Archive.open(tmp_path / "archive", mode="r")
    file = archive.hasher_file
    whole = file.read_bytes()
    if harm == "missing":
        file.unlink()
    else:
        harmed = {
            "header": bytes(200) + whole[200:],
            "end": whole[:-100] + bytes(100),
            "cut short": whole[:-100],
        }
        file.write_bytes(harmed[harm])
    searcher = Searcher(archive)
    searcher.warm()
    about = searcher.describe()
    assert about.takes_patches
    assert about.bands == (["red", "green", "blue"] if harm == "end" else [])
    assert len(searcher.search(SearchRequest(tiles=[1], k=5))) == 5
    with pytest.raises(PatchError, match="hasher|weights"):
        searcher.patch(geotiff(), name="patch.tif")


def test_a_large_archive_is_ready_to_weigh_bits_before_the_first_concept(
    coast_archive, monkeypatch
):
    ready = []
    monkeypatch.setattr(searching, "numba_works", lambda *a, **k: ready.append((a, k)))
    searcher = Searcher(Archive.open(coast_archive, mode="r"))
    searcher.warm()
    assert ready == []
    monkeypatch.setattr(searching, "COMPILED", 324)
    searcher.warm()
    assert ready == [((8,), {"weighed": True})]


def test_a_patch_of_before_a_refit_is_refused(quick, scene_folder):
    quick.add(Scenes(scene_folder), tile_size=64)
    searcher = Searcher(Archive.open(quick.path, mode="r"))
    content = (scene_folder / "a_20230601.tif").read_bytes()
    patch = searcher.patch(content, name="a.tif")
    assert patch.hasher == quick.hasher_fingerprint
    asked = {"codes": patch.codes, "hasher": patch.hasher}
    assert len(searcher.search(SearchRequest(**asked, k=5))) == 5
    assert len(searcher.search(SearchRequest(codes=patch.codes, k=5))) == 5
    quick.refit()  # to another hasher with as many bits
    assert len(searcher.search(SearchRequest(**asked, k=5))) == 5  # as the page was loaded
    searcher.refresh()
    for request in (asked, {"codes": patch.codes}):
        with pytest.raises(HasherMismatchError, match="before this archive was refitted"):
            searcher.search(SearchRequest(**request))
    again = searcher.patch(content, name="a.tif")
    assert len(searcher.search(SearchRequest(codes=again.codes, hasher=again.hasher, k=5))) == 5
    with pytest.raises(HasherMismatchError, match="Drop the patch again"):
        searcher.search(SearchRequest(codes=again.codes, hasher="0" * 64))


def test_a_patch_of_other_values_is_refused_with_both_ranges(coast_archive):
    searcher = Searcher(Archive.open(coast_archive, mode="r"))
    with pytest.raises(PatchError, match=r"^new.tif holds uint16 .* made for uint8 0 to 255"):
        searcher.patch(geotiff(dtype="uint16", photometric="rgb"), name="new.tif")


def test_a_refused_patch_is_explained_without_options_that_the_page_does_not_have(coast_archive):
    searcher = Searcher(Archive.open(coast_archive, mode="r"))
    told = (
        r"has 1 band but the hasher expects 3 \(red, green, blue\); drop a patch that has the bands"
    )
    with pytest.raises(PatchError, match=f"^grey.tif {told} of the archive's scenes\\.$"):
        searcher.patch(geotiff(count=1), name="grey.tif")
    wide = geotiff(width=4000, height=3000, photometric="rgb")
    told = "takes at most 1024. Search with the part that shows what you look for"
    with pytest.raises(PatchError, match=rf"^wide.tif covers .* {re.escape(told)}\.$"):
        searcher.patch(wide, name="wide.tif")


@pytest.mark.parametrize(
    ("name", "options", "note"),
    [
        (
            "new.tif",
            {"photometric": "minisblack"},
            "new.tif does not say what its bands show, so they are read in order as red, green, "
            "blue.",
        ),
        (
            "20230601_101031_10_2403_3B_AnalyticMS.tif",
            {"photometric": "rgb", "count": 4},
            "20230601_101031_10_2403_3B_AnalyticMS.tif contradicts itself on what its bands show: "
            "band 1 is blue by file name but red by colour interpretation, band 3 is red by file "
            "name but blue by colour interpretation. The first reading is used.",
        ),
        ("colours.tif", {"photometric": "rgb"}, ""),
    ],
)
@pytest.mark.filterwarnings("ignore::geohash_rs.errors.GeoHashRSWarning")
def test_an_answer_to_a_patch_says_what_may_be_wrong_about_its_bands(
    coast_archive, name, options, note
):
    searcher = Searcher(Archive.open(coast_archive, mode="r"))
    answer = searcher.patch(geotiff(**options), name=name)
    assert " ".join(answer.notes) == note


def test_an_uploaded_patch_keeps_scale_and_offset(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(geotiff(dtype="uint16"))
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = [1e-4] * 3, [-0.1] * 3
        target.units = ["reflectance"] * 3
    with clean_patch(path.read_bytes(), name="a.tif") as path, rasterio.open(path) as copy:
        assert (copy.scales, copy.offsets) == ((1e-4,) * 3, (-0.1,) * 3)
        assert copy.units == ("reflectance",) * 3


def test_the_bands_are_read_without_loading_the_hasher(coast_archive, monkeypatch):
    archive = Archive.open(coast_archive, mode="r")
    monkeypatch.setattr(Archive, "hasher", lambda *_, **__: pytest.fail("loaded"))
    assert Searcher(archive).describe().bands == ["red", "green", "blue"]


def test_the_bounds_are_narrow_across_the_antimeridian(tmp_path):
    archive = Archive.create(tmp_path / "archive", num_bits=64)
    add_tiles(archive, [shapely.box(179, 0, 179.5, 1)])
    add_tiles(archive, [shapely.box(-179.5, 0, -179, 1)])
    west, _, east, _ = Searcher(archive).describe().bounds
    assert (west, east) == pytest.approx((179, 181))


def test_scenes_are_seen_in_views_beyond_180():
    box = {"date": None, "box": (0.0, 0.0, 1.0, 1.0)}
    placed = {
        3: PlacedScene(scene="a", bounds=(-179.0, 0.0, -178.0, 1.0), **box),
        4: PlacedScene(scene="b", bounds=(170.0, 0.0, 171.0, 1.0), **box),
        5: PlacedScene(scene="c", bounds=(10.0, 0.0, 11.0, 1.0), **box),
    }
    assert {number for number, _ in scenes_in_view(placed, (169, -5, 183, 5))} == {3, 4}
    assert {number for number, _ in scenes_in_view(placed, (-180, -5, -170, 5))} == {3}


def write_scene(path, value):
    settings = {"driver": "GTiff", "count": 3, "width": 64, "height": 64, "dtype": "uint8"}
    grid = rasterio.Affine(0.001, 0, 10, 0, -0.001, 50)
    with rasterio.open(path, "w", crs="EPSG:4326", transform=grid, **settings) as target:
        target.write(np.full((3, 64, 64), value, np.uint8))


def test_a_recreated_archive_shows_no_old_pictures(tmp_path):
    def make(value):
        scene = tmp_path / f"{value}.tif"
        write_scene(scene, value)
        shutil.rmtree(tmp_path / "archive", ignore_errors=True)
        archive = Archive.create(tmp_path / "archive", num_bits=64)
        add_tiles(archive, [shapely.box(10, 49, 11, 50)], scene)

    make(10)
    url, stop = start(create_app(Archive.open(tmp_path / "archive", mode="r")))
    ask = asker(url)
    key = ask("GET", "/api/archive")[2]
    dark = ask("GET", "/api/thumbnail/0.webp")[2]
    assert ask("GET", "/api/thumbnail/0.webp?size=191")[2] == dark
    make(200)
    assert ask("GET", "/api/archive")[2] != key
    assert ask("GET", "/api/thumbnail/0.webp")[2] != dark
    stop()


def test_a_recreated_archive_hashes_with_its_new_hasher(tmp_path):
    Archive.create(tmp_path / "archive", hasher="ucmerced-64")
    archive = Archive.open(tmp_path / "archive", mode="r")
    assert archive.hasher().name == "ucmerced-64"
    shutil.rmtree(tmp_path / "archive")
    Archive.create(tmp_path / "archive", hasher="eurosat-rgb-64")
    archive.refresh()
    assert archive.hasher().name == "eurosat-rgb-64"
    assert archive.hasher() is archive.hasher()


def test_an_answer_to_a_patch_on_another_scale_names_both_ranges(tmp_path):
    archive = make(tmp_path / "archive", of="numbers")
    archive.add(Scenes(write(tmp_path / "a.tif", NUMBERS)), tile_size=64)
    searcher = Searcher(Archive.open(archive.path, mode="r"))
    patch = write(tmp_path / "q.tif", NUMBERS[:, :64, :64] * 15)
    with pytest.warns(GeoHashRSWarning, match=r"q.tif lie outside .* value_range=\(LOW, HIGH\)"):
        answer = searcher.patch(patch.read_bytes(), name="q.tif")
    [note] = [text for text in answer.notes if "outside" in text]
    assert note.startswith("nearly all values of q.tif lie outside the range that the hasher")
    assert note.endswith("so that its tiles look alike.")
    patch = write(tmp_path / "q.tif", NUMBERS[:, :64, :64])
    assert not any("outside" in text for text in searcher.patch(patch.read_bytes(), name="q").notes)
