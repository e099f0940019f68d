"""Tile sizes in the page and its API."""

import json

import pytest

from geohash_rs import Archive, Scenes
from geohash_rs.retrieval.patch_query import hash_patch
from geohash_rs.serve.app import create_app
from tests.ground import mosaic, write
from tests.serve.asking import asker, detail
from tests.serve.browser import WAIT
from tests.serve.conftest import start

SIZES = [64, 128, 256]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write(tmp_path_factory.mktemp("scenes") / "a.tif", mosaic(5, 4, 1))


@pytest.fixture(scope="module")
def sized(tmp_path_factory, quick_hasher, scene):
    """Make an archive of 28 tiles of three sizes."""
    path = tmp_path_factory.mktemp("sized") / "archive"
    Archive.create(path, hasher=quick_hasher).add(Scenes(scene), tile_size=SIZES)
    return path


@pytest.fixture(scope="module")
def there(sized):
    """Serve it; return its address."""
    url, stop = start(create_app(Archive.open(sized, mode="r")))
    yield url
    stop()


def properties(body):
    return [feature["properties"] for feature in json.loads(body)["features"]]


def test_a_search_answers_like_the_library_with_a_size(there, sized):
    ask = asker(there)
    assert json.loads(ask("GET", "/api/archive")[2])["tile_sizes"] == SIZES
    for sizes in ([64], [128, 256], [999], None):
        status, _, body = ask("POST", "/api/search", {"tiles": [0], "k": 28, "tile_sizes": sizes})
        assert status == 200
        archive = Archive.open(sized, mode="r")
        expected = archive.search(archive.codes([0]), k=28, tile_size=sizes)
        assert [one["tile_id"] for one in properties(body)] == expected.ids[0].tolist()
    for wrong in ([0], 64, [2**31]):
        answer = ask("POST", "/api/search", {"tiles": [0], "tile_sizes": wrong})
        assert answer[0] == 422, wrong
        assert "tile_sizes" in detail(answer)


def test_the_tile_at_a_place_is_the_smallest_or_of_the_given_size(there, sized):
    ask = asker(there)
    tiles = Archive.open(sized, mode="r").tiles(range(28))
    place = tiles[(tiles["col"] == 64) & (tiles["width"] == 64)].geometry.iloc[0].centroid
    at = f"/api/tile-at?lon={place.x}&lat={place.y}"
    for asked, expected in (("", 64), ("&tile_size=128", 128), ("&tile_size=256", 256)):
        status, _, body = ask("GET", at + asked)
        found = json.loads(body)["properties"]
        assert (status, found["width"]) == (200, expected)
        assert set(found) == {*tiles.columns} - {"geometry"} | {"scene_name"}
    answer = ask("GET", at + "&tile_size=32")
    assert (answer[0], "has 32 px; there are tiles of 64 px" in detail(answer)) == (422, True)


def test_a_patch_is_cut_into_tiles_of_the_given_size(there, sized, scene):
    ask = asker(there)
    archive, counts = Archive.open(sized, mode="r"), set()
    for size in (None, 64, 128):
        url = "/api/patch" if size is None else f"/api/patch?tile_size={size}"
        status, _, body = ask("POST", url, scene.read_bytes(), **{"X-File-Name": "a.tif"})
        assert status == 200, body
        sizes = None if size is None else frozenset([size])
        codes = hash_patch(archive, scene, tile_sizes=sizes).codes
        assert json.loads(body)["codes"] == list(dict.fromkeys(bytes(code).hex() for code in codes))
        counts.add(len(codes))
    assert counts == {1, 20, 6}


@pytest.mark.slow
def test_the_page_limits_a_search_to_a_size_and_the_link_keeps_it(visit, there, sized):
    seen = visit(at=there).open("#tiles=0&k=28")
    page = seen.settle().page
    assert len(seen.ids()) == 28
    page.click("#filters summary")
    options = page.locator("#size option").all_inner_texts()
    assert options == ["any size", "64 px", "128 px", "256 px"]
    page.select_option("#size", "128")
    seen.address_has("size=128")
    seen.until("document.querySelectorAll('.card').length === 6")
    widths = Archive.open(sized, mode="r").tiles(seen.ids())["width"]
    assert set(widths) == {128}
    assert "128 px" in page.locator(".card").first.inner_text()
    assert page.inner_text("#filters-note") == "a tile size set"
    page.select_option("#size", "")
    seen.until("document.querySelectorAll('.card').length === 28")
    again = visit(at=there).open("#tiles=0&k=28&size=256")
    assert len(again.settle().ids()) == 2
    assert again.page.input_value("#size") == "256"


@pytest.mark.slow
def test_the_page_of_an_archive_of_one_size_has_no_such_filter(visit):
    seen = visit().open("#tiles=10")
    page = seen.settle().page
    page.click("#filters summary")
    page.wait_for_selector("#radius", timeout=WAIT)
    assert page.is_hidden("#size-field")
    assert " px" not in page.locator(".card").first.inner_text()
