"""The page in a real browser, without any network except this machine."""

import re
import shutil

import geopandas as gpd
import pytest

from tests.serve.asking import geotiff
from tests.serve.browser import WAIT

pytestmark = pytest.mark.slow


def test_a_user_searches_judges_draws_keeps_downloads_and_returns(visit, tmp_path):
    seen = visit(accept_downloads=True).open()
    page = seen.page
    assert page.inner_text("#archive-facts") == "324 tiles · 4 scenes · 64 bits"
    assert page.evaluate("document.body.dataset.view") == "footprints"
    seen.shoot("1-first-view")

    seen.click_map(0.2, 0.55)
    seen.settle().shoot("2-matches")
    first = seen.ids()
    assert len(first) == 24
    distances = [int(text.split()[0]) for text in page.locator(".facts b").all_inner_texts()]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert page.locator(".card img").first.evaluate("(image) => image.naturalWidth") == 64

    rejected = first[5]
    page.locator(".card .down").nth(5).click()
    page.locator(".card .up").nth(2).click()
    assert page.locator("#negatives li").count() == 1
    assert "2 good and 1 bad" in page.inner_text("#again-note")
    seen.shoot("3-judged")
    page.click("#again")
    page.wait_for_selector("#ask-again", state="hidden", timeout=WAIT)
    seen.settle().shoot("4-searched-again")
    assert rejected not in seen.ids()

    page.click("#filters summary")
    page.click("#tool-box")
    page.mouse.move(*seen.on_map(0.52, 0.2))
    page.mouse.down()
    page.mouse.move(*seen.on_map(0.97, 0.8), steps=4)
    page.mouse.up()
    seen.address_has("region=")
    seen.settle().shoot("5-in-a-box")
    ring = re.search(r"region=([^&]*)", page.url).group(1).split(";")
    west, east = (pick(float(c.split(",")[0]) for c in ring) for pick in (min, max))

    page.fill("#from", "2023-08-01")
    seen.address_has("time=")
    seen.settle()
    assert {d[:7] for d in page.locator(".facts span:nth-of-type(1)").all_inner_texts()} == {
        "2023-09"
    }
    distances = [int(text.split()[0]) for text in page.locator(".facts b").all_inner_texts()]
    radius = distances[len(distances) // 2]
    assert distances[0] <= radius < distances[-1]
    page.locator("#radius").fill(str(radius))
    seen.address_has(f"within={radius}")
    seen.settle()
    narrowed = [int(text.split()[0]) for text in page.locator(".facts b").all_inner_texts()]
    assert max(narrowed) <= radius

    page.click("#keep-all")
    kept = seen.ids()
    assert page.inner_text("#kept-title").startswith(f"{len(kept)} tile")
    seen.shoot("6-kept")
    for ending in ("geojson", "gpkg", "parquet"):
        page.select_option("#format", ending)
        with page.expect_download() as download:
            page.click("#download")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        layer = "matches" if ending == "gpkg" else None  # next to its style
        parquet = ending == "parquet"
        read = gpd.read_parquet(path) if parquet else gpd.read_file(path, layer=layer)
        assert read["tile_id"].tolist() == kept
        assert read.crs.to_epsg() == 4326
        bounds = read.total_bounds
        assert bounds[2] > west
        assert bounds[0] < east
    query = gpd.read_file(tmp_path / "matches.gpkg", layer="matches_query")
    asked = re.search(r"tiles=(\d+),(\d+)", page.url).groups()
    assert query["tile_id"].tolist() == [*map(int, asked), rejected]
    assert query["positive"].tolist() == [True, True, False]

    again = visit().open("#" + page.url.split("#")[1])
    again.settle().shoot("7-restored-from-the-link")
    assert again.ids() == kept
    assert again.page.locator("#negatives li").count() == 1
    assert again.page.input_value("#from") == "2023-08-01"


def test_tiles_too_small_to_draw_are_dots_that_can_be_clicked(visit):
    seen = visit().open()
    for _ in range(5):
        seen.page.click(".maplibregl-ctrl-zoom-out")
        seen.page.wait_for_timeout(500)
    seen.shoot("11-far-out")
    seen.click_map(0.5, 0.5)  # between the scenes there is no tile, but dots are near
    seen.settle().shoot("12-matches-far-out")
    assert len(seen.ids()) == 24
    assert not seen.page.is_visible("#problem")


@pytest.mark.parametrize("name", ["town.tif", "x" * 99 + "\N{WATER WAVE} is cut off.tif"])
def test_a_geotiff_is_dropped_and_its_link_restores_the_search(visit, coast, tmp_path, name):
    shutil.copy(coast / "patches" / "town.tif", tmp_path / name)
    seen = visit(accept_downloads=True).open()
    seen.page.set_input_files("#file", tmp_path / name)
    seen.settle().shoot("8-geotiff")
    assert seen.page.inner_text("#examples span") == name[:100]
    found = seen.ids()
    seen.page.click("#keep-all")
    seen.page.select_option("#format", "gpkg")
    with seen.page.expect_download() as download:
        seen.page.click("#download")
    download.value.save_as(tmp_path / "kept.gpkg")
    query = gpd.read_file(tmp_path / "kept.gpkg", layer="matches_query")
    assert query["example"].tolist() == [name[:100]]
    other = visit().open("#" + seen.page.url.split("#")[1])
    other.settle()
    assert other.ids() == found


@pytest.mark.filterwarnings("ignore::geohash_rs.errors.GeoHashRSWarning")
def test_what_may_be_wrong_about_a_patch_is_shown_until_it_is_removed(visit, tmp_path):
    path = tmp_path / "unnamed.tif"
    path.write_bytes(geotiff(photometric="minisblack"))
    seen = visit().open()
    assert not seen.page.is_visible("#patch-notes")
    seen.page.set_input_files("#file", path)
    seen.settle()
    assert "does not say what its bands show" in seen.page.inner_text("#patch-notes")
    seen.page.click("#clear")
    assert not seen.page.is_visible("#patch-notes")


def test_a_file_that_is_not_a_geotiff_is_refused_with_a_message(visit, tmp_path):
    wrong = tmp_path / "holiday.tif"
    wrong.write_bytes(b"\x89PNG not a tiff")
    seen = visit().open()
    seen.page.set_input_files("#file", wrong)
    seen.page.wait_for_selector("#problem:not([hidden])", timeout=WAIT)
    assert "holiday.tif is not a GeoTIFF" in seen.page.inner_text("#problem")
    seen.shoot("13-refused")
    refused = [e for e in seen.errors if "422" in e]
    assert seen.errors == refused  # the browser's own message about the response
    seen.errors.clear()
